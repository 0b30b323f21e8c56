//! Many services at once: brought about, watched until all can be reached, and removed.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    future::Future,
    time::Duration,
};

use ephemeron::resource::{Ephemeron, MANAGED_BY_LABEL, MANAGER, NAME_LABEL, conditions};
use futures::{StreamExt as _, stream};
use gateway_api::httproutes::HttpRoute;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{Pod, Service},
        discovery::v1::EndpointSlice,
    },
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams},
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{self, Instant},
};

use crate::{
    cluster::{Cluster, condition},
    floor::Documents,
    lives::{self, FLOOR_LABEL},
};

/// Services that are worked on at once: as many as the controller's reconciles.
pub const CONCURRENCY: usize = 64;
/// How long a crowd may take before the benchmark gives up.
const LIMIT: Duration = Duration::from_mins(15);

/// New names.
pub fn names(cluster: &Cluster, prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|_| cluster.name(prefix)).collect()
}

/// Does something for each of the names, [`CONCURRENCY`] at once.
pub async fn each<F: Future<Output = ()>>(names: &[String], act: impl Fn(String) -> F) {
    stream::iter(names).for_each_concurrent(CONCURRENCY, |name| act(name.clone())).await;
}

/// Has the controller bring them about. Returns when each was available, in seconds after all were
/// asked for, in order.
pub async fn project(cluster: &Cluster, names: &[String], lifetime: &str) -> Vec<f64> {
    let mut seen = Seen::new();
    seen.watch(cluster.ephemerons(), lives::LABEL, available).await;
    let began = Instant::now();
    let create = each(names, |name| async move {
        lives::create(cluster, &lives::ephemeron(&name, lifetime)).await;
    });
    tokio::join!(create, seen.all(names, began)).1
}

/// Brings the same children about without an Ephemeron; returns likewise.
pub async fn floor(cluster: &Cluster, names: &[String], documents: &Documents) -> Vec<f64> {
    let mut seen = Seen::new();
    let client = || cluster.client.clone();
    seen.watch(Api::default_namespaced(client()), FLOOR_LABEL, ready_pod).await;
    seen.watch(Api::default_namespaced(client()), FLOOR_LABEL, ready_endpoint).await;
    seen.watch(Api::default_namespaced(client()), FLOOR_LABEL, accepted_route).await;
    let began = Instant::now();
    let create = each(names, |name| async move { documents.create(cluster, &name).await });
    tokio::join!(create, seen.all(names, began)).1
}

/// Watches that tell which services they have seen in the state that they wait for.
struct Seen {
    sender: mpsc::UnboundedSender<(usize, String)>,
    receiver: mpsc::UnboundedReceiver<(usize, String)>,
    watches: JoinSet<()>,
}

impl Seen {
    fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver, watches: JoinSet::new() }
    }

    /// Begins a watch, and returns when it has seen what there is now.
    async fn watch<K>(&mut self, api: Api<K>, labels: &str, wanted: fn(&K) -> Option<String>)
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let (sender, number) = (self.sender.clone(), self.watches.len());
        let (listed, is_listed) = oneshot::channel();
        let config = watcher::Config::default().labels(labels);
        self.watches.spawn(async move {
            let (mut events, mut listed) = (watcher(api, config).boxed(), Some(listed));
            while let Some(event) = events.next().await {
                match event.expect("the watch goes on") {
                    Event::InitDone => drop(listed.take().map(|listed| listed.send(()))),
                    Event::Apply(object) | Event::InitApply(object) => {
                        if let Some(name) = wanted(&object) {
                            // Nobody waits any longer.
                            let _ = sender.send((number, name));
                        }
                    }
                    Event::Init | Event::Delete(_) => {}
                }
            }
        });
        is_listed.await.expect("the watch begins");
    }

    /// Waits until every watch has seen every one of the names.
    async fn all(mut self, names: &[String], began: Instant) -> Vec<f64> {
        let wanted: HashSet<&str> = names.iter().map(String::as_str).collect();
        let mut by = HashMap::<String, HashSet<usize>>::new();
        let mut seconds = Vec::with_capacity(names.len());
        let all = async {
            while seconds.len() < names.len() {
                let (number, name) = self.receiver.recv().await.expect("a sender is kept");
                if !wanted.contains(name.as_str()) {
                    continue;
                }
                let by = by.entry(name).or_default();
                if by.insert(number) && by.len() == self.watches.len() {
                    seconds.push(began.elapsed().as_secs_f64());
                }
            }
        };
        let in_time = time::timeout(LIMIT, all).await.is_ok();
        assert!(in_time, "only {} of {} services came about", seconds.len(), names.len());
        seconds
    }
}

