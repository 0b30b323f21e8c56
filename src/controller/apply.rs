//! The only place that writes children: makes what is missing, mends what was changed, and never
//! touches what is not ours.

use std::{fmt::Debug, sync::Arc};

use gateway_api::httproutes::HttpRoute;
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    networking::v1::Ingress,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, PostParams, Preconditions, PropagationPolicy},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    cache::Cache,
    caches::Caches,
    desired::{Desired, DesiredRoute},
    drift::Repair,
    observe::Observed,
    routing::Routing,
};
use crate::resource::{Ephemeron, MANAGER};

/// One child after an attempt to bring it about.
#[derive(Clone, Debug)]
pub enum Child<K> {
    /// It is there and as it should be.
    Ours(Arc<K>),
    /// One of its name, ours or a predecessor's, is still being deleted.
    Going,
    /// One of its name belongs to somebody else.
    Taken,
    /// The API server does not let it be made; it says why.
    Refused(String),
}

/// The children after an attempt to bring them about.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The Pod.
    pub pod: Child<Pod>,
    /// The Service.
    pub service: Child<Service>,
    /// What routes the host; None while nothing can.
    pub route: Option<AppliedRoute>,
}

/// The routing child after an attempt to bring it about.
#[derive(Clone, Debug)]
pub enum AppliedRoute {
    /// On a Gateway.
    HttpRoute(Child<HttpRoute>),
    /// By an ingress controller.
    Ingress(Child<Ingress>),
}

impl Applied {
    /// Whether every child that should be there is.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let route = match &self.route {
            None => true,
            Some(AppliedRoute::HttpRoute(child)) => child.is_ours(),
            Some(AppliedRoute::Ingress(child)) => child.is_ours(),
        };
        self.pod.is_ours() && self.service.is_ours() && route
    }
}

impl<K> Child<K> {
    fn is_ours(&self) -> bool {
        matches!(self, Self::Ours(_))
    }
}

/// A request for a child failed in a way that trying again may help.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} the {kind} {namespace}/{name}")]
pub struct ApplyError {
    verb: &'static str,
    kind: String,
    namespace: String,
    name: String,
    source: Box<kube::Error>,
}

/// Brings the children about, all at once.
///
/// # Errors
///
/// A request that failed for another reason than the API server's refusal of the object.
pub async fn apply(
    client: &Client,
    caches: &Caches,
    owner: &Ephemeron,
    desired: Desired,
    observed: &Observed,
) -> Result<Applied, ApplyError> {
    let route = Box::pin(async {
        Ok(match desired.route {
            Some(DesiredRoute::HttpRoute(route)) => Some(AppliedRoute::HttpRoute(
                child(client, &caches.http_routes, owner, route, observed.http_route.as_ref()).await?,
            )),
            Some(DesiredRoute::Ingress(ingress)) => Some(AppliedRoute::Ingress(
                child(client, &caches.ingresses, owner, ingress, observed.ingress.as_ref()).await?,
            )),
            None => None,
        })
    });
    // Boxed: their states hold whole documents, and every reconcile that is under way has three.
    let (pod, service, route) = tokio::join!(
        Box::pin(child(client, &caches.pods, owner, desired.pod, observed.pod.as_ref())),
        Box::pin(child(client, &caches.services, owner, desired.service, observed.service.as_ref())),
        route,
    );
    Ok(Applied { pod: pod?, service: service?, route: route? })
}

/// Deletes the routing child of the kind that is not in use any more.
///
/// # Errors
///
/// A request that failed for another reason than that the child is gone.
pub async fn prune(
    client: &Client,
    caches: &Caches,
    owner: &Ephemeron,
    routing: &Routing,
    observed: &Observed,
) -> Result<(), ApplyError> {
    match (routing, &observed.http_route, &observed.ingress) {
        (Routing::Gateway(_), _, Some(ingress)) => delete(client, &caches.ingresses, owner, ingress).await,
        (Routing::Ingress { .. }, Some(route), _) => delete(client, &caches.http_routes, owner, route).await,
        _ => Ok(()),
    }
}

/// Deletes a child of this Ephemeron, if it is this very one and still there.
///
/// # Errors
///
/// A request that failed for another reason than that the child is gone.
pub async fn delete<K: ChildKind>(
    client: &Client,
    cache: &Cache<K>,
    owner: &Ephemeron,
    child: &Arc<K>,
) -> Result<(), ApplyError> {
    if whose(child.as_ref(), owner) != Whose::Ours || child.meta().deletion_timestamp.is_some() {
        return Ok(());
    }
    let uid = child.uid();
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: uid.clone(), resource_version: None }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    match api(client, child.as_ref()).delete(&child.name_any(), &params).await {
        // 409: another object has the name by now.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
            cache.missing(&child.name_any(), uid.as_deref());
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(failed("delete", child.as_ref(), error)),
    }
}

