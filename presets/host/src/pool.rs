//! Calls on threads of their own, shared fairly between presets.
//!
//! Presets take turns, by the time that their calls take, and none of them has all threads to itself: one
//! whose calls run until they are stopped leaves the others their threads.

mod turns;

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    thread,
    time::Instant,
};

use futures_channel::oneshot;

use crate::{error::CallError, limits::Limits};
use turns::Turns;

type Job = Box<dyn FnOnce() + Send>;

/// Threads on which presets are called. Dropping it ends them once what waits is done.
pub struct Pool {
    shared: Arc<Shared>,
    waiting_per_preset: usize,
    waiting: usize,
}

/// An answer to come.
pub struct Pending<T>(oneshot::Receiver<Result<T, CallError>>);

impl<T> Future for Pending<T> {
    type Output = Result<T, CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(CallError::Lost)))
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    turns: Turns<Job>,
    closed: bool,
}

impl Pool {
    /// Starts as many threads as calls may run at once.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn new(limits: &Limits) -> io::Result<Self> {
        let threads = usize::try_from(limits.calls).unwrap_or(1).max(1);
        let share = threads.saturating_sub(1).max(1);
        let state = State { turns: Turns::new(share), closed: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        // Made first: when a thread cannot be started, its end also ends those that were.
        let pool = Self {
            shared: Arc::clone(&shared),
            waiting_per_preset: limits.waiting_per_preset,
            waiting: limits.waiting,
        };
        for number in 0..threads {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("preset-{number}")).spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// Has a call of this preset made when it is its turn. The answer can be awaited on any runtime;
    /// whoever drops it before its turn withdraws the call.
    ///
    /// # Errors
    /// [`CallError::Busy`] when too many wait. The future's error is [`CallError::Lost`], or the call's.
    pub fn call<T: Send + 'static>(
        &self,
        preset: &str,
        call: impl FnOnce() -> Result<T, CallError> + Send + 'static,
    ) -> Result<Pending<T>, CallError> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move || {
            if !answer.is_canceled() {
                // Whoever asked may have gone in the meantime.
                let _ = answer.send(call());
            }
        });
        self.enqueue(preset, job)?;
        Ok(Pending(answered))
    }

    fn enqueue(&self, preset: &str, job: Job) -> Result<(), CallError> {
        let mut state = self.shared.lock();
        let turns = &mut state.turns;
        if turns.waiting() >= self.waiting || turns.waiting_of(preset) >= self.waiting_per_preset {
            return Err(CallError::Busy);
        }
        turns.add(preset, job);
        self.shared.changed.notify_one();
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some((job, turn)) = state.turns.next() {
                drop(state);
                let begun = Instant::now();
                // The job's sender is dropped by a panic, which tells the caller.
                let _ = catch_unwind(AssertUnwindSafe(job));
                let took = begun.elapsed();
                state = self.lock();
                state.turns.done(turn, took);
                self.changed.notify_all();
            } else if state.closed && state.turns.waiting() == 0 {
                return;
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use futures_executor::block_on;

    use super::*;

    /// Nothing on any machine takes longer; what does is stuck.
    const LONG: Duration = Duration::from_mins(5);

    fn soon<T: Send + 'static>(pending: Pending<T>) -> Result<T, CallError> {
        let (answer, answered) = mpsc::channel();
        thread::spawn(move || answer.send(block_on(pending)));
        answered.recv_timeout(LONG).expect("it is stuck")
    }

    fn pool(calls: u32) -> Pool {
        Pool::new(&Limits { calls, waiting: 5, waiting_per_preset: 3, ..Limits::default() }).expect("a pool")
    }

    #[test]
    fn one_preset_does_not_get_all_threads() {
        let pool = pool(2);
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let stuck: Vec<_> = (0..3)
            .map(|_| {
                let held = Arc::clone(&held);
                pool.call("stuck", move || {
                    let _ = held.lock().expect("a lock").recv();
                    Ok(())
                })
                .expect("a place")
            })
            .collect();
        // All of these are answered while the other's first call still runs.
        for number in 0..20 {
            let answer = soon(pool.call("good", move || Ok(number)).expect("a place"));
            assert_eq!(answer.expect("an answer"), number);
        }
        drop(release);
        for answer in stuck {
            soon(answer).expect("an answer");
        }
    }

    #[test]
    fn what_waits_is_bounded_for_each_and_for_all() {
        let pool = pool(1);
        let (release, held) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let first = pool.call("a", move || {
            let _ = begun.send(());
            let _ = held.recv();
            Ok(())
        });
        begins.recv_timeout(LONG).expect("the first call has begun");
        let wait = |preset: &str| pool.call(preset, || Ok(()));
        let kept: Vec<_> = (0..3).map(|_| wait("a").expect("a place")).collect();
        assert!(matches!(wait("a").err(), Some(CallError::Busy)));
        let others: Vec<_> = (0..2).map(|_| wait("b").expect("a place")).collect();
        assert!(matches!(wait("c").err(), Some(CallError::Busy)));
        drop(release);
        soon(first.expect("a place")).expect("an answer");
        for answer in kept.into_iter().chain(others) {
            soon(answer).expect("an answer");
        }
    }

    #[test]
    fn a_panic_loses_one_call_only() {
        let pool = pool(1);
        let lost = pool.call("a", || -> Result<(), _> { panic!("as a fault of the host would") });
        assert!(matches!(soon(lost.expect("a place")), Err(CallError::Lost)));
        assert_eq!(soon(pool.call("a", || Ok(1)).expect("a place")).expect("an answer"), 1);
    }
}
