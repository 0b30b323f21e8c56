//! `run --check`: can services work in this cluster, and if not, what is to be done?

mod findings;
mod lease;
mod presets;

use std::{fmt::Debug, sync::Arc, time::Duration};

use ::gateway_api::{gatewayclasses::GatewayClass, gateways::Gateway};
use futures::{StreamExt as _, stream};
use k8s_openapi::{
    api::{
        authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
        core::v1::Namespace,
        networking::v1::IngressClass,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps},
};
use kube::{
    Api, Client, CustomResourceExt as _, Resource,
    api::{ListParams, PostParams},
    client::ClientBuilder,
};
use serde::de::DeserializeOwned;
use tokio::{net, time};

pub use findings::Findings;

use super::{
    clock::{self, Clock, Verdict},
    gateway_api,
    permissions::{PERMISSIONS, Permission},
    routing::{self, Offer, Routing},
    settings::{ProbeChoice, Settings},
};
use crate::{client::root_cause, policy::security::Level, resource::Ephemeron};

/// The label by which a namespace has Pods checked
/// (<https://kubernetes.io/docs/concepts/security/pod-security-admission/>).
const ENFORCE_LABEL: &str = "pod-security.kubernetes.io/enforce";
/// In which each question must be answered.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Looks at everything that a service needs.
pub async fn check(settings: &Settings, mut config: kube::Config) -> Findings {
    let mut findings = Findings::default();
    let server = config.cluster_url.to_string();
    (config.connect_timeout, config.read_timeout) = (Some(TIMEOUT), Some(TIMEOUT));
    config.default_retry = false;
    let clock = Arc::new(Clock::default());
    let client = match ClientBuilder::try_from(config) {
        Ok(builder) => builder.with_layer(&clock::Listening(Arc::clone(&clock))).build(),
        Err(error) => {
            findings.bad("API server", root_cause(&error), "correct the kubeconfig (KUBECONFIG)");
            return findings;
        }
    };
    match time::timeout(TIMEOUT, client.apiserver_version()).await {
        Ok(Ok(version)) => {
            findings.good("API server", format!("{server} is Kubernetes {}", version.git_version));
        }
        Ok(Err(error)) => {
            findings.bad(
                "API server",
                format!("{server}: {}", root_cause(&error)),
                "is the kubeconfig (KUBECONFIG) right, and the cluster up?",
            );
            return findings;
        }
        Err(_) => {
            findings.bad(
                "API server",
                format!("{server} does not answer"),
                "is the kubeconfig (KUBECONFIG) right, and the cluster up?",
            );
            return findings;
        }
    }
    time_agrees(&clock, &mut findings);
    definition(&client, &mut findings).await;
    permissions(&client, settings, &mut findings).await;
    lease::check(&client, settings, &mut findings).await;
    namespace(&client, settings, &mut findings).await;
    let routing = gateway(&client, settings, &mut findings).await;
    let address = address(&routing);
    probe(settings, &routing, address.as_deref(), &mut findings).await;
    dns(settings, address.as_deref(), &mut findings).await;
    presets::check(&settings.presets, &settings.policy, &mut findings).await;
    findings
}

/// Compares this machine's clock with the one that the answers were dated by.
fn time_agrees(clock: &Clock, findings: &mut Findings) {
    const SUBJECT: &str = "clock";
    match clock.verdict() {
        Verdict::Right => findings.good(SUBJECT, "it agrees with the API server's"),
        Verdict::Wrong(skew) => {
            let (seconds, side) =
                (skew.num_seconds().abs(), if skew.num_seconds() > 0 { "ahead of" } else { "behind" });
            findings.bad(
                SUBJECT,
                format!("it is {seconds} s {side} the API server's: nothing that is over would be deleted"),
                "correct the wrong one (NTP)",
            );
        }
        Verdict::Unknown => findings.doubtful(
            SUBJECT,
            "the API server's answers have no date to compare it with",
            "does a proxy in between take the header `Date` out?",
        ),
    }
}

async fn definition(client: &Client, findings: &mut Findings) {
    const SUBJECT: &str = "definition";
    const REMEDY: &str = "kubectl apply -f k8s/ephemerons.yaml";
    let ours = Ephemeron::crd();
    let name = Ephemeron::crd_name();
    match Api::<CustomResourceDefinition>::all(client.clone()).get_opt(name).await {
        Ok(Some(installed)) => match lacking(&installed, &ours).as_slice() {
            [] => findings.good(SUBJECT, format!("{name} is installed")),
            fields => findings.bad(
                SUBJECT,
                format!("{name} is of an earlier version: it lacks {}", fields.join(", ")),
                REMEDY,
            ),
        },
        Ok(None) => findings.bad(SUBJECT, format!("{name} is not installed"), REMEDY),
        Err(error) => {
            findings.doubtful(SUBJECT, format!("{name} cannot be read: {}", root_cause(&error)), REMEDY);
        }
    }
}

