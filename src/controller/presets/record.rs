//! What the API server keeps of a preset's answer: the record in the status, and the Secret.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Map, Value, json};

use super::{Again, Said};
use crate::{
    controller::{
        apply::refusal,
        caches::{Caches, without_rendering},
        settings::Settings,
    },
    resource::{Ephemeron, MANAGED_BY_LABEL, MANAGER, NAME_LABEL, Rendered, conditions::Finding},
};

/// A request to the API server failed in a way that trying again may help.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} of the preset")]
pub struct PresetError {
    verb: &'static str,
    source: Box<kube::Error>,
}

impl PresetError {
    /// What the API server refuses, for as long as somebody does something about it, is told; all else is
    /// tried again.
    pub(super) fn told(self, what: &str) -> Result<Said, Self> {
        let kube::Error::Api(status) = &*self.source else { return Err(self) };
        let Some(reason) = refusal(status) else { return Err(self) };
        let text = format!("the API server refuses the {what} of the preset: {}", status.message);
        Ok(Said::Nothing(Finding::no(reason, text), Again::Later))
    }
}

/// Keeps secret values in a Secret that goes with the Ephemeron. It is never read: this program needs no
/// permission to read Secrets.
///
/// # Errors
///
/// The request.
pub async fn keep_secret(
    client: &Client,
    settings: &Settings,
    ephemeron: &Ephemeron,
    name: &str,
    values: &BTreeMap<String, String>,
) -> Result<(), PresetError> {
    let api = Api::<Secret>::namespaced(client.clone(), &settings.namespace);
    let data = values.iter().map(|(key, value)| (key.clone(), ByteString(value.clone().into_bytes())));
    let labels = [(MANAGED_BY_LABEL, MANAGER), (NAME_LABEL, ephemeron.name())];
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.into()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            owner_references: Some(vec![ephemeron.owner_reference()]),
            ..ObjectMeta::default()
        },
        data: Some(data.collect()),
        ..Secret::default()
    };
    let failed = |error| PresetError { verb: "write the Secret", source: Box::new(error) };
    let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    match api.create(&params, &secret).await {
        Ok(_) => Ok(()),
        // Of an attempt that got no further: what the preset says now counts.
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
            api.patch(name, &params, &Patch::Merge(&secret)).await.map(drop).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Records what the preset has said; None where the Ephemeron is gone.
///
/// # Errors
///
/// The request.
pub async fn record(
    client: &Client,
    caches: &Caches,
    ephemeron: &Ephemeron,
    rendered: &Rendered,
    rendering: String,
) -> Result<Option<Arc<Ephemeron>>, PresetError> {
    let api = Api::<Ephemeron>::all(client.clone());
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let (name, uid) = (ephemeron.name(), &ephemeron.metadata.uid);
    // The UID goes along: a patch for another object of this name answers 409.
    let patch = json!({
        "metadata": { "uid": uid }, "status": { "preset": rendered, "rendering": rendering },
    });
    match api.patch_status(name, &params, &Patch::Merge(patch)).await {
        Ok(mut written) => {
            // As in the caches: it is not needed twice.
            without_rendering(&mut written);
            Ok(Some(caches.ephemerons.wrote(written)))
        }
        Err(kube::Error::Api(status)) if status.code == 404 => {
            caches.ephemerons.missing(name, uid.as_deref());
            Ok(None)
        }
        Err(error) => Err(PresetError { verb: "record the answer", source: Box::new(error) }),
    }
}

/// The recorded template, which the caches do not keep.
///
/// # Errors
///
/// The request.
pub async fn recall(
    client: &Client,
    ephemeron: &Ephemeron,
) -> Result<Option<Map<String, Value>>, PresetError> {
    let found = Api::<Ephemeron>::all(client.clone()).get_opt(ephemeron.name()).await;
    let found = found.map_err(|error| PresetError { verb: "read the record", source: Box::new(error) })?;
    let found = found.filter(|found| found.metadata.uid == ephemeron.metadata.uid);
    let text = found.and_then(|found| found.status?.rendering);
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}
