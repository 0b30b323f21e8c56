//! The Service that names the Pod's endpoint.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{NAME_LABEL, PORT_NAME, Settings, Valid, metadata};

/// A headless Service: gateways send requests to its endpoints directly, and it takes neither a
/// cluster IP nor a rule on every node. Without a virtual IP nothing translates ports, so `port`
/// equals `targetPort`.
pub fn service(valid: &Valid<'_>, settings: &Settings) -> Service {
    let port = i32::from(valid.port);
    Service {
        metadata: metadata(valid.ephemeron, settings),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".into()),
            selector: Some(BTreeMap::from([(NAME_LABEL.into(), valid.ephemeron.name().into())])),
            ports: Some(vec![ServicePort {
                name: Some(PORT_NAME.into()),
                port,
                protocol: Some("TCP".into()),
                target_port: Some(IntOrString::Int(port)),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
