//! The life of a service, as a user's backend sees it.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::server::Server;
use crate::{Cases, life::all_gone};

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("api::the_contract_command_by_command", |world| async move {
        let server = Server::with(
            &world,
            &std::fs::read_to_string("k8s/api/config.yaml").expect("the sample"),
            &[("JWT_SECRET", "secret")],
        )
        .await;
        let api = server.http.address().to_owned();
        let script = format!(
            r#"
            login() {{ command curl -sf -X POST {api}/auth -H 'Content-Type: application/json' -d '{{"app":"example","key":"apikey","uid":"user"}}' | jq -r .token; }}
            TOKEN=$(login)
            answer=$(command curl -s -w '%{{http_code}}' -X POST {api}/ -H 'Content-Type: application/json' -H "Authorization: Bearer $TOKEN" -d '{{"preset":"nginx","lifetimeMinutes":30}}')
            [ "${{answer: -3}}" = 202 ]
            ID=$(jq -r .id <<<"${{answer%???}}")
            command curl -sf -H "Authorization: Bearer $TOKEN" {api}/$ID | jq -e --arg host $ID.localhost 'has("host") and (.host == null or .host == $host) and .tls == false'
            kubectl wait --for=condition=Available ephemeron/$ID --timeout=300s
            # What kubectl has seen the API may not know yet; and the token may be over.
            TOKEN=$(login)
            for attempt in {{1..60}}; do
                host=$(command curl -sf -H "Authorization: Bearer $TOKEN" "{api}/$ID?wait=60" | jq -er .host) && break || sleep 1
            done
            [ "$host" = "$ID.localhost" ]
            curl -s "$host" | grep "<h1>Welcome to nginx!</h1>"
            command curl -sf -X PATCH {api}/$ID -H 'Content-Type: application/json' -H "Authorization: Bearer $TOKEN" -d '{{"lifetimeMinutes":60}}' | jq -e .expirationTime
            [ "$(kubectl get eph $ID -o jsonpath='{{.metadata.annotations.ephemerons\.qualified\.io/created-by}}')" = user.example ]
            [ "$(command curl -s -o /dev/null -w '%{{http_code}}' -X DELETE -H "Authorization: Bearer $TOKEN" {api}/$ID)" = 204 ]
            [ "$(command curl -s -o /dev/null -w '%{{http_code}}' -H "Authorization: Bearer $TOKEN" {api}/$ID)" = 404 ]
            "#
        );
        let output = world.cluster.shell(&script).await;
        let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}\n{error}\n{}", server.said());
        for warning in ["JWT_SECRET has fewer than 32 characters", "has the key of the example"] {
            assert!(server.said().contains(warning), "{}", server.said());
        }
        server.stop().await;
    });

    cases.add("api::a_service_is_created_followed_extended_and_deleted", |world| async move {
        let (cluster, server) = (&world.cluster, Server::start(&world).await);
        let token = server.token_in("shop", "alice", "blue").await;
        let id = server.create(&token, "server").await;
        let mut events = server.http.events(&format!("/{id}/events"), &token).await;
        let mut all = server.http.events("/events", &token).await;
        let seen = events.until(|name, _| name == "service").await;
        assert_eq!(seen["id"], id.as_str());
        let service = server.available(&token, &id).await;
        assert_eq!(service["host"], format!("{id}.localhost"));
        assert_eq!((&service["preset"], &service["reason"]), (&json!("server"), &json!("Available")));
        assert!(service["user"].is_null(), "only a backend is told");
        let body = cluster.answers(&format!("http://{id}.localhost/"), None, 200).await;
        assert!(body.contains("hello from the API"), "{body}");
        let is_available = |name: &str, data: &serde_json::Value| {
            name == "service" && data["id"] == id.as_str() && data["service"]["phase"] == "Available"
        };
        events.until(is_available).await;
        all.until(is_available).await;

        // The group is on the Pod, for whoever counts.
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), "default");
        let label = ListParams::default().labels("ephemerons.qualified.io/group=blue.shop");
        let of_group = pods.list(&label).await.expect("a list");
        assert!(of_group.items.iter().any(|pod| pod.name_any().starts_with(&id)), "{id} is not in its group");

        let before = Utc::now();
        let extended = server.http.patch(&format!("/{id}"), &token, &json!({"lifetimeMinutes": 90})).await;
        assert_eq!(extended.status, 200, "{}", extended.text);
        let end: DateTime<Utc> =
            extended.json["expirationTime"].as_str().expect("a time").parse().expect("a time");
        assert!(end >= before + TimeDelta::minutes(90) - TimeDelta::seconds(1));
        let read = server.http.get(&format!("/{id}"), &token).await;
        assert_eq!(
            read.json["expirationTime"], extended.json["expirationTime"],
            "a write is seen by the next read"
        );

        // Others see nothing of it.
        for stranger in [server.token("shop", "bob").await, server.token("other", "alice").await] {
            for answer in [
                server.http.get(&format!("/{id}"), &stranger).await,
                server.http.get(&format!("/{id}?wait=10"), &stranger).await,
                server.http.get(&format!("/{id}/logs"), &stranger).await,
                server.http.get(&format!("/{id}/events"), &stranger).await,
                server.http.patch(&format!("/{id}"), &stranger, &json!({"lifetimeMinutes": 1})).await,
                server.http.delete(&format!("/{id}"), &stranger).await,
            ] {
                assert_eq!(answer.status, 403, "{}", answer.text);
            }
            let list = server.http.get("/", &stranger).await;
            assert!(!list.text.contains(&id), "{}", list.text);
        }

        let deleted = server.http.delete(&format!("/{id}"), &token).await;
        assert_eq!((deleted.status.as_u16(), deleted.text.as_str()), (204, ""));
        events.until(|name, _| name == "gone").await;
        assert!(events.is_over().await, "with the service its stream ends");
        all.until(|name, data| name == "gone" && data["id"] == id.as_str()).await;
        for answer in [
            server.http.get(&format!("/{id}"), &token).await,
            server.http.get(&format!("/{id}?wait=10"), &token).await,
            server.http.delete(&format!("/{id}"), &token).await,
        ] {
            assert_eq!(answer.status, 404, "{}", answer.text);
        }
        all_gone(cluster, &id).await;
        server.stop().await;
    });

    cases.add("api::what_stands_in_the_way_ends_a_wait", |world| async move {
        let server = Server::start(&world).await;
        let token = server.token("shop", "carol").await;
        let id = server.create(&token, "missing").await;
        let failing = crate::cluster::until("the wait ends", || async {
            let answer = server.http.get(&format!("/{id}?wait=60"), &token).await;
            // On a slow machine it may fail for another reason before.
            let (phase, reason) = (&answer.json["phase"], &answer.json["reason"]);
            (phase == "Failing" && reason == "ImagePullFailed").then_some(answer.json)
        })
        .await;
        // The kubelet's words are for the backend, not for its users.
        let told = failing["message"].as_str().unwrap_or_default();
        assert!(!told.contains("local/none"), "{told}");
        let app = server.app_token("shop").await;
        let told = server.http.get(&format!("/{id}"), &app).await;
        assert!(told.json["message"].as_str().unwrap_or_default().contains("local/none"), "{}", told.text);
        assert_eq!(told.json["user"], "carol.shop");
        server.http.delete(&format!("/{id}"), &token).await;
        server.stop().await;
    });

    cases.add("api::what_goes_away_is_not_revived", |world| async move {
        let (cluster, server) = (&world.cluster, Server::start(&world).await);
        let token = server.token("shop", "dave").await;
        let id = server.create(&token, "server").await;
        // Somebody's finalizer keeps it from going.
        let finalizers = |all: serde_json::Value| Patch::Merge(json!({"metadata": {"finalizers": all}}));
        let (ephemerons, params) = (cluster.ephemerons(), PatchParams::default());
        let held = finalizers(json!(["example.com/held"]));
        ephemerons.patch(&id, &params, &held).await.expect("it is accepted");
        cluster.delete(&id).await;
        let path = format!("/{id}");
        let answer = crate::cluster::until("an extension is refused", || async {
            let answer = server.http.patch(&path, &token, &json!({"lifetimeMinutes": 60})).await;
            (answer.status == 409).then_some(answer)
        })
        .await;
        assert!(
            answer.json["message"].as_str().is_some_and(|text| text.contains("going away")),
            "{}",
            answer.text
        );
        assert_eq!(server.http.get(&path, &token).await.json["phase"], "Expiring");
        ephemerons.patch(&id, &params, &finalizers(json!(null))).await.expect("it is accepted");
        all_gone(cluster, &id).await;
        server.stop().await;
    });
}
