//! What a program waits for, told by whoever knows, and asked for by `/readyz`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The subject that stands in the way from the beginning.
const STARTING: &str = "starting";

/// What stands in the way of a program's work, and what else it tells of itself: one line per subject of
/// each. Clones share it.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    obstacles: BTreeMap<String, String>,
    notes: BTreeMap<String, String>,
}

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
        self.lines().obstacles.insert(subject.into(), one_line(&line.into()));
    }

    /// Nothing is wrong with this subject any more.
    pub fn has(&self, subject: &str) {
        self.lines().obstacles.remove(subject);
    }

    /// Something that does not stand in the way. It replaces what was said of the same subject before.
    pub fn says(&self, subject: &str, line: impl Into<String>) {
        self.lines().notes.insert(subject.into(), one_line(&line.into()));
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the program does its work, and what it tells of itself: lines of the form `SUBJECT: WHAT`, in
    /// the order of the subjects.
    ///
    /// # Errors
    ///
    /// What stands in the way, as such lines.
    pub fn ask(&self) -> Result<Vec<String>, Vec<String>> {
        let lines = |map: &BTreeMap<String, String>| {
            map.iter().map(|(subject, line)| format!("{subject}: {line}")).collect::<Vec<_>>()
        };
        let all = self.lines();
        if all.obstacles.is_empty() { Ok(lines(&all.notes)) } else { Err(lines(&all.obstacles)) }
    }
}

/// A message from elsewhere may have more than one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_has_one_line_until_it_is_well() {
        let readiness = Readiness::starting("it waits for lists");
        assert_eq!(readiness.ask(), Err(vec!["starting: it waits for lists".into()]));
        readiness.started();
        assert_eq!(readiness.ask(), Ok(Vec::new()));
        readiness.clone().lacks("watches", "Pod cannot be read");
        readiness.lacks("clock", "it is off\nby 40 s");
        readiness.lacks("watches", "Service cannot be read");
        let lines = vec!["clock: it is off by 40 s".into(), "watches: Service cannot be read".into()];
        assert_eq!(readiness.ask(), Err(lines));
        readiness.has("watches");
        readiness.has("clock");
        readiness.has("clock");
        assert_eq!(readiness.ask(), Ok(Vec::new()));
        readiness.says("watches", "following\nanother");
        assert_eq!(readiness.ask(), Ok(vec!["watches: following another".into()]));
    }
}
