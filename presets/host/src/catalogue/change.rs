//! What becomes of files, to be told.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
};

use super::shelf::{Entry, Shelf, State};
use crate::digest::Digest;

/// Something that has changed. Its text is one line for a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A preset is served.
    Served {
        /// Its name.
        name: String,
        /// The folder it comes from.
        folder: PathBuf,
        /// Which file it is.
        digest: Digest,
        /// Its own version.
        version: String,
        /// Which file was served until now.
        instead_of: Option<Digest>,
    },
    /// A file is not served.
    Failed {
        /// Its name.
        name: String,
        /// Its folder.
        folder: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// Which file is served under the name meanwhile.
        serving: Option<Digest>,
    },
    /// A preset is not served any more.
    Retired {
        /// Its name.
        name: String,
        /// The folder it came from.
        folder: PathBuf,
    },
    /// Nothing is wrong with a file any more, and nothing else is served for it: the bytes are those of the
    /// last good version again, or it is gone.
    Mended {
        /// Its name.
        name: String,
        /// Its folder.
        folder: PathBuf,
    },
    /// A file is not served because an earlier folder has one of the same name.
    Shadowed {
        /// Its name.
        name: String,
        /// Its folder.
        folder: PathBuf,
        /// The folder whose file is served.
        by: PathBuf,
    },
    /// Something is wrong with a folder, or is not any more.
    Folder {
        /// Which one.
        folder: PathBuf,
        /// What is wrong.
        trouble: Option<String>,
    },
    /// There is something to say of the cache.
    Cache(String),
}

impl Change {
    /// Whether somebody should do something about it.
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::Failed { .. } | Self::Shadowed { .. } | Self::Cache(_) => true,
            Self::Folder { trouble, .. } => trouble.is_some(),
            Self::Served { .. } | Self::Retired { .. } | Self::Mended { .. } => false,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served { name, folder, digest, version, instead_of } => {
                write!(f, "the preset {name} {version} is served: {digest} of {}", folder.display())?;
                instead_of.map_or(Ok(()), |before| write!(f, ", instead of {before}"))
            }
            Self::Failed { name, folder, reason, serving } => {
                write!(f, "{}/{name}.wasm is not served: {reason}", folder.display())?;
                serving.map_or(Ok(()), |digest| write!(f, "; {digest} is served meanwhile"))
            }
            Self::Retired { name, folder } => {
                write!(f, "the preset {name} of {} is gone", folder.display())
            }
            Self::Mended { name, folder } => {
                write!(f, "nothing is wrong with {}/{name}.wasm any more", folder.display())
            }
            Self::Shadowed { name, folder, by } => {
                let by = by.display();
                write!(f, "{}/{name}.wasm is not served: {by} comes first and has one, too", folder.display())
            }
            Self::Folder { folder, trouble: Some(trouble) } => {
                write!(f, "the folder {} of presets: {trouble}", folder.display())
            }
            Self::Folder { folder, trouble: None } => {
                write!(f, "the folder {} of presets is as it should be", folder.display())
            }
            Self::Cache(remark) => f.write_str(remark),
        }
    }
}

/// What is different afterwards. Whenever the trouble with a name begins, changes or ends, there is a change
/// with that name.
pub(super) fn between(before: &Shelf, after: &Shelf) -> Vec<Change> {
    let mut changes = Vec::new();
    for (folder, trouble) in after.troubles() {
        if !before.troubles().contains(&(folder.clone(), trouble.clone())) {
            changes.push(Change::Folder { folder: folder.clone(), trouble: Some(trouble.clone()) });
        }
    }
    for (folder, _) in before.troubles() {
        if after.troubles().iter().all(|(troubled, _)| troubled != folder) {
            changes.push(Change::Folder { folder: folder.clone(), trouble: None });
        }
    }
    for (name, preset) in before.served() {
        if !after.served().contains_key(name) {
            changes.push(Change::Retired { name: name.clone(), folder: preset.folder.clone() });
        }
    }
    for (name, preset) in after.served() {
        let instead_of = before.served().get(name);
        if instead_of.is_none_or(|old| (old.digest, &old.folder) != (preset.digest, &preset.folder)) {
            changes.push(Change::Served {
                name: name.clone(),
                folder: preset.folder.clone(),
                digest: preset.digest,
                version: preset.description.version.clone(),
                instead_of: instead_of.map(|old| old.digest),
            });
        }
    }
    changes.extend(mended(before, after, &changes));
    let old = by_file(before);
    for entry in after.entries() {
        let was = old.get(&(entry.name.as_str(), entry.folder.as_path()));
        let (name, folder) = (entry.name.clone(), entry.folder.clone());
        if let Some(trouble) = &entry.trouble
            && was.is_none_or(|was| was.trouble.as_ref() != Some(trouble))
        {
            let serving = after.served().get(&name).map(|preset| preset.digest);
            let (name, folder, reason) = (name.clone(), folder.clone(), trouble.reason.clone());
            changes.push(Change::Failed { name, folder, reason, serving });
        }
        if let State::Shadowed { by } = &entry.state
            && was.is_none_or(|was| was.state != entry.state)
        {
            changes.push(Change::Shadowed { name, folder, by: by.clone() });
        }
    }
    changes
}

fn by_file(shelf: &Shelf) -> HashMap<(&str, &Path), &Entry> {
    shelf.entries().iter().map(|entry| ((entry.name.as_str(), entry.folder.as_path()), entry)).collect()
}

/// The files whose trouble has ended in a way that no other change tells.
fn mended(before: &Shelf, after: &Shelf, told: &[Change]) -> Vec<Change> {
    let new = by_file(after);
    let is_troubled = |entry: &&Entry| {
        new.get(&(entry.name.as_str(), entry.folder.as_path())).is_some_and(|now| now.trouble.is_some())
    };
    let is_told = |entry: &&Entry| {
        told.iter().any(|change| match change {
            Change::Served { name, folder, .. } | Change::Retired { name, folder } => {
                (name, folder) == (&entry.name, &entry.folder)
            }
            _ => false,
        })
    };
    let ended = before.entries().iter().filter(|entry| entry.trouble.is_some());
    let ended = ended.filter(|entry| !is_troubled(entry) && !is_told(entry));
    ended.map(|entry| Change::Mended { name: entry.name.clone(), folder: entry.folder.clone() }).collect()
}
