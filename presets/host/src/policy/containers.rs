//! All containers of a Pod, of whatever sort, seen alike.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EphemeralContainer, Lifecycle, PodSpec, Probe, SecurityContext,
};

/// What the checks look at in a container.
pub struct View<'a> {
    /// The field that has it, such as `spec.containers[0]`.
    pub field: String,
    pub image: Option<&'a str>,
    pub ports: &'a [ContainerPort],
    pub security: Option<&'a SecurityContext>,
    /// Its probes, with their fields' names.
    pub probes: [(&'static str, Option<&'a Probe>); 3],
    pub lifecycle: Option<&'a Lifecycle>,
}

/// The containers of a Pod: those that initialise it, those that run, and those for debugging.
pub fn views(spec: &PodSpec) -> impl Iterator<Item = View<'_>> {
    let init = spec.init_containers.iter().flatten().enumerate();
    let ephemeral = spec.ephemeral_containers.iter().flatten().enumerate();
    init.map(|(index, container)| view(format!("spec.initContainers[{index}]"), container))
        .chain(
            spec.containers
                .iter()
                .enumerate()
                .map(|(index, container)| view(format!("spec.containers[{index}]"), container)),
        )
        .chain(ephemeral.map(|(index, container)| {
            ephemeral_view(format!("spec.ephemeralContainers[{index}]"), container)
        }))
}

// Two types of the same fields, by the API's own definition.
macro_rules! viewing {
    ($name:ident, $type:ty) => {
        fn $name(field: String, container: &$type) -> View<'_> {
            View {
                field,
                image: container.image.as_deref(),
                ports: container.ports.as_deref().unwrap_or_default(),
                security: container.security_context.as_ref(),
                probes: [
                    ("livenessProbe", container.liveness_probe.as_ref()),
                    ("readinessProbe", container.readiness_probe.as_ref()),
                    ("startupProbe", container.startup_probe.as_ref()),
                ],
                lifecycle: container.lifecycle.as_ref(),
            }
        }
    };
}

viewing!(view, Container);
viewing!(ephemeral_view, EphemeralContainer);
