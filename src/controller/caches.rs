//! Every kind that the controller watches, and whom a change of one concerns.

mod read;

use std::{fmt::Debug, sync::Arc};

use gateway_api::{gatewayclasses::GatewayClass, gateways::Gateway, httproutes::HttpRoute};
use k8s_openapi::api::{
    core::v1::{Namespace, Pod, Service},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressClass},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{ClusterResourceScope, NamespaceResourceScope},
    runtime::watcher,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
};

pub use read::without_rendering;
use read::{
    ingress_hosts, only_ingress_hosts, only_route_hosts, preset_of, prune_pod, prune_slice, route_hosts,
};

use super::{
    attempts,
    metrics::Metrics,
    ownership::{Whose, whose},
    settings::Settings,
};
use crate::{
    cache::{self, Cache, Trouble},
    health::Readiness,
    resource::{Ephemeron, MANAGED_BY_LABEL, MANAGER},
};

/// The label that the endpoint slice controller puts the Service's name into.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Objects in one page of a list: enough that thousands are there in a few round trips, and few enough
/// that one page is decoded in little memory.
const PAGE: u32 = 2_000;

/// All caches of a controller. What is not known to be in the children's namespace has keys of the
/// form namespace/name.
#[derive(Debug)]
pub struct Caches {
    /// The Ephemerons, in groups by the preset that they ask for; without what it has said.
    pub ephemerons: Arc<Cache<Ephemeron>>,
    /// The Pods, in groups by the Ephemeron that they run.
    pub pods: Arc<Cache<Pod>>,
    /// The Services, each by the name that it shares with its Ephemeron.
    pub services: Arc<Cache<Service>>,
    /// The HTTPRoutes, likewise.
    pub http_routes: Arc<Cache<HttpRoute>>,
    /// The Ingresses, likewise.
    pub ingresses: Arc<Cache<Ingress>>,
    /// The endpoint slices, in groups by their Service.
    pub slices: Arc<Cache<EndpointSlice>>,
    /// The HTTPRoutes of others, in groups by their hosts.
    pub foreign_http_routes: Foreign<HttpRoute>,
    /// The Ingresses of others, likewise.
    pub foreign_ingresses: Foreign<Ingress>,
    /// The Gateways of the cluster.
    pub gateways: Arc<Cache<Gateway>>,
    /// Their classes.
    pub gateway_classes: Arc<Cache<GatewayClass>>,
    /// The classes of Ingresses.
    pub ingress_classes: Arc<Cache<IngressClass>>,
    /// The children's namespace.
    pub namespaces: Arc<Cache<Namespace>>,
}

/// What others have of a kind. In the children's namespace that is what lacks our label, in all others
/// everything: another installation has the same label.
#[derive(Debug)]
pub struct Foreign<K> {
    here: Arc<Cache<K>>,
    elsewhere: Arc<Cache<K>>,
}

impl<K: cache::Kind> Foreign<K> {
    fn new(cache: impl Fn() -> Cache<K>) -> Self {
        Self { here: Arc::new(cache()), elsewhere: Arc::new(cache()) }
    }

    /// The one of a host that an Ephemeron does not own, as kind namespace/name.
    fn holder_of(&self, host: &str, owner: &Ephemeron) -> Option<String>
    where
        K: Resource<DynamicType = ()>,
    {
        // One of ours that has lost its labels is not somebody else's.
        let found = [&self.here, &self.elsewhere].into_iter().flat_map(|cache| cache.group(host));
        let object = found.into_iter().find(|object| whose(object.as_ref(), owner) != Whose::Ours)?;
        let namespace = object.namespace().unwrap_or_default();
        Some(format!("{} {namespace}/{}", K::kind(&()), object.name_any()))
    }

    async fn synced(&self) {
        tokio::join!(self.here.synced(), self.elsewhere.synced());
    }
}

