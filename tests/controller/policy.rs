//! The installation's policy: what it forbids becomes a condition, and what it lets through runs.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use crate::{
    Cases,
    accounts::grant,
    cluster::condition,
    controllers::Controller,
    life::{manifest, manifest_for},
};

/// Laid under every service of a restricted installation; its image would run as root.
const TEMPLATE: &str = r#"
metadata: {labels: {team: blue}}
spec:
  securityContext: {runAsUser: 65532}
  containers: [{name: "*", resources: {limits: {cpu: 500m, memory: 64Mi}, requests: {cpu: 10m}}}]
  tolerations: [{key: ephemeron, operator: Exists}]
"#;

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("policy::what_it_forbids_is_a_condition", |world| async move {
        let cluster = &world.cluster;
        let (kept, api) = (cluster.name("kept"), cluster.name("api"));
        let api_host = format!("{api}.policy.localhost");
        let controller = Controller::start(
            cluster,
            "policy.localhost",
            &[
                ("EPHEMERON_SELECTOR", "controller=policy"),
                ("EPHEMERON_GATEWAY", "ingress"),
                ("EPHEMERON_PROBE_ADDRESS", "off"),
                ("EPHEMERON_IMAGES", "local/*"),
                ("EPHEMERON_MAX_RESOURCES", "cpu=1"),
                ("EPHEMERON_INGRESS_ANNOTATIONS", "example.com/*"),
                ("EPHEMERON_MAX_LIFETIME", "1h"),
                ("EPHEMERON_RESERVED_NAMES", &format!("www,{kept}")),
                ("EPHEMERON_API_HOST", &api_host),
            ],
        );
        let apply = |name: String, more: &'static str| async move {
            let spec = manifest_for(&name, "controller: policy", "lifetime: 2h", more);
            cluster.apply(&spec).await.expect("it is accepted");
            name
        };
        let rows = [
            (
                "resources: {limits: {cpu: 2}}",
                "spec.containers[0].resources.limits[cpu]: 2 is more than the 1",
            ),
            ("ingressAnnotations: {other.org/snippet: x}", "spec.service.ingressAnnotations: the annotation"),
        ];
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), "default");
        for (more, wanted) in rows {
            refused(cluster, &apply(cluster.name("forbidden"), more).await, wanted).await;
        }
        let name = cluster.name("forbidden");
        let spec = manifest(&name, "2h", "").replace("local/server:1", "registry.example.com/server:1");
        let spec = spec.replace("labels: {}", "labels: {controller: policy}");
        cluster.apply(&spec).await.expect("it is accepted");
        refused(cluster, &name, "registry.example.com/server:1 is not allowed here").await;
        assert!(pods.get_opt(&name).await.expect("an answer").is_none(), "nothing is made");
        cluster.delete(&name).await;

        for name in [kept, api] {
            let name = apply(name, "").await;
            cluster.reaches(&name, "is kept", |one| condition(one, "Available").1 == "NameReserved").await;
            assert!(pods.get_opt(&name).await.expect("an answer").is_none(), "nothing is made");
            cluster.delete(&name).await;
        }

        let name = apply(cluster.name("allowed"), "ingressAnnotations: {example.com/a: b}").await;
        let one = cluster.available(&name).await;
        let created = one.metadata.creation_timestamp.as_ref().expect("a time").0.as_second();
        let end = one.status.and_then(|status| status.expiration_time).expect("an end").timestamp();
        assert_eq!(end - created, 3_600, "the longest lifetime, not the one of the spec");
        let spec = pods.get(&name).await.expect("the Pod").spec.expect("a spec");
        let limits = spec.containers[0].resources.as_ref().and_then(|resources| resources.limits.as_ref());
        assert_eq!(limits.and_then(|limits| limits.get("cpu")).map(|cpu| cpu.0.as_str()), Some("1"));
        cluster.delete(&name).await;
        controller.stop().await;
    });

    cases.add("policy::a_restricted_namespace_takes_the_pods", |world| async move {
        let cluster = &world.cluster;
        let namespace = cluster.name("restricted");
        cluster
            .apply(&format!(
                "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}, labels: \
                 {{pod-security.kubernetes.io/enforce: restricted}}}}"
            ))
            .await
            .expect("it is accepted");
        grant(cluster, &namespace).await;
        let template = format!("{}/{namespace}.yaml", env!("CARGO_TARGET_TMPDIR"));
        std::fs::write(&template, TEMPLATE).expect("it is written");
        let controller = Controller::start(
            cluster,
            "restricted.localhost",
            &[
                ("EPHEMERON_SELECTOR", "controller=restricted"),
                ("EPHEMERON_NAMESPACE", &namespace),
                ("EPHEMERON_GATEWAY", "ingress"),
                ("EPHEMERON_PROBE_ADDRESS", "off"),
                ("EPHEMERON_POD_SECURITY", "restricted"),
                ("EPHEMERON_POD_TEMPLATE", &template),
            ],
        );
        let name = cluster.name("restricted");
        let spec = manifest_for(
            &name,
            "controller: restricted",
            "lifetime: 30m",
            "resources: {limits: {cpu: 250m}}",
        );
        cluster.apply(&spec).await.expect("it is accepted");
        cluster.available(&name).await;
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), &namespace);
        let pod = pods.get(&name).await.expect("the Pod");
        assert_eq!(pod.metadata.labels.unwrap_or_default().get("team").map(String::as_str), Some("blue"));
        let spec = pod.spec.expect("a spec");
        assert_eq!(spec.security_context.and_then(|security| security.run_as_user), Some(65532));
        let limits = spec.containers[0].resources.clone().and_then(|resources| resources.limits);
        let limits: Vec<_> =
            limits.iter().flatten().map(|(name, amount)| format!("{name}={}", amount.0)).collect();
        assert_eq!(limits, ["cpu=250m", "memory=64Mi"], "what the spec says wins");
        cluster.delete(&name).await;
        controller.stop().await;
        cluster.kubectl(&format!("delete namespace {namespace} --wait=false")).await;
    });
}

/// Waits until both conditions say that the policy refuses it, in these words.
async fn refused(cluster: &crate::cluster::Cluster, name: &str, wanted: &str) {
    let one =
        cluster.reaches(name, "is refused", |one| condition(one, "Available").1 == "RefusedByPolicy").await;
    let conditions = one.status.expect("a status").conditions;
    for said in conditions {
        assert_eq!(said.reason.as_deref(), Some("RefusedByPolicy"), "{}", said.r#type);
        let message = said.message.unwrap_or_default();
        assert!(message.contains(wanted), "{name}: {message}");
    }
}
