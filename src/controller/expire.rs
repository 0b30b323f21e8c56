//! The end of a life: first the Ephemeron, then what hangs on it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future;
use kube::{
    Api, Client,
    api::{DeleteParams, Preconditions, PropagationPolicy},
    runtime::controller::Action,
};

use super::{
    apply::{self, ApplyError},
    caches::Caches,
    life::Lives,
    observe::{Observed, observe},
};
use crate::resource::Ephemeron;

/// When to look again if the Ephemeron changed at the last moment and its change does not show.
const CHANGED: Duration = Duration::from_secs(1);

/// The deletion failed.
#[derive(Debug, thiserror::Error)]
pub enum ExpireError {
    /// Of the Ephemeron.
    #[error("cannot delete the expired Ephemeron")]
    Ephemeron(#[source] Box<kube::Error>),
    /// Of a child; the garbage collector will follow.
    #[error("the Ephemeron is deleted; its children are left to the garbage collector")]
    Child(#[source] ApplyError),
}

impl ExpireError {
    /// Whether the API server has taken the request and said no; another attempt soon will not help.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        let Self::Ephemeron(error) = self else { return false };
        matches!(&**error, kube::Error::Api(status) if matches!(status.code, 400..=428 | 430..=499))
    }
}

/// Deletes an Ephemeron whose time is over.
///
/// Its own deletion decides: it carries the version on which the decision rests, so that an
/// extension that came first wins and finds a whole service. Then route and Pods go at once; the
/// Service, and what a crash in between leaves, is the garbage collector's, which removes only about
/// 20 objects a second.
///
/// # Errors
///
/// A request failed for another reason than that something changed or is gone already.
pub async fn expire(
    client: &Client,
    caches: &Caches,
    lives: &Lives,
    ephemeron: &Ephemeron,
    end: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Action, ExpireError> {
    let name = ephemeron.name();
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: ephemeron.metadata.uid.clone(),
            resource_version: ephemeron.metadata.resource_version.clone(),
        }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    match Api::<Ephemeron>::all(client.clone()).delete(name, &params).await {
        Ok(_) => lives.ended(ephemeron, end, now),
        // Gone before, by somebody, or by us with an answer that got lost: its event tells.
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(kube::Error::Api(status)) if status.code == 409 => return Ok(Action::requeue(CHANGED)),
        Err(error) => return Err(ExpireError::Ephemeron(Box::new(error))),
    }
    let observed = observe(caches, name);
    caches.ephemerons.missing(name, ephemeron.metadata.uid.as_deref());
    remove_children(client, caches, ephemeron, &observed).await?;
    Ok(Action::await_change())
}

/// Deletes route and Pods of an Ephemeron that is gone or going.
///
/// # Errors
///
/// A request failed for another reason than that the child is gone.
pub async fn remove_children(
    client: &Client,
    caches: &Caches,
    owner: &Ephemeron,
    observed: &Observed,
) -> Result<(), ExpireError> {
    let pods = observed.pods.iter().map(|pod| apply::delete(client, &caches.pods, owner, pod));
    let deleted = tokio::join!(
        async {
            match &observed.http_route {
                Some(route) => apply::delete(client, &caches.http_routes, owner, route).await,
                None => Ok(()),
            }
        },
        async {
            match &observed.ingress {
                Some(ingress) => apply::delete(client, &caches.ingresses, owner, ingress).await,
                None => Ok(()),
            }
        },
        future::join_all(pods),
    );
    let pods = deleted.2.into_iter().collect::<Result<(), _>>();
    deleted.0.and(deleted.1).and(pods).map_err(ExpireError::Child)
}
