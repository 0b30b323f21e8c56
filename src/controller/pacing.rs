//! Which words of a status can wait: what most services pass within a second is told only if it
//! lasts, and in a crowd at a bounded rate, so that it does not hold up what everybody waits for.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::resource::{
    EphemeronStatus,
    conditions::{self, AVAILABLE, EXPIRING},
    reasons::Reason,
};

/// What lasts longer than this is told.
const LASTS: TimeDelta = TimeDelta::milliseconds(1_500);
/// So many of these in a second, for all Ephemerons together.
const PER_SECOND: u32 = 2;
/// No words wait longer than this.
const LONGEST: TimeDelta = TimeDelta::seconds(30);

/// The words that wait.
#[derive(Debug, Default)]
pub struct Pacing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// What was written last, without its times, by name.
    said: HashMap<String, u64>,
    /// Since when an Ephemeron's words wait, by name.
    waiting: HashMap<String, DateTime<Utc>>,
    second: i64,
    told: u32,
}

impl Pacing {
    /// Asks whether a status may be written at this moment.
    ///
    /// # Errors
    ///
    /// It can wait; after what time to ask again.
    pub fn ask(
        &self,
        name: &str,
        before: Option<&EphemeronStatus>,
        status: &EphemeronStatus,
        now: DateTime<Utc>,
    ) -> Result<(), TimeDelta> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !can_wait(before, status) {
            state.waiting.remove(name);
            return Ok(());
        }
        let since = state.waiting.entry(name.into()).or_insert(now);
        // A clock that is set back must not make anybody wait for long.
        *since = (*since).min(now);
        let waited = now - *since;
        if waited < LASTS {
            return Err(LASTS - waited);
        }
        if state.second != now.timestamp() {
            (state.second, state.told) = (now.timestamp(), 0);
        }
        if state.told >= PER_SECOND && waited < LONGEST {
            // When its turn may come: to ask every second would cost more than to tell.
            let turn = i64::try_from(state.waiting.len()).unwrap_or(i64::MAX) / i64::from(PER_SECOND);
            return Err(TimeDelta::seconds(turn.clamp(1, LONGEST.num_seconds())).min(LONGEST - waited));
        }
        state.told += 1;
        state.waiting.remove(name);
        Ok(())
    }

    /// Whether this status was the last to be written: then somebody else has changed it since.
    pub fn was_said(&self, name: &str, status: &EphemeronStatus) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).said.get(name) == Some(&words(status))
    }

    /// This status was written.
    pub fn said(&self, name: &str, status: &EphemeronStatus) {
        let words = words(status);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).said.insert(name.into(), words);
    }

    /// Drops what waits of an Ephemeron.
    pub fn hold_back_nothing(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).waiting.remove(name);
    }

    /// Drops what is known of an Ephemeron.
    pub fn forget(&self, name: &str) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.remove(name);
        state.said.remove(name);
    }
}

/// A status without its times, as a number: when something changed is not what is said of it.
fn words(status: &EphemeronStatus) -> u64 {
    let mut status = status.clone();
    status.conditions.iter_mut().for_each(|one| one.last_transition_time = None);
    let mut hasher = DefaultHasher::new();
    // Every status can be written as JSON.
    serde_json::to_vec(&status).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

/// Whether a status only tells that a service is on its way. What can be reached now, or cannot any
/// more, what is a trouble, and when it ends, are told at once.
fn can_wait(before: Option<&EphemeronStatus>, status: &EphemeronStatus) -> bool {
    let known = before.map_or(&[][..], |status| &status.conditions);
    let available = |conditions| conditions::is_true(conditions, AVAILABLE);
    let reason =
        |conditions, r#type| conditions::find(conditions, r#type).and_then(|one| one.reason.as_deref());
    let is_trouble = reason(&status.conditions, AVAILABLE)
        .is_some_and(|reason| Reason::ALL.iter().any(|one| one.is_trouble && one.reason.as_str() == reason));
    let same_end = before.is_none_or(|before| before.expiration_time == status.expiration_time);
    let same_expiring = reason(known, EXPIRING) == reason(&status.conditions, EXPIRING);
    !available(known) && !available(&status.conditions) && !is_trouble && same_end && same_expiring
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::conditions::{Finding, POD_READY};

    fn at(milliseconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_900_000_000_000 + milliseconds).expect("a time")
    }

    fn status(finding: Finding) -> EphemeronStatus {
        let conditions = vec![
            finding.clone().condition(POD_READY, None, None, at(0)),
            finding.condition(AVAILABLE, None, None, at(0)),
        ];
        EphemeronStatus { conditions, expiration_time: Some(at(0)), ..EphemeronStatus::default() }
    }

    #[test]
    fn only_what_passes_can_wait() {
        let usual = status(Finding::no(Reason::PodNotReady, "soon"));
        let connecting = status(Finding::no(Reason::Connecting, "soon"));
        let good = status(Finding::yes(Reason::Available, "yes"));
        let bad = status(Finding::no(Reason::ImagePullFailed, "no"));
        assert!(can_wait(None, &usual));
        assert!(can_wait(Some(&usual), &connecting));
        assert!(!can_wait(None, &good));
        assert!(!can_wait(Some(&usual), &bad));
        assert!(!can_wait(Some(&good), &usual), "it is lost");
        let later = EphemeronStatus { expiration_time: Some(at(1_000)), ..usual.clone() };
        assert!(!can_wait(Some(&usual), &later), "it is put off");
    }

    #[test]
    fn what_lasts_is_told_and_a_crowd_one_after_the_other() {
        let (pacing, usual) = (Pacing::default(), status(Finding::no(Reason::PodNotReady, "soon")));
        let ask =
            |name: &str, now| pacing.ask(name, None, &usual, at(now)).map_err(|left| left.num_milliseconds());
        assert_eq!(ask("a", 0), Err(1_500));
        assert_eq!(ask("a", 1_000), Err(500));
        assert_eq!(ask("a", 1_500), Ok(()));
        assert_eq!(ask("a", 1_600), Err(1_500), "the next words wait anew");
        let names: Vec<String> = (0..12).map(|number| format!("crowd-{number}")).collect();
        for name in &names {
            assert_eq!(ask(name, 2_000), Err(1_500));
        }
        let told = |now| names.iter().filter(|name| ask(name, now).is_ok()).count();
        assert_eq!(told(4_000), 2);
        assert_eq!(ask("crowd-9", 4_000), Err(5_000), "behind nine others, two in a second");
        pacing.forget("crowd-11");
        assert_eq!(ask("crowd-10", 5_000), Ok(()), "in the next second");
        assert_eq!(ask("crowd-9", 32_000), Ok(()), "nobody waits longer than half a minute");
        assert_eq!(ask("crowd-11", 40_000), Err(1_500), "it was forgotten");
    }

    #[test]
    fn what_was_written_last_is_known_by_its_words() {
        let pacing = Pacing::default();
        let (usual, good) = (
            status(Finding::no(Reason::PodNotReady, "soon")),
            status(Finding::yes(Reason::Available, "yes")),
        );
        pacing.said("a", &good);
        let mut later = good.clone();
        later.conditions.iter_mut().for_each(|one| one.last_transition_time = Some(at(9_000)));
        assert!(pacing.was_said("a", &good) && pacing.was_said("a", &later), "whenever it began");
        assert!(!pacing.was_said("b", &good) && !pacing.was_said("a", &usual));
        pacing.said("a", &usual);
        assert!(!pacing.was_said("a", &good), "only the last one");
        pacing.forget("a");
        assert!(!pacing.was_said("a", &usual));
    }
}
