//! How often one child is set right: a neighbour, or an admission plugin, who changes it back each
//! time is not fought at full speed.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

/// The first time is at once, the second so long after it, and then twice as long each time.
const FIRST: TimeDelta = TimeDelta::seconds(1);
const LONGEST: TimeDelta = TimeDelta::minutes(1);
/// A child that was left alone for so long starts anew.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::minutes(10);

/// The children that were set right of late, by UID.
#[derive(Debug, Default)]
pub struct Mending(Mutex<HashMap<String, Mended>>);

#[derive(Clone, Copy, Debug)]
struct Mended {
    times: u32,
    last: DateTime<Utc>,
}

impl Mending {
    /// Asks to set a child right: counts it, or tells from when on it may be done again.
    ///
    /// # Errors
    ///
    /// It was done too recently; the time from which on it may be done.
    pub fn ask(&self, uid: &str, now: DateTime<Utc>) -> Result<(), DateTime<Utc>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, mended| now - mended.last < FORGOTTEN_AFTER);
        let Some(mended) = all.get_mut(uid) else {
            all.insert(uid.into(), Mended { times: 1, last: now });
            return Ok(());
        };
        // A clock that is set back must not make it wait for long.
        mended.last = mended.last.min(now);
        let pause = FIRST
            .checked_mul(2_i32.saturating_pow(mended.times - 1))
            .map_or(LONGEST, |pause| pause.min(LONGEST));
        let next = mended.last + pause;
        if next > now {
            return Err(next);
        }
        *mended = Mended { times: mended.times.saturating_add(1), last: now };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fight_slows_down_and_is_forgotten() {
        let at = |seconds: i64| DateTime::from_timestamp(1_900_000_000 + seconds, 0).expect("a time");
        let mending = Mending::default();
        assert_eq!(mending.ask("a", at(0)), Ok(()));
        assert_eq!(mending.ask("a", at(0)), Err(at(1)));
        assert_eq!(mending.ask("b", at(0)), Ok(()), "another child's fight is its own");
        assert_eq!([mending.ask("a", at(1)), mending.ask("a", at(2))], [Ok(()), Err(at(3))]);
        let mut now = 3;
        for _ in 0..40 {
            assert_eq!(mending.ask("a", at(now)), Ok(()));
            now += 60;
        }
        assert_eq!(mending.ask("a", at(now - 59)), Err(at(now)), "a minute at most");
        assert_eq!(
            [mending.ask("a", at(now + 600)), mending.ask("a", at(now + 600))],
            [Ok(()), Err(at(now + 601))]
        );
    }
}