fn available(ephemeron: &Ephemeron) -> Option<String> {
    let is = condition(ephemeron, conditions::AVAILABLE).0 == "True";
    is.then(|| ephemeron.name_any())
}

fn ready_pod(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let is = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    is.then(|| pod.name_any())
}

fn ready_endpoint(slice: &EndpointSlice) -> Option<String> {
    let mut conditions = slice.endpoints.iter().filter_map(|endpoint| endpoint.conditions.as_ref());
    let is = conditions.any(|conditions| conditions.ready == Some(true));
    is.then(|| slice.labels().get("kubernetes.io/service-name").cloned()).flatten()
}

fn accepted_route(route: &HttpRoute) -> Option<String> {
    let is_true = |r#type: &str| {
        let words = route.status.iter().flat_map(|status| &status.parents);
        let mut conditions = words.flat_map(|word| &word.conditions);
        conditions.any(|condition| condition.type_ == r#type && condition.status == "True")
    };
    (is_true("Accepted") && is_true("ResolvedRefs")).then(|| route.name_any())
}

/// Removes services, and waits until nothing is left of them. It does not wait for the garbage
/// collector, which would be at work for minutes.
pub async fn remove(cluster: &Cluster, names: &[String]) {
    each(names, |name| async move { cluster.delete(&name).await }).await;
    each(names, |name| async move {
        tokio::join!(
            delete::<Pod>(cluster, &name),
            delete::<HttpRoute>(cluster, &name),
            delete::<Service>(cluster, &name),
        );
    })
    .await;
    let wanted: HashSet<&str> = names.iter().map(String::as_str).collect();
    let gone = async {
        loop {
            // The slices are the garbage collector's, too.
            let slices = left::<EndpointSlice>(cluster, &wanted).await;
            each(&slices, |slice| async move { delete::<EndpointSlice>(cluster, &slice).await }).await;
            let pods = left::<Pod>(cluster, &wanted).await;
            if slices.is_empty() && pods.is_empty() {
                return;
            }
            time::sleep(Duration::from_millis(200)).await;
        }
    };
    time::timeout(LIMIT, gone).await.expect("the services go away");
}

async fn delete<K>(cluster: &Cluster, name: &str)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api = Api::<K>::default_namespaced(cluster.client.clone());
    match api.delete(name, &DeleteParams::background()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        answer => drop(answer.expect("the API server deletes")),
    }
}

/// The objects of a kind that belong to one of the names.
pub async fn left<K>(cluster: &Cluster, names: &HashSet<&str>) -> Vec<String>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api = Api::<K>::default_namespaced(cluster.client.clone());
    let mut left = Vec::new();
    for labels in [format!("{MANAGED_BY_LABEL}={MANAGER}"), FLOOR_LABEL.to_owned()] {
        let list = api.list_metadata(&ListParams::default().labels(&labels)).await.expect("a list");
        let of = |object: &kube::core::PartialObjectMeta<K>| {
            object.labels().get(NAME_LABEL).is_some_and(|name| names.contains(name.as_str()))
        };
        left.extend(list.items.into_iter().filter(of).map(|object| object.name_any()));
    }
    left
}
