//! The HTTPRoute that attaches the host to a Gateway's listener.

use gateway_api::httproutes::{
    HttpRoute, HttpRouteParentRefs, HttpRouteRules, HttpRouteRulesBackendRefs, HttpRouteRulesMatches,
    HttpRouteRulesMatchesPath, HttpRouteRulesMatchesPathType, HttpRouteRulesTimeouts, HttpRouteSpec,
};

use super::{Settings, Valid, metadata};
use crate::controller::routing::{GATEWAY_GROUP, Parent};

/// One host, one rule, one backend. The timeout is said because some implementations end requests
/// after 15 s without it, WebSockets and streams among them.
pub fn http_route(valid: &Valid<'_>, parent: &Parent, settings: &Settings) -> HttpRoute {
    HttpRoute {
        metadata: metadata(valid.ephemeron, settings),
        spec: HttpRouteSpec {
            hostnames: Some(vec![valid.host.clone()]),
            parent_refs: Some(vec![HttpRouteParentRefs {
                namespace: Some(parent.namespace.clone()),
                name: parent.name.clone(),
                section_name: Some(parent.listener.clone()),
                group: Some(GATEWAY_GROUP.into()),
                kind: Some("Gateway".into()),
                port: None,
            }]),
            rules: Some(vec![HttpRouteRules {
                backend_refs: Some(vec![HttpRouteRulesBackendRefs {
                    name: valid.ephemeron.name().into(),
                    port: Some(i32::from(valid.service.port)),
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
