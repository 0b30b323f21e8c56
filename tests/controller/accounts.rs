//! The shipped accounts: the programs of all cases run as them, and in the end the audit log tells what they used.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead as _, BufReader},
    sync::Mutex,
};

use chrono::{DateTime, Utc};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    core::v1::ConfigMap,
    rbac::v1::{ClusterRole, Role},
};
use kube::{Api, api::PostParams};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::{
    Cases,
    cluster::{Cluster, until},
};

const CONTROLLER: &str = include_str!("../../k8s/controller/sa.yaml");
const API: &str = include_str!("../../k8s/api/sa.yaml");
/// The accounts, and what grants them their rights.
const SHIPPED: [(&str, &str); 2] = [("ephemeron-controller", CONTROLLER), ("ephemeron-api", API)];
/// The namespaces that the accounts are in: of the files, and of the installation.
const HOMES: [&str; 2] = ["default", "ephemeron-system"];

/// When installations were removed: their accounts lose their rights before their Pods end.
static REMOVALS: Mutex<Vec<(DateTime<Utc>, DateTime<Utc>)>> = Mutex::new(Vec::new());

/// Removes an installation, its accounts included.
pub async fn remove(cluster: &Cluster, command: &str) {
    let began = Utc::now();
    cluster.kubectl(command).await;
    REMOVALS.lock().expect("no holder panics").push((began, Utc::now()));
}

