//! A file of a catalogue: its last good version, and what is wrong with it as it is now.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Preset, files::Stamp, shelf::Trouble};
use crate::{
    digest::Digest,
    inspect::{Check, Inspection},
};

/// When a file is looked at again that has failed for what may be of the moment; then twice as long each time.
const AGAIN: Duration = Duration::from_secs(30);
/// The longest until then.
const LATEST: Duration = Duration::from_hours(1);
/// A file, and what has come of looking at it.
#[derive(Default)]
pub(super) struct File {
    pub(super) path: PathBuf,
    /// What it was like when it was looked at.
    pub(super) stamp: Option<Result<Stamp, String>>,
    /// What it was like when the cache had nothing for it.
    pub(super) uncached: Option<Stamp>,
    /// Since which round it waits to be compiled, whatever was written into it since.
    pub(super) waits: Option<u64>,
    /// The bytes that were looked at.
    pub(super) digest: Option<Digest>,
    pub(super) good: Option<Arc<Preset>>,
    pub(super) trouble: Option<Trouble>,
    pub(super) again: Option<Again>,
}

/// A look at the same bytes once more.
#[derive(Clone, Copy)]
pub(super) struct Again {
    pub(super) at: Instant,
    pause: Duration,
}

impl File {
    /// Whether the same bytes are to be looked at once more, now.
    pub(super) fn is_due(&self) -> bool {
        self.again.is_some_and(|again| again.at <= Instant::now())
    }

    pub(super) fn failed(&mut self, incompatible: bool, reason: String) {
        self.trouble = Some(Trouble { incompatible, reason });
        // The next look is a whole one.
        self.digest = None;
    }

    /// Has the same bytes looked at once more.
    pub(super) fn retry(&mut self) {
        let pause = self.again.map_or(AGAIN, |again| (again.pause * 2).min(LATEST));
        self.again = Some(Again { at: Instant::now() + pause, pause });
    }

    /// Takes what was found of the file.
    pub(super) fn judge(&mut self, folder: PathBuf, name: String, inspection: Inspection) {
        let Some(finding) = inspection.trouble() else {
            let digest = inspection.digest;
            self.good = inspection.preset.map(|sound| {
                let description = sound.description.document;
                Arc::new(Preset { name, folder, digest, description, module: sound.module })
            });
            (self.trouble, self.again) = (None, None);
            return;
        };
        let incompatible = finding.check == Check::Component;
        let why = finding.outcome.as_ref().err().cloned().unwrap_or_default();
        let reason = if incompatible { why } else { format!("{}: {why}", finding.check) };
        self.trouble = Some(Trouble { incompatible, reason });
        if finding.may_pass {
            self.retry();
        } else {
            self.again = None;
        }
    }
}
