//! Living services are moved from one route to another while somebody asks for them all the time.

use gateway_api::httproutes::HttpRoute;
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    networking::v1::Ingress,
};
use kube::{Api, ResourceExt as _};
use serde_json::Value;

use crate::{
    Cases, World,
    cluster::{Cluster, until},
    controllers::Controller,
    hammer::Hammer,
    life::{PROBE, manifest_for},
};

/// Requests that must have been answered after a move is done.
const ENOUGH: usize = 100;

/// The cases that run beside others.
pub fn cases(cases: &mut Cases) {
    cases.add("moves::between_httproute_and_ingress", |world| async move {
        let node = world.cluster.env("NODE_ADDRESS").to_owned();
        let by_gateway = vec![("EPHEMERON_GATEWAY", "gateways/traefik")];
        let by_ingress = vec![("EPHEMERON_GATEWAY", "ingress"), ("EPHEMERON_PROBE_ADDRESS", node.as_str())];
        let steps = [
            ("HTTPRoute gateways/traefik/http", by_gateway.clone()),
            ("Ingress traefik", by_ingress),
            ("HTTPRoute gateways/traefik/http", by_gateway),
        ];
        moved(&world, "moves", &steps, PROBE).await;
    });

    cases.add("moves::without_a_readiness_probe", |world| async move {
        let steps = [
            ("Ingress traefik", vec![("EPHEMERON_GATEWAY", "ingress")]),
            ("HTTPRoute gateways/traefik/http", vec![("EPHEMERON_GATEWAY", "gateways/traefik")]),
        ];
        moved(&world, "unprobed", &steps, "").await;
    });

    cases.add("moves::from_gateway_to_gateway", |world| async move {
        let gateway = r"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: second, namespace: default}
spec:
  gatewayClassName: traefik
  listeners: [{name: http, protocol: HTTP, port: 80, hostname: '*.second.localhost'}]
";
        world.cluster.apply(gateway).await.expect("it is accepted");
        let steps = [
            ("HTTPRoute gateways/traefik/http", vec![("EPHEMERON_GATEWAY", "gateways/traefik")]),
            ("HTTPRoute default/second/http", vec![("EPHEMERON_GATEWAY", "default/second")]),
        ];
        moved(&world, "second", &steps, PROBE).await;
        world.cluster.kubectl("-n default delete gateway second").await;
    });

    cases.add("moves::from_the_earlier_implementation", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("earlier");
        let label = "controller: earlier";
        let mut manifest = manifest_for(&name, label, "lifetime: 30m", PROBE);
        manifest = manifest.replace("metadata: {", &format!("metadata: {{annotations: {{host: {name}.localhost}}, "));
        cluster.apply(&manifest).await.expect("it is accepted");
        let uid = cluster.ephemeron(&name).await.and_then(|one| one.metadata.uid).expect("a UID");
        cluster.apply(&earlier(&name, &uid)).await.expect("they are accepted");
        let old = r#"{"status":{"observedGeneration":1,"conditions":[{"type":"PodReady","status":"True","lastTransitionTime":"2022-01-01T00:00:00Z"},{"type":"Available","status":"True","lastTransitionTime":"2022-01-01T00:00:00Z"}]}}"#;
        cluster.kubectl(&format!("patch eph {name} --subresource=status --type=merge -p '{old}'")).await;
        cluster.answers(&format!("http://{name}.localhost/"), None, 200).await;
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), "default");
        let services = Api::<Service>::namespaced(cluster.client.clone(), "default");
        let (pod, service) = (pods.get(&name).await.expect("the Pod"), services.get(&name).await.expect("the Service"));

        let hammer = Hammer::start(cluster.env("NODE_ADDRESS"), &format!("{name}.localhost"));
        let env = [("EPHEMERON_SELECTOR", "controller=earlier"), ("EPHEMERON_GATEWAY", "gateways/traefik")];
        let controller = Controller::start(cluster, "localhost", &env);
        arrived(cluster, &name, "HTTPRoute gateways/traefik/http", &hammer).await;
        assert_eq!(hammer.stop().await, Vec::<String>::new());
        let (pod_after, service_after) =
            (pods.get(&name).await.expect("the Pod"), services.get(&name).await.expect("the Service"));
        assert_eq!(pod.uid(), pod_after.uid(), "the same Pod lives on");
        assert_eq!(service.uid(), service_after.uid());
        let address = |service: &Service| service.spec.as_ref().and_then(|spec| spec.cluster_ip.clone());
        assert_eq!(address(&service), address(&service_after), "its cluster IP is kept");
        assert!(pod_after.labels().contains_key("ephemerons.qualified.io/name"));
        cluster.delete(&name).await;
        crate::life::all_gone(cluster, &name).await;
        controller.stop().await;
    });
}

