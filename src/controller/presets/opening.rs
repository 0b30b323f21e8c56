//! Opens the folders of presets, and hears what becomes of their files.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock, Weak},
};

use ephemeron_preset_host::{
    cache::CacheError,
    catalogue::{Accepts, Catalogue, Change, OnChange, OpenError, Options, State},
    document,
    limits::Limits,
};

use crate::{
    controller::{
        caches::{Caches, Listeners},
        metrics::Metrics,
        settings,
    },
    policy::Policy,
    resource::conditions::{self, PRESET_READY},
};

/// The catalogue of these settings; where the cache cannot be used, without one, and why.
///
/// # Errors
///
/// See [`OpenError`].
pub fn open(
    settings: &settings::Presets,
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

/// Tells of a change, and has those looked at who wait for the preset. Who has asked already keeps what it
/// has got.
pub(super) fn heard(
    caches: Arc<Caches>,
    told: Listeners,
    catalogue: Arc<OnceLock<Weak<Catalogue>>>,
) -> OnChange {
    Box::new(move |change| {
        if change.is_trouble() {
            tracing::warn!("{change}");
        } else {
            tracing::info!("{change}");
        }
        if let Some(catalogue) = catalogue.get().and_then(Weak::upgrade) {
            count(&told.metrics, &catalogue);
        }
        for ephemeron in name_of(change).map(|name| caches.ephemerons.group(name)).unwrap_or_default() {
            let conditions = ephemeron.status.as_ref().map_or(&[][..], |status| &status.conditions);
            if !conditions::is_true(conditions, PRESET_READY) {
                told.name(ephemeron.name());
            }
        }
    })
}

pub(super) fn count(metrics: &Metrics, catalogue: &Catalogue) {
    let entries = catalogue.list();
    let serving = entries.iter().filter(|entry| entry.state == State::Serving).count();
    metrics.presets(serving, entries.iter().filter(|entry| entry.trouble.is_some()).count());
}

fn name_of(change: &Change) -> Option<&str> {
    match change {
        Change::Served { name, .. }
        | Change::Failed { name, .. }
        | Change::Retired { name, .. }
        | Change::Mended { name, .. }
        | Change::Shadowed { name, .. } => Some(name),
        Change::Folder { .. } | Change::Cache(_) => None,
    }
}
