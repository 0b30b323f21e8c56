//! What is served at a moment, and what there is to say of every file.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use thiserror::Error;

use super::Preset;
use crate::{digest::Digest, error::printable};

/// How many names are proposed to one who asks for another.
const NEAR: usize = 5;
/// So many names are told whatever they are.
const FEW: usize = 8;
/// A name has at most so many characters; what is asked for may have more.
const NAME: usize = 63;

/// Why a name cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Absent {
    /// There is no file of this name.
    #[error("there is no preset {name}{}", proposed(.near))]
    NotFound {
        /// What was asked for.
        name: String,
        /// Names that there are: similar ones, or all where they are few.
        near: Vec<String>,
    },
    /// The file was not looked at yet.
    #[error("the preset {0} is not there yet: the presets are being loaded")]
    NotYet(String),
    /// The file is not a preset that this program can call.
    #[error("the preset {name} cannot be used: {reason}")]
    Incompatible {
        /// What was asked for.
        name: String,
        /// What is wrong with the file.
        reason: String,
    },
    /// The preset does not do what it should.
    #[error("the preset {name} does not work: {reason}")]
    Unhealthy {
        /// What was asked for.
        name: String,
        /// Which check it has failed, and how.
        reason: String,
    },
}

fn proposed(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; there are: {}", near.join(", ")) }
}

/// What becomes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is served, or the last good version of it.
    Serving,
    /// It is good, but the preset of this name comes from an earlier folder.
    Shadowed {
        /// That folder.
        by: PathBuf,
    },
    /// It was not looked at yet.
    Waiting,
    /// It is not served: see [`Entry::trouble`].
    Failed,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Whether it is not even a preset that this program can call; else, it does not do what it should.
    pub incompatible: bool,
    /// What is wrong, in one line.
    pub reason: String,
}

/// A file, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without `.wasm`.
    pub name: String,
    /// Its folder, as it was given.
    pub folder: PathBuf,
    /// Which file its last good version is.
    pub digest: Option<Digest>,
    /// That version's own version.
    pub version: Option<String>,
    /// What becomes of it.
    pub state: State,
    /// What is wrong with the file as it is now, also where the last good version of it is still served.
    pub trouble: Option<Trouble>,
}

/// What is known of a file.
pub(super) struct Known {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    /// Its last good version.
    pub(super) good: Option<Arc<Preset>>,
    pub(super) trouble: Option<Trouble>,
}

/// Everything at a moment.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    entries: Vec<Entry>,
    served: BTreeMap<String, Arc<Preset>>,
    troubles: Vec<(PathBuf, String)>,
}

impl Shelf {
    /// Decides who is served. The files come in the order of their folders.
    pub(super) fn new(mut files: Vec<Known>, troubles: Vec<(PathBuf, String)>, before: &Self) -> Self {
        // Stable: those of one name stay in the order of their folders.
        files.sort_by(|one, other| one.name.cmp(&other.name));
        let mut served = BTreeMap::<String, Arc<Preset>>::new();
        for group in files.chunk_by(|one, other| one.name == other.name) {
            let was_served = group.first().is_some_and(|file| before.served.contains_key(&file.name));
            for file in group {
                if let Some(preset) = &file.good {
                    served.insert(file.name.clone(), Arc::clone(preset));
                    break;
                }
                // At the start, nobody gets what another folder's file is about to replace.
                if file.trouble.is_none() && !was_served {
                    break;
                }
            }
        }
        let entries = files.into_iter().map(|file| {
            let winner = served.get(&file.name);
            let state = match (&file.good, winner, &file.trouble) {
                (Some(good), Some(winner), _) if Arc::ptr_eq(good, winner) => State::Serving,
                (Some(_), Some(winner), _) => State::Shadowed { by: winner.folder.clone() },
                (None, _, Some(_)) => State::Failed,
                _ => State::Waiting,
            };
            Entry {
                digest: file.good.as_ref().map(|good| good.digest),
                version: file.good.as_ref().map(|good| good.description.version.clone()),
                name: file.name,
                folder: file.folder,
                state,
                trouble: file.trouble,
            }
        });
        Self { entries: entries.collect(), served, troubles }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn served(&self) -> &BTreeMap<String, Arc<Preset>> {
        &self.served
    }

    pub(super) fn troubles(&self) -> &[(PathBuf, String)] {
        &self.troubles
    }

    /// What is wrong with the first file of a name, up to the one that is served.
    pub(super) fn trouble(&self, name: &str) -> Option<Trouble> {
        let files = self.entries.iter().filter(|entry| entry.name == name);
        let first = files.into_iter().find(|entry| entry.trouble.is_some() || entry.state == State::Serving);
        first.and_then(|entry| entry.trouble.clone())
    }

    /// The preset of a name; `settled` where every file was looked at since the start.
    pub(super) fn get(&self, name: &str, settled: bool) -> Result<Arc<Preset>, Absent> {
        if let Some(preset) = self.served.get(name) {
            return Ok(Arc::clone(preset));
        }
        let files: Vec<_> = self.entries.iter().filter(|entry| entry.name == name).collect();
        let shown = printable(&name.chars().take(2 * NAME).collect::<String>());
        let waits = files.iter().any(|entry| entry.state == State::Waiting);
        match files.iter().find_map(|entry| entry.trouble.clone()) {
            _ if waits => Err(Absent::NotYet(shown)),
            Some(Trouble { incompatible: true, reason }) => Err(Absent::Incompatible { name: shown, reason }),
            Some(Trouble { reason, .. }) => Err(Absent::Unhealthy { name: shown, reason }),
            None if !settled => Err(Absent::NotYet(shown)),
            None => Err(Absent::NotFound { name: shown, near: self.near(name) }),
        }
    }

    /// The names that may have been meant.
    fn near(&self, asked: &str) -> Vec<String> {
        // Of a path, the last part may be meant.
        let asked: String = asked.rsplit('/').next().unwrap_or_default().chars().take(NAME).collect();
        let asked = asked.to_lowercase();
        let asked = asked.strip_suffix(".wasm").unwrap_or(&asked);
        let most = (asked.chars().count() / 3).max(1);
        let alike = |name: &&String| name.len().abs_diff(asked.len()) <= most;
        let mut near: Vec<_> = self
            .served
            .keys()
            .filter(alike)
            .map(|name| (strsim::osa_distance(asked, name), name))
            .filter(|(distance, _)| *distance <= most)
            .collect();
        near.sort();
        if near.is_empty() && self.served.len() <= FEW {
            return self.served.keys().cloned().collect();
        }
        near.into_iter().take(NEAR).map(|(_, name)| name.clone()).collect()
    }
}
