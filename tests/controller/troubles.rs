//! Each state in which a user can be stuck, provoked for real and read by its reason.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Event;
use kube::{Api, api::ListParams};

use crate::{
    Cases, World,
    cluster::{Cluster, condition, message, until},
    controllers::Controller,
    life::{PROBE, manifest_for},
};

/// A service that gets stuck.
struct Row {
    /// What the case is called.
    name: &'static str,
    /// More of the container's environment, as `A: b` lines in one, separated by semicolons.
    environment: &'static str,
    /// More lines of `spec.service`, in flow style.
    service: &'static str,
    /// The reason of Available.
    reason: &'static str,
    /// What its message must contain.
    words: &'static [&'static str],
}

/// What goes wrong in the Pod. The controller here waits 3 s for a Pod to become ready.
const PODS: &[Row] = &[
    Row {
        name: "an_image_that_is_nowhere",
        environment: "",
        service: "image: local/absent:1\n    imagePullPolicy: Never",
        reason: "ImagePullFailed",
        words: &["local/absent:1"],
    },
    Row {
        name: "an_image_that_cannot_be_pulled",
        environment: "",
        service: "image: registry.invalid/absent:1",
        reason: "ImagePullFailed",
        words: &["registry.invalid/absent:1"],
    },
    Row {
        name: "a_crash",
        environment: "EXIT_AFTER=0s;EXIT_CODE=3;LAST_WORDS=the disk is full",
        service: PROBE,
        reason: "ContainerCrashed",
        words: &["exit code 3", "the disk is full"],
    },
    Row {
        name: "a_command_that_does_not_exist",
        environment: "",
        service: "command: [/nonexistent]",
        reason: "ContainerCannotStart",
        words: &["/nonexistent"],
    },
    Row {
        name: "never_ready",
        environment: "READY_AFTER=1h",
        service: PROBE,
        reason: "NotReadyInTime",
        words: &["after 3 s", "503"],
    },
    Row {
        name: "a_port_that_nobody_listens_on",
        environment: "REFUSE=true",
        service: PROBE,
        reason: "PortNotListening",
        words: &["connection refused"],
    },
    Row {
        name: "more_than_any_node_has",
        environment: "",
        service: "resources: {requests: {cpu: 1000}}",
        reason: "Unschedulable",
        words: &["Insufficient cpu"],
    },
];

/// What goes wrong around it: a case, settings of a controller of its own, the reason, and words.
type Around =
    (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str, &'static str);

const AROUND: &[Around] = &[
    (
        "no_gateway",
        "localhost",
        &[("EPHEMERON_GATEWAY", "gateways/absent")],
        "NoGateway",
        "the Gateway gateways/absent does not exist",
    ),
    ("two_gateways", "contour.localhost", &[], "AmbiguousGateway", "gateways/contour, gateways/traefik"),
    (
        "a_listener_for_another_domain",
        "localhost",
        &[("EPHEMERON_GATEWAY", "gateways/contour")],
        "HostNotAdmitted",
        "no listener of the Gateway gateways/contour admits",
    ),
    (
        "a_gateway_that_nobody_runs",
        "localhost",
        &[("EPHEMERON_GATEWAY", "default/nobody")],
        "RouteNotAccepted",
        "has not said anything",
    ),
    (
        "an_address_that_does_not_answer",
        "localhost",
        &[("EPHEMERON_PROBE_ADDRESS", "127.0.0.1:1")],
        "ProbeAddressUnreachable",
        "EPHEMERON_PROBE_ADDRESS",
    ),
    (
        "a_url_that_does_not_answer",
        "localhost",
        // Contour is there, and knows nothing of the route.
        &[("EPHEMERON_PROBE_ADDRESS", "$SECOND_ADDRESS")],
        "URLNotAnswering",
        "status 404",
    ),
    ("a_quota", "localhost", &[("EPHEMERON_NAMESPACE", "test-quota")], "QuotaExceeded", "exceeded quota"),
    (
        "admission",
        "localhost",
        &[("EPHEMERON_NAMESPACE", "test-restricted")],
        "RefusedByAdmission",
        "violates PodSecurity",
    ),
];

/// The namespaces of children beside `default`.
pub const NAMESPACES: [&str; 2] = ["test-quota", "test-restricted"];

/// What the cases need in the cluster.
pub const OBJECTS: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: test-quota}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: none, namespace: test-quota}
spec: {hard: {pods: 0}}
---
apiVersion: v1
kind: Namespace
metadata: {name: test-restricted, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: nobody}
spec: {controllerName: example.com/nobody}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: nobody, namespace: default}
spec:
  gatewayClassName: nobody
  listeners: [{name: http, protocol: HTTP, port: 80, hostname: '*.localhost'}]