impl Default for Caches {
    fn default() -> Self {
        let of_service =
            |slice: &EndpointSlice| slice.labels().get(SERVICE_NAME_LABEL).cloned().into_iter().collect();
        Self {
            ephemerons: Arc::new(Cache::grouped(preset_of).pruned(without_rendering)),
            pods: Arc::new(
                Cache::grouped(|pod: &Pod| vec![attempts::ephemeron_of(&pod.name_any()).into()])
                    .pruned(prune_pod),
            ),
            services: Arc::default(),
            http_routes: Arc::default(),
            ingresses: Arc::default(),
            slices: Arc::new(Cache::grouped(of_service).pruned(prune_slice)),
            foreign_http_routes: Foreign::new(|| {
                Cache::across_namespaces(route_hosts).pruned(only_route_hosts)
            }),
            foreign_ingresses: Foreign::new(|| {
                Cache::across_namespaces(ingress_hosts).pruned(only_ingress_hosts)
            }),
            gateways: Arc::new(Cache::across_namespaces(|_| Vec::new())),
            gateway_classes: Arc::default(),
            ingress_classes: Arc::default(),
            namespaces: Arc::default(),
        }
    }
}

/// Whom the caches tell of changes.
#[derive(Clone)]
pub struct Listeners {
    /// Names of Ephemerons that have something to be looked at.
    pub names: mpsc::UnboundedSender<String>,
    /// Ephemerons that are gone.
    pub gone: mpsc::UnboundedSender<Arc<Ephemeron>>,
    /// What routing is chosen from has changed.
    pub routing: Arc<Notify>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is waited for.
    pub readiness: Readiness,
}

impl Listeners {
    /// Has the Ephemeron of this name looked at.
    pub fn name(&self, name: impl Into<String>) {
        // The receiver is gone only when the controller stops.
        let _ = self.names.send(name.into());
    }