/// A kubeconfig of an account that is shipped: whatever it lacks would show.
pub async fn kubeconfig(cluster: &Cluster, name: &'static str) -> &'static str {
    static CONTROLLER_FILE: OnceCell<String> = OnceCell::const_new();
    static API_FILE: OnceCell<String> = OnceCell::const_new();
    let (cell, folder) =
        if name == "ephemeron-api" { (&API_FILE, "api") } else { (&CONTROLLER_FILE, "controller") };
    let made = cell.get_or_init(|| async {
        cluster.kubectl(&format!("apply -f k8s/{folder}/sa.yaml")).await;
        let token = cluster.kubectl(&format!("-n default create token {name} --duration=3h")).await;
        let config = cluster.kubectl("config view --raw --minify -o json").await;
        let mut config: Value = serde_json::from_str(&config).expect("JSON");
        config["users"][0]["user"] = serde_json::json!({ "token": token.trim() });
        let file = std::env::temp_dir().join(cluster.name(name));
        std::fs::write(&file, config.to_string()).expect("a file");
        file.display().to_string()
    });
    made.await
}

/// Lets the controller's account look after children in another namespace, as in its own.
pub async fn grant(cluster: &Cluster, namespace: &str) {
    let script = format!(
        "kubectl create --dry-run=client -o json -f k8s/controller/sa.yaml |
         jq 'select((.kind == \"Role\" and .metadata.name == \"control-ephemeron\") or
             (.kind == \"RoleBinding\" and .roleRef.name == \"control-ephemeron\")) | .metadata.namespace = \"{namespace}\"' |
         kubectl apply -f -"
    );
    let output = cluster.shell(&script).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Until then, what it asks is denied.
    let user = "system:serviceaccount:default:ephemeron-controller";
    until("the rights are known", || async {
        may(cluster, user, (namespace, "", "pods", "", "list")).await.then_some(())
    })
    .await;
}

/// What neither account may do, or only one of them: (namespace, group, resource, name, verb).
type Deed<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

const NOBODY: &[Deed<'static>] = &[
    ("default", "", "pods/exec", "", "create"),
    ("default", "", "pods/attach", "", "create"),
    ("default", "", "pods/portforward", "", "create"),
    ("default", "", "pods/ephemeralcontainers", "", "patch"),
    ("default", "", "secrets", "", "list"),
    ("default", "", "secrets", "", "watch"),
    ("default", "", "secrets", "", "delete"),
    ("default", "", "configmaps", "", "create"),
    ("default", "", "serviceaccounts/token", "", "create"),
    ("default", "", "serviceaccounts", "", "impersonate"),
    ("default", "apps", "deployments", "", "create"),
    ("default", "apps", "deployments", "", "patch"),
    ("default", "batch", "jobs", "", "create"),
    ("default", "rbac.authorization.k8s.io", "roles", "", "escalate"),
    ("default", "rbac.authorization.k8s.io", "rolebindings", "", "create"),
    ("default", "networking.k8s.io", "networkpolicies", "", "delete"),
    ("ephemerons", "coordination.k8s.io", "leases", "other", "update"),
    ("default", "coordination.k8s.io", "leases", "", "delete"),
    ("kube-system", "", "pods", "", "list"),
    ("kube-system", "", "pods", "", "create"),
    ("kube-system", "", "pods", "", "delete"),
    ("kube-system", "", "pods/log", "", "get"),
    ("kube-system", "", "secrets", "", "get"),
    ("kube-system", "", "secrets", "", "create"),
    ("kube-system", "", "services", "", "update"),
    ("kube-system", "gateway.networking.k8s.io", "httproutes", "", "create"),
    ("kube-system", "networking.k8s.io", "ingresses", "", "update"),
    ("kube-system", "coordination.k8s.io", "leases", "", "create"),
    ("", "", "nodes", "", "get"),
    ("", "", "nodes", "", "list"),
    ("", "", "nodes/proxy", "", "get"),
    ("", "", "namespaces", "", "create"),
    ("", "", "namespaces", "", "delete"),
    ("", "", "users", "", "impersonate"),
    ("", "apiextensions.k8s.io", "customresourcedefinitions", "", "patch"),
    ("", "apiextensions.k8s.io", "customresourcedefinitions", "", "delete"),
    ("", "rbac.authorization.k8s.io", "clusterroles", "", "bind"),
    ("", "rbac.authorization.k8s.io", "clusterroles", "", "patch"),
    ("", "rbac.authorization.k8s.io", "clusterrolebindings", "", "create"),
    ("", "gateway.networking.k8s.io", "gateways", "", "patch"),
    ("", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "create"),
    ("", "*", "*", "", "*"),
];

const NOT_THE_CONTROLLER: &[Deed<'static>] = &[
    ("", "qualified.io", "ephemerons", "", "create"),
    ("", "qualified.io", "ephemerons", "", "update"),
    ("default", "", "secrets", "", "get"),
    ("default", "", "secrets", "ephemeron-api-keys", "get"),
    ("default", "", "pods/log", "", "get"),
];

const NOT_THE_API: &[Deed<'static>] = &[
    ("", "qualified.io", "ephemerons/status", "", "patch"),
    ("default", "", "pods", "", "create"),
    ("default", "", "pods", "", "delete"),
    ("default", "", "services", "", "create"),
    ("default", "", "namespaces", "", "list"),
    ("default", "gateway.networking.k8s.io", "httproutes", "", "create"),
    ("default", "coordination.k8s.io", "leases", "", "create"),
    ("default", "", "secrets", "ephemeron-controller-keys", "patch"),
    ("default", "", "secrets", "other", "patch"),
    ("kube-system", "", "pods/log", "", "get"),
];

/// In an installation, where the services have a namespace of their own.
const APART: &[(&str, Deed<'static>)] = &[
    ("ephemeron-controller", ("ephemeron-system", "", "secrets", "other", "get")),
    ("ephemeron-controller", ("ephemeron-system", "", "secrets", "other", "patch")),
    ("ephemeron-controller", ("ephemeron-system", "", "secrets", "ephemeron-api-keys", "get")),
    ("ephemeron-controller", ("ephemeron-system", "", "pods", "", "create")),
    ("ephemeron-controller", ("ephemeron-system", "", "services", "", "update")),
    ("ephemeron-controller", ("ephemeron-system", "gateway.networking.k8s.io", "httproutes", "", "update")),
    ("ephemeron-controller", ("ephemerons", "", "secrets", "", "get")),
    ("ephemeron-controller", ("ephemerons", "coordination.k8s.io", "leases", "", "create")),
    ("ephemeron-controller", ("default", "", "pods", "", "list")),
    ("ephemeron-api", ("ephemeron-system", "", "secrets", "other", "get")),
    ("ephemeron-api", ("ephemeron-system", "", "secrets", "ephemeron-controller-keys", "get")),
    ("ephemeron-api", ("ephemeron-system", "", "pods/log", "", "get")),
    ("ephemeron-api", ("ephemerons", "", "secrets", "", "create")),
    ("ephemeron-api", ("default", "", "secrets", "", "get")),
];

/// The accounts of an installation are kept apart: from each other, and from what is not the services'.
pub async fn are_apart(cluster: &Cluster) {
    for (name, deed) in APART {
        let user = format!("system:serviceaccount:ephemeron-system:{name}");
        assert!(!may(cluster, &user, *deed).await, "{name} may {deed:?}");
    }
    let user = "system:serviceaccount:ephemeron-system:ephemeron-api";
    assert!(may(cluster, user, ("ephemerons", "", "secrets", "", "get")).await, "what is granted is");
}

/// What only chance calls for: the garbage collector is usually there before. The fault suite has it happen.
const RARE: &[(&str, (&str, &str, &str))] = &[("ephemeron-controller", ("", "services", "delete"))];

/// The cases that run beside others.
pub fn cases(cases: &mut Cases) {
    cases.add("accounts::what_an_account_may_not_do_is_refused", |world| async move {
        let cluster = &world.cluster;
        for (name, others) in [("ephemeron-controller", NOT_THE_CONTROLLER), ("ephemeron-api", NOT_THE_API)] {
            kubeconfig(cluster, name).await;
            let user = format!("system:serviceaccount:default:{name}");
            for deed in NOBODY.iter().chain(others) {
                assert!(!may(cluster, &user, *deed).await, "{name} may {deed:?}");
            }
        }
        // That the question is asked rightly shows in what is granted.
        let granted = [
            ("ephemeron-controller", ("default", "", "pods", "", "create")),
            ("ephemeron-controller", ("default", "", "secrets", "ephemeron-controller-keys", "get")),
            ("ephemeron-api", ("", "qualified.io", "ephemerons", "", "create")),
        ];
        for (name, deed) in granted {
            assert!(
                may(cluster, &format!("system:serviceaccount:default:{name}"), deed).await,
                "{name}: {deed:?}"
            );
        }
    });
}

async fn may(cluster: &Cluster, user: &str, (namespace, group, resource, name, verb): Deed<'_>) -> bool {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let attributes = ResourceAttributes {
        namespace: text(namespace),
        group: Some(group.into()),
        resource: text(resource),
        subresource: text(subresource),
        name: text(name),
        verb: text(verb),
        ..ResourceAttributes::default()
    };
    let home = user.split(':').nth(2).unwrap_or_default();
    let groups =
        ["system:serviceaccounts", &format!("system:serviceaccounts:{home}"), "system:authenticated"];
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.into()),
            groups: Some(groups.iter().map(ToString::to_string).collect()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews = Api::<SubjectAccessReview>::all(cluster.client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await.expect("an answer");
    answer.status.expect("a status").allowed
}

/// (group, resource with its subresource, verb).
type Right = (String, String, String);

/// What the rules of a manifest grant, wherever.
fn granted(manifest: &str) -> BTreeSet<Right> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifest).expect("YAML");
    let rules = documents.into_iter().filter_map(|document| match document["kind"].as_str() {
        Some("ClusterRole") => serde_json::from_value::<ClusterRole>(document).expect("a ClusterRole").rules,
        Some("Role") => serde_json::from_value::<Role>(document).expect("a Role").rules,
        _ => None,
    });
    let mut rights = BTreeSet::new();
    for rule in rules.flatten() {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                rights.extend(rule.verbs.iter().map(|verb| (group.clone(), resource.clone(), verb.clone())));
            }
        }
    }
    rights
}

