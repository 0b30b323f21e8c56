//! What must be true of every life, judged from its history, the outages and the audit log. It says
//! nothing of what cannot be known: an audit log has gaps where an API server was killed.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;

use super::{
    history::{Answer, Life, Time, What, Wish, short},
    outages::{Outage, uncovered},
};

/// A deletion that the API server has done for a controller.
#[derive(Clone, Debug)]
pub struct Deletion {
    /// Of the Ephemeron of this name.
    pub name: String,
    /// When the request arrived.
    pub at: Time,
}

/// What is judged.
pub struct Evidence<'a> {
    /// All lives, by UID.
    pub lives: &'a HashMap<String, Life>,
    /// The UIDs of those that were to live on.
    pub kept: &'a HashSet<String>,
    /// When controllers could not work.
    pub outages: &'a [Outage],
    /// Deletions of Ephemerons, from the audit log.
    pub deletions: &'a [Deletion],
    /// How late a deletion may be, outages aside; None: as late as it likes.
    pub late: Option<TimeDelta>,
}

/// Something that must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wrong {
    /// It was deleted before its end.
    Early,
    /// It was deleted too late.
    Late,
    /// It was not deleted at all.
    Lost,
}

/// Such a thing, and the life that it happened to.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What it is.
    pub wrong: Wrong,
    /// All of it, in words.
    pub told: String,
}

/// What has become of all.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What must not be.
    pub violations: Vec<Violation>,
    /// Of each that a controller has deleted: due when, how late in all, and how late but for outages.
    pub ended: Vec<(Time, TimeDelta, TimeDelta)>,
    /// How many were deleted by hand.
    pub by_hand: usize,
    /// How many were given another end and lived to see it.
    pub extended: usize,
    /// How many have gone without a trace of when.
    pub unknown: usize,
}

/// Judges all lives.
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    let mut deletions = HashMap::<&str, Vec<Time>>::new();
    for deletion in evidence.deletions {
        deletions.entry(&deletion.name).or_default().push(deletion.at);
    }
    for (uid, life) in evidence.lives {
        let of_name = deletions.get(life.name.as_str()).map_or(&[][..], Vec::as_slice);
        judge_one(evidence, uid, life, of_name, &mut verdict);
    }
    verdict
}

fn judge_one(evidence: &Evidence<'_>, uid: &str, life: &Life, deletions: &[Time], verdict: &mut Verdict) {
    let mut accuse = |wrong: Wrong, how: String| {
        let told = format!("{} ({uid}, {}) {how}:\n{}", life.name, life.whose, life.told());
        verdict.violations.push(Violation { wrong, told });
    };
    let is_kept = evidence.kept.contains(uid);
    let Some(gone) = life.gone() else {
        if !is_kept {
            accuse(Wrong::Lost, "is still there".into());
        }
        return;
    };
    if is_by_hand(life) {
        verdict.by_hand += 1;
        return;
    }
    let begun = life.events.first().map_or(gone, |event| match event.what {
        What::Asked { sent, .. } => sent.min(event.at),
        _ => event.at,
    });
    let known = deletions.iter().find(|at| (begun..=gone).contains(at)).copied();
    let is_seen = life.events.iter().any(|event| matches!(event.what, What::Gone(_)));
    if known.is_none() && !is_seen {
        verdict.unknown += 1;
    }
    // Seen by a watch, it is at most a little earlier than that.
    let deleted = known.unwrap_or(gone);
    let (earliest, latest) = ends(life);
    if deleted < earliest {
        accuse(
            Wrong::Early,
            format!("was deleted at {}, and its end was {}", short(deleted), short(earliest)),
        );
        return;
    }
    if extensions(life) > 0 {
        verdict.extended += 1;
    }
    // A list tells neither when it went nor how late that was.
    if known.is_none() && !is_seen {
        return;
    }
    let due = latest.max(settled(life, deleted));
    let open = uncovered(evidence.outages, &life.whose, due, deleted);
    if evidence.late.is_some_and(|late| open > late) {
        let (all, open) = ((deleted - due).as_seconds_f64(), open.as_seconds_f64());
        accuse(
            Wrong::Late,
            format!(
                "was due at {} and deleted at {}: {all:.3} s late, {open:.3} s of them without an outage",
                short(due),
                short(deleted)
            ),
        );
    }
    verdict.ended.push((due, (deleted - due).max(TimeDelta::zero()), open));
}

fn is_by_hand(life: &Life) -> bool {
    life.events.iter().any(|event| {
        matches!(event.what, What::Asked { wish: Wish::Delete, answer: Answer::Done | Answer::Lost, .. })
    })
}

fn extensions(life: &Life) -> usize {
    let done = |what: &What| matches!(what, What::Asked { wish: Wish::End(_), answer: Answer::Done, .. });
    life.events.iter().filter(|event| done(&event.what)).count()
}

/// The earliest and the latest of what its end may have been when it went. The watch knows; else it is
/// what was answered last, or any that was asked for since and not answered.
fn ends(life: &Life) -> (Time, Time) {
    let mut ends = Vec::new();
    for event in &life.events {
        match event.what {
            What::Asked { wish: Wish::Begin(end) | Wish::End(end), answer: Answer::Done, .. } => {
                ends = vec![end];
            }
            What::Asked { wish: Wish::Begin(end) | Wish::End(end), answer: Answer::Lost, .. } => {
                ends.push(end);
            }
            What::Gone(Some(end)) => return (end, end),
            _ => {}
        }
    }
    let first = life.events.first().map_or(Time::MIN_UTC, |event| event.at);
    (ends.iter().min().copied().unwrap_or(first), ends.iter().max().copied().unwrap_or(first))
}

/// When its last change before its deletion had been made for certain. The answer to a change may come after the
/// deletion that it has brought about.
fn settled(life: &Life, deleted: Time) -> Time {
    let changes = life.events.iter().filter_map(|event| match event.what {
        What::Asked { answer: Answer::Refused(_), .. } | What::Gone(_) | What::Missing => None,
        What::Asked { sent, .. } => (sent <= deleted).then(|| event.at.min(deleted)),
        What::Ends(_) => (event.at <= deleted).then_some(event.at),
    });
    changes.max().unwrap_or(deleted)
}
