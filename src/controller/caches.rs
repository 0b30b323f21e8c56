//! Every kind that the controller watches, and whom a change of one concerns.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use gateway_api::{gatewayclasses::GatewayClass, gateways::Gateway, httproutes::HttpRoute};
use k8s_openapi::api::{
    core::v1::{Namespace, Pod, PodSpec, Service},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressClass},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{ClusterResourceScope, DeserializeGuard, NamespaceResourceScope},
    runtime::watcher,
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
};

use super::{
    cache::{self, Cache},
    settings::Settings,
};
use crate::resource::{Ephemeron, MANAGED_BY_LABEL, MANAGER, NAME_LABEL};

/// The label that the endpoint slice controller puts the Service's name into.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// All caches of a controller.
#[derive(Debug, Default)]
pub struct Caches {
    /// The Ephemerons.
    pub ephemerons: Arc<Cache<Ephemeron>>,
    /// The children, each kind by the name that it shares with its Ephemeron.
    pub pods: Arc<Cache<Pod>>,
    /// The Services.
    pub services: Arc<Cache<Service>>,
    /// The HTTPRoutes.
    pub http_routes: Arc<Cache<HttpRoute>>,
    /// The Ingresses.
    pub ingresses: Arc<Cache<Ingress>>,
    /// The Gateways of the cluster.
    pub gateways: Arc<Cache<Gateway>>,
    /// Their classes.
    pub gateway_classes: Arc<Cache<GatewayClass>>,
    /// The classes of Ingresses.
    pub ingress_classes: Arc<Cache<IngressClass>>,
    /// The children's namespace.
    pub namespaces: Arc<Cache<Namespace>>,
    slices: Arc<Cache<EndpointSlice>>,
    slice_names: Mutex<HashMap<String, HashSet<String>>>,
}

/// Whom the caches tell of changes.
#[derive(Clone, Debug)]
pub struct Listeners {
    /// Names of Ephemerons that have something to be looked at.
    pub names: mpsc::UnboundedSender<String>,
    /// What routing is chosen from has changed.
    pub routing: Arc<Notify>,
}

impl Listeners {
    /// Has the Ephemeron of this name looked at.
    pub fn name(&self, name: impl Into<String>) {
        // The receiver is gone only when the controller stops.
        let _ = self.names.send(name.into());
    }

    /// Has the Ephemeron that owns a child looked at. The name is enough: whose it really is, is
    /// decided by UIDs.
    fn owner<K: Resource>(&self) -> impl Fn(&K) + Send + 'static + use<K> {
        let told = self.clone();
        move |child| {
            if let Some(name) = child.labels().get(NAME_LABEL) {
                told.name(name);
            }
        }
    }

    /// Has the routing chosen anew.
    fn routing<K>(&self) -> impl Fn(&K) + Send + 'static + use<K> {
        let told = Arc::clone(&self.routing);
        move |_| told.notify_one()
    }
}

impl Caches {
    /// The endpoint slices of a Service.
    #[must_use]
    pub fn slices_of(&self, service: &str) -> Vec<Arc<EndpointSlice>> {
        let index = self.slice_names.lock().unwrap_or_else(PoisonError::into_inner);
        index.get(service).into_iter().flatten().filter_map(|name| self.slices.get(name)).collect()
    }

    fn index(&self, slice: &EndpointSlice) -> Option<String> {
        let service = slice.labels().get(SERVICE_NAME_LABEL)?.clone();
        let name = slice.name_any();
        let mut index = self.slice_names.lock().unwrap_or_else(PoisonError::into_inner);
        if self.slices.get(&name).is_some() {
            index.entry(service.clone()).or_default().insert(name);
        } else if let Some(names) = index.get_mut(&service) {
            names.remove(&name);
            if names.is_empty() {
                index.remove(&service);
            }
        }
        Some(service)
    }

    /// Returns once everything that decisions rest on has been listed.
    pub async fn synced(&self) {
        let Self { ephemerons, pods, services, http_routes, ingresses, slices, .. } = self;
        tokio::join!(
            ephemerons.synced(),
            pods.synced(),
            services.synced(),
            http_routes.synced(),
            ingresses.synced(),
            slices.synced(),
            self.routing_synced(),
        );
    }

