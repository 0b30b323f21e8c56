//! Objects that may be unreadable: one that is does not hide the others of its list.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, core::error_boundary::InvalidObject};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::value::RawValue;

/// An object, or why it cannot be read.
///
/// As kube's `DeserializeGuard`, but the object is read from its own text, once: to build a tree of it
/// first costs several times as much, and a restart reads thousands.
#[derive(Clone, Debug)]
pub struct Guard<K>(pub Result<K, InvalidObject>);

/// What an object is known by. The rest of its metadata may be what is unreadable: nested too deeply in
/// `managedFields`, for one.
#[derive(Deserialize)]
struct Named {
    metadata: Names,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Names {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guard<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(match serde_json::from_str(text.get()) {
            Ok(object) => Ok(object),
            Err(error) => {
                let Named { metadata } = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
                let Names { name, namespace, uid, resource_version } = metadata;
                let metadata = ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() };
                Err(InvalidObject { error: error.to_string(), metadata })
            }
        }))
    }
}

impl<K: Resource> Resource for Guard<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(kind)
    }

    fn group(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::group(kind)
    }

    fn version(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::version(kind)
    }

    fn plural(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|invalid| &invalid.metadata, Resource::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|invalid| &mut invalid.metadata, Resource::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::{
        ResourceExt,
        core::{ObjectList, WatchEvent},
    };

    use super::*;

    #[test]
    fn one_that_is_unreadable_hides_nobody() {
        let list = r#"{"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": [
            {"metadata": {"name": "good"}, "spec": {"containers": []}},
            {"metadata": {"name": "bad", "uid": "u"}, "spec": {"containers": "none"}}
        ]}"#;
        let list: ObjectList<Guard<Pod>> = serde_json::from_str(list).expect("a list");
        assert_eq!(list.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["good", "bad"]);
        assert!(list.items[0].0.is_ok());
        let invalid = list.items[1].0.as_ref().expect_err("it is unreadable");
        assert!(invalid.error.contains("expected a sequence"), "{invalid}");
        assert_eq!(invalid.metadata.uid.as_deref(), Some("u"));
    }

    #[test]
    fn one_that_is_nested_too_deeply_hides_nobody() {
        let deep = r#"{"f:a":"#.repeat(500) + "{}" + &"}".repeat(500);
        let object = format!(
            r#"{{"metadata": {{"name": "deep", "managedFields": [{{"fieldsType": "FieldsV1", "fieldsV1": {deep}}}]}}}}"#
        );
        let guard: Guard<Pod> = serde_json::from_str(&object).expect("a guard");
        let invalid = guard.0.expect_err("it is unreadable");
        assert_eq!(invalid.metadata.name.as_deref(), Some("deep"));
    }

    #[test]
    fn events_of_a_watch_are_read() {
        let event = r#"{"type": "MODIFIED", "object": {"metadata": {"name": "good"}}}"#;
        let event: WatchEvent<Guard<Pod>> = serde_json::from_str(event).expect("an event");
        assert!(matches!(event, WatchEvent::Modified(Guard(Ok(pod))) if pod.name_any() == "good"));
    }

    #[test]
    fn what_has_no_metadata_is_no_object() {
        assert!(serde_json::from_str::<Guard<Pod>>("[]").is_err());
    }
}
