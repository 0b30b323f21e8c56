//! Hears what becomes of the files of presets.

use std::sync::{Arc, OnceLock, Weak};

use ephemeron_preset_host::catalogue::{Catalogue, Change, OnChange, State};

use crate::{
    controller::{
        caches::{Caches, Listeners},
        metrics::Metrics,
    },
    presets::tell,
    resource::conditions::{self, PRESET_READY},
};

/// Tells of a change, and has those looked at who wait for the preset. Who has asked already keeps what it
/// has got.
pub(super) fn heard(
    caches: Arc<Caches>,
    told: Listeners,
    catalogue: Arc<OnceLock<Weak<Catalogue>>>,
) -> OnChange {
    Box::new(move |change| {
        tell(change, &told.readiness);
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
