//! Whether this process's clock may decide that a time is over.
//!
//! A clock that is wrong would delete everybody. Every answer of the API server has a `Date`
//! (RFC 9110, section 6.6.1), and two clocks that agree are trusted. A comparison stays good until
//! the clock is stepped, which shows by the monotonic clock.

use std::{
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use http::{Request, Response, header::DATE};
use tower::{Layer, Service};

/// How far the clocks may be apart.
pub const TOLERANCE: TimeDelta = TimeDelta::seconds(30);
/// A wall clock that has moved by more than this against the monotonic one was stepped.
const STEP: TimeDelta = TimeDelta::seconds(1);

/// What is known of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It agrees with the API server's.
    Right,
    /// It is ahead of the API server's by this, or behind it where this is negative.
    Wrong(TimeDelta),
    /// It was stepped, or never compared.
    Unknown,
}

/// Both clocks of this machine at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    wall: DateTime<Utc>,
    /// Since some moment that stays the same.
    monotonic: TimeDelta,
}

impl Reading {
    /// What a step of the wall clock changes, and nothing else.
    fn offset(self) -> TimeDelta {
        self.wall - DateTime::UNIX_EPOCH - self.monotonic
    }

    fn is_stepped_from(self, offset: TimeDelta) -> bool {
        (self.offset() - offset).abs() > STEP
    }
}

/// A comparison with the API server's clock.
#[derive(Clone, Copy, Debug)]
struct Comparison {
    verdict: Verdict,
    /// The middle of what is possible.
    skew: TimeDelta,
    offset: TimeDelta,
}

/// The clock of this process, with what the API server's answers have told of it.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    last: Mutex<Option<Comparison>>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { started: Instant::now(), last: Mutex::default() }
    }
}

impl Clock {
    fn read(&self) -> Reading {
        let monotonic = TimeDelta::from_std(self.started.elapsed()).unwrap_or(TimeDelta::MAX);
        Reading { wall: Utc::now(), monotonic }
    }

    /// A clock that was compared and found right.
    #[cfg(test)]
    pub fn right() -> Self {
        let clock = Self::default();
        clock.is_found(Verdict::Right);
        clock
    }

    /// A comparison with this outcome.
    #[cfg(test)]
    pub fn is_found(&self, verdict: Verdict) {
        let comparison = Comparison { verdict, skew: TimeDelta::zero(), offset: self.offset() };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(comparison);
    }

    /// What only a step of the wall clock changes.
    #[must_use]
    pub fn offset(&self) -> TimeDelta {
        self.read().offset()
    }

    /// Whether the wall clock was stepped since this was its offset, which becomes the present one then.
    pub fn is_stepped_from(&self, offset: &mut TimeDelta) -> bool {
        let now = self.read();
        let is_stepped = now.is_stepped_from(*offset);
        if is_stepped {
            *offset = now.offset();
        }
        is_stepped
    }

    /// What is known of the clock as it is now.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        judge(last, self.read())
    }

    /// How far it was ahead of the API server's when they were last compared.
    #[must_use]
    pub fn skew(&self) -> Option<TimeDelta> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).map(|last| last.skew)
    }

    fn heard(&self, asked: Reading, date: DateTime<Utc>) {
        if let Some(comparison) = compare(asked, self.read(), date) {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(comparison);
        }
    }
}

fn judge(last: Option<Comparison>, now: Reading) -> Verdict {
    match last {
        Some(comparison) if !now.is_stepped_from(comparison.offset) => comparison.verdict,
        _ => Verdict::Unknown,
    }
}

/// Compares with a date that has whole seconds and was written at some moment between question and
/// answer; None if the clock was stepped meanwhile.
fn compare(asked: Reading, answered: Reading, date: DateTime<Utc>) -> Option<Comparison> {
    if answered.is_stepped_from(asked.offset()) {
        return None;
    }
    let least = asked.wall - (date + TimeDelta::seconds(1));
    let most = answered.wall - date;
    let verdict = if least > TOLERANCE {
        Verdict::Wrong(least)
    } else if most < -TOLERANCE {
        Verdict::Wrong(most)
    } else {
        Verdict::Right
    };
    Some(Comparison { verdict, skew: (least + most) / 2, offset: answered.offset() })
}

/// Listens to the dates of all answers that a client gets.
#[derive(Clone)]
pub struct Listening(pub std::sync::Arc<Clock>);

impl<S> Layer<S> for Listening {
    type Service = Listener<S>;

    fn layer(&self, inner: S) -> Listener<S> {
        Listener { inner, clock: std::sync::Arc::clone(&self.0) }
    }
}

/// A client's service whose answers are listened to.
#[derive(Clone)]
pub struct Listener<S> {
    inner: S,
    clock: std::sync::Arc<Clock>,
}

impl<S, B, A> Service<Request<B>> for Listener<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
    S::Error: Send,
    A: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (clock, asked, answer) =
            (std::sync::Arc::clone(&self.clock), self.clock.read(), self.inner.call(request));
        Box::pin(async move {
            let answer = answer.await?;
            let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
            if let Some(date) = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()) {
                clock.heard(asked, date.to_utc());
            }
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall_ms: i64, monotonic_ms: i64) -> Reading {
        let wall = DateTime::from_timestamp_millis(1_900_000_000_000 + wall_ms).expect("a time");
        Reading { wall, monotonic: TimeDelta::milliseconds(monotonic_ms) }
    }

    fn date(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000 + seconds, 0).expect("a time")
    }

    fn verdict(asked: Reading, answered: Reading, seconds: i64) -> Verdict {
        judge(compare(asked, answered, date(seconds)), answered)
    }

    #[test]
    fn clocks_that_agree_are_trusted() {
        assert_eq!(verdict(at(999, 0), at(1_001, 2), 0), Verdict::Right);
        assert_eq!(verdict(at(0, 0), at(1, 1), 30), Verdict::Right, "30 s are tolerated");
        assert_eq!(verdict(at(31_000, 0), at(31_001, 1), 0), Verdict::Right, "the date is cut to seconds");
        assert_eq!(
            verdict(at(0, 0), at(120_000, 120_000), 0),
            Verdict::Right,
            "a slow answer proves nothing"
        );
    }

    #[test]
    fn clocks_that_differ_are_not() {
        assert_eq!(
            verdict(at(3_600_000, 0), at(3_600_010, 10), 0),
            Verdict::Wrong(TimeDelta::seconds(3_599))
        );
        assert_eq!(verdict(at(0, 0), at(10, 10), 3_600), Verdict::Wrong(TimeDelta::milliseconds(-3_599_990)));
    }

    #[test]
    fn a_step_makes_it_unknown() {
        let before = compare(at(0, 0), at(1, 1), date(0));
        assert_eq!(judge(before, at(7_200_000, 7_200_000)), Verdict::Right, "time alone does not");
        assert_eq!(judge(before, at(3_600_000, 10)), Verdict::Unknown);
        assert_eq!(judge(before, at(-3_600_000, 10)), Verdict::Unknown);
        assert_eq!(judge(None, at(0, 0)), Verdict::Unknown);
        assert!(compare(at(0, 0), at(3_600_000, 1), date(0)).is_none(), "stepped in the middle");
    }
}
