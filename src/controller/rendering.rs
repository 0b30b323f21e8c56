//! What a preset has said: as it is recorded, and as a Pod is made of it.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, PodTemplateSpec, SecretKeySelector},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::{Map, Value};

use crate::{
    policy::SECRETS,
    resource::{Ephemeron, Rendered},
};

/// What a preset has said.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendering {
    /// What the status tells of it.
    pub rendered: Rendered,
    /// The pod template as it came; None where a Pod lives, and it is not needed.
    pub template: Option<Map<String, Value>>,
}

/// The Secret of an Ephemeron. With its UID in it, no other object has the name. It is never taken from a
/// status, which somebody may have written by hand: a Pod would read whatever Secret stands there.
#[must_use]
pub fn secret_name(ephemeron: &Ephemeron) -> String {
    format!("{}.{}", ephemeron.name(), ephemeron.uid())
}

/// The template with the user's labels, and with the name of the Secret where the preset has said
/// [`SECRETS`].
#[must_use]
pub fn completed(
    mut pod: PodTemplateSpec,
    labels: Option<&BTreeMap<String, String>>,
    secret: &str,
) -> PodTemplateSpec {
    let said = pod.metadata.get_or_insert_default().labels.get_or_insert_default();
    said.extend(labels.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    for reference in containers_mut(&mut pod).flat_map(secret_references) {
        if reference.name == SECRETS {
            secret.clone_into(&mut reference.name);
        }
    }
    pod
}

/// The path at which a container is asked over HTTP, on this port, whether it is ready: that is what the
/// public URL can be asked for, too.
#[must_use]
pub fn probe_path(pod: &PodTemplateSpec, port: u16) -> Option<String> {
    let is_this = |container: &Container, asked: &IntOrString| match asked {
        IntOrString::Int(number) => *number == i32::from(port),
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .any(|one| one.name.as_ref() == Some(name) && one.container_port == i32::from(port)),
    };
    pod.spec.as_ref()?.containers.iter().find_map(|container| {
        let get = container.readiness_probe.as_ref()?.http_get.as_ref()?;
        let is_plain = get.http_headers.iter().flatten().next().is_none();
        let path = || get.path.clone().unwrap_or_else(|| "/".into());
        (is_plain && is_this(container, &get.port)).then(path)
    })
}

fn containers_mut(pod: &mut PodTemplateSpec) -> impl Iterator<Item = &mut Container> {
    let spec = pod.spec.get_or_insert_default();
    spec.init_containers.iter_mut().flatten().chain(&mut spec.containers)
}

fn secret_references(container: &mut Container) -> impl Iterator<Item = &mut SecretKeySelector> {
    let variables = container.env.iter_mut().flatten();
    variables.filter_map(|variable| variable.value_from.as_mut()?.secret_key_ref.as_mut())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> PodTemplateSpec {
        serde_json::from_value(json!({"spec": {
            "initContainers": [{"name": "init", "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": SECRETS, "key": "flag"}}},
            ]}],
            "containers": [
                {"name": "side", "readinessProbe": {"httpGet": {"port": 1, "path": "/side"}}},
                {"name": "main", "ports": [{"containerPort": 8080}],
                 "readinessProbe": {"httpGet": {"port": 8080, "path": "/ready"}}},
            ],
        }}))
        .expect("a template")
    }

    #[test]
    fn the_secrets_name_takes_the_place_of_the_reserved_one() {
        let labels = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
        let pod = completed(pod(), Some(&labels), "a.0b0e");
        assert_eq!(pod.metadata.clone().and_then(|metadata| metadata.labels), Some(labels));
        let text = serde_json::to_string(&pod).expect("JSON");
        assert!(text.contains("a.0b0e") && !text.contains(SECRETS), "{text}");
    }

    #[test]
    fn the_probe_is_one_on_the_services_port() {
        assert_eq!(probe_path(&pod(), 8080).as_deref(), Some("/ready"));
        assert_eq!(probe_path(&pod(), 1).as_deref(), Some("/side"));
        assert_eq!(probe_path(&pod(), 9090), None, "nobody asks there");
        assert_eq!(probe_path(&PodTemplateSpec::default(), 80), None);
    }
}
