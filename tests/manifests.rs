//! The manifests in `k8s/` and the generated pages of the documentation say what the code says.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

use std::collections::BTreeSet;

use ephemeron::{
    controller::permissions::{LEASE, PERMISSIONS},
    health::Listen,
    resource::Ephemeron,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::ServiceAccount,
    rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding},
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResourceExt as _, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::Value;

const DEFINITION: &str = include_str!("../k8s/ephemerons.yaml");
const CONDITIONS: &str = include_str!("../docs/reference/conditions.md");
const EXAMPLE: &str = include_str!("../k8s/example.yaml");
const ACCOUNT: &str = include_str!("../k8s/controller/sa.yaml");
const DEPLOYMENT: &str = include_str!("../k8s/controller/deployment.yaml");
const API_ACCOUNT: &str = include_str!("../k8s/api/sa.yaml");
const API_DEPLOYMENT: &str = include_str!("../k8s/api/deployment.yaml");

/// Client-side `kubectl apply` keeps the whole object in one annotation of at most this size.
const ANNOTATION_MAX: usize = 256 * 1024;

/// The one object of a kind in a manifest.
fn one<K: Resource<DynamicType = ()> + DeserializeOwned>(manifest: &str) -> K {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifest).expect("YAML");
    let mut found: Vec<Value> =
        documents.into_iter().filter(|document| document["kind"] == *K::kind(&())).collect();
    assert_eq!(found.len(), 1, "one {}", K::kind(&()));
    serde_json::from_value(found.remove(0)).unwrap_or_else(|error| panic!("{}: {error}", K::kind(&())))
}

/// The object of a kind and a name in a manifest.
fn named<K: Resource<DynamicType = ()> + DeserializeOwned>(manifest: &str, name: &str) -> K {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifest).expect("YAML");
    let is_it = |document: &Value| document["kind"] == *K::kind(&()) && document["metadata"]["name"] == name;
    let mut found: Vec<Value> = documents.into_iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "one {} {name}", K::kind(&()));
    serde_json::from_value(found.remove(0)).unwrap_or_else(|error| panic!("{}: {error}", K::kind(&())))
}

/// What `envsubst` makes of a manifest; no variable may be left.
fn substituted(manifest: &str, variables: &[(&str, &str)]) -> String {
    let text = variables.iter().fold(manifest.to_owned(), |text, (name, value)| {
        let variable = format!("${{{name}}}");
        assert!(text.contains(&variable), "{variable} is not used");
        text.replace(&variable, value)
    });
    let rest: Vec<&str> = text.lines().filter(|line| line.contains('$') && !line.starts_with('#')).collect();
    assert!(rest.is_empty(), "more variables: {rest:?}");
    text
}

/// The controller's Role in the namespace of the children, and the name of its binding.
const CHILDREN: &str = "control-ephemeron";

/// Every single right: (only in the children's namespace, group, resource, verb).
type Rights = BTreeSet<(bool, String, String, String)>;

fn rights(namespaced: bool, rules: Vec<PolicyRule>) -> Rights {
    let mut rights = Rights::new();
    for rule in rules {
        assert_eq!((&rule.resource_names, &rule.non_resource_urls), (&None, &None), "{rule:?}");
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    let right = (namespaced, group.clone(), resource.clone(), verb.clone());
                    assert!(rights.insert(right), "twice: {verb} {resource}");
                }
            }
        }
    }
    rights
}

#[test]
fn the_account_may_do_what_the_controller_does_and_no_more() {
    let mut granted = rights(false, one::<ClusterRole>(ACCOUNT).rules.expect("rules"));
    granted.extend(rights(true, named::<Role>(ACCOUNT, CHILDREN).rules.expect("rules")));
    let needed: Rights = PERMISSIONS
        .iter()
        .flat_map(|permission| {
            permission.verbs.iter().map(|verb| {
                (permission.namespaced, permission.group.into(), permission.resource.into(), (*verb).into())
            })
        })
        .collect();
    let missing: Vec<_> = needed.difference(&granted).collect();
    let excess: Vec<_> = granted.difference(&needed).collect();
    assert!(missing.is_empty() && excess.is_empty(), "missing: {missing:#?}, in excess: {excess:#?}");
}

/// A Role of a program's own namespace, as (resource, names, verbs).
fn own_rights(manifest: &str, role: &str) -> Vec<(String, Vec<String>, Vec<String>)> {
    let rules = named::<Role>(manifest, role).rules.expect("rules");
    let parts = rules.into_iter().flat_map(|rule| {
        let names = rule.resource_names.unwrap_or_default();
        let one = move |resource| (resource, names.clone(), rule.verbs.clone());
        rule.resources.unwrap_or_default().into_iter().map(one).collect::<Vec<_>>()
    });
    parts.collect()
}

#[test]
fn in_its_own_namespace_a_program_has_its_keys_and_the_controller_its_lease_and_nothing_else() {
    let right = |resource: &str, names: &[&str], verbs: &[&str]| {
        let texts = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        (resource.to_owned(), texts(names), texts(verbs))
    };
    let by_name: Vec<&str> = LEASE.verbs.iter().copied().filter(|verb| *verb != "create").collect();
    assert_eq!(
        own_rights(ACCOUNT, "ephemeron-controller"),
        [
            right("leases", &[], &["create"]),
            right("leases", &["ephemeron-controller"], &by_name),
            right("secrets", &[], &["create"]),
            right("secrets", &["ephemeron-controller-keys"], &["get", "patch"]),
        ]
    );
    assert_eq!(
        own_rights(API_ACCOUNT, "ephemeron-api-keys"),
        [right("secrets", &[], &["create"]), right("secrets", &["ephemeron-api-keys"], &["get", "patch"]),]
    );
}

