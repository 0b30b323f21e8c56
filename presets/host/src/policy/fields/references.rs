//! What fields say of each other: names that are there twice, or that nothing has.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};

use super::{nonsense, not_on_the_list};
use crate::policy::{CONTAINER, Violation, merge::EVERY, template::Template};

/// Checks a template by itself.
pub fn check(template: &PodTemplateSpec) -> Result<(), Violation> {
    let Some(spec) = &template.spec else { return Ok(()) };
    let volumes: BTreeSet<&str> = spec.volumes.iter().flatten().map(|volume| volume.name.as_str()).collect();
    let mut names = BTreeMap::new();
    for (field, container) in containers(spec) {
        if let Some(earlier) = names.insert(container.name.as_str(), field.clone()) {
            return Err(nonsense(&format!("{field}.name"), format!("is that of {earlier}, too")));
        }
        // A volume that the installation adds, perhaps with a Secret, is not the preset's to mount.
        let mounts = container.volume_mounts.iter().flatten().enumerate();
        for (index, mount) in mounts {
            if !volumes.contains(mount.name.as_str()) {
                let why = format!("names the volume {}, which is not among spec.volumes", mount.name);
                return Err(nonsense(&format!("{field}.volumeMounts[{index}].name"), why));
            }
        }
    }
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        let runs_on = container.restart_policy.is_some();
        let only_then = [
            ("livenessProbe", container.liveness_probe.is_some()),
            ("readinessProbe", container.readiness_probe.is_some()),
            ("startupProbe", container.startup_probe.is_some()),
            ("lifecycle", container.lifecycle.is_some()),
        ];
        if let Some((name, _)) = only_then.iter().find(|(_, is_there)| *is_there && !runs_on) {
            let why = "is for what runs on: take it out, or set restartPolicy: Always";
            return Err(nonsense(&format!("spec.initContainers[{index}].{name}"), why));
        }
    }
    Ok(())
}

/// Checks that a preset's containers and volumes are its own: one of the same name would be merged with what
/// the installation puts beside a service, and so get its Secrets, or take its place.
pub fn not_taken(spec: &PodSpec, installation: &Template) -> Result<(), Violation> {
    let Some(theirs) = &installation.part().spec else { return Ok(()) };
    let why = "is the name of one that the installation puts beside every service: take another";
    let is_shared = |name: &str| name == EVERY || name == CONTAINER;
    let names: BTreeSet<&str> = containers(theirs)
        .map(|(_, container)| container.name.as_str())
        .filter(|name| !is_shared(name))
        .collect();
    for (field, container) in containers(spec) {
        if names.contains(container.name.as_str()) {
            return Err(not_on_the_list(&format!("{field}.name"), why));
        }
    }
    let names: BTreeSet<&str> = theirs.volumes.iter().flatten().map(|volume| volume.name.as_str()).collect();
    let mut volumes = spec.volumes.iter().flatten().enumerate();
    match volumes.find(|(_, volume)| names.contains(volume.name.as_str())) {
        Some((index, _)) => Err(not_on_the_list(&format!("spec.volumes[{index}].name"), why)),
        None => Ok(()),
    }
}

/// Checks a template against what was rendered beside it: the port, and the keys of the secrets.
///
/// # Errors
///
/// That containers list ports, but not this one, or refer to a secret that is not there.
pub fn agree<'a>(
    template: &PodTemplateSpec,
    port: u16,
    secrets: impl IntoIterator<Item = &'a str>,
) -> Result<(), Violation> {
    let Some(spec) = &template.spec else { return Ok(()) };
    let mut ports = containers(spec).flat_map(|(_, container)| container.ports.iter().flatten()).peekable();
    // One that is not listed can be listened on, too.
    let is_open = ports.peek().is_none();
    let serves = |protocol: Option<&str>| protocol.is_none_or(|protocol| protocol == "TCP");
    let port_fits = |number: i32| number == i32::from(port);
    if !is_open && !ports.any(|one| port_fits(one.container_port) && serves(one.protocol.as_deref())) {
        let why =
            format!("is {port}, which is not among the ports of the containers: list it in one of them");
        return Err(nonsense("port", why));
    }
    let keys: BTreeSet<&str> = secrets.into_iter().collect();
    for (field, container) in containers(spec) {
        for (index, variable) in container.env.iter().flatten().enumerate() {
            let reference = variable.value_from.as_ref().and_then(|source| source.secret_key_ref.as_ref());
            let missing =
                reference.filter(|one| one.optional != Some(true) && !keys.contains(one.key.as_str()));
            if let Some(reference) = missing {
                let field = format!("{field}.env[{index}].valueFrom.secretKeyRef.key");
                return Err(nonsense(&field, format!("is {}, which is not among `secrets`", reference.key)));
            }
        }
    }
    Ok(())
}

/// The containers, each with its field.
fn containers(spec: &PodSpec) -> impl Iterator<Item = (String, &Container)> {
    let init = spec.init_containers.iter().flatten().enumerate();
    let others = spec.containers.iter().enumerate();
    init.map(|(index, container)| (format!("spec.initContainers[{index}]"), container))
        .chain(others.map(|(index, container)| (format!("spec.containers[{index}]"), container)))
}