/// The case that takes the Gateway away from everybody.
pub fn alone(cases: &mut Cases) {
    cases.add("moves::when_the_first_gateway_appears", |world| async move {
        let cluster = &world.cluster;
        let gateway = saved(cluster, "-n gateways get gateway traefik").await;
        cluster.kubectl("-n gateways delete gateway traefik").await;
        let env = [
            ("EPHEMERON_SELECTOR", "controller=first"),
            ("EPHEMERON_PROBE_ADDRESS", cluster.env("NODE_ADDRESS")),
        ];
        let controller = Controller::start(cluster, "localhost", &env);
        let name = cluster.name("first");
        let manifest = manifest_for(&name, "controller: first", "lifetime: 30m", PROBE);
        cluster.apply(&manifest).await.expect("it is accepted");
        let one = cluster.available(&name).await;
        assert_eq!(
            one.status.and_then(|status| status.route).map(|route| route.kind).as_deref(),
            Some("Ingress")
        );
        let hammer = Hammer::start(cluster.env("NODE_ADDRESS"), &format!("{name}.localhost"));
        restore(cluster, &gateway).await;
        arrived(cluster, &name, "HTTPRoute gateways/traefik/http", &hammer).await;
        assert_eq!(hammer.stop().await, Vec::<String>::new());
        cluster.delete(&name).await;
        crate::life::all_gone(cluster, &name).await;
        controller.stop().await;
    });
}

/// The case that takes the Gateway API's definition away from everybody.
pub fn without_gateway_api(cases: &mut Cases) {
    cases.add("moves::when_the_gateway_api_is_installed_later", |world| async move {
        let cluster = &world.cluster;
        let kind = "httproutes.gateway.networking.k8s.io";
        let definition = saved(cluster, &format!("get crd {kind}")).await;
        let others = saved(cluster, "-n gateways get httproutes").await;
        cluster.kubectl(&format!("delete crd {kind}")).await;
        let env = [
            ("EPHEMERON_SELECTOR", "controller=api"),
            ("EPHEMERON_PROBE_ADDRESS", cluster.env("NODE_ADDRESS")),
        ];
        let controller = Controller::start(cluster, "localhost", &env);
        let name = cluster.name("api");
        let manifest = manifest_for(&name, "controller: api", "lifetime: 30m", PROBE);
        cluster.apply(&manifest).await.expect("it is accepted");
        let one = cluster.available(&name).await;
        assert_eq!(
            one.status.and_then(|status| status.route).map(|route| route.kind).as_deref(),
            Some("Ingress")
        );
        let hammer = Hammer::start(cluster.env("NODE_ADDRESS"), &format!("{name}.localhost"));
        restore(cluster, &definition).await;
        cluster.established(kind).await;
        restore(cluster, &others).await;
        arrived(cluster, &name, "HTTPRoute gateways/traefik/http", &hammer).await;
        assert_eq!(hammer.stop().await, Vec::<String>::new());
        cluster.delete(&name).await;
        crate::life::all_gone(cluster, &name).await;
        controller.stop().await;
    });
}

/// Objects of the cluster as they can be made again.
async fn saved(cluster: &Cluster, get: &str) -> Value {
    let text = cluster.kubectl(&format!("{get} -o json")).await;
    let mut saved: Value = serde_json::from_str(&text).expect("JSON");
    let forget = |object: &mut Value| {
        let object = object.as_object_mut().expect("an object");
        object.remove("status");
        let metadata = object["metadata"].as_object_mut().expect("metadata");
        for key in ["uid", "resourceVersion", "managedFields", "creationTimestamp", "generation"] {
            metadata.remove(key);
        }
    };
    match saved.get_mut("items").and_then(Value::as_array_mut) {
        Some(items) => items.iter_mut().for_each(forget),
        None => forget(&mut saved),
    }
    saved
}

