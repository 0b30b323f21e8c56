//! HTTPS: by the Gateways' own listeners, and by an Ingress with a Secret.

use crate::{
    Cases, World,
    life::{PROBE, manifest_for},
};

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("tls::httproute_on_traefik", |world| async move {
        let address = world.cluster.env("NODE_ADDRESS").to_owned();
        let parent = lives(&world, "tls-t", "controller: traefik-tls", "", &address).await;
        assert_eq!(parent, "HTTPRoute gateways/traefik/https");
    });
    cases.add("tls::httproute_on_contour", |world| async move {
        let address = world.cluster.env("SECOND_ADDRESS").to_owned();
        let parent = lives(&world, "tls-c", "controller: contour-tls", "", &address).await;
        assert_eq!(parent, "HTTPRoute gateways/contour/https");
    });
    cases.add("tls::ingress_on_traefik", |world| async move {
        let address = world.cluster.env("NODE_ADDRESS").to_owned();
        let parent =
            lives(&world, "tls-i", "controller: ingress-tls", "tlsSecretName: eph-tls", &address).await;
        assert_eq!(parent, "Ingress traefik");
    });
}

/// An Ephemeron becomes available by HTTPS, with the certificate that the cluster's authority signed
/// and with no other. Returns the kind of its route, and what that is attached to.
async fn lives(world: &World, prefix: &str, labels: &str, more: &str, address: &str) -> String {
    let cluster = &world.cluster;
    let name = cluster.name(prefix);
    let manifest = manifest_for(&name, labels, "lifetime: 30m", &format!("{PROBE}\n    {more}"));
    cluster.apply(&manifest).await.expect("it is accepted");
    let status = cluster.available(&name).await.status.expect("a status");
    let url = status.url.expect("a URL");
    assert_eq!(url, format!("https://{name}.eph.localhost/"));

    let ask = |authority: &str| {
        format!("command curl -sS -m 60 {authority} --connect-to ::{address}: -w '%{{http_code}}' '{url}'")
    };
    let trusting = cluster.shell(&ask(&format!("--cacert '{}'", cluster.env("TLS_CA")))).await;
    let error = String::from_utf8_lossy(&trusting.stderr);
    assert_eq!(String::from_utf8_lossy(&trusting.stdout), format!("this is {name}\n200"), "{error}");
    let distrusting = cluster.shell(&ask("")).await;
    assert_eq!(distrusting.status.code(), Some(60), "curl's code for a certificate it cannot verify");

    cluster.delete(&name).await;
    let route = status.route.expect("a route");
    format!("{} {}", route.kind, route.parent.unwrap_or_default())
}
