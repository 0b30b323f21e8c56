//! Whether Ephemerons whose time is over are deleted, or held: by hand, or by a clock that is wrong.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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
    /// Whether a wrong clock has held somebody back since all were let go.
    held_back: AtomicBool,
}

impl Keeper {
    /// With this setting and clock.
    #[must_use]
    pub fn new(expiry: Expiry, clock: Arc<Clock>) -> Self {
        let (ask, told, held_back) = (Notify::new(), Mutex::default(), AtomicBool::default());
        Self { expiry, clock, ask, told, held_back }
    }

    /// Why nothing is deleted at this moment; None if what is over is.
    pub fn hold(&self) -> Option<Hold> {
        let hold = self.judge();
        match hold {
            Some(Hold::UnknownClock) => self.ask.notify_one(),
            Some(Hold::WrongClock(_)) => self.held_back.store(true, Ordering::SeqCst),
            Some(Hold::ByHand) | None => {}
        }
        hold
    }

    /// Whether a wrong clock has held somebody back, and does not any more. It may have been wrong for
    /// less than it takes to be looked at, such as beside one of several API servers.
    fn lets_go(&self) -> bool {
        self.judge().is_none() && self.held_back.swap(false, Ordering::SeqCst)
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
    let mut offset = keeper.clock.offset();
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = keeper.ask.notified() => {}
        }
        // Whatever asks the API server anything compares the clock anew: a step may show only here.
        let is_stepped = keeper.clock.is_stepped_from(&mut offset);
        if keeper.clock.verdict() != Verdict::Right && time::Instant::now() >= ask_at {
            // The answer's date is all that is wanted; whoever may use the API may ask for the version.
            drop(time::timeout(TIMEOUT, client.apiserver_version()).await);
            if keeper.clock.verdict() != Verdict::Right {
                ask_at = time::Instant::now() + ASK;
            }
        }
        let changed = keeper.tell(&listeners.metrics);
        match keeper.judge() {
            Some(hold) if hold != Hold::ByHand => listeners.readiness.lacks("clock", hold.to_string()),
            _ => listeners.readiness.has("clock"),
        }
        if keeper.lets_go() || changed || is_stepped {
            caches.ephemerons.names().into_iter().for_each(|name| listeners.name(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use http::{Request, Response};
    use kube::client::Body;
    use tokio::sync::mpsc::UnboundedReceiver;

    use super::*;
    use crate::controller::fixtures;

    /// Keeps this clock while the API server is away; gives the names of those who are to be looked at.
    fn keeping(clock: Clock) -> (Arc<Keeper>, UnboundedReceiver<String>, impl Future<Output = ()>) {
        let (service, handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        drop(handle);
        let (caches, (listeners, names)) = (Arc::new(Caches::default()), fixtures::listeners());
        let mut ephemeron = fixtures::ephemeron(fixtures::MINIMAL);
        ephemeron.metadata.resource_version = Some("7".into());
        caches.ephemerons.wrote(ephemeron);
        let keeper = Arc::new(Keeper::new(Expiry::Delete, Arc::new(clock)));
        let client = Client::new(service, "default");
        (Arc::clone(&keeper), names, keep(keeper, client, caches, listeners))
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_is_away_is_waited_for_in_peace() {
        let (keeper, mut names, keep) = keeping(Clock::default());
        keeper.tell(&fixtures::metrics());
        assert!(keeper.ask.notified().now_or_never().is_none(), "to tell is not to ask");
        // What an Ephemeron that is over does meanwhile.
        let over = async {
            while keeper.hold() == Some(Hold::UnknownClock) {
                time::sleep(Duration::from_millis(250)).await;
            }
        };
        tokio::select! {
            () = keep => {}
            () = over => panic!("nobody has answered"),
            // On the virtual clock.
            () = time::sleep(Duration::from_mins(1)) => {}
        }
        assert!(names.try_recv().is_err(), "nothing has changed");
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_held_back_for_less_than_a_look_is_let_go() {
        let (keeper, mut names, keep) = keeping(Clock::right());
        let story = async {
            time::sleep(LOOK * 3 / 2).await;
            assert!(names.try_recv().is_err(), "nothing has happened");
            keeper.clock.is_found(Verdict::Wrong(TimeDelta::hours(1)));
            assert!(matches!(keeper.hold(), Some(Hold::WrongClock(_))));
            keeper.clock.is_found(Verdict::Right);
            time::sleep(LOOK).await;
            assert_eq!(names.try_recv().as_deref(), Ok("minimal"));
            time::sleep(LOOK * 3).await;
            assert!(names.try_recv().is_err(), "once");
        };
        tokio::select! {
            () = keep => {}
            () = story => {}
        }
    }
}
