//! The lowest layer of every Pod: safe defaults.

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile, SecurityContext,
};

use super::{merge::EVERY, security::Level};

/// The least rights that an image of this level runs with. A service is a stranger:
/// it gets no credentials, and learns nothing of its neighbours.
pub fn defaults(level: Level, grace_period: Duration) -> PodTemplateSpec {
    let is_restricted = level == Level::Restricted;
    let every = Container {
        name: EVERY.into(),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: is_restricted
                .then(|| Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
            ..SecurityContext::default()
        }),
        // The last words of a crash, for those that write none elsewhere.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    };
    PodTemplateSpec {
        metadata: None,
        spec: Some(PodSpec {
            init_containers: Some(vec![every.clone()]),
            containers: vec![every],
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(PodSecurityContext {
                run_as_non_root: is_restricted.then_some(true),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".into(),
                    localhost_profile: None,
                }),
                ..PodSecurityContext::default()
            }),
            termination_grace_period_seconds: i64::try_from(grace_period.as_secs()).ok(),
            ..PodSpec::default()
        }),
    }
}