#[test]
fn the_roles_are_bound_to_the_accounts_that_the_deployments_run_as() {
    let deployments = [
        (
            ACCOUNT,
            one::<Deployment>(&controller()),
            [(CHILDREN, "ephemeron-controller-binding"), ("ephemeron-controller", "ephemeron-controller")],
        ),
        (
            API_ACCOUNT,
            one(&api()),
            [("ephemeron-api", "ephemeron-api"), ("ephemeron-api-keys", "ephemeron-api-keys")],
        ),
    ];
    for (manifest, deployment, roles) in deployments {
        let account: ServiceAccount = one(manifest);
        let cluster: ClusterRoleBinding = one(manifest);
        assert_eq!(
            (&*cluster.role_ref.kind, cluster.role_ref.name),
            ("ClusterRole", one::<ClusterRole>(manifest).name_any())
        );
        let [subject] = &cluster.subjects.expect("a subject")[..] else { panic!("more than one subject") };
        assert_eq!((&*subject.kind, &subject.name), ("ServiceAccount", &account.name_any()));
        assert_eq!(subject.namespace, account.namespace());
        for (role, binding) in roles {
            let (role, binding): (Role, RoleBinding) = (named(manifest, role), named(manifest, binding));
            assert_eq!((&*binding.role_ref.kind, &binding.role_ref.name), ("Role", &role.name_any()));
            assert_eq!(binding.namespace(), role.namespace());
            assert_eq!(binding.subjects.as_deref(), Some(std::slice::from_ref(subject)));
        }
        assert_eq!(deployment.namespace(), account.namespace());
        let pod = deployment.spec.and_then(|spec| spec.template.spec).expect("a Pod");
        assert_eq!(pod.service_account_name, Some(account.name_any()));
        let children: Role = named(manifest, roles[0].0);
        let environment = pod.containers[0].env.as_deref().unwrap_or_default();
        let variable =
            |name: &str| environment.iter().find(|one| one.name == name).and_then(|one| one.value.clone());
        assert_eq!(variable("EPHEMERON_NAMESPACE"), children.namespace(), "where the Role is");
        for container in pod.containers.iter().chain(pod.init_containers.iter().flatten()) {
            assert_eq!(container.image.as_deref(), Some("an-image"));
        }
    }
}

fn controller() -> String {
    substituted(DEPLOYMENT, &[("IMAGE", "an-image"), ("DOMAIN", "example.com")])
}

fn api() -> String {
    substituted(
        API_DEPLOYMENT,
        &[("IMAGE", "an-image"), ("HOST", "api.example.com"), ("JWT_SECRET", "a secret")],
    )
}

#[test]
fn the_deployments_are_probed_and_scraped_where_they_listen() {
    is_probed_and_scraped(one(&controller()));
    is_probed_and_scraped(one(&api()));
}

fn is_probed_and_scraped(deployment: Deployment) {
    let template = deployment.spec.expect("a spec").template;
    let pod = template.spec.expect("a Pod");
    let container = &pod.containers[0];
    let variables = container.env.as_deref().unwrap_or_default();
    let listen =
        variables.iter().find(|one| one.name == "EPHEMERON_LISTEN").and_then(|one| one.value.clone());
    let Ok(Listen::At(address)) = listen.expect("EPHEMERON_LISTEN").parse() else { panic!("an address") };
    assert!(address.ip().is_unspecified(), "the kubelet asks from outside of the Pod");

    let mut ports = container.ports.iter().flatten();
    let port = ports.find(|port| port.name.as_deref() == Some("health")).expect("a port");
    assert_eq!(port.container_port, i32::from(address.port()));
    for (probe, path) in [(&container.liveness_probe, "/healthz"), (&container.readiness_probe, "/readyz")] {
        let get = probe.as_ref().and_then(|probe| probe.http_get.as_ref()).expect("a probe by HTTP");
        assert_eq!(get.path.as_deref(), Some(path));
        assert_eq!(get.port, IntOrString::String(port.name.clone().expect("a name")), "{path}");
    }
    let annotations = template.metadata.and_then(|metadata| metadata.annotations).expect("annotations");
    let annotation = |key: &str| annotations.get(key).map(String::as_str);
    assert_eq!(annotation("prometheus.io/scrape"), Some("true"));
    assert_eq!(annotation("prometheus.io/port"), Some(&*address.port().to_string()));
    assert_eq!(annotation("prometheus.io/path"), Some("/metrics"));
}

#[test]
fn the_definition_is_the_code_s() {
    let generated = serde_saphyr::to_string(&Ephemeron::crd()).expect("YAML");
    assert!(DEFINITION == generated, "k8s/ephemerons.yaml is out of date: run `make generate`");
}

#[test]
fn the_page_on_conditions_is_the_code_s() {
    let generated = ephemeron::resource::reference::conditions();
    assert!(CONDITIONS == generated, "docs/reference/conditions.md is out of date: run `make generate`");
}

#[test]
fn the_definition_can_be_applied_from_the_client_s_side() {
    let size = serde_json::to_vec(&Ephemeron::crd()).expect("JSON").len();
    assert!(size < ANNOTATION_MAX, "{size} bytes");
}

#[test]
fn the_example_is_an_ephemeron() {
    let example: Ephemeron = one(&substituted(EXAMPLE, &[("EXPIRES", "2030-01-31T12:00:00+00:00")]));
    assert_eq!(example.name(), "example");
    assert!(example.expiration_time().is_some());
    let service = example.spec.service.as_ref().expect("a service");
    assert_eq!((&*service.image, service.port), ("nginx", 80));
    assert_eq!(service.image_pull_policy.as_deref(), Some("IfNotPresent"));
    assert_eq!(service.readiness_probe.as_ref().map(|probe| &*probe.path), Some("/"));
}
