//! What a program waits for, told by whoever knows, and asked for by `/readyz`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The subject that stands in the way from the beginning.
const STARTING: &str = "starting";

/// What stands in the way of a program's work: one line per subject. Clones share it.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Mutex<BTreeMap<String, String>>>);

impl Readiness {
    /// Of a program that starts; `awaits` says for what it waits. It is not ready until [`Self::started`].
    #[must_use]
    pub fn starting(awaits: &str) -> Self {
        let readiness = Self(Arc::default());
        readiness.lacks(STARTING, awaits);
        readiness
    }

    /// The program has started.
    pub fn started(&self) {
        self.has(STARTING);
    }

    /// Something stands in the way; `line` says what, and what to do about it. It replaces what was
    /// said of the same subject before.
    pub fn lacks(&self, subject: &str, line: impl Into<String>) {
        // One line each: a message from elsewhere may have more.
        let line = line.into().split_whitespace().collect::<Vec<_>>().join(" ");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(subject.into(), line);
    }

    /// Nothing is wrong with this subject any more.
    pub fn has(&self, subject: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(subject);
    }

    /// Whether the program does its work.
    ///
    /// # Errors
    ///
    /// What stands in the way, as lines of the form `SUBJECT: WHAT`, in the order of the subjects.
    pub fn ask(&self) -> Result<(), Vec<String>> {
        let obstacles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if obstacles.is_empty() {
            return Ok(());
        }
        Err(obstacles.iter().map(|(subject, line)| format!("{subject}: {line}")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_has_one_line_until_it_is_well() {
        let readiness = Readiness::starting("it waits for lists");
        assert_eq!(readiness.ask(), Err(vec!["starting: it waits for lists".into()]));
        readiness.started();
        assert_eq!(readiness.ask(), Ok(()));
        readiness.clone().lacks("watches", "Pod cannot be read");
        readiness.lacks("clock", "it is off\nby 40 s");
        readiness.lacks("watches", "Service cannot be read");
        let lines = vec!["clock: it is off by 40 s".into(), "watches: Service cannot be read".into()];
        assert_eq!(readiness.ask(), Err(lines));
        readiness.has("watches");
        readiness.has("clock");
        readiness.has("clock");
        assert_eq!(readiness.ask(), Ok(()));
    }
}
