//! What a backend itself does, and what it grants to its users.

use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::server::Server;
use crate::{Cases, cluster::until};

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("api::a_backend_sees_extends_and_deletes_what_is_its_users", |world| async move {
        let (cluster, server) = (&world.cluster, Server::start(&world).await);
        let (uid, other) = (cluster.name("u"), cluster.name("o"));
        let (token, others) = (server.token("shop", &uid).await, server.token("shop", &other).await);
        let app = server.app_token("shop").await;
        let mut followed = server.http.events("/events", &app).await;
        followed.until(|name, _| name == "ready").await;
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(server.create(&token, "missing").await);
        }
        let of_other = server.create(&others, "missing").await;
        followed.until(|_, data| data["id"] == of_other.as_str()).await;

        // Page by page.
        let mut listed: Vec<String> = Vec::new();
        let mut path = format!("/?user={uid}&limit=2");
        loop {
            let page = server.http.get(&path, &app).await;
            assert_eq!(page.status, 200, "{}", page.text);
            let services = page.json["services"].as_array().expect("a list").clone();
            listed.extend(services.iter().filter_map(|one| one["id"].as_str().map(Into::into)));
            let Some(next) = page.json["next"].as_str() else { break };
            assert_eq!(services.len(), 2);
            path = format!("/?user={uid}&limit=2&after={next}");
        }
        ids.sort();
        assert_eq!(listed, ids);
        for (query, count) in
            [("preset=missing", 5), ("preset=server", 0), ("phase=Available", 0), ("limit=3", 3)]
        {
            let page = server.http.get(&format!("/?user={uid}&{query}"), &app).await;
            assert_eq!(page.json["services"].as_array().map(Vec::len), Some(count), "{query}: {}", page.text);
        }

        let extended =
            server.http.patch(&format!("/?user={uid}"), &app, &json!({"lifetimeMinutes": 600})).await;
        assert_eq!(counts(&extended.json), (5, 5, 0), "{}", extended.text);
        let end = |id: &str| {
            let (server, token, path) = (&server, &token, format!("/{id}"));
            async move { server.http.get(&path, token).await.json["expirationTime"].clone() }
        };
        assert_eq!(end(&ids[0]).await, end(&ids[4]).await);

        // A user's token is not enough, and all of them are meant only by saying so.
        assert_eq!(server.http.delete(&format!("/?user={uid}"), &token).await.status, 403);
        assert_eq!(server.http.get(&format!("/?user={other}"), &token).await.status, 403);
        assert_eq!(server.http.delete("/", &app).await.status, 400);
        let strangers = server.app_token("other").await;
        let none = server.http.delete(&format!("/?user={uid}.shop"), &strangers).await;
        assert_eq!(counts(&none.json), (0, 0, 0), "{}", none.text);

        let deleted = server.http.delete(&format!("/?user={uid}"), &app).await;
        assert_eq!(counts(&deleted.json), (5, 5, 0), "{}", deleted.text);
        for id in &ids {
            cluster.gone(&cluster.ephemerons(), id).await;
        }
        assert!(cluster.ephemeron(&of_other).await.is_some(), "others' stay");
        server.http.delete(&format!("/{of_other}"), &others).await;
        server.stop().await;
    });

    cases.add("api::logs_are_read_and_followed_by_those_who_may", |world| async move {
        let server = Server::start(&world).await;
        let (granted, not) = (server.token("other", "ivan").await, server.token("shop", "ivan").await);
        let (id, own) = (server.create(&granted, "server").await, server.create(&not, "server").await);
        server.available(&granted, &id).await;
        server.available(&not, &own).await;
        let path = format!("/{id}/logs");
        let log = until("there is a log", || async {
            let answer = server.http.get(&path, &granted).await;
            (answer.status == 200 && !answer.text.is_empty()).then_some(answer)
        })
        .await;
        assert_eq!(log.headers["content-type"], "text/plain; charset=utf-8");
        let last = server.http.get(&format!("{path}?tail=1"), &granted).await;
        assert_eq!(last.text.lines().count(), 1, "{}", last.text);
        for (query, status) in
            [("container=none", 404), ("tail=-1", 400), ("tail=many", 400), ("follow=perhaps", 400)]
        {
            let answer = server.http.get(&format!("{path}?{query}"), &granted).await;
            assert_eq!(answer.status, status, "{query}: {}", answer.text);
        }
        let refused = server.http.get(&format!("/{own}/logs"), &not).await;
        assert_eq!(refused.status, 403, "{}", refused.text);
        let backend = server.app_token("shop").await;
        assert_eq!(server.http.get(&format!("/{own}/logs"), &backend).await.status, 200);
        // Followed until the service is gone.
        let follow = format!("{path}?follow=true");
        let (followed, deleted) = tokio::join!(server.http.get(&follow, &granted), async {
            until("somebody follows", || async {
                let metrics = server.health().await.get("/metrics", "").await;
                metrics.text.contains("ephemeron_api_streams 1").then_some(())
            })
            .await;
            server.http.delete(&format!("/{id}"), &granted).await
        });
        assert_eq!((followed.status.as_u16(), deleted.status.as_u16()), (200, 204));
        server.http.delete(&format!("/{own}"), &not).await;
        server.stop().await;
    });

    cases.add("api::a_service_of_the_earlier_implementation_is_its_users", |world| async move {
        let (cluster, server) = (&world.cluster, Server::start(&world).await);
        let name = cluster.name("old");
        let manifest = crate::life::manifest(&name, "1h", "")
            .replace("labels: {}", "annotations: {ephemerons.qualified.io/created-by: judy.shop}");
        cluster.apply(&manifest).await.expect("it is accepted");
        let token = server.token("shop", "judy").await;
        let path = format!("/{name}");
        assert_eq!(server.http.get(&path, &token).await.status, 200);
        let list = server.http.get("/", &token).await;
        assert!(list.text.contains(&name), "{}", list.text);
        assert_eq!(server.http.get(&path, &server.token("shop", "mallory").await).await.status, 403);
        assert_eq!(server.http.delete(&path, &token).await.status, 204);
        // One that nobody created through the API is nobody's.
        let name = cluster.name("nobodys");
        cluster.apply(&crate::life::manifest(&name, "1h", "")).await.expect("it is accepted");
        for token in [token, server.app_token("shop").await] {
            assert_eq!(server.http.get(&format!("/{name}"), &token).await.status, 403);
        }
        let labels = cluster.ephemeron(&name).await.map(|one| one.labels().clone());
        assert_eq!(labels, Some(std::collections::BTreeMap::new()), "and stays as it is");
        cluster.delete(&name).await;
        server.stop().await;
    });
}

fn counts(outcome: &Value) -> (u64, u64, u64) {
    let count = |name: &str| outcome[name].as_u64().unwrap_or(u64::MAX);
    (count("matched"), count("done"), count("failed"))
}
