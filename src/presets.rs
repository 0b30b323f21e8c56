//! Where presets come from: what is set for them, and how their catalogue is opened, by whichever program.

use std::{fmt, path::PathBuf};

use ephemeron_preset_host::{
    cache::{CacheError, Key},
    catalogue::{Accepts, Catalogue, Change, OnChange, OpenError, Options},
    document,
    limits::Limits,
};
use serde_json::{Map, Value};

use crate::{health::Readiness, policy::Policy};

/// Where presets come from, and what they may use.
#[derive(Clone, Default)]
pub struct Settings {
    /// Folders with files NAME.wasm; of two of one name the one in the earlier folder counts.
    pub folders: Vec<PathBuf>,
    /// Where compiled presets are kept from one start to the next; None for nowhere.
    pub cache: Option<PathBuf>,
    /// What the cache is authenticated with; None for a key that is made in it.
    pub cache_key: Option<Key>,
    /// What they may use.
    pub limits: Limits,
    /// The secret that the seeds of Ephemerons come of.
    pub seed: Vec<u8>,
    /// Whether that was set: else it is another one at each start.
    pub is_seed_set: bool,
    /// What all presets are told.
    pub values: Map<String, Value>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the secrets.
        formatter.debug_struct("Settings").field("folders", &self.folders).finish_non_exhaustive()
    }
}

/// The catalogue of these settings; where the cache cannot be used, without one, and why.
///
/// # Errors
///
/// See [`OpenError`].
pub fn open(
    settings: &Settings,
    policy: &Policy,
    limits: &Limits,
    on_change: impl Fn() -> OnChange,
) -> Result<(Catalogue, Option<CacheError>), OpenError> {
    let options = |cache: Option<PathBuf>| Options {
        folders: settings.folders.clone(),
        limits: limits.clone(),
        cache,
        key: settings.cache_key.clone(),
        compiler: None,
        context: document::Context { values: settings.values.clone(), ..document::Context::example() },
        accepts: accepts(policy.clone()),
        on_change: on_change(),
    };
    match Catalogue::open(options(settings.cache.clone())) {
        // Slower starts are no reason to serve nobody.
        Err(OpenError::Cache(error)) => Ok((Catalogue::open(options(None))?, Some(error))),
        catalogue => Ok((catalogue?, None)),
    }
}

/// Of an example only what no parameters could mend counts: another image, or less of it, may be allowed.
fn accepts(policy: Policy) -> Accepts {
    Box::new(move |template| match policy.admit_rendered(template) {
        Err(violation) if !violation.is_of_this_installation() => Err(violation.to_string()),
        _ => Ok(()),
    })
}

/// Tells of a change in the log, and of a folder that lacks where readiness is asked for.
pub fn tell(change: &Change, readiness: &Readiness) {
    if let Change::Folder { folder, trouble } = change {
        let subject = format!("presets of {}", folder.display());
        match trouble {
            Some(_) => readiness.lacks(&subject, format!("{change}; correct it, or EPHEMERON_PRESETS")),
            None => readiness.has(&subject),
        }
    }
    if change.is_trouble() {
        tracing::warn!("{change}");
    } else {
        tracing::info!("{change}");
    }
}
