//! The installation as users have it: images, `kubectl apply -k`, the REST API by its route, upgrades, and the end.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use gateway_api::httproutes::HttpRoute;
use http::Method;
use k8s_openapi::{
    ByteString,
    api::{
        core::v1::{Namespace, Pod, Secret},
        networking::v1::Ingress,
    },
};
use kube::Api;
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::{
    Cases, accounts,
    api::http::{Http, Sent},
    cluster::{Cluster, until},
    hammer::Hammer,
};

const HOST: &str = "api.installed.localhost";
/// Where the gateway is, for the installed controller: a name that only a name server knows.
const GATEWAY_NAME: &str = "gateway.ephemeron.test";

/// What the case adds to the installation: the Pods ask the name server of this process.
const NAME_SERVER: &str = "
patches:
  - target: {kind: Deployment, name: ephemeron-controller}
    patch: |-
      - {op: add, path: /spec/template/spec/dnsPolicy, value: None}
      - {op: add, path: /spec/template/spec/dnsConfig, value: {nameservers: [ADDRESS]}}
";

/// A cluster whose ingress class is not the default one: docs/install.md says to name it.
const CLASS: &str = "
  - target: {kind: Ingress, name: ephemeron-api}
    patch: |-
      - {op: add, path: /spec/ingressClassName, value: traefik}
";

/// The case; no other controller may run.
pub fn cases(cases: &mut Cases) {
    cases.add("installed::from_one_command_through_upgrades_to_nothing", |world| async move {
        let cluster = &world.cluster;
        let names = name_server(cluster).await;
        let folder = written(cluster, "gateway", &[]).await;
        let apply = format!("apply -k {}", folder.display());
        cluster.kubectl(&apply).await;
        ready(cluster).await;

        // In an image with nothing in it, names are found, certificates are checked, and rights suffice.
        let check = "-n ephemeron-system exec deployment/ephemeron-controller -- ephemeron-controller --check";
        let wanted = ["are granted", &format!("{GATEWAY_NAME}:80 accepts connections"), "gateways/traefik"];
        until("the check finds nothing wrong", || async {
            let output = cluster.shell(&format!("kubectl {check}")).await;
            let said = String::from_utf8_lossy(&output.stdout);
            (output.status.success() && wanted.iter().all(|wanted| said.contains(wanted))).then_some(())
        })
        .await;

        let api = Route::new(cluster).await;
        let token = api.token().await;
        let id = api.create(&token).await;
        let url = api.available(&token, &id).await;
        assert!(cluster.answers(&url, None, 200).await.contains("Welcome to nginx!"));
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), "ephemerons");
        let before = pods.get(&id).await.expect("its Pod").metadata.uid;

        // Upgrades: other settings, and the same Pods anew. The service and the API answer throughout.
        let (gateway, host) = (cluster.env("NODE_ADDRESS"), format!("{id}.installed.localhost"));
        let hammers = [Hammer::start(gateway, &host), Hammer::at(gateway, HOST, "/openapi.json")];
        let keys = keys(cluster).await;
        written(cluster, "gateway", &["EPHEMERON_LOG=debug"]).await;
        cluster.kubectl(&apply).await;
        ready(cluster).await;
        // A key that is missing, as one that a later version asks for, is added; the others stay.
        for secret in ["ephemeron-controller-keys", "ephemeron-api-keys"] {
            let without = "--type=json -p '[{\"op\":\"remove\",\"path\":\"/data/cache-key\"}]'";
            cluster.kubectl(&format!("-n ephemeron-system patch secret {secret} {without}")).await;
        }
        cluster.kubectl("-n ephemeron-system rollout restart deployments").await;
        ready(cluster).await;
        for hammer in hammers {
            assert!(hammer.sent() > 0);
            let failures = hammer.stop().await;
            assert!(failures.is_empty(), "{failures:?}");
        }
        assert_eq!(pods.get(&id).await.expect("its Pod").metadata.uid, before, "the Pod is the same");
        assert_eq!(self::keys(cluster).await, keys, "the keys are the same");
        accounts::are_apart(cluster).await;
        let token = api.token().await;
        assert_eq!(api.get(&token, &id).await["id"], id.as_str(), "tokens and ids, too");

        // Without Ephemeron the services go on; nothing ends them.
        accounts::remove(cluster, "delete namespace ephemeron-system --timeout=300s").await;
        cluster.answers(&url, None, 200).await;
        assert_eq!(pods.get(&id).await.expect("its Pod").metadata.uid, before);

        // Installed again, now with Ingresses: it takes them over, gives them other routes, and ends them.
        let hammer = Hammer::start(gateway, &host);
        written(cluster, "ingress", &["EPHEMERON_GATEWAY=ingress", "EPHEMERON_INGRESS_CLASS=traefik"]).await;
        cluster.kubectl(&apply).await;
        ready(cluster).await;
        let routes = Api::<HttpRoute>::namespaced(cluster.client.clone(), "ephemerons");
        cluster.gone(&routes, &id).await;
        let ingresses = Api::<Ingress>::namespaced(cluster.client.clone(), "ephemerons");
        assert!(ingresses.get_opt(&id).await.expect("an answer").is_some());
        assert!(hammer.sent() > 0, "it was asked");
        let failures = hammer.stop().await;
        assert!(failures.is_empty(), "{failures:?}");
        assert_eq!(pods.get(&id).await.expect("its Pod").metadata.uid, before);
        let api = Route::new(cluster).await;
        let token = api.token().await;
        assert_eq!(api.get(&token, &id).await["id"], id.as_str(), "the API answers by its Ingress");
        cluster.ends_in(&id, 1).await;
        cluster.gone(&cluster.ephemerons(), &id).await;
        cluster.gone(&pods, &id).await;

        accounts::remove(cluster, &format!("delete -k {} --timeout=300s", folder.display())).await;
        let left = cluster
            .kubectl(
                "get namespaces,clusterroles,clusterrolebindings -l app.kubernetes.io/part-of=ephemeron -o name",
            )
            .await;
        assert_eq!(left, "");
        let namespaces = Api::<Namespace>::all(cluster.client.clone());
        let (system, services) = (namespaces.get_opt("ephemeron-system"), namespaces.get_opt("ephemerons"));
        assert!(system.await.expect("an answer").is_none() && services.await.expect("an answer").is_none());
        names.store(true, Ordering::Relaxed);
    });
}

