//! Real requests through both gateways, by HTTPRoute and by Ingress.

use gateway_api::httproutes::HttpRoute;
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    networking::v1::Ingress,
};
use kube::Api;

use crate::{
    Cases, World,
    controllers::Controller,
    life::{PROBE, manifest_for},
};

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("routing::httproute_on_traefik", |world| async move {
        let cluster = &world.cluster;
        let (name, one) = lives(&world, "traefik", "", None, "localhost").await;
        let status = one.status.expect("a status");
        let route = status.route.expect("a route");
        assert_eq!(route.kind, "HTTPRoute");
        assert_eq!(route.parent.as_deref(), Some("gateways/traefik/http"));
        assert!(status.expiration_time.is_some());
        let service = Api::<Service>::namespaced(cluster.client.clone(), "default").get(&name).await;
        let spec = service.expect("the Service").spec.expect("a spec");
        assert_eq!(spec.cluster_ip.as_deref(), Some("None"), "headless");
        let pod =
            Api::<Pod>::namespaced(cluster.client.clone(), "default").get(&name).await.expect("the Pod");
        let spec = pod.spec.expect("a spec");
        assert_eq!(spec.automount_service_account_token, Some(false));
        assert_eq!(spec.enable_service_links, Some(false));
        let ingresses = Api::<Ingress>::namespaced(cluster.client.clone(), "default");
        assert!(ingresses.get_opt(&name).await.expect("an answer").is_none(), "one route is enough");
        let other = format!("http://other-{name}.localhost/");
        assert_eq!(cluster.get(&other, None).await.0, 404, "only its own host is routed");
        cluster.delete(&name).await;
        cluster.answers(&format!("http://{name}.localhost/"), None, 404).await;
    });

    cases.add("routing::a_new_domain_moves_nobody", |world| async move {
        let cluster = &world.cluster;
        let env = [("EPHEMERON_SELECTOR", "controller=domain"), ("EPHEMERON_GATEWAY", "gateways/traefik")];
        let first = Controller::start(cluster, "old.localhost", &env);
        let old = cluster.name("old");
        let manifest = |name: &str| manifest_for(name, "controller: domain", "lifetime: 30m", PROBE);
        cluster.apply(&manifest(&old)).await.expect("it is accepted");
        cluster.available(&old).await;
        first.stop().await;
        let second = Controller::start(cluster, "new.localhost", &env);
        let new = cluster.name("new");
        cluster.apply(&manifest(&new)).await.expect("it is accepted");
        let host = |one: ephemeron::resource::Ephemeron| one.status.and_then(|status| status.host);
        assert_eq!(host(cluster.available(&new).await), Some(format!("{new}.new.localhost")));
        assert_eq!(host(cluster.available(&old).await), Some(format!("{old}.old.localhost")));
        assert_eq!(cluster.get(&format!("http://{old}.old.localhost/"), None).await.0, 200);
        for name in [&old, &new] {
            cluster.delete(name).await;
        }
        second.stop().await;
    });

    cases.add("routing::httproute_on_contour", |world| async move {
        let address = world.cluster.env("SECOND_ADDRESS").to_owned();
        let (name, one) =
            lives(&world, "contour", "controller: contour", Some(&address), "contour.localhost").await;
        let route = one.status.and_then(|status| status.route).expect("a route");
        assert_eq!(route.parent.as_deref(), Some("gateways/contour/http"));
        world.cluster.delete(&name).await;
        world.cluster.answers(&format!("http://{name}.contour.localhost/"), Some(&address), 404).await;
    });

    cases.add("routing::ingress_on_traefik", |world| async move {
        let (name, one) = lives(&world, "ingress", "controller: ingress", None, "ingress.localhost").await;
        let route = one.status.and_then(|status| status.route).expect("a route");
        assert_eq!((route.kind.as_str(), route.parent.as_deref()), ("Ingress", Some("traefik")));
        let routes = Api::<HttpRoute>::namespaced(world.cluster.client.clone(), "default");
        assert!(routes.get_opt(&name).await.expect("an answer").is_none(), "one route is enough");
        world.cluster.delete(&name).await;
        world.cluster.answers(&format!("http://{name}.ingress.localhost/"), None, 404).await;
    });
}

/// An Ephemeron becomes available and its URL answers what its container says.
async fn lives(
    world: &World,
    prefix: &str,
    labels: &str,
    address: Option<&str>,
    domain: &str,
) -> (String, ephemeron::resource::Ephemeron) {
    let cluster = &world.cluster;
    let name = cluster.name(prefix);
    let manifest = manifest_for(&name, labels, "lifetime: 30m", PROBE);
    cluster.apply(&manifest).await.expect("it is accepted");
    let one = cluster.available(&name).await;
    let status = one.status.as_ref().expect("a status");
    assert_eq!(status.host, Some(format!("{name}.{domain}")));
    let url = status.url.clone().expect("a URL");
    assert_eq!(url, format!("http://{name}.{domain}/"));
    let annotation = one.metadata.annotations.as_ref().and_then(|all| all.get("host"));
    assert_eq!(annotation, status.host.as_ref(), "the annotation is there as soon as it is available");
    // Available with a readiness probe says that the URL answers: no waiting here.
    let (code, body) = cluster.get(&url, address).await;
    assert_eq!((code, body.trim()), (200, format!("this is {name}").as_str()));
    (name, one)
}