/// The fields of ours that the installed definition would drop.
fn lacking(installed: &CustomResourceDefinition, ours: &CustomResourceDefinition) -> Vec<String> {
    let fields = |definition: &CustomResourceDefinition, part: &str| -> Vec<String> {
        let version = definition.spec.versions.iter().find(|version| version.name == Ephemeron::version(&()));
        let schema = version.and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
        let part = schema.and_then(|schema: &JSONSchemaProps| schema.properties.as_ref()?.get(part));
        part.and_then(|part| part.properties.as_ref())
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect()
    };
    ["spec", "status"]
        .into_iter()
        .flat_map(|part| {
            let there = fields(installed, part);
            let missing = fields(ours, part).into_iter().filter(move |field| !there.contains(field));
            missing.map(move |field| format!("{part}.{field}"))
        })
        .collect()
}

async fn permissions(client: &Client, settings: &Settings, findings: &mut Findings) {
    const SUBJECT: &str = "permissions";
    const REMEDY: &str = "apply k8s/controller/sa.yaml and run as the ServiceAccount that it makes";
    let wanted = PERMISSIONS
        .iter()
        .flat_map(|permission| permission.verbs.iter().map(move |verb| (permission, *verb)));
    let answers: Vec<_> = stream::iter(wanted)
        .map(|(permission, verb)| async move {
            (permission, verb, may(client, &settings.namespace, permission, verb, None).await)
        })
        .buffered(8)
        .collect()
        .await;
    if let Some((.., Err(error))) = answers.iter().find(|(.., answer)| answer.is_err()) {
        findings.doubtful(SUBJECT, format!("they cannot be asked for: {}", root_cause(error)), REMEDY);
        return;
    }
    let denied: Vec<String> = answers
        .iter()
        .filter(|(.., answer)| matches!(answer, Ok(false)))
        .map(|(permission, verb, _)| format!("{verb} {}", permission.resource))
        .collect();
    if denied.is_empty() {
        findings.good(SUBJECT, format!("all {} are granted", answers.len()));
    } else {
        findings.bad(SUBJECT, format!("missing: {}", denied.join(", ")), REMEDY);
    }
}

/// Whether this is allowed; where a name is given, for the object of that name.
async fn may(
    client: &Client,
    namespace: &str,
    permission: &Permission,
    verb: &str,
    name: Option<&str>,
) -> kube::Result<bool> {
    let (resource, subresource) = match permission.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (permission.resource, None),
    };
    let attributes = ResourceAttributes {
        group: Some(permission.group.into()),
        resource: Some(resource.into()),
        subresource,
        verb: Some(verb.into()),
        namespace: permission.namespaced.then(|| namespace.to_owned()),
        name: name.map(ToOwned::to_owned),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
        ..SelfSubjectAccessReview::default()
    };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

async fn namespace(client: &Client, settings: &Settings, findings: &mut Findings) {
    const SUBJECT: &str = "namespace";
    let name = &settings.namespace;
    let remedy = format!("kubectl create namespace {name}, or set EPHEMERON_NAMESPACE to another");
    let this = ListParams::default().fields(&format!("metadata.name={name}"));
    match Api::<Namespace>::all(client.clone()).list(&this).await {
        Ok(list) if list.items.is_empty() => findings.bad(SUBJECT, format!("{name} does not exist"), remedy),
        Ok(list) => {
            let labels =
                list.items.into_iter().next().and_then(|one| one.metadata.labels).unwrap_or_default();
            let level = settings.policy.level();
            match labels.get(ENFORCE_LABEL) {
                Some(enforced) if enforced == "restricted" && level != Level::Restricted => findings.doubtful(
                    SUBJECT,
                    format!("children live in {name}, which takes only Pods of the level {enforced}; services may be {level}"),
                    "EPHEMERON_POD_SECURITY=restricted refuses the others with a reason, before they are made",
                ),
                _ => findings.good(SUBJECT, format!("children live in {name}")),
            }
        }
        Err(error) => {
            findings.doubtful(SUBJECT, format!("{name} cannot be read: {}", root_cause(&error)), remedy);
        }
    }
}

