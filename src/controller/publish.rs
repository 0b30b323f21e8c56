//! Writes what is known of an Ephemeron into it, where it differs from what stands there.

use std::sync::Arc;

use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{caches::Caches, telling::Teller};
use crate::resource::{
    Ephemeron, EphemeronStatus, HOST_ANNOTATION, MANAGER,
    conditions::{self, AVAILABLE},
};

/// A write to the Ephemeron failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the {part} of the Ephemeron")]
pub struct PublishError {
    part: &'static str,
    source: Box<kube::Error>,
}

/// Writes the host annotation, once the service is available, and then the status, so that whoever
/// waits for the condition finds the annotation. Nothing is written that is there already.
///
/// # Errors
///
/// A request failed for another reason than that the Ephemeron is gone.
pub async fn publish(
    client: &Client,
    caches: &Caches,
    teller: &Teller,
    ephemeron: &Ephemeron,
    status: EphemeronStatus,
) -> Result<(), PublishError> {
    let api = Api::<Ephemeron>::all(client.clone());
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let (name, uid) = (ephemeron.name(), &ephemeron.metadata.uid);
    let take = |answer: kube::Result<Ephemeron>, part| match answer {
        // Whatever else has changed meanwhile is in the answer, too, and somebody has to look at it.
        Ok(written) if is_as_seen(&written, ephemeron, &status) => {
            Ok(Some(caches.ephemerons.wrote_alone(written)))
        }
        Ok(written) => Ok(Some(caches.ephemerons.wrote(written))),
        Err(kube::Error::Api(status)) if status.code == 404 => {
            caches.ephemerons.missing(name, uid.as_deref());
            Ok::<Option<Arc<Ephemeron>>, _>(None)
        }
        Err(source) => Err(PublishError { part, source: Box::new(source) }),
    };
    if lacks_host(ephemeron, &status) {
        // The UID goes along: a patch for another object of this name answers 409.
        let metadata = json!({ "uid": uid, "annotations": { HOST_ANNOTATION: status.host } });
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        if take(api.patch(name, &params, &patch).await, "host annotation")?.is_none() {
            return Ok(());
        }
    }
    if ephemeron.status.as_ref() != Some(&status) {
        let patch =
            json!({ "metadata": { "uid": uid }, "status": merge(ephemeron.status.as_ref(), &status) });
        if take(api.patch_status(name, &params, &Patch::Merge(patch)).await, "status")?.is_some() {
            teller.tell(ephemeron, ephemeron.status.as_ref(), &status).await;
        }
    }
    Ok(())
}

/// Whether there is something to write.
#[must_use]
pub fn is_needed(ephemeron: &Ephemeron, status: &EphemeronStatus) -> bool {
    ephemeron.status.as_ref() != Some(status) || lacks_host(ephemeron, status)
}

/// Whether the host annotation is to be written.
fn lacks_host(ephemeron: &Ephemeron, status: &EphemeronStatus) -> bool {
    let annotation = ephemeron.metadata.annotations.as_ref().and_then(|all| all.get(HOST_ANNOTATION));
    conditions::is_true(&status.conditions, AVAILABLE) && annotation != status.host.as_ref()
}

/// Whether all that is read of an Ephemeron is as it was when its status was made. The generation
/// counts changes of the spec and the beginning of a deletion.
fn is_as_seen(written: &Ephemeron, seen: &Ephemeron, status: &EphemeronStatus) -> bool {
    let host = written.metadata.annotations.as_ref().and_then(|all| all.get(HOST_ANNOTATION));
    let before = seen.metadata.annotations.as_ref().and_then(|all| all.get(HOST_ANNOTATION));
    written.metadata.generation == seen.metadata.generation
        && (host == before || host == status.host.as_ref())
}

/// The status as a merge patch (RFC 7396): what it no longer has is removed by null.
fn merge(previous: Option<&EphemeronStatus>, status: &EphemeronStatus) -> Value {
    let document = |status| serde_json::to_value(status).unwrap_or_default();
    let mut patch = document(status);
    if let (Some(patch), Some(previous)) =
        (patch.as_object_mut(), previous.map(document).as_ref().and_then(Value::as_object))
    {
        for key in previous.keys() {
            patch.entry(key).or_insert(Value::Null);
        }
    }
    patch
}