    /// Returns once everything that routing is chosen from has been listed.
    pub async fn routing_synced(&self) {
        let Self { gateways, gateway_classes, ingress_classes, namespaces, .. } = self;
        tokio::join!(
            gateways.synced(),
            gateway_classes.synced(),
            ingress_classes.synced(),
            namespaces.synced(),
        );
    }

    /// Starts to watch everything. The Gateway API's kinds wait for `gateway_api` to turn true;
    /// until then they count as listed, with nothing in them.
    pub fn watch(
        self: &Arc<Self>,
        client: &Client,
        settings: &Settings,
        gateway_api: &watch::Receiver<bool>,
        listeners: &Listeners,
        tasks: &mut JoinSet<()>,
    ) {
        let mut watches = Watches { client, namespace: &settings.namespace, gateway_api, tasks };
        let all = watcher::Config::default();

        let told = listeners.clone();
        let ephemerons = all.clone().labels(&settings.selector);
        let always = Served::Always;
        watches.cluster(&self.ephemerons, ephemerons, always, |_| {}, move |object| told.name(object.name()));
        watches.children(&self.pods, always, prune_pod, listeners.owner());
        watches.children(&self.services, always, |_| {}, listeners.owner());
        watches.children(&self.ingresses, always, |_| {}, listeners.owner());
        watches.children(&self.http_routes, Served::WithGatewayApi, |_| {}, listeners.owner());
        let (caches, told) = (Arc::clone(self), listeners.clone());
        watches.children(
            &self.slices,
            always,
            |_| {},
            move |slice| {
                if let Some(service) = caches.index(slice) {
                    told.name(service);
                }
            },
        );

        let own = all.clone().fields(&format!("metadata.name={}", settings.namespace));
        watches.cluster(&self.namespaces, own, always, |_| {}, listeners.routing());
        watches.cluster(&self.ingress_classes, all.clone(), always, |_| {}, listeners.routing());
        let gateways = Api::all(client.clone());
        let with_api = Served::WithGatewayApi;
        watches.cluster(&self.gateway_classes, all.clone(), with_api, |_| {}, listeners.routing());
        watches.keep(&self.gateways, gateways, all, with_api, |_| {}, listeners.routing());
    }
}

/// Whether a kind is there in every cluster.
#[derive(Clone, Copy)]
enum Served {
    Always,
    WithGatewayApi,
}

struct Watches<'a> {
    client: &'a Client,
    namespace: &'a str,
    gateway_api: &'a watch::Receiver<bool>,
    tasks: &'a mut JoinSet<()>,
}

impl Watches<'_> {
    fn children<K>(
        &mut self,
        cache: &Arc<Cache<K>>,
        served: Served,
        prune: fn(&mut K),
        changed: impl Fn(&K) + Send + 'static,
    ) where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let ours = watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGER}"));
        let api = Api::namespaced(self.client.clone(), self.namespace);
        self.keep(cache, api, ours, served, prune, changed);
    }

    fn cluster<K>(
        &mut self,
        cache: &Arc<Cache<K>>,
        config: watcher::Config,
        served: Served,
        prune: fn(&mut K),
        changed: impl Fn(&K) + Send + 'static,
    ) where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let api = Api::all(self.client.clone());
        self.keep(cache, api, config, served, prune, changed);
    }

    fn keep<K>(
        &mut self,
        cache: &Arc<Cache<K>>,
        api: Api<DeserializeGuard<K>>,
        config: watcher::Config,
        served: Served,
        prune: fn(&mut K),
        changed: impl Fn(&K) + Send + 'static,
    ) where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let mut gateway_api = self.gateway_api.clone();
        let wait = matches!(served, Served::WithGatewayApi);
        if wait && !*gateway_api.borrow() {
            cache.not_served();
        }
        let start = async move {
            if wait {
                // An error means that the sender, and the controller with it, is gone.
                let _ = gateway_api.wait_for(|served| *served).await;
            }
        };
        self.tasks.spawn(cache::keep(Arc::clone(cache), api, config, start, prune, changed));
    }
}

/// A Pod's spec and most of its status are never read again.
fn prune_pod(pod: &mut Pod) {
    pod.metadata.annotations = None;
    if let Some(spec) = &mut pod.spec {
        *spec = PodSpec { node_name: spec.node_name.take(), ..PodSpec::default() };
    }
    if let Some(status) = &mut pod.status {
        status.pod_ips = None;
        status.host_ips = None;
    }
}
