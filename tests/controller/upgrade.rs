//! From one version to the next, and back: `make upgrade FROM=COMMIT` (docs/install.md, "Upgrade").

use std::path::{Path, PathBuf};

use gateway_api::httproutes::HttpRoute;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{
    Cases, World,
    api::{
        again,
        server::{CONFIG, Server},
    },
    cluster::{Cluster, until},
    controllers::Controller,
    hammer::Hammer,
    life::{PROBE, all_gone, manifest},
};

/// The folder with the programs of the version before: `run` and `api`.
const BEFORE: &str = "EPHEMERON_BEFORE";
/// What is asked of each service while versions change.
const ENOUGH: usize = 50;

/// The programs of one version.
struct Version {
    name: &'static str,
    run: String,
    api: String,
}

impl Version {
    fn new(name: &'static str, run: &Path, api: &Path) -> Self {
        Self { name, run: run.display().to_string(), api: api.display().to_string() }
    }

    async fn controller(&self, cluster: &Cluster) -> Controller {
        let presets = presets();
        let env = [
            ("EPHEMERON_DOMAIN", "localhost"),
            ("KUBECONFIG", cluster.controller_kubeconfig()),
            ("EPHEMERON_PRESETS", &presets),
        ];
        let controller = Controller::program(&self.run, &env);
        controller.says("\"ready\"").await;
        controller
    }

    async fn server(&self, world: &World) -> Server {
        let presets = presets();
        let env =
            [("EPHEMERON_PRESETS", presets.as_str()), ("EPHEMERON_ID_SECRET", "the same for all of them")];
        Server::of(&self.api, world, CONFIG, &env).await
    }
}

fn presets() -> String {
    // What `make test` has built there.
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/presets").into()
}

/// The cases, where there is a version before; no other controller may run.
pub fn cases(cases: &mut Cases) {
    let Some(before) = std::env::var_os(BEFORE).map(PathBuf::from) else { return };
    cases.add("upgrade::there_and_back_without_a_service_that_notices", |world| async move {
        let cluster = &world.cluster;
        let old = Version::new("before", &before.join("run"), &before.join("api"));
        let [run, api] = [env!("CARGO_BIN_EXE_run"), env!("CARGO_BIN_EXE_api")].map(Path::new);
        let new = Version::new("now", run, api);

        let controller = old.controller(cluster).await;
        let server = old.server(&world).await;
        let token = server.token("shop", "kim").await;
        let living = Living::make(cluster, &server, &token).await;
        let born = living.children(cluster).await;

        // Controllers of both versions work side by side for a while, as Deployments replace their Pods.
        let hammers = living.hammers(cluster);
        let (successor, newer) = (new.controller(cluster).await, new.server(&world).await);
        whole_life(cluster, &newer, "both controllers").await;
        assert_eq!(controller.stop().await, Some(0));
        living.is_known(&newer, &token).await;
        whole_life(cluster, &server, "the API before, the controller now").await;
        whole_life(cluster, &newer, "the API now, the controller now").await;
        living.is_as(cluster, &born, hammers, &new).await;

        let hammers = living.hammers(cluster);
        let predecessor = old.controller(cluster).await;
        assert_eq!(successor.stop().await, Some(0));
        living.is_known(&server, &token).await;
        whole_life(cluster, &newer, "the API now, the controller before").await;
        living.is_as(cluster, &born, hammers, &old).await;

        // What the new version has brought about, the old one ends, and the other way round.
        for name in &living.0 {
            cluster.ends_in(name, 1).await;
        }
        for name in &living.0 {
            all_gone(cluster, name).await;
        }
        predecessor.stop().await;
        server.stop().await;
        newer.stop().await;
    });
}

/// Services that live through all of it: of a preset that is written out, of a module, and of `kubectl`.
struct Living(Vec<String>);