/// The case that comes last, after all others: what the accounts have asked for since `began`.
pub fn last(cases: &mut Cases, began: DateTime<Utc>) {
    cases.add("accounts::nothing_is_granted_in_vain_and_nothing_was_denied", move |world| async move {
        let cluster = &world.cluster;
        let removals = REMOVALS.lock().expect("no holder panics").clone();
        // The log is written in batches: what came before this request is there once this is.
        let marker = cluster.name("marker");
        let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), "default");
        assert!(maps.get_opt(&marker).await.expect("an answer").is_none());
        let path = cluster.env("AUDIT_LOG");
        until("the audit log has all requests", || async {
            lines(path).any(|line| line.contains(&marker)).then_some(())
        })
        .await;

        let mut used = [BTreeSet::new(), BTreeSet::new()];
        let mut denied = BTreeSet::new();
        for line in lines(path).filter(|line| line.contains(":ephemeron-")) {
            let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
            let who = event["user"]["username"].as_str().unwrap_or_default();
            let is_whose =
                |name: &str| HOMES.iter().any(|home| who == format!("system:serviceaccount:{home}:{name}"));
            let Some(whose) = SHIPPED.iter().position(|(name, _)| is_whose(name)) else { continue };
            let Ok(at) =
                event["requestReceivedTimestamp"].as_str().unwrap_or_default().parse::<DateTime<Utc>>()
            else {
                continue;
            };
            if at < began {
                continue;
            }
            let object = &event["objectRef"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (mut resource, sub) = (text(&object["resource"]), text(&object["subresource"]));
            // Whoever has a token may ask for what it may do.
            if resource.is_empty() || text(&object["apiGroup"]) == "authorization.k8s.io" {
                continue;
            }
            if !sub.is_empty() {
                resource = format!("{resource}/{sub}");
            }
            let right = (text(&object["apiGroup"]), resource, text(&event["verb"]));
            if event["annotations"]["authorization.k8s.io/decision"] == "forbid" {
                if removals.iter().any(|(from, to)| (from..=to).contains(&&at))
                    && who.contains(":ephemeron-system:")
                {
                    continue;
                }
                denied.insert((SHIPPED[whose].0, right, text(&object["namespace"])));
            } else {
                used[whose].insert(right);
            }
        }
        let mut vain = Vec::new();
        for ((name, manifest), used) in SHIPPED.iter().zip(&used) {
            vain.extend(granted(manifest).difference(used).map(|right| (*name, right.clone())));
        }
        vain.retain(|(name, (group, resource, verb))| {
            !RARE.contains(&(*name, (group.as_str(), resource.as_str(), verb.as_str())))
        });
        assert!(vain.is_empty() && denied.is_empty(), "never used: {vain:#?}, denied: {denied:#?}");
    });
}

fn lines(path: &str) -> impl Iterator<Item = String> {
    BufReader::new(File::open(path).expect("the audit log")).lines().map_while(Result::ok)
}
