//! Whether Ephemerons whose time is over are deleted, or held: by hand, or by a clock that is wrong.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::TimeDelta;
use kube::Client;
use tokio::{sync::Notify, time};

use super::{
    caches::{Caches, Listeners},
    clock::{Clock, Verdict},
    metrics::{Held, Metrics},
    settings::Expiry,
};

/// How often the clock is looked at for a step. It costs no request.
const LOOK: Duration = Duration::from_secs(1);
/// How often the API server is asked while the clock is wrong, or nothing is known of it.
const ASK: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why nothing is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The settings say so.
    ByHand,
    /// The clock is ahead of the API server's by this, or behind it where this is negative.
    WrongClock(TimeDelta),
    /// The clock was stepped: it is being compared.
    UnknownClock,
}

impl std::fmt::Display for Hold {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ByHand => formatter.write_str("deletions are held by EPHEMERON_EXPIRY=hold"),
            Self::WrongClock(skew) => {
                let (seconds, side) = (skew.num_seconds().abs(), if *skew > TimeDelta::zero() { "ahead of" } else { "behind" });
                write!(
                    formatter,
                    "deletions are held: the controller's clock is {seconds} s {side} the API server's; correct the wrong one"
                )
            }
            Self::UnknownClock => {
                formatter.write_str("deletions are held: the controller's clock was set, and is being compared with the API server's")
            }
        }
    }
}

/// Decides whether to delete.
#[derive(Debug)]
pub struct Keeper {
    expiry: Expiry,
    clock: Arc<Clock>,
    ask: Notify,
    told: Mutex<Option<Hold>>,
}

impl Keeper {
    /// With this setting and clock.
    #[must_use]
    pub fn new(expiry: Expiry, clock: Arc<Clock>) -> Self {
        Self { expiry, clock, ask: Notify::new(), told: Mutex::default() }
    }

    /// One that holds nothing.
    #[cfg(test)]
    pub fn trusting() -> Self {
        Self::new(Expiry::Delete, Arc::new(Clock::right()))
    }

    /// Why nothing is deleted at this moment; None if what is over is.
    pub fn hold(&self) -> Option<Hold> {
        let hold = self.judge();
        if hold == Some(Hold::UnknownClock) {
            self.ask.notify_one();
        }
        hold
    }

    /// The same, without having the clock compared.
    fn judge(&self) -> Option<Hold> {
        if self.expiry == Expiry::Hold {
            return Some(Hold::ByHand);
        }
        match self.clock.verdict() {
            Verdict::Right => None,
            Verdict::Wrong(skew) => Some(Hold::WrongClock(skew)),
            Verdict::Unknown => Some(Hold::UnknownClock),
        }
    }

    /// Tells in the log if deletions are held, or are not any more; returns whether it did. How far a
    /// wrong clock is off is told once.
    fn tell(&self, metrics: &Metrics) -> bool {
        let hold = self.judge();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let same = match (*told, hold) {
            (Some(Hold::WrongClock(_)), Some(Hold::WrongClock(_))) => true,
            (before, now) => before == now,
        };
        *told = hold;
        metrics.expiry_held(Held::Configured, hold == Some(Hold::ByHand));
        metrics.expiry_held(Held::Clock, hold.is_some_and(|hold| hold != Hold::ByHand));
        if let Some(skew) = self.clock.skew() {
            metrics.clock_skew(skew.as_seconds_f64());
        }
        match hold {
            _ if same => {}
            Some(hold) => tracing::warn!("{hold}"),
            None => tracing::info!("the clock agrees with the API server's: what is over is deleted"),
        }
        !same
    }
}

/// Compares the clock whenever it must be, and has every Ephemeron looked at when the answer is
/// another: timers do not know that the clock was set.
pub async fn keep(keeper: Arc<Keeper>, client: Client, caches: Arc<Caches>, listeners: Listeners) {
    let mut look = time::interval(LOOK);
    look.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let mut ask_at = time::Instant::now();
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = keeper.ask.notified() => {}
        }
        let verdict = keeper.clock.verdict();
        if verdict != Verdict::Right && time::Instant::now() >= ask_at {
            // The answer's date is all that is wanted; whoever may use the API may ask for the version.
            let answer = time::timeout(TIMEOUT, client.apiserver_version()).await;
            drop(answer);
            if keeper.clock.verdict() != Verdict::Right {
                ask_at = time::Instant::now() + ASK;
            }
        }
        let changed = keeper.tell(&listeners.metrics);
        match keeper.judge() {
            Some(hold) if hold != Hold::ByHand => listeners.readiness.lacks("clock", hold.to_string()),
            _ => listeners.readiness.has("clock"),
        }
        // Stepped and compared between two looks, nothing has changed but what the timers believe.
        let settled = verdict == Verdict::Unknown && keeper.clock.verdict() != Verdict::Unknown;
        if changed || settled {
            caches.ephemerons.names().into_iter().for_each(|name| listeners.name(name));
        }
    }
}
