//! Whether the cluster serves the Gateway API, also when it is installed later.

use std::{pin::pin, time::Duration};

use futures::StreamExt as _;
use gateway_api::httproutes::HttpRoute;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, CustomResourceExt as _, Resource as _,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use tokio::{sync::watch, time};

/// How often to ask where definitions may not be watched, and while one is being established.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const ASK_AGAIN_UNWATCHED: Duration = Duration::from_mins(1);

/// Whether HTTPRoutes of the version that we speak are served.
///
/// # Errors
///
/// The API server cannot be asked.
pub async fn is_served(client: &Client) -> kube::Result<bool> {
    let version = HttpRoute::api_version(&());
    match client.list_api_group_resources(&version).await {
        Ok(resources) => Ok(resources.resources.iter().any(|one| one.kind == HttpRoute::kind(&()))),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

/// Turns `served` true once the Gateway API is served; waits for its definition to be installed.
pub async fn await_served(client: Client, served: watch::Sender<bool>) {
    let definitions: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client.clone());
    let this = watcher::Config::default().fields(&format!("metadata.name={}", HttpRoute::crd_name()));
    let mut events = pin!(watcher(definitions, this).default_backoff());
    let mut pause = ASK_AGAIN;
    while !matches!(is_served(&client).await, Ok(true)) {
        tokio::select! {
            () = time::sleep(pause) => {}
            event = events.next() => pause = match event {
                Some(Ok(Event::Apply(_) | Event::InitApply(_))) => ASK_AGAIN,
                Some(Ok(Event::Init | Event::Delete(_))) => Duration::MAX,
                Some(Ok(Event::InitDone)) => pause,
                Some(Err(_)) | None => ASK_AGAIN_UNWATCHED,
            },
        }
    }
    served.send_replace(true);
}
