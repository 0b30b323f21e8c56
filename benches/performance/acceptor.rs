//! A Gateway of the benchmark's own, whose controller accepts every route and does no more: with
//! many routes a real one would be all that is measured.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use gateway_api::{gatewayclasses::GatewayClass, gateways::Gateway, httproutes::HttpRoute};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinHandle};

use crate::{cluster::Cluster, process};

/// The domain that it serves, and no other.
pub const DOMAIN: &str = "bench.localhost";
/// How the controller is told of it.
pub const GATEWAY: &str = "gateways/bench";

const NAMESPACE: &str = "gateways";
const NAME: &str = "bench";
const CONTROLLER: &str = "ephemeron.test/bench";
/// Routes that are accepted at once.
const CONCURRENCY: usize = 64;
/// Programs that would take part in every change of a route.
const REAL: [&str; 3] = ["traefik", "contour", "envoy"];

/// The Gateway, while its routes are accepted.
pub struct Acceptor(JoinHandle<()>);

impl Acceptor {
    /// Makes the Gateway, stops the real ones' programs, and accepts from here on.
    pub async fn start(cluster: &Cluster) -> Self {
        for program in REAL {
            process::program(cluster, "stop", program).await;
        }
        let listener = json!({
            "name": "http", "protocol": "HTTP", "port": 80, "hostname": format!("*.{DOMAIN}"),
            "allowedRoutes": { "namespaces": { "from": "All" } },
        });
        let spec = json!({ "spec": { "controllerName": CONTROLLER } });
        apply::<GatewayClass>(&Api::all(cluster.client.clone()), spec).await;
        let gateways = Api::<Gateway>::namespaced(cluster.client.clone(), NAMESPACE);
        let spec = json!({ "spec": { "gatewayClassName": NAME, "listeners": [listener] } });
        let gateway = apply::<Gateway>(&gateways, spec).await;
        let status = json!({ "status": {
            "addresses": [{ "type": "IPAddress", "value": cluster.env("NODE_ADDRESS") }],
            "conditions": conditions(&["Accepted", "Programmed"], gateway.metadata.generation),
        } });
        let params = PatchParams::default();
        gateways.patch_status(NAME, &params, &Patch::Merge(status)).await.expect("its status is written");
        Self(tokio::spawn(accept(Api::default_namespaced(cluster.client.clone()))))
    }

    /// Removes the Gateway and starts the real ones' programs again.
    pub async fn stop(self, cluster: &Cluster) {
        self.0.abort();
        Self::clean(cluster).await;
    }

    /// Removes what an interrupted run has left.
    pub async fn clean(cluster: &Cluster) {
        let params = DeleteParams::default();
        let client = || cluster.client.clone();
        // There may be none.
        let _ = Api::<Gateway>::namespaced(client(), NAMESPACE).delete(NAME, &params).await;
        let _ = Api::<GatewayClass>::all(client()).delete(NAME, &params).await;
        for program in REAL {
            process::program(cluster, "start", program).await;
        }
    }
}

async fn apply<K>(api: &Api<K>, mut spec: Value) -> K
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    spec["apiVersion"] = K::api_version(&()).into();
    spec["kind"] = K::kind(&()).into();
    spec["metadata"] = json!({ "name": NAME });
    api.patch(NAME, &PatchParams::apply("bench").force(), &Patch::Apply(spec)).await.expect("it is applied")
}

/// Says of every route that it is accepted, once.
async fn accept(api: Api<HttpRoute>) {
    let places = Arc::new(Semaphore::new(CONCURRENCY));
    let routes = watcher(api.clone(), watcher::Config::default()).default_backoff().applied_objects();
    routes
        .inspect_err(|error| eprintln!("the watch of HTTPRoutes: {error}"))
        .filter_map(|route| std::future::ready(route.ok()))
        .for_each(|route| {
            let (api, places) = (api.clone(), Arc::clone(&places));
            async move {
                let parents = route.spec.parent_refs.iter().flatten();
                let Some(parent) = parents.into_iter().find(|parent| parent.name == NAME) else { return };
                if route.status.as_ref().is_some_and(|status| !status.parents.is_empty()) {
                    return;
                }
                let place = places.acquire_owned().await.expect("it is never closed");
                let conditions = conditions(&["Accepted", "ResolvedRefs"], route.metadata.generation);
                let word =
                    json!({ "parentRef": parent, "controllerName": CONTROLLER, "conditions": conditions });
                let patch = Patch::Merge(json!({ "status": { "parents": [word] } }));
                tokio::spawn(async move {
                    // The route may be gone already.
                    let _ = api.patch_status(&route.name_any(), &PatchParams::default(), &patch).await;
                    drop(place);
                });
            }
        })
        .await;
}

fn conditions(types: &[&str], generation: Option<i64>) -> Vec<Value> {
    let now = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |r#type: &&str| {
        json!({
            "type": r#type, "status": "True", "reason": r#type, "message": "",
            "lastTransitionTime": now, "observedGeneration": generation,
        })
    };
    types.iter().map(condition).collect()
}
