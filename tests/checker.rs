//! The fault suite's checker: that it sees what must not be, and accuses nobody without proof.

#![expect(clippy::expect_used, reason = "a test may fail loudly")]

#[expect(dead_code, reason = "the fault suite uses more of it")]
mod chaos {
    pub mod checker;
    pub mod history;
    pub mod outages;
}

use std::collections::{HashMap, HashSet};

use chaos::{
    checker::{Deletion, Evidence, Verdict, Wrong, judge},
    history::{Answer, Event, Life, Time, What, Wish},
    outages::{Outage, uncovered},
};
use chrono::{DateTime, TimeDelta};

/// So many milliseconds after the beginning.
fn at(milliseconds: i64) -> Time {
    DateTime::from_timestamp_millis(1_900_000_000_000 + milliseconds).expect("a time")
}

fn asked(sent: i64, answered: i64, wish: Wish, answer: Answer) -> Event {
    Event { at: at(answered), what: What::Asked { sent: at(sent), wish, answer } }
}

fn begins(end: i64) -> Event {
    asked(0, 10, Wish::Begin(at(end)), Answer::Done)
}

fn extended(sent: i64, end: i64, answer: Answer) -> Event {
    asked(sent, sent + 10, Wish::End(at(end)), answer)
}

fn gone(when: i64, end: i64) -> Event {
    Event { at: at(when), what: What::Gone(Some(at(end))) }
}

fn missing(when: i64) -> Event {
    Event { at: at(when), what: What::Missing }
}

fn outage(whose: Option<&str>, from: i64, until: i64) -> Outage {
    Outage { whose: whose.map(str::to_owned), what: "a test".into(), from: at(from), until: Some(at(until)) }
}

/// Judges one life with these deletions in the audit log, and these outages.
fn verdict(events: Vec<Event>, deletions: &[i64], outages: &[Outage]) -> Verdict {
    let life = Life { name: "one".into(), whose: "ours".into(), events };
    let deletions: Vec<_> =
        deletions.iter().map(|when| Deletion { name: "one".into(), at: at(*when) }).collect();
    let evidence = Evidence {
        lives: &HashMap::from([("uid".to_owned(), life)]),
        kept: &HashSet::new(),
        outages,
        deletions: &deletions,
        late: Some(TimeDelta::seconds(1)),
    };
    judge(&evidence)
}

fn wrongs(events: Vec<Event>, deletions: &[i64], outages: &[Outage]) -> Vec<Wrong> {
    verdict(events, deletions, outages).violations.iter().map(|violation| violation.wrong).collect()
}

#[test]
fn who_ends_on_time_is_well() {
    assert_eq!(wrongs(vec![begins(5_000), gone(5_090, 5_000)], &[5_010], &[]), []);
    let extended = vec![begins(5_000), extended(4_980, 9_000, Answer::Done), gone(9_100, 9_000)];
    let verdict = verdict(extended, &[9_020], &[]);
    assert!(verdict.violations.is_empty());
    assert_eq!(verdict.extended, 1);
}

#[test]
fn who_ends_early_is_seen() {
    assert_eq!(wrongs(vec![begins(5_000), gone(5_090, 5_000)], &[4_999], &[]), [Wrong::Early]);
    // An extension was there, and the deletion came all the same.
    let extended = |answer| vec![begins(5_000), extended(4_980, 9_000, answer), gone(5_100, 9_000)];
    assert_eq!(wrongs(extended(Answer::Done), &[5_020], &[]), [Wrong::Early]);
    assert_eq!(wrongs(extended(Answer::Lost), &[], &[]), [Wrong::Early], "the watch has seen it");
    let outage = outage(None, 0, 20_000);
    assert_eq!(wrongs(extended(Answer::Done), &[5_020], &[outage]), [Wrong::Early], "nothing excuses it");
    // Only a list has shown that it is gone, and that was before its end.
    let listed = vec![begins(5_000), extended_done(4_000, 9_000), missing(6_000)];
    assert_eq!(wrongs(listed, &[], &[]), [Wrong::Early]);
}

fn extended_done(sent: i64, end: i64) -> Event {
    extended(sent, end, Answer::Done)
}

#[test]
fn who_may_have_ended_on_time_is_not_accused() {
    let lost = vec![begins(5_000), extended(4_000, 9_000, Answer::Lost), missing(6_000)];
    assert_eq!(wrongs(lost, &[5_010], &[]), [], "the extension may have been lost with its answer");
    let listed = verdict(vec![begins(5_000), missing(60_000)], &[], &[]);
    assert!(listed.violations.is_empty(), "it may have gone long before");
    assert_eq!(listed.unknown, 1);
    let by_hand = vec![begins(5_000), asked(1_000, 1_010, Wish::Delete, Answer::Lost), gone(1_020, 5_000)];
    assert_eq!(wrongs(by_hand, &[], &[]), []);
    let refused = vec![begins(5_000), extended(5_050, 9_000, Answer::Refused(404)), gone(5_020, 5_000)];
    assert_eq!(wrongs(refused, &[5_010], &[]), []);
}

#[test]
fn who_ends_late_is_seen() {
    let late = || vec![begins(5_000), gone(8_000, 5_000)];
    assert_eq!(wrongs(late(), &[7_990], &[]), [Wrong::Late]);
    assert_eq!(wrongs(late(), &[], &[]), [Wrong::Late], "without an audit log, too");
    assert_eq!(wrongs(late(), &[7_990], &[outage(None, 4_000, 7_500)]), []);
    assert_eq!(wrongs(late(), &[7_990], &[outage(Some("ours"), 5_500, 7_500)]), []);
    assert_eq!(wrongs(late(), &[7_990], &[outage(Some("theirs"), 4_000, 7_500)]), [Wrong::Late]);
    assert_eq!(wrongs(late(), &[7_990], &[outage(None, 4_000, 6_000)]), [Wrong::Late]);
    // Its end was put into the past: it is due from then on.
    let shortened = vec![begins(60_000), extended_done(7_000, 1_000), gone(7_600, 1_000)];
    assert_eq!(wrongs(shortened, &[7_500], &[]), []);
    // It may be deleted before the answer is there.
    let change = asked(7_000, 7_600, Wish::End(at(1_000)), Answer::Done);
    assert_eq!(wrongs(vec![begins(60_000), change, gone(7_650, 1_000)], &[7_500], &[]), []);
    let refused = asked(7_000, 7_600, Wish::End(at(9_000)), Answer::Refused(409));
    assert_eq!(wrongs(vec![begins(5_000), refused, gone(7_650, 5_000)], &[7_500], &[]), [Wrong::Late]);
}

#[test]
fn who_does_not_end_is_seen() {
    assert_eq!(wrongs(vec![begins(5_000)], &[], &[]), [Wrong::Lost]);
}

#[test]
fn a_name_that_is_used_again_is_two_lives() {
    let second = vec![asked(6_000, 6_010, Wish::Begin(at(9_000)), Answer::Done), gone(9_100, 9_000)];
    assert_eq!(wrongs(second, &[5_010, 9_020], &[]), []);
}

#[test]
fn outages_that_overlap_count_once() {
    let outages = [outage(None, 0, 100), outage(None, 50, 200), outage(None, 300, 400)];
    let open = |from, until| uncovered(&outages, "ours", at(from), at(until)).num_milliseconds();
    assert_eq!(open(0, 500), 200);
    assert_eq!(open(150, 350), 100);
    assert_eq!(open(450, 500), 50);
    assert_eq!(open(10, 90), 0);
}
