//! The HTTPRoute that attaches the host to a Gateway's listener.

use gateway_api::httproutes::{
    HttpRoute, HttpRouteParentRefs, HttpRouteRules, HttpRouteRulesBackendRefs, HttpRouteRulesMatches,
    HttpRouteRulesMatchesPath, HttpRouteRulesMatchesPathType, HttpRouteRulesTimeouts, HttpRouteSpec,
};

use super::{Settings, Valid, metadata};
use crate::controller::{
    moving::Move,
    routing::{GATEWAY_GROUP, Parent},
};

/// One host, one rule, one backend. The timeout is said because some implementations end requests
/// after 15 s without it, WebSockets and streams among them.
pub fn http_route(
    valid: &Valid<'_>,
    parent: &Parent,
    moving: Option<&Move>,
    settings: &Settings,
) -> HttpRoute {
    let mut parents = vec![parent_ref(&parent.namespace, &parent.name, &parent.listener)];
    parents.extend(moving.and_then(old_parent).filter(|old| *old != parents[0]));
    HttpRoute {
        metadata: metadata(valid.ephemeron, settings),
        spec: HttpRouteSpec {
            hostnames: Some(vec![valid.host.clone()]),
            parent_refs: Some(parents),
            rules: Some(vec![HttpRouteRules {
                backend_refs: Some(vec![HttpRouteRulesBackendRefs {
                    name: valid.ephemeron.name().into(),
                    port: Some(i32::from(valid.port)),
                    group: Some(String::new()),
                    kind: Some("Service".into()),
                    weight: Some(1),
                    filters: None,
                    namespace: None,
                }]),
                matches: Some(vec![HttpRouteRulesMatches {
                    path: Some(HttpRouteRulesMatchesPath {
                        r#type: Some(HttpRouteRulesMatchesPathType::PathPrefix),
                        value: Some("/".into()),
                    }),
                    ..HttpRouteRulesMatches::default()
                }]),
                timeouts: Some(HttpRouteRulesTimeouts {
                    request: Some(settings.request_timeout.clone()),
                    backend_request: None,
                }),
                ..HttpRouteRules::default()
            }]),
        },
        status: None,
    }
}

fn parent_ref(namespace: &str, name: &str, listener: &str) -> HttpRouteParentRefs {
    HttpRouteParentRefs {
        namespace: Some(namespace.into()),
        name: name.into(),
        section_name: Some(listener.into()),
        group: Some(GATEWAY_GROUP.into()),
        kind: Some("Gateway".into()),
        port: None,
    }
}

/// The listener of the Gateway that a move leaves.
fn old_parent(moving: &Move) -> Option<HttpRouteParentRefs> {
    let parent = moving.from.parent.as_deref().filter(|_| moving.from.kind == "HTTPRoute")?;
    let mut parts = parent.splitn(3, '/');
    Some(parent_ref(parts.next()?, parts.next()?, parts.next()?))
}
