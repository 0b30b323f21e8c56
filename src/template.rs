//! From what `spec.service` says to a pod template, with nothing in it that it does not say.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerPort, EnvVar, HTTPGetAction, PodSpec, PodTemplateSpec, Probe,
        ResourceRequirements,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use crate::{
    policy::CONTAINER,
    resource::{Amount, ReadinessProbe, Resources, Service},
};

/// The name of the port in the Pod and the Service.
pub const PORT_NAME: &str = "http";

/// One container that runs the service, and the labels of its Pod.
#[must_use]
pub fn template(service: &Service) -> PodTemplateSpec {
    let port = i32::from(service.port);
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
        ..Container::default()
    };
    PodTemplateSpec {
        metadata: service
            .pod_labels
            .as_ref()
            .map(|labels| ObjectMeta { labels: Some(labels.clone()), ..ObjectMeta::default() }),
        spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
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
    let quantities = |amounts: &Option<BTreeMap<String, Amount>>| {
        let quantity = |amount: &Amount| match amount {
            Amount::Int(number) => Quantity(number.to_string()),
            Amount::String(text) => Quantity(text.clone()),
            // The policy says that it is no quantity.
            Amount::Other(value) => Quantity(value.to_string()),
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
