//! What is ever read of each kind: the rest is not kept, and what it is found by.

use gateway_api::httproutes::{HttpRoute, HttpRouteSpec};
use k8s_openapi::{
    api::{
        core::v1::{Pod, PodStatus},
        discovery::v1::{Endpoint, EndpointSlice},
        networking::v1::{Ingress, IngressRule, IngressSpec},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::resource::Ephemeron;

/// The preset that an Ephemeron asks for.
pub fn preset_of(ephemeron: &Ephemeron) -> Vec<String> {
    ephemeron.spec.preset.iter().map(|preset| preset.name.clone()).collect()
}

/// What a preset has said is needed when a Pod is made, and of many KiB.
pub fn without_rendering(ephemeron: &mut Ephemeron) {
    ephemeron.status.iter_mut().for_each(|status| status.rendering = None);
}

/// Of a Pod only what tells whether and why it is not ready is ever read.
pub fn prune_pod(pod: &mut Pod) {
    pod.metadata.annotations = None;
    pod.spec = None;
    let Some(status) = pod.status.take() else { return };
    let mut conditions = status.conditions;
    if let Some(conditions) = &mut conditions {
        conditions.retain(|one| matches!(one.type_.as_str(), "Ready" | "PodScheduled"));
    }
    let is_ready = conditions.iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True");
    pod.status = Some(PodStatus {
        phase: status.phase,
        reason: status.reason,
        message: status.message,
        conditions,
        container_statuses: status.container_statuses.filter(|_| !is_ready),
        init_container_statuses: status.init_container_statuses.filter(|_| !is_ready),
        ..PodStatus::default()
    });
}

/// Of endpoints only whether one is ready is ever read.
pub fn prune_slice(slice: &mut EndpointSlice) {
    slice.metadata.annotations = None;
    slice.ports = None;
    for endpoint in &mut slice.endpoints {
        *endpoint = Endpoint { conditions: endpoint.conditions.take(), ..Endpoint::default() };
    }
}

/// The hosts that an HTTPRoute names.
pub fn route_hosts(route: &HttpRoute) -> Vec<String> {
    route.spec.hostnames.iter().flatten().map(|host| host.to_ascii_lowercase()).collect()
}

/// The hosts that an Ingress names.
pub fn ingress_hosts(ingress: &Ingress) -> Vec<String> {
    let rules = ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten());
    rules.filter_map(|rule| rule.host.as_ref().map(|host| host.to_ascii_lowercase())).collect()
}

/// Of others' routes nothing but name and hosts is ever read.
pub fn only_route_hosts(route: &mut HttpRoute) {
    let hostnames = route.spec.hostnames.take();
    route.spec = HttpRouteSpec { hostnames, ..HttpRouteSpec::default() };
    route.status = None;
    only_names(&mut route.metadata);
}

/// The same of an Ingress.
pub fn only_ingress_hosts(ingress: &mut Ingress) {
    let rules = ingress.spec.take().and_then(|spec| spec.rules).unwrap_or_default();
    let hosts = rules.into_iter().map(|rule| IngressRule { host: rule.host, http: None }).collect();
    ingress.spec = Some(IngressSpec { rules: Some(hosts), ..IngressSpec::default() });
    ingress.status = None;
    only_names(&mut ingress.metadata);
}

fn only_names(metadata: &mut ObjectMeta) {
    metadata.labels = None;
    metadata.annotations = None;
}
