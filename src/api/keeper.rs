//! Slows down those who guess keys. A right key is never slowed, whoever else guesses: only failures wait,
//! and only so many at once.

use std::time::Duration;

use tokio::{sync::Semaphore, time};

use super::problem::Problem;

/// How long a failure waits for its answer.
const PAUSE: Duration = Duration::from_millis(500);
/// Failures that wait at once; more are told to come back.
const WAITING: usize = 256;

/// The answers to wrong keys.
#[derive(Debug)]
pub struct Keeper(Semaphore);

impl Default for Keeper {
    fn default() -> Self {
        Self(Semaphore::new(WAITING))
    }
}

impl Keeper {
    /// What a wrong key is answered with, after a while.
    pub async fn refuse(&self) -> Problem {
        let Ok(_place) = self.0.try_acquire() else {
            return Problem::too_many("too many attempts with wrong keys", Duration::from_secs(1));
        };
        time::sleep(PAUSE).await;
        // It does not say which of the two is wrong.
        Problem::unauthorized("there is no such app, or the key is wrong")
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_wait_and_too_many_are_sent_away() {
        let keeper = Keeper::default();
        let start = time::Instant::now();
        let answers = join_all((0..300).map(|_| keeper.refuse())).await;
        let refused =
            answers.iter().filter(|problem| problem.status == http::StatusCode::UNAUTHORIZED).count();
        assert_eq!((refused, answers.len() - refused), (WAITING, 300 - WAITING));
        assert!(start.elapsed() >= PAUSE);
    }
}
