//! Objects of somebody else that are in the way, or look as if they were ours, and must stay as they are.

use std::sync::{Mutex, PoisonError};

use ephemeron::resource::{MANAGED_BY_LABEL, MANAGER, NAME_LABEL};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, PostParams},
    core::GroupVersionKind,
};
use serde_json::Value;

use super::manifests;

/// The kinds that an Ephemeron has children of, and may be squatted.
pub const KINDS: [&str; 4] = ["Pod", "Service", "Ingress", "HTTPRoute"];

/// All that were made in a run.
#[derive(Default)]
pub struct Foreign(Mutex<Vec<Kept>>);

/// One of them, as it was made.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What must stay of it.
    pub stays: Value,
}

impl Foreign {
    /// Makes one of this kind and name; `decoy`: with the labels of a child, but nobody's.
    pub async fn make(&self, client: &Client, kind: &'static str, name: &str, decoy: bool) -> bool {
        let mut object = manifests::foreign(name, kind);
        if decoy {
            object["metadata"]["labels"][MANAGED_BY_LABEL] = MANAGER.into();
            object["metadata"]["labels"][NAME_LABEL] = name.into();
        }
        let object: DynamicObject = serde_json::from_value(object).expect("an object");
        let api = api(client, kind);
        // Somebody has the name already, or the API server is away.
        let Ok(made) = api.create(&PostParams::default(), &object).await else { return false };
        let kept = Kept { kind, name: name.into(), stays: stays(&made) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        true
    }

    /// All so far.
    pub fn all(&self) -> Vec<Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Kept {
    /// What has become of it, in words; None: nothing.
    pub async fn harm(&self, client: &Client) -> Option<String> {
        let Self { kind, name, stays: before } = self;
        match api(client, kind).get_opt(name).await {
            Ok(Some(now)) => {
                let now = stays(&now);
                (now != *before).then(|| format!("the foreign {kind} {name} was {before} and is {now}"))
            }
            Ok(None) => Some(format!("the foreign {kind} {name} is gone")),
            Err(error) => Some(format!("the foreign {kind} {name} cannot be read: {error}")),
        }
    }
}

fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    let (group, version, plural) = match kind {
        "Pod" => ("", "v1", "pods"),
        "Service" => ("", "v1", "services"),
        "Ingress" => ("networking.k8s.io", "v1", "ingresses"),
        _ => ("gateway.networking.k8s.io", "v1", "httproutes"),
    };
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    Api::default_namespaced_with(client.clone(), &resource)
}

/// Who it is, whose, and what is wanted of it: everything but its status and what goes with that.
fn stays(object: &DynamicObject) -> Value {
    serde_json::json!({
        "uid": object.uid(),
        "labels": object.labels(),
        "annotations": object.annotations(),
        "owners": object.owner_references(),
        "deleted": object.metadata.deletion_timestamp.is_some(),
        "spec": object.data.get("spec"),
    })
}
