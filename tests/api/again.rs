//! Requests that come again, and several processes.

use std::collections::BTreeSet;

use futures::future::join_all;
use http::Method;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{
    http::{Answer, Http, Sent},
    server::Server,
};
use crate::Cases;

/// Asks for a service by a key.
pub async fn create(http: &Http, token: &str, key: &str, body: &Value) -> Answer {
    let (body, headers) = (body.to_string(), [("Idempotency-Key", key)]);
    let sent = Sent { token: Some(token), body: Some(&body), headers: &headers };
    http.send(Method::POST, "/", sent).await
}

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("api::a_request_that_comes_again_creates_nothing_more", |world| async move {
        let (cluster, one, other) =
            (&world.cluster, Server::start(&world).await, Server::start(&world).await);
        let (token, stranger) = (one.token("shop", "erin").await, one.token("shop", "frank").await);
        let body = json!({"preset": "server", "lifetimeMinutes": 30});
        let servers = [&one, &other];
        let all = (0..12).map(|at| create(&servers[at % 2].http, &token, "order-7", &body));
        let answers = join_all(all).await;
        let ids: BTreeSet<_> =
            answers.iter().map(|answer| answer.json["id"].as_str().unwrap_or_default()).collect();
        let ends: BTreeSet<_> =
            answers.iter().map(|answer| answer.json["expirationTime"].to_string()).collect();
        assert!(answers.iter().all(|answer| answer.status == 202), "{answers:?}");
        assert_eq!((ids.len(), ends.len()), (1, 1), "{answers:?}");
        let id = ids.into_iter().next().expect("an id").to_owned();

        let changed = json!({"preset": "server", "lifetimeMinutes": 31});
        for server in servers {
            let answer = create(&server.http, &token, "order-7", &changed).await;
            assert_eq!(answer.status, 409, "{}", answer.text);
        }
        let of_stranger = create(&one.http, &stranger, "order-7", &body).await;
        assert_ne!(of_stranger.json["id"], id.as_str(), "a key is its user's");

        // While it is going away, the key is not free yet.
        let held = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/held"]}}));
        let (ephemerons, params) = (cluster.ephemerons(), PatchParams::default());
        ephemerons.patch(&id, &params, &held).await.expect("it is accepted");
        cluster.delete(&id).await;
        crate::cluster::until("it is told to come back", || async {
            let answer = create(&other.http, &token, "order-7", &body).await;
            (answer.status == 409 && answer.headers.contains_key("retry-after")).then_some(())
        })
        .await;
        let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        ephemerons.patch(&id, &params, &free).await.expect("it is accepted");
        let again = crate::cluster::until("it is created anew", || async {
            let answer = create(&other.http, &token, "order-7", &body).await;
            (answer.status == 202).then_some(answer)
        })
        .await;
        assert_eq!(again.json["id"], id.as_str());
        one.http.delete(&format!("/{id}"), &token).await;
        let strangers = of_stranger.json["id"].as_str().unwrap_or_default();
        one.http.delete(&format!("/{strangers}"), &stranger).await;
        one.stop().await;
        other.stop().await;
    });

    cases.add("api::what_one_process_creates_another_knows_at_once", |world| async move {
        let (one, other) = (Server::start(&world).await, Server::start(&world).await);
        let token = one.token("shop", "grace").await;
        for _ in 0..20 {
            let id = one.create(&token, "missing").await;
            let path = format!("/{id}");
            let read = other.http.get(&path, &token).await;
            assert_eq!(read.status, 200, "{}", read.text);
            let extended = other.http.patch(&path, &token, &json!({"lifetimeMinutes": 60})).await;
            assert_eq!(extended.status, 200, "{}", extended.text);
            assert_eq!(other.http.delete(&path, &token).await.status, 204);
            assert_eq!(other.http.get(&path, &token).await.status, 404);
        }
        one.stop().await;
        other.stop().await;
    });

    cases.add("api::an_end_tells_who_waits_to_come_back", |world| async move {
        let server = Server::with(&world, super::server::CONFIG, &[("EPHEMERON_API_DRAIN", "20s")]).await;
        let token = server.token("shop", "heidi").await;
        // It has a Pod that never becomes ready, and is not in trouble for a while.
        let id = server.create(&token, "missing").await;
        let mut events = server.http.events("/events", &token).await;
        events.until(|name, _| name == "ready").await;
        let path = format!("/{id}?wait=300");
        let (code, last, waited) = tokio::join!(
            server.stop(),
            events.until(|name, _| name == "end"),
            server.http.get(&path, &token)
        );
        assert_eq!(code, Some(0), "{}", server.said());
        assert!(last["reason"].as_str().is_some_and(|text| text.contains("connect again")), "{last}");
        assert_eq!(waited.status, 200, "{}", waited.text);
        assert!(events.is_over().await);
        world.cluster.delete(&id).await;
    });
}