impl Living {
    async fn make(cluster: &Cluster, server: &Server, token: &str) -> Self {
        let written = server.create(token, "server").await;
        let parameters = json!({"image": "local/server:1", "port": 8080});
        let body = json!({"preset": "web", "parameters": parameters, "lifetimeMinutes": 30});
        let answer = server.http.post("/", token, &body).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        let module = answer.json["id"].as_str().expect("an id").to_owned();
        let applied = cluster.name("upgraded");
        cluster.apply(&manifest(&applied, "1h", PROBE)).await.expect("it is accepted");
        let all = [written, module, applied];
        for name in &all {
            cluster.available(name).await;
        }
        Self(all.into())
    }

    fn hammers(&self, cluster: &Cluster) -> Vec<Hammer> {
        let address = cluster.env("NODE_ADDRESS");
        self.0.iter().map(|name| Hammer::start(address, &format!("{name}.localhost"))).collect()
    }

    /// Which Pod, Service and route each of them has, and how often these were changed.
    async fn children(&self, cluster: &Cluster) -> Vec<String> {
        let mut all = Vec::new();
        for name in &self.0 {
            all.push(seen::<Pod>(cluster, name).await);
            all.push(seen::<Service>(cluster, name).await);
            all.push(seen::<HttpRoute>(cluster, name).await);
        }
        all
    }

    /// They answered all the time, and nothing of them was made or changed anew.
    async fn is_as(&self, cluster: &Cluster, born: &[String], hammers: Vec<Hammer>, version: &Version) {
        for hammer in hammers {
            until("it was asked often enough", || async { (hammer.sent() >= ENOUGH).then_some(()) }).await;
            let failures = hammer.stop().await;
            assert!(failures.is_empty(), "with the controller {}: {failures:?}", version.name);
        }
        assert_eq!(self.children(cluster).await, born, "with the controller {}", version.name);
        for name in &self.0 {
            cluster.available(name).await;
        }
    }

    /// Another version's API takes the same token, and knows what was created by the first.
    async fn is_known(&self, server: &Server, token: &str) {
        for id in &self.0[..2] {
            let answer = server.http.get(&format!("/{id}"), token).await;
            assert_eq!(
                (answer.status.as_u16(), &answer.json["phase"]),
                (200, &json!("Available")),
                "{}",
                answer.text
            );
        }
        let list = server.http.get("/", token).await;
        assert!(self.0[..2].iter().all(|id| list.text.contains(id)), "{}", list.text);
    }
}

async fn seen<K>(cluster: &Cluster, name: &str) -> String
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let object = Api::<K>::namespaced(cluster.client.clone(), "default").get(name).await.expect("a child");
    format!("{} {name} {:?} {:?}", K::kind(&()), object.uid(), object.meta().generation)
}

/// Created twice by the same key, waited for, followed, extended and deleted, by an API of one version and with a
/// controller of any.
async fn whole_life(cluster: &Cluster, server: &Server, of: &str) {
    let token = server.token("shop", "lee").await;
    let key = cluster.name("once");
    let body = json!({"preset": "server", "lifetimeMinutes": 30});
    let create = || again::create(&server.http, &token, &key, &body);
    let first = create().await;
    assert_eq!(first.status, 202, "{of}: {}", first.text);
    assert_eq!(create().await.json["id"], first.json["id"], "{of}");
    let id = first.json["id"].as_str().expect("an id");
    let mut events = server.http.events(&format!("/{id}/events"), &token).await;
    server.available(&token, id).await;
    events.until(|name, data| name == "service" && data["service"]["phase"] == "Available").await;
    cluster.answers(&format!("http://{id}.localhost/"), None, 200).await;
    let extended = server.http.patch(&format!("/{id}"), &token, &json!({"lifetimeMinutes": 60})).await;
    assert_eq!(extended.status, 200, "{of}: {}", extended.text);
    assert_eq!(server.http.delete(&format!("/{id}"), &token).await.status, 204, "{of}");
    events.until(|name, _| name == "gone").await;
    all_gone(cluster, id).await;
}
