//! The Pod that runs the service.

use k8s_openapi::api::core::v1::Pod;

use super::{Settings, Valid, metadata};

/// What the policy has admitted, under the Ephemeron's name. Labels of ours win over all others: the
/// Service selects by them.
pub fn pod(valid: &Valid<'_>, settings: &Settings) -> Pod {
    let mut ours = metadata(valid.ephemeron, settings);
    if let Some(admitted) = &valid.template.metadata {
        let mut labels = admitted.labels.clone().unwrap_or_default();
        labels.extend(ours.labels.take().unwrap_or_default());
        ours.labels = Some(labels);
        ours.annotations.clone_from(&admitted.annotations);
    }
    let mut spec = valid.template.spec.clone().unwrap_or_default();
    // Whichever attempt it is, and whatever its name.
    spec.hostname = Some(valid.ephemeron.name().into());
    Pod { metadata: ours, spec: Some(spec), status: None }
}