/// Writes an installation of these images with a folder of k8s/routes and further settings; returns its folder.
async fn written(cluster: &Cluster, route: &str, settings: &[&str]) -> PathBuf {
    // Two levels below the checkout, as the demo's.
    let folder = Path::new("target/installed");
    let images = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("images");
    let (node, host) = (cluster.env("NODE_ADDRESS"), cluster.env("HOST_ADDRESS"));
    let script = format!(
        ". k8s/demo/common.sh
         read -r controller <'{images}/controller.ref' && read -r api <'{images}/api.ref'
         write_installation {folder} {route} \"$controller\" \"$api\" EPHEMERON_DOMAIN=installed.localhost EPHEMERON_API_HOST={HOST} \
             EPHEMERON_GATEWAY=gateways/traefik GATEWAY_ADDRESSES={node}/32 EPHEMERON_PROBE_ADDRESS={GATEWAY_NAME} {}",
        settings.join(" "),
        images = images.display(),
        folder = folder.display(),
    );
    let output = cluster.shell(&script).await;
    assert!(
        output.status.success(),
        "{} (`make images` builds them)",
        String::from_utf8_lossy(&output.stderr)
    );
    let file = folder.join("kustomization.yaml");
    let text = std::fs::read_to_string(&file).expect("it was written");
    let class = if route == "ingress" { CLASS.trim_start_matches('\n') } else { "" };
    std::fs::write(&file, text + &NAME_SERVER.replace("ADDRESS", host) + class).expect("a file");
    folder.into()
}

/// Waits until all Pods of both programs are ready.
async fn ready(cluster: &Cluster) {
    for name in ["controller", "api"] {
        let wait = format!("-n ephemeron-system rollout status deployment/ephemeron-{name} --timeout=300s");
        let output = cluster.shell(&format!("kubectl {wait}")).await;
        if !output.status.success() {
            let told = "kubectl -n ephemeron-system get pods,events; for name in controller api; do \
                kubectl -n ephemeron-system logs deployment/ephemeron-$name --all-containers --tail 20 || true; done";
            let told = cluster.shell(told).await;
            panic!("the {name} is not ready: {}", String::from_utf8_lossy(&told.stdout));
        }
    }
}

