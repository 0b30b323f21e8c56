//! Whom to ask whether a public URL answers.

use k8s_openapi::api::networking::v1::Ingress;

use super::{
    apply::{Applied, Child},
    probe::Target,
    routing::Routing,
    settings::ProbeChoice,
    validate::Valid,
};

/// The target of the probe; None where nobody is to be asked.
#[must_use]
pub fn target(
    probe: &ProbeChoice,
    valid: &Valid<'_>,
    applied: &Applied,
    routing: &Routing,
) -> Option<Target> {
    let path = valid.probe_path.clone()?;
    let Child::Ours(pod) = &applied.pod else { return None };
    let (published, listener, tls) = match (routing, &applied.ingress) {
        (Routing::Gateway(parent), _) => (parent.address.clone(), parent.port, parent.tls),
        (Routing::Ingress { .. }, Some(Child::Ours(ingress))) => {
            let tls = valid.ephemeron.spec.tls_secret_name().is_some();
            (published_address(ingress), if tls { 443 } else { 80 }, tls)
        }
        _ => return None,
    };
    let (address, port) = match probe {
        ProbeChoice::Off => return None,
        ProbeChoice::Published => (published.unwrap_or_else(|| valid.host.clone()), listener),
        ProbeChoice::At { host, port } => (host.clone(), port.unwrap_or(listener)),
    };
    let pod = pod.metadata.uid.clone().unwrap_or_default();
    Some(Target { pod, host: valid.host.clone(), path, tls, address, port })
}

/// The address that an ingress controller has written into the Ingress; not all do.
fn published_address(ingress: &Ingress) -> Option<String> {
    let balancer = ingress.status.as_ref()?.load_balancer.as_ref()?;
    let first = balancer.ingress.as_ref()?.first()?;
    first.ip.clone().or_else(|| first.hostname.clone())
}
