//! The Pod that runs the service.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerPort, EnvVar, HTTPGetAction, Pod, PodSecurityContext, PodSpec, Probe,
        ResourceRequirements, SeccompProfile, SecurityContext,
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};

use super::{PORT_NAME, Settings, Valid, metadata};
use crate::resource::{ReadinessProbe, Resources};

/// The name of the one container.
const CONTAINER: &str = "service";

/// A Pod with the least rights that an arbitrary image runs with.
pub fn pod(valid: &Valid<'_>, settings: &Settings) -> Pod {
    let service = valid.service;
    let port = i32::from(service.port);
    let mut metadata = metadata(valid.ephemeron, settings);
    let labels = metadata.labels.get_or_insert_default();
    for (key, value) in service.pod_labels.iter().flatten() {
        labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    let container = Container {
        name: CONTAINER.into(),
        image: Some(service.image.clone()),
        command: service.command.clone(),
        working_dir: service.working_dir.clone(),
        env: service.env.as_ref().map(|variables| {
            let variable = |variable: &crate::resource::EnvVar| EnvVar {
                name: variable.name.clone(),
                value: variable.value.clone(),
                value_from: None,
            };
            variables.iter().map(variable).collect()
        }),
        ports: Some(vec![ContainerPort {
            name: Some(PORT_NAME.into()),
            container_port: port,
            ..ContainerPort::default()
        }]),
        image_pull_policy: service.image_pull_policy.clone(),
        readiness_probe: service.readiness_probe.as_ref().map(|probe| readiness(probe, port)),
        resources: service.resources.as_ref().map(resources),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            ..SecurityContext::default()
        }),
        ..Container::default()
    };
    Pod {
        metadata,
        spec: Some(PodSpec {
            containers: vec![container],
            // The service is a stranger: it gets no credentials, and learns nothing of its neighbours.
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            // Whichever attempt it is.
            hostname: Some(valid.ephemeron.name().into()),
            security_context: Some(PodSecurityContext {
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".into(),
                    localhost_profile: None,
                }),
                ..PodSecurityContext::default()
            }),
            termination_grace_period_seconds: i64::try_from(settings.grace_period.as_secs()).ok(),
            ..PodSpec::default()
        }),
        status: None,
    }
}

fn readiness(probe: &ReadinessProbe, port: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(probe.path.clone()),
            port: IntOrString::Int(port),
            ..HTTPGetAction::default()
        }),
        initial_delay_seconds: probe.initial_delay_seconds,
        // Kubernetes' default of 10 s is long for a service that somebody waits for.
        period_seconds: Some(probe.period_seconds.unwrap_or(1)),
        timeout_seconds: probe.timeout_seconds,
        ..Probe::default()
    }
}

fn resources(resources: &Resources) -> ResourceRequirements {
    let quantities = |amounts: &Option<BTreeMap<String, IntOrString>>| {
        let quantity = |amount: &IntOrString| match amount {
            IntOrString::Int(number) => Quantity(number.to_string()),
            IntOrString::String(text) => Quantity(text.clone()),
        };
        amounts
            .as_ref()
            .map(|amounts| amounts.iter().map(|(name, amount)| (name.clone(), quantity(amount))).collect())
    };
    ResourceRequirements {
        limits: quantities(&resources.limits),
        requests: quantities(&resources.requests),
        claims: None,
    }
}
