//! What the controller may do: no more than it does. `k8s/controller/sa.yaml` grants exactly this, and what
//! a Lease needs.

/// Verbs on one resource.
#[derive(Clone, Copy, Debug)]
pub struct Permission {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The resource's plural, with a subresource behind a slash.
    pub resource: &'static str,
    /// What is done with it.
    pub verbs: &'static [&'static str],
    /// Whether it is needed in the children's namespace only.
    pub namespaced: bool,
}

const GATEWAY_API: &str = "gateway.networking.k8s.io";
const NETWORKING: &str = "networking.k8s.io";

/// Everything that the controller does.
pub const PERMISSIONS: &[Permission] = &[
    cluster("qualified.io", "ephemerons", &["get", "list", "watch", "patch", "delete"]),
    cluster("qualified.io", "ephemerons/status", &["patch"]),
    cluster("apiextensions.k8s.io", "customresourcedefinitions", &["get", "list", "watch"]),
    cluster("", "namespaces", &["list", "watch"]),
    cluster(GATEWAY_API, "gateways", &["list", "watch"]),
    cluster(GATEWAY_API, "gatewayclasses", &["list", "watch"]),
    cluster(NETWORKING, "ingressclasses", &["list", "watch"]),
    cluster(GATEWAY_API, "httproutes", &["list", "watch"]),
    cluster(NETWORKING, "ingresses", &["list", "watch"]),
    cluster("events.k8s.io", "events", &["create", "patch"]),
    children("", "pods", &["get", "list", "watch", "create", "patch", "delete"]),
    children("", "services", &["get", "list", "watch", "create", "update", "delete"]),
    children(GATEWAY_API, "httproutes", &["get", "create", "update", "delete"]),
    children(NETWORKING, "ingresses", &["get", "create", "update", "delete"]),
    children("", "secrets", &["create", "patch"]),
    children("", "events", &["list"]),
    children("discovery.k8s.io", "endpointslices", &["list", "watch"]),
];

/// What the Lease needs, in its own namespace and, but for its creation, by its name: only where there is one.
pub const LEASE: Permission =
    children("coordination.k8s.io", "leases", &["get", "list", "watch", "create", "update"]);

const fn cluster(group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Permission {
    Permission { group, resource, verbs, namespaced: false }
}

const fn children(group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Permission {
    Permission { group, resource, verbs, namespaced: true }
}
