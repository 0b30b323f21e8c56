//! How long a watch that has failed waits before it goes on.

use std::time::Duration;

use kube::runtime::watcher::Event;

/// After a failure; doubled with each that follows it.
const FIRST: Duration = Duration::from_millis(100);
/// What changes while a watch waits is not known: when the API server is back after a long time, nobody
/// may have to wait for long.
const LONGEST: Duration = Duration::from_secs(1);

/// The pause of one watch.
#[derive(Debug)]
pub struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Pause {
    /// It has failed: how long to wait.
    pub fn failed(&mut self) -> Duration {
        let pause = self.0;
        self.0 = LONGEST.min(pause * 2);
        pause
    }

    /// It has shown something. That a list begins shows nothing: it may be refused.
    pub fn shown<K>(&mut self, event: &Event<K>) {
        if !matches!(event, Event::Init) {
            self.0 = FIRST;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_second_until_something_is_shown() {
        let mut pause = Pause::default();
        let milliseconds = |pause: &mut Pause| pause.failed().as_millis();
        let seen: Vec<_> = (0..6).map(|_| milliseconds(&mut pause)).collect();
        assert_eq!(seen, [100, 200, 400, 800, 1_000, 1_000]);
        pause.shown(&Event::<()>::Init);
        assert_eq!(milliseconds(&mut pause), 1_000, "the beginning of a list is no answer");
        pause.shown(&Event::<()>::InitDone);
        assert_eq!(milliseconds(&mut pause), 100);
    }
}
