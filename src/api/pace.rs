//! How often something may be done: what is left over is kept for bursts, up to a bound.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// From so many names on, those are forgotten that need not be known.
const REMEMBERED: usize = 4_096;

/// A bound on how often each name may do something.
#[derive(Debug)]
pub struct Pace {
    every: Duration,
    burst: u32,
    /// When the next one would be in time, by name.
    due: Mutex<HashMap<String, Instant>>,
}

impl Pace {
    /// Once in this time, and so often at once after a pause.
    #[must_use]
    pub fn new(every: Duration, burst: u32) -> Self {
        Self { every, burst, due: Mutex::default() }
    }

    /// Takes one turn; or says how long there is none.
    ///
    /// # Errors
    ///
    /// The time until there is one.
    pub fn take(&self, name: &str, now: Instant) -> Result<(), Duration> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let next = due.get(name).copied().map_or(now, |next| next.max(now));
        let ahead = next.duration_since(now);
        let allowed = self.every * self.burst;
        if ahead >= allowed {
            return Err(ahead.saturating_sub(allowed) + self.every);
        }
        if due.len() >= REMEMBERED {
            // Who has not asked for a while is as good as new.
            due.retain(|_, next| *next > now);
        }
        due.insert(name.into(), next + self.every);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_bounded_and_recover() {
        let (pace, now) = (Pace::new(Duration::from_millis(10), 3), Instant::now());
        for _ in 0..3 {
            assert_eq!(pace.take("a", now), Ok(()));
        }
        assert_eq!(pace.take("a", now), Err(Duration::from_millis(10)));
        assert_eq!(pace.take("b", now), Ok(()), "others are not held up");
        let later = now + Duration::from_millis(10);
        assert_eq!(pace.take("a", later), Ok(()));
        assert!(pace.take("a", later).is_err());
        let much_later = now + Duration::from_secs(10);
        assert_eq!((0..5).filter(|_| pace.take("a", much_later).is_ok()).count(), 3);
    }
}