    /// Has the Ephemeron that owns a child looked at, and the one of the child's own name, which may
    /// wait for that name. Whose a child really is, is decided by UIDs.
    pub fn owner<K: Resource>(&self) -> impl Fn(&K) + Send + 'static + use<K> {
        let told = self.clone();
        move |child| {
            let name = child.name_any();
            let holder = attempts::ephemeron_of(&name);
            told.name(holder);
            let owners = child.owner_references().iter().filter(|owner| owner.kind == Ephemeron::kind(&()));
            owners.filter(|owner| owner.name != holder).for_each(|owner| told.name(&owner.name));
        }
    }

    /// Has an Ephemeron looked at, and its end told.
    pub fn ephemeron(&self, caches: &Caches) -> impl Fn(&Ephemeron) + Send + 'static + use<> {
        let (told, cache) = (self.clone(), Arc::clone(&caches.ephemerons));
        move |object| {
            told.name(object.name());
            // Another of the same name may have taken its place; or it lives on as what cannot be read.
            let is_gone = cache.uid(object.name()).as_deref() != Some(object.uid());
            if is_gone && !cache.is_unreadable(object.name()) {
                // The receiver is gone only when the controller stops.
                let _ = told.gone.send(Arc::new(object.clone()));
            }
        }
    }

    /// Has the Ephemeron looked at whose Service an endpoint slice belongs to.
    pub fn service(&self) -> impl Fn(&EndpointSlice) + Send + 'static + use<> {
        let told = self.clone();
        move |slice| {
            if let Some(service) = slice.labels().get(SERVICE_NAME_LABEL) {
                told.name(service);
            }
        }
    }

    /// Has the Ephemerons looked at whose hosts an object of somebody else has or had.
    fn hosts<K: 'static>(
        &self,
        caches: &Arc<Caches>,
        hosts: fn(&K) -> Vec<String>,
    ) -> impl Fn(&K) + Send + 'static + use<K> {
        let (told, caches) = (self.clone(), Arc::clone(caches));
        move |object| {
            for host in hosts(object) {
                // Every host begins with its Ephemeron's name.
                let name = host.split('.').next().unwrap_or_default();
                if caches.ephemerons.uid(name).is_some() {
                    told.name(name);
                }
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
    /// The HTTPRoute or Ingress of somebody else that has this host, as kind namespace/name.
    #[must_use]
    pub fn holder_of(&self, host: &str, owner: &Ephemeron) -> Option<String> {
        let route = self.foreign_http_routes.holder_of(host, owner);
        route.or_else(|| self.foreign_ingresses.holder_of(host, owner))
    }

    /// Returns once everything that decisions rest on has been listed.
    pub async fn synced(&self) {
        let Self { ephemerons, pods, services, http_routes, ingresses, slices, .. } = self;
        let Self { foreign_http_routes, foreign_ingresses, .. } = self;
        tokio::join!(
            foreign_http_routes.synced(),
            foreign_ingresses.synced(),
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
        let namespace = &settings.namespace;
        let mut watches = Watches { client, namespace, gateway_api, listeners, tasks };
        let all = watcher::Config::default().page_size(PAGE);

        let ephemerons = all.clone().labels(&settings.selector.to_string());
        let always = Served::Always;
        watches.cluster(&self.ephemerons, ephemerons, always, listeners.ephemeron(self));
        watches.children(&self.pods, always, listeners.owner());
        watches.children(&self.services, always, listeners.owner());
        watches.children(&self.ingresses, always, listeners.owner());
        watches.children(&self.http_routes, Served::WithGatewayApi, listeners.owner());
        watches.children(&self.slices, always, listeners.service());

        let with_api = Served::WithGatewayApi;
        watches.foreign(&self.foreign_ingresses, always, || listeners.hosts(self, ingress_hosts));
        watches.foreign(&self.foreign_http_routes, with_api, || listeners.hosts(self, route_hosts));

        let own = all.clone().fields(&format!("metadata.name={}", settings.namespace));
        watches.cluster(&self.namespaces, own, always, listeners.routing());
        watches.cluster(&self.ingress_classes, all.clone(), always, listeners.routing());
        let gateways = Api::all(client.clone());
        watches.cluster(&self.gateway_classes, all.clone(), with_api, listeners.routing());
        watches.keep(&self.gateways, gateways, all, with_api, listeners.routing());
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
    listeners: &'a Listeners,
    tasks: &'a mut JoinSet<()>,
}

impl Watches<'_> {
    fn children<K>(&mut self, cache: &Arc<Cache<K>>, served: Served, changed: impl Fn(&K) + Send + 'static)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: cache::Kind + Clone + Debug + Send + Sync + 'static,
    {
        let ours =
            watcher::Config::default().page_size(PAGE).labels(&format!("{MANAGED_BY_LABEL}={MANAGER}"));
        let api = Api::namespaced(self.client.clone(), self.namespace);
        self.keep(cache, api, ours, served, changed);
    }

    fn foreign<K, C>(&mut self, foreign: &Foreign<K>, served: Served, changed: impl Fn() -> C)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: cache::Kind + Clone + Debug + Send + Sync + 'static,
        C: Fn(&K) + Send + 'static,
    {
        let all = || watcher::Config::default().page_size(PAGE);
        let here = all().labels(&format!("{MANAGED_BY_LABEL}!={MANAGER}"));
        let api = Api::namespaced(self.client.clone(), self.namespace);
        self.keep(&foreign.here, api, here, served, changed());
        let elsewhere = all().fields(&format!("metadata.namespace!={}", self.namespace));
        self.keep(&foreign.elsewhere, Api::all(self.client.clone()), elsewhere, served, changed());
    }

    fn cluster<K>(
        &mut self,
        cache: &Arc<Cache<K>>,
        config: watcher::Config,
        served: Served,
        changed: impl Fn(&K) + Send + 'static,
    ) where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>,
        K: cache::Kind + Clone + Debug + Send + Sync + 'static,
    {
        let api = Api::all(self.client.clone());
        self.keep(cache, api, config, served, changed);
    }

    fn keep<K>(
        &mut self,
        cache: &Arc<Cache<K>>,
        api: Api<cache::Guard<K>>,
        config: watcher::Config,
        served: Served,
        changed: impl Fn(&K) + Send + 'static,
    ) where
        K: Resource<DynamicType = ()> + cache::Kind + Clone + Debug + Send + Sync + 'static,
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
        let (metrics, readiness) = (Arc::clone(&self.listeners.metrics), self.listeners.readiness.clone());
        let trouble = Trouble::new("controller", K::kind(&()).into_owned(), metrics, readiness);
        self.tasks.spawn(cache::keep(Arc::clone(cache), api, config, start, changed, trouble));
    }
}