/// Makes them again, in the name of whoever had made them, so that `cluster up` finds its own.
async fn restore(cluster: &Cluster, saved: &Value) {
    if saved.get("items").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        return;
    }
    let file = std::env::temp_dir().join(cluster.name("saved"));
    std::fs::write(&file, saved.to_string()).expect("a file");
    until("it is there again", || async {
        let made = cluster.shell(&format!("kubectl apply --server-side -f {}", file.display())).await;
        made.status.success().then_some(())
    })
    .await;
    let _ = std::fs::remove_file(&file);
}

/// Moves a service from one way to the next by a controller with other settings, and counts the
/// requests that fail meanwhile.
async fn moved(world: &World, what: &str, steps: &[(&str, Vec<(&str, &str)>)], probe: &str) {
    let cluster = &world.cluster;
    let (name, domain) = (cluster.name(what), format!("{what}.localhost"));
    let selector = format!("controller={what}");
    let manifest = manifest_for(&name, &format!("controller: {what}"), "lifetime: 30m", probe);
    cluster.apply(&manifest).await.expect("it is accepted");
    let mut hammer = None;
    for (route, settings) in steps {
        let mut env = vec![("EPHEMERON_SELECTOR", selector.as_str())];
        env.extend(settings);
        let controller = Controller::start(cluster, &domain, &env);
        let hammer = if let Some(hammer) = &hammer {
            hammer
        } else {
            cluster.available(&name).await;
            let host = format!("{name}.{domain}");
            cluster.answers(&format!("http://{host}/"), None, 200).await;
            hammer.insert(Hammer::start(cluster.env("NODE_ADDRESS"), &host))
        };
        arrived(cluster, &name, route, hammer).await;
        controller.stop().await;
    }
    let failures = hammer.expect("it runs").stop().await;
    assert_eq!(failures, Vec::<String>::new());
    cluster.delete(&name).await;
}

/// Waits until the service is on this route alone, and has answered there for a while.
async fn arrived(cluster: &Cluster, name: &str, route: &str, hammer: &Hammer) {
    let (kind, parent) = route.split_once(' ').expect("a kind and a parent");
    cluster
        .reaches(name, &format!("is on the {route}"), |one| {
            let status = one.status.as_ref().and_then(|status| status.route.as_ref());
            status.is_some_and(|route| route.kind == kind && route.parent.as_deref() == Some(parent))
        })
        .await;
    until("the old route is gone", || async {
        let routes = Api::<HttpRoute>::namespaced(cluster.client.clone(), "default");
        let ingresses = Api::<Ingress>::namespaced(cluster.client.clone(), "default");
        let route = routes.get_opt(name).await.expect("an answer");
        let ingress = ingresses.get_opt(name).await.expect("an answer");
        match (kind, route, ingress) {
            ("HTTPRoute", Some(route), None) => {
                (route.spec.parent_refs.is_some_and(|parents| parents.len() == 1)).then_some(())
            }
            ("Ingress", None, Some(_)) => Some(()),
            _ => None,
        }
    })
    .await;
    let before = hammer.sent();
    until("it has answered for a while", || async { (hammer.sent() > before + ENOUGH).then_some(()) }).await;
}

/// Pod, Service and Ingress as the earlier implementation made them.
fn earlier(name: &str, uid: &str) -> String {
    let metadata = format!(
        "{{name: {name}, namespace: default, labels: {{app.kubernetes.io/name: {name}, app.kubernetes.io/managed-by: ephemeron}}, \
         ownerReferences: [{{apiVersion: qualified.io/v1alpha1, kind: Ephemeron, name: {name}, uid: {uid}, controller: true, blockOwnerDeletion: true}}]}}"
    );
    format!(
        r"
apiVersion: v1
kind: Pod
metadata: {metadata}
spec:
  containers:
    - name: container
      image: local/server:1
      ports: [{{containerPort: 8080}}]
      readinessProbe: {{httpGet: {{path: /ready, port: 8080}}}}
  restartPolicy: Always
  enableServiceLinks: false
---
apiVersion: v1
kind: Service
metadata: {metadata}
spec:
  type: ClusterIP
  ports: [{{port: 8080, targetPort: 8080}}]
  selector: {{app.kubernetes.io/name: {name}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {metadata}
spec:
  rules:
    - host: {name}.localhost
      http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: {name}, port: {{number: 8080}}}}}}}}]}}
"
    )
}