/// The keys of both programs, but for those of the caches, of which it is only seen that they are there.
async fn keys(cluster: &Cluster) -> Vec<BTreeMap<String, ByteString>> {
    let secrets = Api::<Secret>::namespaced(cluster.client.clone(), "ephemeron-system");
    let mut all = Vec::new();
    for (name, count) in [("ephemeron-controller-keys", 2), ("ephemeron-api-keys", 4)] {
        let mut data = secrets.get(name).await.expect("it was made").data.expect("keys");
        assert_eq!(data.len(), count);
        assert!(data.remove("cache-key").is_some_and(|key| key.0.len() == 64));
        all.push(data);
    }
    all
}

/// The REST API by its route on the gateway.
struct Route {
    http: Http,
    key: String,
}

impl Route {
    async fn new(cluster: &Cluster) -> Self {
        let key = "-n ephemeron-system get secret ephemeron-api-keys -o go-template='{{.data.example | base64decode}}'";
        let key = cluster.kubectl(key).await;
        let http = Http::new(&format!("{}:80", cluster.env("NODE_ADDRESS")));
        until("the API answers by its route", || async {
            let answer =
                http.send(Method::GET, "/docs", Sent { headers: &[("host", HOST)], ..Sent::default() });
            let answer = answer.await;
            (answer.status == 200 && answer.text.contains("swagger")).then_some(())
        })
        .await;
        Self { http, key }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
        wanted: u16,
    ) -> Value {
        let body = body.map(ToString::to_string);
        let sent = Sent {
            token: (!token.is_empty()).then_some(token),
            body: body.as_deref(),
            headers: &[("host", HOST), ("content-type", "application/json")],
        };
        let answer = self.http.send(method, path, sent).await;
        assert_eq!(answer.status, wanted, "{path}: {}", answer.text);
        answer.json
    }

    async fn token(&self) -> String {
        let body = json!({"app": "example", "key": self.key, "uid": "user"});
        let answer = self.call(Method::POST, "/auth", "", Some(&body), 200).await;
        answer["token"].as_str().expect("a token").to_owned()
    }

    async fn create(&self, token: &str) -> String {
        let body = json!({"preset": "nginx", "lifetimeMinutes": 30});
        let answer = self.call(Method::POST, "/", token, Some(&body), 202).await;
        answer["id"].as_str().expect("an id").to_owned()
    }

    async fn get(&self, token: &str, id: &str) -> Value {
        self.call(Method::GET, &format!("/{id}"), token, None, 200).await
    }

    /// Waits until a service is available; returns its URL.
    async fn available(&self, token: &str, id: &str) -> String {
        let host = until(&format!("{id} is available"), || async {
            let answer = self.call(Method::GET, &format!("/{id}?wait=60"), token, None, 200).await;
            answer["host"].as_str().map(ToOwned::to_owned)
        })
        .await;
        assert_eq!(host, format!("{id}.installed.localhost"));
        format!("http://{host}/")
    }
}

/// A name server on the host's end of the cluster's link that knows where the gateway is. It ends when told.
async fn name_server(cluster: &Cluster) -> Arc<AtomicBool> {
    let host: Ipv4Addr = cluster.env("HOST_ADDRESS").parse().expect("an address");
    let gateway: Ipv4Addr = cluster.env("NODE_ADDRESS").parse().expect("an address");
    let socket =
        UdpSocket::bind(SocketAddr::from((host, 53))).await.expect("port 53 of the cluster's link is free");
    let end = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&end);
    tokio::spawn(async move {
        let mut question = [0; 512];
        while !ended.load(Ordering::Relaxed) {
            let Ok((length, from)) = socket.recv_from(&mut question).await else { break };
            if let Some(answer) = answer(&question[..length], gateway) {
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    end
}

/// The answer to a question for an address (RFC 1035, section 4): that of the gateway, or no such name.
fn answer(question: &[u8], gateway: Ipv4Addr) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let mut end = HEADER;
    let mut labels: Vec<String> = Vec::new();
    while let Some(&length) = question.get(end).filter(|length| **length > 0) {
        let label = question.get(end + 1..end + 1 + usize::from(length))?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        end += 1 + usize::from(length);
    }
    let asked = question.get(HEADER..end + 5)?;
    let is_known = labels.join(".") == GATEWAY_NAME;
    let is_address = asked.get(asked.len() - 4..asked.len() - 2)? == [0, 1];
    let answers = u8::from(is_known && is_address);
    // An answer with authority, and a code: 0 or 3, no such name.
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([0x85, if is_known { 0x80 } else { 0x83 }, 0, 1, 0, answers, 0, 0, 0, 0]);
    answer.extend(asked);
    if answers == 1 {
        // The name of the question, an address of the Internet, for 60 s.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(gateway.octets());
    }
    Some(answer)
}
