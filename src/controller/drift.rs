//! Whether a live child still is what it should be, and what it must become if not.
//!
//! What is desired says every default that the API server would fill in, so that specs are compared as
//! a whole and nothing that somebody added to them goes unseen.

use std::collections::BTreeMap;

use gateway_api::httproutes::HttpRoute;
use k8s_openapi::{
    api::{
        core::v1::{Pod, Service},
        networking::v1::Ingress,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
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
            && live.ports == wanted.ports;
        if same && has_labels(&self.metadata, &desired.metadata) {
            return None;
        }
        let mut repaired = self.clone();
        set_labels(&mut repaired.metadata, &desired.metadata);
        let spec = repaired.spec.get_or_insert_default();
        spec.selector.clone_from(&wanted.selector);
        spec.ports.clone_from(&wanted.ports);
        spec.external_ips = None;
        // The cluster IP cannot be changed: a Service of the earlier implementation keeps its own.
        spec.type_ = Some("ClusterIP".into());
        spec.external_name = None;
        Some(repaired)
    }
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
        let annotated = has_all(self.metadata.annotations.as_ref(), wanted);
        let same = self.spec == desired.spec && annotated;
        (!same || !has_labels(&self.metadata, &desired.metadata)).then(|| {
            let mut repaired = Self { spec: desired.spec.clone(), ..self.clone() };
            set_labels(&mut repaired.metadata, &desired.metadata);
            let annotations = repaired.metadata.annotations.get_or_insert_default();
            annotations.extend(wanted.cloned().unwrap_or_default());
            repaired
        })
    }
}

fn has_labels(live: &ObjectMeta, desired: &ObjectMeta) -> bool {
    has_all(live.labels.as_ref(), desired.labels.as_ref())
}

fn has_all(live: Option<&BTreeMap<String, String>>, wanted: Option<&BTreeMap<String, String>>) -> bool {
    wanted.into_iter().flatten().all(|(key, value)| live.and_then(|live| live.get(key)) == Some(value))
}

fn set_labels(live: &mut ObjectMeta, desired: &ObjectMeta) {
    live.labels.get_or_insert_default().extend(desired.labels.clone().unwrap_or_default());
}