/// What a kind needs to be a child.
pub trait ChildKind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Repair
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl ChildKind for Pod {}
impl ChildKind for Service {}
impl ChildKind for HttpRoute {}
impl ChildKind for Ingress {}

/// Whose an object is, by the UID of its controller: never by its name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Ours,
    /// An Ephemeron of the same name that is gone, or is going: the garbage collector follows.
    Predecessor,
    Foreign,
}

fn whose(object: &impl Resource, owner: &Ephemeron) -> Whose {
    let Some(controller) =
        object.owner_references().iter().find(|reference| reference.controller == Some(true))
    else {
        return Whose::Foreign;
    };
    let reference = owner.owner_reference();
    match (controller.kind == reference.kind, controller.uid == reference.uid) {
        (true, true) => Whose::Ours,
        (true, false) if controller.name == reference.name => Whose::Predecessor,
        _ => Whose::Foreign,
    }
}

async fn child<K: ChildKind>(
    client: &Client,
    cache: &Cache<K>,
    owner: &Ephemeron,
    desired: K,
    observed: Option<&Arc<K>>,
) -> Result<Child<K>, ApplyError> {
    match observed {
        Some(live) => settle(client, cache, owner, &desired, Arc::clone(live)).await,
        None => create(client, cache, owner, desired).await,
    }
}

/// Makes a child by POST, which cannot merge into an object that somebody else has under the name.
async fn create<K: ChildKind>(
    client: &Client,
    cache: &Cache<K>,
    owner: &Ephemeron,
    desired: K,
) -> Result<Child<K>, ApplyError> {
    let (api, name) = (api(client, &desired), desired.name_any());
    match api.create(&post_params(), &desired).await {
        Ok(made) => Ok(Child::Ours(cache.wrote(made))),
        Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => {
            match api.get_opt(&name).await {
                Ok(Some(live)) if whose(&live, owner) == Whose::Ours => {
                    settle(client, cache, owner, &desired, cache.wrote(live)).await
                }
                // Not taken into the cache: its watch need not see what is not ours.
                Ok(Some(live)) => settle(client, cache, owner, &desired, Arc::new(live)).await,
                // It went in between: its deletion, or the next attempt, leads on.
                Ok(None) => Ok(Child::Going),
                Err(error) => Err(failed("read", &desired, error)),
            }
        }
        Err(kube::Error::Api(status)) if is_refusal(status.code) => {
            Ok(Child::Refused(status.message.clone()))
        }
        Err(error) => Err(failed("create", &desired, error)),
    }
}

/// Deals with an object that has the child's name.
async fn settle<K: ChildKind>(
    client: &Client,
    cache: &Cache<K>,
    owner: &Ephemeron,
    desired: &K,
    live: Arc<K>,
) -> Result<Child<K>, ApplyError> {
    match whose(live.as_ref(), owner) {
        Whose::Foreign => return Ok(Child::Taken),
        Whose::Predecessor => return Ok(Child::Going),
        Whose::Ours if live.meta().deletion_timestamp.is_some() => return Ok(Child::Going),
        Whose::Ours => {}
    }
    let Some(repaired) = live.repaired(desired) else { return Ok(Child::Ours(live)) };
    tracing::info!(
        ephemeron = owner.name(),
        kind = %K::kind(&()),
        "somebody changed a child: setting it right"
    );
    // The live object's UID and resourceVersion go along: another object, or a newer state, answers 409.
    match api(client, desired).replace(&desired.name_any(), &post_params(), &repaired).await {
        Ok(mended) => Ok(Child::Ours(cache.wrote(mended))),
        Err(kube::Error::Api(status)) if status.code == 404 => {
            cache.missing(&desired.name_any(), live.meta().uid.as_deref());
            Err(failed("update", desired, kube::Error::Api(status)))
        }
        Err(kube::Error::Api(status)) if is_refusal(status.code) => {
            Ok(Child::Refused(status.message.clone()))
        }
        Err(error) => Err(failed("update", desired, error)),
    }
}

/// Whether the API server's answer is about the object, so that the same request will fail again.
fn is_refusal(code: u16) -> bool {
    matches!(code, 400 | 403 | 404 | 413 | 422)
}

fn api<K: ChildKind>(client: &Client, object: &K) -> Api<K> {
    Api::namespaced(client.clone(), &object.namespace().unwrap_or_default())
}

fn post_params() -> PostParams {
    PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() }
}

fn failed<K: ChildKind>(verb: &'static str, object: &K, source: kube::Error) -> ApplyError {
    ApplyError {
        verb,
        kind: K::kind(&()).into_owned(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        source: Box::new(source),
    }
}
