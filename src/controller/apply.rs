//! The only place that writes children: makes what is missing, mends what was changed, and never
//! touches what is not ours.

mod child;
mod mending;

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use gateway_api::httproutes::HttpRoute;
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    networking::v1::Ingress,
};
use kube::{Client, ResourceExt as _};

use super::{
    attempts::{self, Pick},
    caches::Caches,
    desired::{Desired, DesiredRoute},
    observe::Observed,
    ownership::{Whose, whose},
    routing::Routing,
};
use crate::resource::{Ephemeron, conditions::Reason};

pub use child::{ApplyError, delete, refusal};
use child::{Writer, bring_about, relabel};
pub use mending::Mending;

/// A predecessor's Pod that is still there so long after it should have ended is on a lost node: its
/// name is not waited for any longer.
const STUCK_AFTER: TimeDelta = TimeDelta::seconds(10);
/// How many names of Pods are tried at once.
const NAMES_TRIED: u32 = 3;

/// One child after an attempt to bring it about.
#[derive(Clone, Debug)]
pub enum Child<K> {
    /// It is there and as it should be.
    Ours(Arc<K>),
    /// One of its name, ours or a predecessor's, is still being deleted.
    Going,
    /// One of its name belongs to somebody else.
    Taken,
    /// One of its name is ours but cannot be read; it is made anew.
    Unreadable(String),
    /// The API server does not let it be made: what kind of refusal it is, and the server's words.
    Refused(Reason, String),
}

/// The children after an attempt to bring them about.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The Pod.
    pub pod: Child<Pod>,
    /// Whether another Pod was made in the place of one that is of no use any more.
    pub replaced: bool,
    /// When to look again: to make the next Pod, or to set right what is changed again and again.
    pub again: Option<DateTime<Utc>>,
    /// The Service.
    pub service: Child<Service>,
    /// The HTTPRoute, where there should be one.
    pub http_route: Option<Child<HttpRoute>>,
    /// The Ingress, where there should be one.
    pub ingress: Option<Child<Ingress>>,
}

impl Applied {
    /// Whether every child that should be there is.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.pod.is_ours()
            && self.service.is_ours()
            && self.http_route.as_ref().is_none_or(Child::is_ours)
            && self.ingress.as_ref().is_none_or(Child::is_ours)
    }
}

impl<K> Child<K> {
    fn is_ours(&self) -> bool {
        matches!(self, Self::Ours(_))
    }
}

/// Brings the children about, all at once.
///
/// # Errors
///
/// A request that failed for another reason than the API server's refusal of the object.
pub async fn apply(
    client: &Client,
    caches: &Caches,
    mending: &Mending,
    owner: &Ephemeron,
    desired: Desired,
    observed: &Observed,
    now: DateTime<Utc>,
) -> Result<Applied, ApplyError> {
    let writer = &Writer::new(client, owner, mending, now);
    let pods: Vec<Arc<Pod>> =
        observed.pods.iter().filter(|pod| whose(pod.as_ref(), owner) == Whose::Ours).cloned().collect();
    // The installation's template is for Pods that are made: what it says of labels may be new.
    let labels = desired.service.metadata.labels.iter().chain(owner.spec.pod_labels());
    let labels = labels.flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    // Before the Service selects by them.
    for pod in &pods {
        relabel(writer, &caches.pods, pod, &labels).await?;
    }
    let route = Box::pin(async {
        Ok(match desired.route {
            Some(DesiredRoute::HttpRoute(route)) => {
                let live = observed.http_route.as_ref();
                (Some(bring_about(writer, &caches.http_routes, route, live).await?), None)
            }
            Some(DesiredRoute::Ingress(ingress)) => {
                let live = observed.ingress.as_ref();
                (None, Some(bring_about(writer, &caches.ingresses, ingress, live).await?))
            }
            None => (None, None),
        })
    });
    // Boxed: their states hold whole documents, and every reconcile that is under way has three.
    let (pod, service, route) = tokio::join!(
        Box::pin(pod(writer, caches, desired.pod, &pods, &labels)),
        Box::pin(bring_about(writer, &caches.services, desired.service, observed.service.as_ref())),
        route,
    );
    let ((pod, next_pod), (http_route, ingress)) = (pod?, route?);
    let again = next_pod.into_iter().chain(writer.again()).min();
    let replaced = !pods.is_empty()
        && matches!(&pod, Child::Ours(now) if !pods.iter().any(|known| known.uid() == now.uid()));
    Ok(Applied { pod, replaced, again, service: service?, http_route, ingress })
}

/// The Pod that runs the service: the one there is, or the next attempt.
async fn pod(
    writer: &Writer<'_>,
    caches: &Caches,
    desired: Pod,
    pods: &[Arc<Pod>],
    labels: &BTreeMap<String, String>,
) -> Result<(Child<Pod>, Option<DateTime<Utc>>), ApplyError> {
    let Writer { client, owner, now, .. } = *writer;
    for failed in attempts::replaced(pods) {
        delete(client, &caches.pods, owner, failed).await?;
    }
    let first = match attempts::pick(pods, now) {
        Pick::Live(pod) => return Ok((Child::Ours(pod), None)),
        Pick::Wait { last, until } => return Ok((Child::Ours(last), Some(until))),
        Pick::Make { attempt } => attempt,
    };
    for attempt in first..first.saturating_add(NAMES_TRIED) {
        let mut wanted = desired.clone();
        wanted.metadata.name = Some(attempts::name(owner.name(), attempt));
        if attempt > 0 {
            tracing::info!(ephemeron = owner.name(), pod = wanted.name_any(), "making another Pod");
        }
        match child::create(writer, &caches.pods, wanted).await? {
            (Child::Going, Some(live)) if is_stuck(&live, now) => {}
            // One of ours that the cache had lost sight of.
            (Child::Ours(pod), Some(_)) => {
                relabel(writer, &caches.pods, &pod, labels).await?;
                return Ok((Child::Ours(pod), None));
            }
            (child, _) => return Ok((child, None)),
        }
    }
    Ok((Child::Going, None))
}

fn is_stuck(pod: &Pod, now: DateTime<Utc>) -> bool {
    // With a Pod, this is the time by which it should have ended.
    let due = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0.as_second());
    due.is_some_and(|due| now.timestamp() > due + STUCK_AFTER.num_seconds())
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
