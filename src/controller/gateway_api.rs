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

/// How soon to ask while a definition is being established; then twice as long each time.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How often to ask where definitions may not be watched, and at the least while one is there.
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
        pause = tokio::select! {
            // A definition may be there for good without the version that we speak.
            () = time::sleep(pause) => pause.saturating_mul(2).min(ASK_AGAIN_UNWATCHED),
            event = events.next() => match event {
                Some(Ok(Event::Apply(_) | Event::InitApply(_))) => ASK_AGAIN,
                Some(Ok(Event::Init | Event::Delete(_))) => Duration::MAX,
                Some(Ok(Event::InitDone)) => pause,
                Some(Err(_)) | None => ASK_AGAIN_UNWATCHED,
            },
        };
    }
    served.send_replace(true);
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use http::{Request, Response, StatusCode};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_definition_without_our_version_is_not_asked_for_every_second() {
        let (service, handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let definition =
            json!({"metadata": {"name": HttpRoute::crd_name(), "resourceVersion": "1", "uid": "u"}});
        let list = json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"resourceVersion": "1"}, "items": [definition],
        });
        let missing = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404});
        let server = async {
            let mut handle = pin!(handle);
            let (mut asked, mut watches) = (0, Vec::new());
            while let Some((request, send)) = handle.next_request().await {
                let (status, body) = match request.uri().path() {
                    "/apis/gateway.networking.k8s.io/v1" => (StatusCode::NOT_FOUND, &missing),
                    _ if request.uri().query().is_some_and(|query| query.contains("watch=true")) => {
                        watches.push(send);
                        continue;
                    }
                    _ => (StatusCode::OK, &list),
                };
                asked += usize::from(status == StatusCode::NOT_FOUND);
                assert!(asked < 30, "it is asked for again and again");
                let response =
                    Response::builder().status(status).body(Body::from(body.to_string().into_bytes()));
                send.send_response(response.expect("a response"));
            }
        };
        let (installed, _) = watch::channel(false);
        tokio::select! {
            () = await_served(Client::new(service, "default"), installed) => panic!("it is not served"),
            () = server => panic!("nobody asks any more"),
            // On the virtual clock.
            () = time::sleep(Duration::from_mins(10)) => {}
        }
    }
}
