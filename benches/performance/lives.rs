//! Ephemerons to measure, and the wait until nothing is left of one.

use ephemeron::resource::Ephemeron;
use gateway_api::httproutes::HttpRoute;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::cluster::{Cluster, until};

/// The domain of the public URLs.
pub const DOMAIN: &str = "localhost";
/// The label of all Ephemerons of the benchmark: other controllers may leave it alone.
pub const LABEL: &str = "controller=bench";
/// The label of what the floor makes without an Ephemeron.
pub const FLOOR_LABEL: &str = "bench=floor";

/// Removes the Ephemerons and the floor's objects that an interrupted run has left.
pub async fn clean(cluster: &Cluster) {
    // The children follow by themselves.
    cluster.kubectl(&format!("delete ephs -l {LABEL}")).await;
    cluster.kubectl(&format!("delete pods,services,httproutes -l {FLOOR_LABEL}")).await;
}

/// The host of the service of this name.
pub fn host(name: &str) -> String {
    format!("{name}.{DOMAIN}")
}

/// An Ephemeron as users write them, with a readiness probe.
pub fn ephemeron(name: &str, lifetime: &str) -> Ephemeron {
    let (key, value) = LABEL.split_once('=').expect("a label has a value");
    serde_json::from_value(json!({
        "apiVersion": "qualified.io/v1alpha1",
        "kind": "Ephemeron",
        "metadata": { "name": name, "labels": { key: value } },
        "spec": {
            "lifetime": lifetime,
            "service": {
                "image": "local/server:1",
                "imagePullPolicy": "IfNotPresent",
                "port": 8080,
                "readinessProbe": { "path": "/ready" },
            },
        },
    }))
    .expect("an Ephemeron")
}

/// Creates an Ephemeron.
pub async fn create(cluster: &Cluster, ephemeron: &Ephemeron) {
    cluster.ephemerons().create(&PostParams::default(), ephemeron).await.expect("it is created");
}

/// Waits until nothing is left of a service: no object, and no word of it at the gateway.
pub async fn gone(cluster: &Cluster, name: &str) {
    let client = || cluster.client.clone();
    cluster.gone(&cluster.ephemerons(), name).await;
    cluster.gone(&Api::<HttpRoute>::default_namespaced(client()), name).await;
    cluster.gone(&Api::<Pod>::default_namespaced(client()), name).await;
    cluster.gone(&Api::<Service>::default_namespaced(client()), name).await;
    until("the gateway has forgotten it", || async {
        (cluster.get(&format!("http://{}/", host(name)), None).await.0 == 404).then_some(())
    })
    .await;
}

/// A count as a number that can be divided.
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^52")]
pub fn as_f64(count: usize) -> f64 {
    count as f64
}
