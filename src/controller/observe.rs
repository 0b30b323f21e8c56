//! What there is of an Ephemeron's children, read from the caches: it costs no request.

use std::sync::Arc;

use gateway_api::httproutes::HttpRoute;
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
    networking::v1::Ingress,
};

use super::caches::Caches;

/// The objects that bear the Ephemeron's name, whoever owns them, as they were last seen.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The Pods, one for each attempt that there still is.
    pub pods: Vec<Arc<Pod>>,
    /// The Service.
    pub service: Option<Arc<Service>>,
    /// The HTTPRoute.
    pub http_route: Option<Arc<HttpRoute>>,
    /// The Ingress.
    pub ingress: Option<Arc<Ingress>>,
    /// Whether the Service has an endpoint that is ready.
    pub endpoint_ready: bool,
}

/// Looks the children of the Ephemeron of this name up.
#[must_use]
pub fn observe(caches: &Caches, name: &str) -> Observed {
    Observed {
        pods: caches.pods.group(name),
        service: caches.services.get(name),
        http_route: caches.http_routes.get(name),
        ingress: caches.ingresses.get(name),
        endpoint_ready: caches.slices.group(name).iter().any(|slice| has_ready_endpoint(slice)),
    }
}

/// Whether one of the endpoints is ready; one that does not say counts as ready
/// (`EndpointConditions.ready`: "a nil value should be interpreted as true").
fn has_ready_endpoint(slice: &EndpointSlice) -> bool {
    slice
        .endpoints
        .iter()
        .any(|endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true))
}
