//! Whether a live child still is what it should be, and what it must become if not.
//!
//! What is desired says every default that the API server would fill in, so that specs are compared as
//! a whole and nothing that somebody added to them goes unseen.

use std::collections::BTreeMap;

use gateway_api::httproutes::HttpRoute;
use k8s_openapi::{
    api::{
        core::v1::{Pod, Service, ServicePort},
        networking::v1::Ingress,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::resource::INGRESS_ANNOTATIONS_ANNOTATION;

/// Comparison and mending of one kind.
pub trait Repair: Sized {
    /// The live object with everything of ours set right, to be written as a whole; None where
    /// nothing has to change. What others added beside it stays.
    fn repaired(&self, desired: &Self) -> Option<Self>;
}

impl Repair for Pod {
    /// Nearly all of a Pod cannot be changed: it is made and deleted, never mended.
    fn repaired(&self, _: &Self) -> Option<Self> {
        None
    }
}

impl Repair for Service {
    fn repaired(&self, desired: &Self) -> Option<Self> {
        let (live, wanted) = (self.spec.as_ref()?, desired.spec.as_ref()?);
        let same = live.selector == wanted.selector
            && live.type_.as_deref().is_none_or(|kind| kind == "ClusterIP")
            && live.external_ips.as_ref().is_none_or(Vec::is_empty)
            && same_ports(live.ports.as_deref(), wanted.ports.as_deref());
        if same && has_labels(&self.metadata, &desired.metadata) {
            return None;
        }
        let mut repaired = self.clone();
        set_labels(&mut repaired.metadata, &desired.metadata);
        let spec = repaired.spec.get_or_insert_default();
        spec.selector.clone_from(&wanted.selector);
        if !same_ports(spec.ports.as_deref(), wanted.ports.as_deref()) {
            spec.ports.clone_from(&wanted.ports);
        }
        spec.external_ips = None;
        // The cluster IP cannot be changed: a Service of the earlier implementation keeps its own.
        spec.type_ = Some("ClusterIP".into());
        spec.external_name = None;
        Some(repaired)
    }
}

/// Whether the ports are the same, their names aside. A Service of the earlier implementation has none,
/// and to name it would leave it without endpoints until these are named, too.
fn same_ports(live: Option<&[ServicePort]>, wanted: Option<&[ServicePort]>) -> bool {
    let unnamed = |ports: Option<&[ServicePort]>| -> Vec<ServicePort> {
        ports.into_iter().flatten().map(|port| ServicePort { name: None, ..port.clone() }).collect()
    };
    unnamed(live) == unnamed(wanted)
}

impl Repair for HttpRoute {
    fn repaired(&self, desired: &Self) -> Option<Self> {
        let same = self.spec == desired.spec;
        (!same || !has_labels(&self.metadata, &desired.metadata)).then(|| {
            let mut repaired = Self { spec: desired.spec.clone(), ..self.clone() };
            set_labels(&mut repaired.metadata, &desired.metadata);
            repaired
        })
    }
}

impl Repair for Ingress {
    fn repaired(&self, desired: &Self) -> Option<Self> {
        let wanted = desired.metadata.annotations.as_ref();
        let live = self.metadata.annotations.as_ref();
        let stale: Vec<&str> =
            said(live).filter(|key| wanted.is_none_or(|all| !all.contains_key(*key))).collect();
        let annotated = has_all(live, wanted) && stale.is_empty();
        let same = self.spec == desired.spec && annotated;
        (!same || !has_labels(&self.metadata, &desired.metadata)).then(|| {
            let mut repaired = Self { spec: desired.spec.clone(), ..self.clone() };
            set_labels(&mut repaired.metadata, &desired.metadata);
            let annotations = repaired.metadata.annotations.get_or_insert_default();
            annotations
                .retain(|key, _| !stale.contains(&key.as_str()) && key != INGRESS_ANNOTATIONS_ANNOTATION);
            annotations.extend(wanted.cloned().unwrap_or_default());
            repaired
        })
    }
}

/// The keys of an Ingress' annotations that came of a spec.
fn said(annotations: Option<&BTreeMap<String, String>>) -> impl Iterator<Item = &str> {
    let keys = annotations.and_then(|all| all.get(INGRESS_ANNOTATIONS_ANNOTATION));
    keys.map(String::as_str).unwrap_or_default().split_whitespace()
}

fn has_labels(live: &ObjectMeta, desired: &ObjectMeta) -> bool {
    has_all(live.labels.as_ref(), desired.labels.as_ref())
}

/// Whether all that is wanted is there with its value.
pub fn has_all(live: Option<&BTreeMap<String, String>>, wanted: Option<&BTreeMap<String, String>>) -> bool {
    wanted.into_iter().flatten().all(|(key, value)| live.and_then(|live| live.get(key)) == Some(value))
}

fn set_labels(live: &mut ObjectMeta, desired: &ObjectMeta) {
    live.labels.get_or_insert_default().extend(desired.labels.clone().unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::{
        desired::{Desired, DesiredRoute, desired},
        fixtures,
        routing::{Parent, Routing},
        validate::{Standing, validate},
    };

    fn wanted(routing: &Routing) -> Desired {
        let (ephemeron, settings) = (fixtures::ephemeron(fixtures::FULL), fixtures::settings());
        desired(
            &validate(&ephemeron, &settings, Standing::default()).expect("valid"),
            routing,
            None,
            &settings,
        )
    }

    fn on_gateway() -> (Service, HttpRoute) {
        let parent = Parent {
            namespace: "gateways".into(),
            name: "main".into(),
            listener: "http".into(),
            port: 80,
            tls: false,
            address: None,
            controller: None,
            gone: false,
        };
        let Desired { service, route: Some(DesiredRoute::HttpRoute(route)), .. } =
            wanted(&Routing::Gateway(parent))
        else {
            panic!("no HTTPRoute")
        };
        (service, route)
    }

    fn by_ingress() -> Ingress {
        let Some(DesiredRoute::Ingress(ingress)) = wanted(&Routing::Ingress { class: "a".into() }).route
        else {
            panic!("no Ingress")
        };
        ingress
    }

    /// The object with one value in it set to another.
    fn with<K: serde::Serialize + serde::de::DeserializeOwned>(object: &K, pointer: &str, value: Value) -> K {
        let mut document = serde_json::to_value(object).expect("JSON");
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        document.pointer_mut(parent).expect("a parent")[key] = value;
        serde_json::from_value(document).expect("an object")
    }

    #[test]
    fn what_is_as_desired_is_left_alone() {
        let (service, route) = on_gateway();
        assert_eq!(service.repaired(&service), None);
        assert_eq!(route.repaired(&route), None);
        assert_eq!(by_ingress().repaired(&by_ingress()), None);
    }

    #[test]
    fn what_the_cluster_and_others_add_beside_it_stays() {
        let (service, route) = on_gateway();
        let live = with(&service, "/spec/ipFamilies", json!(["IPv4"]));
        assert_eq!(live.repaired(&service), None);
        assert_eq!(with(&service, "/spec/ports/0/name", json!(null)).repaired(&service), None);
        let live = with(&route, "/metadata/annotations", json!({"a": "b"}));
        assert_eq!(live.repaired(&route), None);
        let live =
            with(&with(&service, "/metadata/labels/mine", json!("a")), "/spec/selector/app", json!("evil"));
        let repaired = live.repaired(&service).expect("a repair");
        assert_eq!(repaired.metadata.labels.expect("labels")["mine"], "a");
    }

    #[test]
    fn every_change_of_ours_is_set_right() {
        let (service, route) = on_gateway();
        for (pointer, value) in [
            ("/spec/selector", json!({"app": "another"})),
            ("/spec/selector/extra", json!("one more")),
            ("/spec/ports/0/targetPort", json!(1)),
            ("/spec/ports", json!([])),
            ("/spec/externalIPs", json!(["192.0.2.1"])),
            ("/spec/type", json!("LoadBalancer")),
            ("/metadata/labels", json!({})),
        ] {
            let repaired = with(&service, pointer, value).repaired(&service);
            assert_eq!(repaired.as_ref().and_then(|one| one.repaired(&service)), None, "{pointer}");
            assert!(repaired.is_some(), "{pointer}");
        }
        for (pointer, value) in [
            ("/spec/hostnames", json!(["bank.example.com"])),
            (
                "/spec/rules/0/filters",
                json!([{"type": "RequestRedirect", "requestRedirect": {"hostname": "evil"}}]),
            ),
            ("/spec/rules/0/backendRefs/0/name", json!("another")),
            ("/spec/parentRefs/0/name", json!("another")),
            ("/metadata/labels", json!({})),
        ] {
            assert_eq!(with(&route, pointer, value).repaired(&route).as_ref(), Some(&route), "{pointer}");
        }
        let ingress = by_ingress();
        for (pointer, value) in [
            ("/spec/rules/0/host", json!("bank.example.com")),
            ("/spec/tls", json!(null)),
            ("/metadata/annotations", json!({})),
        ] {
            assert_eq!(
                with(&ingress, pointer, value).repaired(&ingress).as_ref(),
                Some(&ingress),
                "{pointer}"
            );
        }
    }

    #[test]
    fn an_annotation_that_the_spec_has_no_more_goes_and_those_of_others_stay() {
        let live = with(&by_ingress(), "/metadata/annotations/others", json!("kept"));
        for annotations in [None, Some(BTreeMap::from([("example.com/new".to_owned(), "value".to_owned())]))]
        {
            let mut ephemeron = fixtures::ephemeron(fixtures::FULL);
            fixtures::service(&mut ephemeron).ingress_annotations.clone_from(&annotations);
            let settings = fixtures::settings();
            let valid = validate(&ephemeron, &settings, Standing::default()).expect("valid");
            let routing = Routing::Ingress { class: "a".into() };
            let Some(DesiredRoute::Ingress(wanted)) = desired(&valid, &routing, None, &settings).route else {
                panic!("no Ingress")
            };
            let repaired = live.repaired(&wanted).expect("a repair");
            let mut left = repaired.metadata.annotations.clone().unwrap_or_default();
            left.remove(INGRESS_ANNOTATIONS_ANNOTATION);
            assert_eq!(left.remove("others").as_deref(), Some("kept"));
            assert_eq!(left, annotations.unwrap_or_default());
            assert_eq!(repaired.repaired(&wanted), None);
        }
    }

    #[test]
    fn a_cluster_ip_is_kept() {
        let (service, _) = on_gateway();
        let live = with(&with(&service, "/spec/clusterIP", json!("10.0.0.7")), "/spec/selector", json!({}));
        let repaired = live.repaired(&service).and_then(|service| service.spec);
        assert_eq!(repaired.and_then(|spec| spec.cluster_ip).as_deref(), Some("10.0.0.7"));
    }
}
