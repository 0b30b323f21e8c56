//! How many services there may be, and what an app may ask for.

use std::{collections::BTreeSet, sync::Mutex};

use futures::future::join_all;
use kube::api::ListParams;
use serde_json::json;

use super::{again, server::Server};
use crate::{
    Cases,
    cluster::{Cluster, until},
};

const CONFIG: &str = "
presets:
  server: {image: 'local/none:1', imagePullPolicy: Never, port: 80}
  other: {image: 'local/none:1', imagePullPolicy: Never, port: 80}
apps:
  shop:
    key: key of the shop
    presets: [server]
    longestLifetimeMinutes: 60
    services: {perUser: 3, perGroup: 4, perApp: 100}
";

/// The services that there are of a user of the shop.
async fn of_user(cluster: &Cluster, user: &str) -> BTreeSet<String> {
    let params = ListParams::default().labels(&format!("ephemerons.qualified.io/user={user}.shop"));
    let list = cluster.ephemerons().list(&params).await.expect("a list");
    list.items.iter().map(|one| one.name().to_owned()).collect()
}

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("api::quotas_are_never_exceeded", |world| async move {
        let (cluster, one, other) = (
            &world.cluster,
            Server::with(&world, CONFIG, &[]).await,
            Server::with(&world, CONFIG, &[]).await,
        );
        // Names of this run alone: what others have left does not count.
        let gid = cluster.name("g");
        let (user, friend) = (cluster.name("u"), cluster.name("f"));
        let token = one.token_in("shop", &user, &gid).await;
        let body = json!({"preset": "server", "lifetimeMinutes": 30});
        let servers = [&one, &other];
        // Of many at once fewer than the quota may be accepted, but never more.
        let accepted = Mutex::new(Vec::new());
        until("the quota is used up", || async {
            let answers = join_all((0..12).map(|at| servers[at % 2].http.post("/", &token, &body))).await;
            let mut ids = accepted.lock().expect("no holder panics");
            for answer in answers {
                match answer.status.as_u16() {
                    202 => ids.push(answer.json["id"].as_str().expect("an id").to_owned()),
                    // 503: on a slow machine its turn may not come in time.
                    429 | 503 => assert!(answer.headers.contains_key("retry-after"), "{}", answer.text),
                    _ => panic!("{}", answer.text),
                }
            }
            assert!(ids.len() <= 3, "{ids:?}");
            (ids.len() == 3).then_some(())
        })
        .await;
        let mut ids = accepted.into_inner().expect("no holder panics");
        let left = until("what was too many is withdrawn", || async {
            let left = of_user(cluster, &user).await.len();
            (left <= 3).then_some(left)
        })
        .await;
        assert_eq!(left, 3);

        // Of the group there may be one more, whoever asks.
        let friend = other.token_in("shop", &friend, &gid).await;
        // What the other process has withdrawn may still be counted here for a moment.
        let fourth = until("there is room for one more", || async {
            let answer = other.http.post("/", &friend, &body).await;
            (answer.status == 202).then_some(answer)
        })
        .await;
        let fourth = fourth.json["id"].as_str().expect("an id").to_owned();
        let fifth = other.http.post("/", &friend, &body).await;
        assert_eq!(fifth.status, 429, "{}", fifth.text);
        assert!(fifth.json["message"].as_str().is_some_and(|text| text.contains("group")), "{}", fifth.text);

        // What goes makes room.
        assert_eq!(one.http.delete(&format!("/{}", ids[0]), &token).await.status, 204);
        let again = until("there is room again", || async {
            let answer = one.http.post("/", &token, &body).await;
            (answer.status == 202).then_some(answer)
        })
        .await;
        ids.push(again.json["id"].as_str().expect("an id").to_owned());
        let app = one.app_token("shop").await;
        // What the other process has created may not be known here yet.
        until("all of the group is gone", || async {
            let gone = one.http.delete(&format!("/?group={gid}"), &app).await;
            assert_eq!((gone.status.as_u16(), &gone.json["failed"]), (200, &json!(0)), "{}", gone.text);
            cluster.ephemeron(&fourth).await.is_none().then_some(())
        })
        .await;
        one.stop().await;
        other.stop().await;
    });

    cases.add("api::what_was_accepted_stays_whoever_asks_again", |world| async move {
        let (one, other) = (Server::with(&world, CONFIG, &[]).await, Server::with(&world, CONFIG, &[]).await);
        let servers = [&one, &other];
        let body = json!({"preset": "server", "lifetimeMinutes": 30});
        for _ in 0..8 {
            let (user, gid) = (world.cluster.name("u"), world.cluster.name("g"));
            let token = one.token_in("shop", &user, &gid).await;
            // Five services, each asked for by both processes at once; there is room for three. One that is about
            // to be withdrawn may be what the same request is answered with by the other process.
            let keys = ["a", "b", "c", "d", "e"];
            let all = (0..10).map(|at| again::create(&servers[at % 2].http, &token, keys[at / 2], &body));
            let mut accepted = BTreeSet::new();
            for answer in join_all(all).await {
                match answer.status.as_u16() {
                    202 => {
                        accepted.insert(answer.json["id"].as_str().expect("an id").to_owned());
                    }
                    // 503: on a slow machine its turn may not come in time.
                    409 | 429 | 503 => assert!(answer.headers.contains_key("retry-after"), "{}", answer.text),
                    _ => panic!("{}", answer.text),
                }
            }
            assert!(accepted.len() <= 3, "{accepted:?}");
            let left = until("what was too many is withdrawn", || async {
                let left = of_user(&world.cluster, &user).await;
                (left.len() <= 3).then_some(left)
            })
            .await;
            assert!(accepted.is_subset(&left), "{accepted:?} were answered, and {left:?} are there");
            // A token of its own: all rounds may take longer than a token lasts.
            let app = one.app_token("shop").await;
            let gone = one.http.delete(&format!("/?group={gid}"), &app).await;
            assert_eq!((gone.status.as_u16(), &gone.json["failed"]), (200, &json!(0)), "{}", gone.text);
        }
        one.stop().await;
        other.stop().await;
    });

    cases.add("api::an_app_asks_for_what_it_may", |world| async move {
        let server = Server::with(&world, CONFIG, &[]).await;
        let token = server.token("shop", &world.cluster.name("u")).await;
        let rows = [
            (json!({"preset": "other", "lifetimeMinutes": 30}), 403),
            // To this app, what there is besides is not told.
            (json!({"preset": "none", "lifetimeMinutes": 30}), 403),
            (json!({"preset": "server", "lifetimeMinutes": 61}), 400),
            (json!({"preset": "server", "expirationTime": "2999-01-01T00:00:00Z"}), 400),
            (json!({"preset": "server", "lifetimeMinutes": 30, "parameters": {"a/b": 1}}), 422),
        ];
        for (body, status) in rows {
            let answer = server.http.post("/", &token, &body).await;
            assert_eq!(answer.status, status, "{body}: {}", answer.text);
        }
        let presets = server.http.get("/presets", &token).await;
        assert_eq!(presets.json["presets"].as_array().map(Vec::len), Some(1), "{}", presets.text);
        assert_eq!(server.http.get("/presets/other", &token).await.status, 404);
        let render = server.http.post("/presets/server/render", &token, &json!({})).await;
        assert_eq!(render.status, 403, "{}", render.text);
        let app = server.app_token("shop").await;
        let own = server.http.post("/", &app, &json!({"preset": "server", "lifetimeMinutes": 30})).await;
        assert_eq!(own.status, 403, "a service belongs to a user: {}", own.text);
        server.stop().await;
    });
}