";

/// The cases.
pub fn cases(cases: &mut Cases) {
    for row in PODS {
        cases.add(&format!("troubles::{}", row.name), move |world| async move {
            let cluster = &world.cluster;
            let name = cluster.name("stuck");
            let mut manifest = manifest_for(&name, "controller: impatient", "lifetime: 30m", row.service);
            for setting in row.environment.split(';').filter_map(|setting| setting.split_once('=')) {
                let (key, value) = setting;
                manifest =
                    manifest.replace("env: [", &format!("env: [{{name: {key}, value: \"{value}\"}}, "));
            }
            // A later line of the same key wins in no YAML: the first one goes.
            if row.service.contains("image:") {
                manifest = manifest.replacen(
                    "    image: local/server:1\n    imagePullPolicy: IfNotPresent\n",
                    "",
                    1,
                );
            }
            cluster.apply(&manifest).await.expect("it is accepted");
            stuck(cluster, &name, row.reason, row.words).await;
            cluster.delete(&name).await;
        });
    }

    for (case, domain, settings, reason, words) in AROUND {
        cases.add(&format!("troubles::{case}"), move |world| async move {
            let cluster = &world.cluster;
            let value = |value: &'static str| match value.strip_prefix('$') {
                Some(variable) => cluster.env(variable).to_owned(),
                None => value.to_owned(),
            };
            let settings: Vec<(&str, String)> =
                settings.iter().map(|(name, text)| (*name, value(text))).collect();
            let selector = format!("controller={case}");
            let mut all: Vec<(&str, &str)> =
                settings.iter().map(|(name, text)| (*name, text.as_str())).collect();
            all.push(("EPHEMERON_SELECTOR", &selector));
            let controller = Controller::start(cluster, domain, &all);
            let name = cluster.name("stuck");
            let label = format!("controller: {case}");
            let manifest = manifest_for(&name, &label, "lifetime: 30m", PROBE);
            cluster.apply(&manifest).await.expect("it is accepted");
            stuck(cluster, &name, reason, &[words]).await;
            cluster.delete(&name).await;
            cluster.gone(&cluster.ephemerons(), &name).await;
            controller.stop().await;
        });
    }

    cases.add("troubles::a_host_that_is_taken", |world| async move {
        let cluster = &world.cluster;
        let foreign = |name: &str| {
            format!(
                r"
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: other-{name}, namespace: default, labels: {{test: foreign}}}}
spec: {{hostnames: [{name}.localhost], parentRefs: [{{name: traefik, namespace: gateways}}]}}
"
            )
        };
        // The controller may see the second of the two first: they come by two watches.
        let tries = AtomicU32::new(0);
        let name = until("its host is taken", || async {
            assert!(tries.fetch_add(1, Ordering::Relaxed) < 3, "foreign hosts are not respected");
            let name = cluster.name("host");
            cluster.apply(&foreign(&name)).await.expect("it is accepted");
            cluster.apply(&manifest_for(&name, "", "lifetime: 30m", PROBE)).await.expect("it is accepted");
            let is_seen = |one: &ephemeron::resource::Ephemeron| {
                ["HostTaken", "Available"].contains(&condition(one, "Available").1)
            };
            let one = cluster.reaches(&name, "is seen", is_seen).await;
            if condition(&one, "Available").1 == "HostTaken" {
                return Some(name);
            }
            cluster.delete(&name).await;
            cluster.kubectl(&format!("-n default delete httproute other-{name}")).await;
            None
        })
        .await;
        stuck(cluster, &name, "HostTaken", &[&format!("HTTPRoute default/other-{name}")]).await;
        // Nothing but the other's change has it go on.
        let elsewhere = r#"{"spec":{"hostnames":["elsewhere.localhost"]}}"#;
        cluster
            .kubectl(&format!("-n default patch httproute other-{name} --type=merge -p '{elsewhere}'"))
            .await;
        cluster.available(&name).await;
        cluster.kubectl(&format!("-n default delete httproute other-{name}")).await;
        // One of ours without its labels is not somebody else's.
        let gone = "app.kubernetes.io/managed-by- ephemerons.qualified.io/name-";
        cluster.kubectl(&format!("-n default label httproute {name} {gone}")).await;
        let routes =
            kube::Api::<gateway_api::httproutes::HttpRoute>::namespaced(cluster.client.clone(), "default");
        until("the labels are back", || async {
            let labels = routes.get(&name).await.ok()?.metadata.labels.unwrap_or_default();
            labels.contains_key("ephemerons.qualified.io/name").then_some(())
        })
        .await;
        cluster.available(&name).await;
        // Whoever comes later does not take it away again.
        cluster.apply(&foreign(&name)).await.expect("it is accepted");
        cluster.kubectl(&format!("-n default annotate httproute other-{name} touched=yes")).await;
        cluster.available(&name).await;
        cluster.kubectl(&format!("-n default delete httproute other-{name}")).await;
        cluster.delete(&name).await;
    });

    cases.add("troubles::a_tls_secret_that_is_missing", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("tls");
        let more = format!("{PROBE}\n    tlsSecretName: absent");
        let manifest = manifest_for(&name, "controller: ingress", "lifetime: 30m", &more);
        cluster.apply(&manifest).await.expect("it is accepted");
        stuck(cluster, &name, "CertificateMismatch", &["Secret"]).await;
        cluster.delete(&name).await;
    });

    cases.add("troubles::a_healthy_life_has_no_events", |world| async move {
        let cluster = &world.cluster;
        let (name, began) = (cluster.name("healthy"), Instant::now());
        cluster.apply(&manifest_for(&name, "", "lifetime: 1h", PROBE)).await.expect("it is accepted");
        cluster.available(&name).await;
        let took = began.elapsed();
        cluster.ends_in(&name, 3).await;
        cluster.gone(&cluster.ephemerons(), &name).await;
        assert_eq!(faults(&world, &name, took).await, Vec::<String>::new());
    });

    cases.add("troubles::a_status_written_by_hand_is_set_right", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("forged");
        cluster.apply(&manifest_for(&name, "", "lifetime: 30m", PROBE)).await.expect("it is accepted");
        let before = cluster.available(&name).await;
        let forged = r#"{"status":{"host":"bank.example.com","expirationTime":"soon","url":"http://bank.example.com/","conditions":[{"type":"Available","status":"Maybe"}]}}"#;
        cluster.kubectl(&format!("patch eph {name} --subresource=status --type=merge -p '{forged}'")).await;
        let after = cluster.reaches(&name, "is itself again", |one| {
            one.status.as_ref().is_some_and(|status| status.host.as_deref() == Some(&format!("{name}.localhost")))
        });
        let (before, after) = (before.status.expect("a status"), after.await);
        cluster.available(&name).await;
        let after = after.status.expect("a status");
        assert_eq!((after.url, after.expiration_time), (before.url, before.expiration_time));
        cluster.answers(&format!("http://{name}.localhost/"), None, 200).await;
        cluster.delete(&name).await;
    });
}

