//! The installation in `k8s/` fits together: what its parts name is there, and what is said twice is said alike.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

use std::collections::BTreeSet;

use ephemeron::policy::{Policy, Rules, template::Template};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Container, Namespace, PodSpec},
    },
    apimachinery::pkg::api::resource::Quantity,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

const CONTROLLER: &str = include_str!("../k8s/controller/deployment.yaml");
const API: &str = include_str!("../k8s/api/deployment.yaml");
const ACCOUNTS: [(&str, &str); 2] =
    [(CONTROLLER, include_str!("../k8s/controller/sa.yaml")), (API, include_str!("../k8s/api/sa.yaml"))];
const API_CONFIG: &str = include_str!("../k8s/settings/api.yaml");
const POD_TEMPLATE: &str = include_str!("../k8s/settings/pod-template.yaml");
const SETTINGS: &str = include_str!("../k8s/settings/settings.env");
const NAMESPACES: &str = include_str!("../k8s/install/namespaces.yaml");
const DOCKERFILES: [&str; 2] =
    [include_str!("../k8s/controller/Dockerfile"), include_str!("../k8s/api/Dockerfile")];

fn all<K: DeserializeOwned>(manifest: &str, kind: &str) -> Vec<K> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifest).expect("YAML");
    let wanted = documents.into_iter().filter(|document| document["kind"] == kind);
    wanted
        .map(|document| serde_json::from_value(document).unwrap_or_else(|error| panic!("{kind}: {error}")))
        .collect()
}

fn pod(manifest: &str) -> PodSpec {
    let deployment = all::<Deployment>(manifest, "Deployment").remove(0);
    deployment.spec.and_then(|spec| spec.template.spec).expect("a Pod")
}

/// What `--make-keys` of a Deployment's init container makes: the Secret, and the paths of the files.
fn keys(pod: &PodSpec) -> (String, BTreeSet<String>) {
    let init = &pod.init_containers.as_deref().expect("an init container")[0];
    let arguments = init.args.as_deref().expect("arguments");
    let [flag, wanted, into, folder] = arguments else { panic!("{arguments:?}") };
    assert_eq!((&**flag, &**into), ("--make-keys", "--into"));
    let (secret, keys) = wanted.split_once('=').expect("SECRET=KEYS");
    (secret.into(), keys.split(',').map(|key| format!("{folder}/{key}")).collect())
}

#[test]
fn each_file_and_secret_that_is_named_is_one_that_is_made() {
    for (manifest, account) in ACCOUNTS {
        let pod = pod(manifest);
        let (secret, files) = keys(&pod);
        let environment = pod.containers[0].env.as_deref().unwrap_or_default();
        let named = environment
            .iter()
            .filter_map(|one| one.value.as_ref())
            .filter(|value| value.starts_with("/run/"));
        for file in named {
            assert!(files.contains(file), "{file} is not made");
        }
        for one in environment {
            if let Some(key) = one.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref()) {
                assert_eq!(key.name, secret);
                assert!(
                    files.iter().any(|file| file.ends_with(&format!("/{}", key.key))),
                    "{} is not made",
                    key.key
                );
            }
        }
        assert!(account.contains(&format!("resourceNames: [{secret}]")), "the account may have {secret}");
    }
}

#[test]
fn the_api_s_configuration_is_the_same_in_both_ways_and_its_key_is_made() {
    let map = all::<ConfigMap>(API, "ConfigMap").remove(0);
    let read = |text: &str| serde_saphyr::from_str::<Value>(text).expect("YAML");
    let config = read(API_CONFIG);
    assert_eq!(read(&map.data.expect("data")["config.yaml"]), config);
    let file = config["apps"]["example"]["keyFile"].as_str().expect("a file");
    assert!(keys(&pod(API)).1.contains(file), "{file} is not made");
    assert!(config["apps"]["example"]["key"].is_null(), "a key that everybody knows");
}

#[test]
fn the_pod_template_is_one_that_the_default_policy_takes() {
    let template: Template = POD_TEMPLATE.parse().expect("a template");
    Policy::new(Rules { template: Some(template), ..Rules::default() }).expect("within the policy");
}

#[test]
fn the_services_namespace_enforces_what_the_settings_say() {
    let level =
        SETTINGS.lines().find_map(|line| line.strip_prefix("EPHEMERON_POD_SECURITY=")).expect("a level");
    let enforced = |name: &str| {
        let all: Vec<Namespace> = all(NAMESPACES, "Namespace");
        let one =
            all.into_iter().find(|one| one.metadata.name.as_deref() == Some(name)).expect("a namespace");
        one.metadata.labels.expect("labels")["pod-security.kubernetes.io/enforce"].clone()
    };
    assert_eq!(enforced("ephemerons"), level);
    assert_eq!(enforced("ephemeron-system"), "restricted");
}

/// In MiB.
fn mebibytes(quantity: &Quantity) -> u64 {
    let (number, factor) = match quantity.0.split_at(quantity.0.len() - 2) {
        (number, "Mi") => (number, 1),
        (number, "Gi") => (number, 1024),
        _ => panic!("{quantity:?}"),
    };
    number.parse::<u64>().expect("a number") * factor
}

#[test]
fn memory_suffices_for_what_was_measured_and_what_presets_may_take() {
    // docs/performance.md: a restart with 10,000.
    const MEASURED: u64 = 225;
    // docs/reference/presets.md: four calls and one more.
    const CALLS: u64 = 5 * 64;
    for manifest in [CONTROLLER, API] {
        let pod = pod(manifest);
        let container: &Container = &pod.containers[0];
        let compile =
            container.env.iter().flatten().find(|one| one.name == "EPHEMERON_PRESET_COMPILE_MEMORY");
        let compile = Quantity(compile.and_then(|one| one.value.clone()).expect("a limit"));
        let limits =
            container.resources.as_ref().and_then(|resources| resources.limits.clone()).expect("limits");
        assert!(mebibytes(&limits["memory"]) >= MEASURED + CALLS + mebibytes(&compile), "{}", container.name);
    }
}

#[test]
fn the_images_differ_in_their_last_stage_only() {
    let stages = DOCKERFILES.map(|text| {
        let code: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let code = code.join("\n");
        let (before, last) = code.split_once("FROM scratch\n").expect("a last stage of nothing");
        assert!(last.contains("\nUSER 65532:65532\n"), "{last}");
        (before.to_owned(), last.replace("controller", "api"))
    });
    assert_eq!(stages[0], stages[1]);
}
