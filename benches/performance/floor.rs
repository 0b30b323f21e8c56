//! The floor: the same Pod, Service and HTTPRoute without an Ephemeron.

use ephemeron::resource::{MANAGED_BY_LABEL, NAME_LABEL};
use gateway_api::httproutes::HttpRoute;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Pod, Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Resource,
    api::{DeleteParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    cluster::Cluster,
    crowd,
    lives::{self, FLOOR_LABEL},
};

/// The documents that the controller has made, with a name to be replaced.
pub struct Documents {
    name: String,
    pod: String,
    service: String,
    route: String,
}

impl Documents {
    /// Takes them from a service that the controller brings about, so that they are the same ones.
    pub async fn learn(cluster: &Cluster) -> Self {
        let name = cluster.name("template");
        lives::create(cluster, &lives::ephemeron(&name, "10m")).await;
        cluster.available(&name).await;
        let (mut pod, mut service, mut route) = (
            read::<Pod>(cluster, &name).await,
            read::<Service>(cluster, &name).await,
            read::<HttpRoute>(cluster, &name).await,
        );
        pod.status = None;
        pod.spec.as_mut().expect("a Pod has a spec").node_name = None;
        service.status = None;
        route.status = None;
        let documents = Self { pod: text(&pod), service: text(&service), route: text(&route), name };
        crowd::remove(cluster, std::slice::from_ref(&documents.name)).await;
        documents
    }

    /// Creates all three at once.
    pub async fn create(&self, cluster: &Cluster, name: &str) {
        tokio::join!(
            self.create_one::<Pod>(cluster, &self.pod, name),
            self.create_one::<Service>(cluster, &self.service, name),
            self.create_one::<HttpRoute>(cluster, &self.route, name),
        );
    }

    /// Deletes all three.
    pub async fn delete(&self, cluster: &Cluster, name: &str) {
        tokio::join!(
            delete::<Pod>(cluster, name),
            delete::<Service>(cluster, name),
            delete::<HttpRoute>(cluster, name)
        );
    }

    async fn create_one<K: Kind>(&self, cluster: &Cluster, document: &str, name: &str) {
        let object: K = serde_json::from_str(&document.replace(&self.name, name)).expect("the document");
        api::<K>(cluster).create(&PostParams::default(), &object).await.expect("it is created");
    }
}

/// What the three kinds have in common.
trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
{
}

impl Kind for Pod {}
impl Kind for Service {}
impl Kind for HttpRoute {}

fn api<K: Kind>(cluster: &Cluster) -> Api<K> {
    Api::default_namespaced(cluster.client.clone())
}

/// An object with the metadata that it was made with, but for its owner, and for the label by which
/// the controller watches its children: what it does not see costs it nothing.
async fn read<K: Kind>(cluster: &Cluster, name: &str) -> K {
    let mut object = api::<K>(cluster).get(name).await.expect("the controller has made it");
    let mut labels = object.meta().labels.clone().unwrap_or_default();
    let (key, value) = FLOOR_LABEL.split_once('=').expect("a label has a value");
    assert!(labels.contains_key(NAME_LABEL), "the Service selects the Pod by it");
    labels.insert(MANAGED_BY_LABEL.into(), "bench".into());
    labels.insert(key.into(), value.into());
    *object.meta_mut() =
        ObjectMeta { name: object.meta().name.clone(), labels: Some(labels), ..ObjectMeta::default() };
    object
}

fn text(object: &impl Serialize) -> String {
    serde_json::to_string(object).expect("an object is JSON")
}

async fn delete<K: Kind>(cluster: &Cluster, name: &str) {
    api::<K>(cluster).delete(name, &DeleteParams::default()).await.expect("it is deleted");
}
