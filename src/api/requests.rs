//! The only place that asks the API server for anything, but for the watch. Its own messages go to the log,
//! never to a caller.

use std::{future::Future, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use futures::AsyncBufRead;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::json;
use tokio::time;

use super::problem::Problem;
use crate::{
    client::root_cause,
    resource::{ACCEPTED_ANNOTATION, Ephemeron, NAME_LABEL},
};

/// In which the API server must answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The name under which fields are written.
const MANAGER: &str = "ephemeron-api";

/// The Ephemerons of the cluster, and what belongs to them.
#[derive(Clone)]
pub struct Ephemerons {
    client: Client,
    namespace: String,
}

/// A request that was not done.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The API server has said no, or was not reached.
    #[error("{}", root_cause(.0))]
    Failed(#[from] kube::Error),
    /// It has not answered in time.
    #[error("the API server has not answered within {TIMEOUT:?}")]
    TimedOut,
}

impl RequestError {
    fn code(&self) -> u16 {
        match self {
            Self::Failed(kube::Error::Api(status)) => status.code,
            _ => 0,
        }
    }

    /// Whether it was done all the same is not known.
    pub fn is_unclear(&self) -> bool {
        matches!(self.code(), 0 | 500..)
    }

    /// There is no such object.
    pub fn is_missing(&self) -> bool {
        self.code() == 404
    }

    /// The container has not started, or never ran.
    pub fn is_not_yet(&self) -> bool {
        matches!(self.code(), 400 | 404)
    }

    /// It has changed, or is there already.
    pub fn is_conflict(&self) -> bool {
        self.code() == 409
    }
}

/// A problem with the API server, told to a caller; the log has its words.
pub fn away(what: &str, error: &RequestError) -> Problem {
    let remedy = match error.code() {
        403 => "apply k8s/api/sa.yaml: a permission is missing",
        404 => "apply k8s/ephemerons.yaml: the definition is missing",
        400 | 422 => "a preset of EPHEMERON_CONFIG is not a valid spec.service",
        _ => "see the API server",
    };
    tracing::warn!(%error, remedy, "cannot {what}");
    Problem::unavailable(format!("the cluster does not let us {what} at the moment: try again"))
}

async fn timed<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, RequestError> {
    Ok(time::timeout(TIMEOUT, request).await.map_err(|_| RequestError::TimedOut)??)
}

impl Ephemerons {
    /// Of the cluster that this client speaks to; Pods are in `namespace`.
    #[must_use]
    pub fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace }
    }

    fn api(&self) -> Api<Ephemeron> {
        Api::all(self.client.clone())
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// The request.
    pub async fn get(&self, id: &str) -> Result<Option<Ephemeron>, RequestError> {
        timed(self.api().get_opt(id)).await
    }

    /// Creates one.
    ///
    /// # Errors
    ///
    /// The request; a conflict where there is one of this name.
    pub async fn create(&self, ephemeron: &Ephemeron) -> Result<Ephemeron, RequestError> {
        let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        timed(self.api().create(&params, ephemeron)).await
    }

    /// Sets the end of this very version of one.
    ///
    /// # Errors
    ///
    /// The request; a conflict where it has changed since.
    pub async fn extend(&self, seen: &Ephemeron, end: DateTime<Utc>) -> Result<Ephemeron, RequestError> {
        let metadata = json!({"uid": seen.metadata.uid, "resourceVersion": seen.metadata.resource_version});
        let end = end.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let patch = Patch::Merge(json!({"metadata": metadata, "spec": {"expirationTime": end}}));
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        timed(self.api().patch(seen.name(), &params, &patch)).await
    }

    /// Marks one as accepted.
    ///
    /// # Errors
    ///
    /// The request; a conflict where another one has its name.
    pub async fn accept(&self, seen: &Ephemeron) -> Result<Ephemeron, RequestError> {
        let annotations = json!({ACCEPTED_ANNOTATION: "true"});
        let patch = Patch::Merge(json!({"metadata": {"uid": seen.metadata.uid, "annotations": annotations}}));
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        timed(self.api().patch(seen.name(), &params, &patch)).await
    }

    /// Deletes this very version of one.
    ///
    /// # Errors
    ///
    /// The request; a conflict where it has changed since.
    pub async fn delete_unchanged(&self, seen: &Ephemeron) -> Result<(), RequestError> {
        let resource_version = seen.metadata.resource_version.clone();
        let preconditions = Preconditions { uid: seen.metadata.uid.clone(), resource_version };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        timed(self.api().delete(seen.name(), &params)).await.map(drop)
    }

    /// Deletes this very one; returns it where somebody's finalizer keeps it for a while.
    ///
    /// # Errors
    ///
    /// The request; a conflict where another one has its name.
    pub async fn delete(&self, seen: &Ephemeron) -> Result<Option<Ephemeron>, RequestError> {
        let preconditions = Preconditions { uid: seen.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        Ok(timed(self.api().delete(seen.name(), &params)).await?.left())
    }

    /// How many there are at this moment with a label: the newest state, not a cached one.
    ///
    /// # Errors
    ///
    /// The request.
    pub async fn count(&self, label: &str, value: &str) -> Result<usize, RequestError> {
        // Without a resource version the most recent state is listed:
        // https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list
        let params = ListParams::default().labels(&format!("{label}={value}"));
        Ok(timed(self.api().list_metadata(&params)).await?.items.len())
    }

    /// The values that a preset has said are secret.
    ///
    /// # Errors
    ///
    /// The request.
    pub async fn secret(&self, name: &str) -> Result<Option<Secret>, RequestError> {
        timed(Api::namespaced(self.client.clone(), &self.namespace).get_opt(name)).await
    }

    /// The newest Pod that a service owns.
    ///
    /// # Errors
    ///
    /// The request.
    pub async fn pod(&self, of: &Ephemeron) -> Result<Option<Pod>, RequestError> {
        let params = ListParams::default().labels(&format!("{NAME_LABEL}={}", of.name()));
        let pods = timed(Api::<Pod>::namespaced(self.client.clone(), &self.namespace).list(&params)).await?;
        let owned = |pod: &Pod| {
            pod.metadata
                .owner_references
                .iter()
                .flatten()
                .any(|owner| Some(&owner.uid) == of.metadata.uid.as_ref())
        };
        let owned = pods.items.into_iter().filter(owned);
        Ok(owned.max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0)))
    }

    /// The log of a container, as it comes.
    ///
    /// # Errors
    ///
    /// The request.
    pub async fn log(
        &self,
        pod: &str,
        params: &LogParams,
    ) -> Result<impl AsyncBufRead + Send + use<>, RequestError> {
        timed(Api::<Pod>::namespaced(self.client.clone(), &self.namespace).log_stream(pod, params)).await
    }
}
