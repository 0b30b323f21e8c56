//! The Ingress that takes the HTTPRoute's place where no Gateway serves the domain.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, ServiceBackendPort,
};

use super::{Settings, Valid, metadata};
use crate::resource::INGRESS_ANNOTATIONS_ANNOTATION;

/// One host, all paths, one backend.
pub fn ingress(valid: &Valid<'_>, class: &str, settings: &Settings) -> Ingress {
    let mut metadata = metadata(valid.ephemeron, settings);
    metadata.annotations = valid.ephemeron.spec.ingress_annotations().filter(|all| !all.is_empty()).cloned();
    if let Some(annotations) = &mut metadata.annotations {
        let keys = annotations.keys().map(String::as_str).collect::<Vec<_>>().join(" ");
        annotations.insert(INGRESS_ANNOTATIONS_ANNOTATION.into(), keys);
    }
    let backend = IngressBackend {
        service: Some(IngressServiceBackend {
            name: valid.ephemeron.name().into(),
            port: Some(ServiceBackendPort { number: Some(i32::from(valid.port)), name: None }),
        }),
        resource: None,
    };
    let path = HTTPIngressPath { path: Some("/".into()), path_type: "Prefix".into(), backend };
    Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: Some(class.into()),
            rules: Some(vec![IngressRule {
                host: Some(valid.host.clone()),
                http: Some(HTTPIngressRuleValue { paths: vec![path] }),
            }]),
            tls: valid.ephemeron.spec.tls_secret_name().map(|secret| {
                vec![IngressTLS {
                    hosts: Some(vec![valid.host.clone()]),
                    secret_name: Some(secret.to_owned()),
                }]
            }),
            default_backend: None,
        }),
        status: None,
    }
}