async fn gateway(client: &Client, settings: &Settings, findings: &mut Findings) -> Routing {
    const SUBJECT: &str = "routing";
    let served = matches!(gateway_api::is_served(client).await, Ok(true));
    let (mut gateways, mut classes) = (Vec::new(), Vec::new());
    if served {
        gateways = list::<Gateway>(client, findings).await;
        classes = list::<GatewayClass>(client, findings).await;
    }
    let ingress_classes = list::<IngressClass>(client, findings).await;
    let this = ListParams::default().fields(&format!("metadata.name={}", settings.namespace));
    let namespaces = Api::<Namespace>::all(client.clone()).list(&this).await;
    let namespace = namespaces.ok().and_then(|list| list.items.into_iter().next());
    let offer = Offer {
        gateways: gateways.iter().collect(),
        classes: classes.iter().collect(),
        ingress_classes: ingress_classes.iter().collect(),
        namespace_labels: namespace.and_then(|one| one.metadata.labels).unwrap_or_default(),
    };
    let routing = routing::choose(settings, &offer);
    match &routing {
        Routing::Gateway(parent) => {
            let scheme = if parent.tls { "HTTPS" } else { "HTTP" };
            findings.good(
                SUBJECT,
                format!(
                    "HTTPRoutes on the Gateway {}/{}, listener {} ({scheme}, port {})",
                    parent.namespace, parent.name, parent.listener, parent.port
                ),
            );
        }
        Routing::Ingress { class } => findings.good(SUBJECT, format!("Ingresses of the class {class}")),
        Routing::Unavailable(finding) => {
            let hint = if served { "" } else { " (the Gateway API is not installed here)" };
            findings.bad(
                SUBJECT,
                format!("{}{hint}", finding.message),
                "`kubectl get gateways -A` and `kubectl get ingressclasses` list what there is; EPHEMERON_GATEWAY chooses",
            );
        }
    }
    routing
}

/// All objects of a kind; none, with a finding, where they cannot be read.
async fn list<K>(client: &Client, findings: &mut Findings) -> Vec<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    match Api::<K>::all(client.clone()).list(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(error) => {
            findings.bad(
                "routing",
                format!("{} cannot be listed: {}", K::plural(&()), root_cause(&error)),
                "apply k8s/controller/sa.yaml",
            );
            Vec::new()
        }
    }
}

/// The address that requests go to, as the cluster publishes it.
fn address(routing: &Routing) -> Option<String> {
    match routing {
        Routing::Gateway(parent) => parent.address.clone(),
        _ => None,
    }
}

async fn probe(settings: &Settings, routing: &Routing, published: Option<&str>, findings: &mut Findings) {
    const SUBJECT: &str = "probe";
    let listener = match routing {
        Routing::Gateway(parent) => parent.port,
        _ => 80,
    };
    let (host, port) = match &settings.probe {
        ProbeChoice::Off => {
            findings.doubtful(
                SUBJECT,
                "public URLs are not probed: a service counts as available before its URL is known to answer",
                "unset EPHEMERON_PROBE_ADDRESS to probe",
            );
            return;
        }
        ProbeChoice::At { host, port } => (host.clone(), port.unwrap_or(listener)),
        ProbeChoice::Published => match (published, routing) {
            // Nothing to probe yet: the finding on routing says what to do first.
            (None, Routing::Unavailable(_)) => return,
            (Some(address), _) => (address.to_owned(), listener),
            (None, _) => (settings.domain.host("ephemeron-check"), listener),
        },
    };
    match time::timeout(TIMEOUT, net::TcpStream::connect((host.as_str(), port))).await {
        Ok(Ok(_)) => findings.good(SUBJECT, format!("{host}:{port} accepts connections")),
        Ok(Err(error)) => {
            findings.bad(SUBJECT, format!("no connection to {host}:{port}: {error}"), probe_remedy());
        }
        Err(_) => findings.bad(SUBJECT, format!("no connection to {host}:{port} within 5 s"), probe_remedy()),
    }
}

fn probe_remedy() -> &'static str {
    "is the gateway running? If it has another address for this machine, set EPHEMERON_PROBE_ADDRESS to it"
}

async fn dns(settings: &Settings, published: Option<&str>, findings: &mut Findings) {
    const SUBJECT: &str = "DNS";
    let domain = &settings.domain;
    let host = domain.host("ephemeron-check");
    let wanted = published.unwrap_or("the gateway's address");
    let remedy = format!("add a record for *.{domain} that leads to {wanted}");
    match time::timeout(TIMEOUT, net::lookup_host((host.as_str(), 80))).await {
        Ok(Ok(found)) => {
            let found: Vec<String> = found.map(|address| address.ip().to_string()).collect();
            let text = format!("*.{domain} leads to {}", found.join(", "));
            match published.filter(|address| address.parse::<std::net::IpAddr>().is_ok()) {
                Some(address) if !found.iter().any(|one| one == address) => findings.doubtful(
                    SUBJECT,
                    format!("{text}; the Gateway's address is {address}"),
                    "fine where something forwards from the one to the other",
                ),
                _ => findings.good(SUBJECT, text),
            }
        }
        // Services work all the same for those who know the address.
        Ok(Err(error)) => findings.doubtful(SUBJECT, format!("{host} is not found here: {error}"), remedy),
        Err(_) => findings.doubtful(SUBJECT, format!("{host}: no answer within 5 s"), remedy),
    }
}