/// Waits until the Ephemeron says why it is stuck, and an Event does, too.
async fn stuck(cluster: &Cluster, name: &str, reason: &str, words: &[&str]) {
    cluster
        .reaches(name, &format!("says {reason}: {words:?}"), |one| {
            condition(one, "Available") == ("False", reason)
                && words.iter().all(|words| message(one, "Available").contains(words))
        })
        .await;
    until(&format!("an Event says {reason}"), || async {
        event_reasons(cluster, name).await.iter().any(|told| told == reason).then_some(())
    })
    .await;
}

pub async fn events(world: &World, name: &str) -> Vec<String> {
    event_reasons(&world.cluster, name).await
}

/// The reasons of the Events of an Ephemeron. If it has taken long until it was available, those that only tell that
/// the machine is slow are left out.
pub async fn faults(world: &World, name: &str, took: Duration) -> Vec<String> {
    const LONG: Duration = Duration::from_secs(8);
    const SLOW: &[&str] = &[
        "EndpointsNotReady",
        "RouteNotAccepted",
        "URLNotAnswering",
        "ProbeAddressUnreachable",
        "NotReadyInTime",
        "PresetTimedOut",
    ];
    let mut all = events(world, name).await;
    all.retain(|reason| took < LONG || !SLOW.contains(&reason.as_str()));
    all
}

async fn event_reasons(cluster: &Cluster, name: &str) -> Vec<String> {
    let of_this =
        ListParams::default().fields(&format!("involvedObject.kind=Ephemeron,involvedObject.name={name}"));
    let events = Api::<Event>::namespaced(cluster.client.clone(), "default").list(&of_this).await;
    events.expect("events").items.into_iter().filter_map(|event| event.reason).collect()
}
