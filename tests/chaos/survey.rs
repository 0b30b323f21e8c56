//! What there is at the end: whose children, whether statuses are true, what was written to whom.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Debug,
};

use ephemeron::resource::{Ephemeron, MANAGED_BY_LABEL, MANAGER, NAME_LABEL, conditions};
use gateway_api::httproutes::HttpRoute;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{Pod, Secret, Service},
        networking::v1::Ingress,
    },
};
use kube::{Api, Client, Resource, ResourceExt as _, api::ListParams};
use serde::de::DeserializeOwned;

use super::{
    audit::Request,
    foreign::Kept,
    manifests::{FOREIGN, FOREIGN_LABEL, LABEL},
};
use crate::cluster::condition;

/// What controllers may do; anything else is a word too much.
const MAY: [&str; 22] = [
    "create pods",
    "delete pods",
    "patch pods",
    "create services",
    "update services",
    "delete services",
    "create httproutes",
    "update httproutes",
    "delete httproutes",
    "create ingresses",
    "update ingresses",
    "delete ingresses",
    "create secrets",
    "patch secrets",
    "create events",
    "patch events",
    "patch ephemerons",
    "patch ephemerons/status",
    "delete ephemerons",
    "create leases",
    "patch leases",
    "update leases",
];
/// Verbs that change nothing.
const LOOKS: [&str; 3] = ["get", "list", "watch"];

/// A child of an Ephemeron, or what looks like one.
pub struct Child {
    kind: String,
    name: String,
    owner: Option<String>,
    is_ready: bool,
}

impl Child {
    fn told(&self) -> String {
        let owner = self.owner.as_deref().unwrap_or("nobody");
        format!("{} {} of {owner}", self.kind, self.name)
    }
}

/// All children of Ephemerons whose names these may be; foreign ones are left out.
pub async fn children(client: &Client, names: &HashSet<String>) -> Result<Vec<Child>, kube::Error> {
    let mut all = Vec::new();
    all.extend(of_kind::<Pod>(client, names, is_ready).await?);
    all.extend(of_kind::<Service>(client, names, |_| true).await?);
    all.extend(of_kind::<HttpRoute>(client, names, |_| true).await?);
    all.extend(of_kind::<Ingress>(client, names, |_| true).await?);
    all.extend(of_kind::<Secret>(client, names, |_| true).await?);
    Ok(all)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = |found: &k8s_openapi::api::core::v1::PodCondition| found.type_ == "Ready";
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|found| ready(found) && found.status == "True")
}

async fn of_kind<K>(
    client: &Client,
    names: &HashSet<String>,
    is_ready: fn(&K) -> bool,
) -> Result<Vec<Child>, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let all = Api::<K>::default_namespaced(client.clone()).list(&ListParams::default()).await?;
    let child = |object: K| {
        let labels = object.labels();
        let owner = object.owner_references().iter().find(|owner| owner.kind == "Ephemeron");
        let is_ours = owner.is_some() || labels.get(MANAGED_BY_LABEL).is_some_and(|by| by == MANAGER);
        let of = owner.map(|owner| owner.name.clone()).or_else(|| labels.get(NAME_LABEL).cloned());
        let is_foreign = labels.get(FOREIGN_LABEL).is_some_and(|value| value == FOREIGN);
        let concerns = is_ours && !is_foreign && of.is_some_and(|name| names.contains(&name));
        concerns.then(|| Child {
            kind: K::kind(&()).into_owned(),
            name: object.name_any(),
            owner: owner.map(|owner| owner.uid.clone()),
            is_ready: is_ready(&object),
        })
    };
    Ok(all.items.into_iter().filter_map(child).collect())
}

/// The children that have no Ephemeron any more, or never had one.
pub fn orphans(children: &[Child], living: &HashMap<String, String>) -> Vec<String> {
    let lost = |child: &&Child| child.owner.as_ref().is_none_or(|owner| !living.contains_key(owner));
    children.iter().filter(lost).map(Child::told).collect()
}

/// The Ephemerons of these installations, as they are.
pub async fn ephemerons(client: &Client, whose: &[&str]) -> Result<Vec<Ephemeron>, kube::Error> {
    let selector = format!("{LABEL} in ({})", whose.join(","));
    let params = ListParams::default().labels(&selector);
    Ok(Api::<Ephemeron>::all(client.clone()).list(&params).await?.items)
}

/// What the statuses say that is not so.
pub fn untrue(ephemerons: &[Ephemeron], children: &[Child]) -> Vec<String> {
    let mut found = Vec::new();
    for one in ephemerons {
        let own: Vec<_> = children.iter().filter(|child| child.owner.as_deref() == Some(one.uid())).collect();
        let has =
            |kinds: &[&str]| own.iter().any(|child| kinds.contains(&child.kind.as_str()) && child.is_ready);
        let (pod, all) =
            (has(&["Pod"]), has(&["Pod"]) && has(&["Service"]) && has(&["HTTPRoute", "Ingress"]));
        let mut wrong = |what: String| found.push(format!("{}: {what}", one.name()));
        let status = one.status.clone().unwrap_or_default();
        if status.observed_generation != one.metadata.generation {
            wrong(format!("{:?} of {:?} is observed", status.observed_generation, one.metadata.generation));
        }
        if status.expiration_time != one.expiration_time() {
            let (says, is) = (status.expiration_time, one.expiration_time());
            wrong(format!("the status says that it ends at {says:?}, and it ends at {is:?}"));
        }
        for (name, is) in [(conditions::POD_READY, pod), (conditions::AVAILABLE, all)] {
            let said = condition(one, name);
            if (said.0 == "True") != is {
                wrong(format!("{name} is {said:?}, and should be {is}"));
            }
        }
    }
    found
}

/// What controllers have written that was not theirs to write. `names`: of all Ephemerons; `ends`: when
/// each of them that had its name for itself was deleted.
pub fn trespasses(
    requests: &[Request],
    foreign: &[Kept],
    names: &HashSet<String>,
    ends: &HashMap<String, super::history::Time>,
) -> Vec<String> {
    let foreign: HashSet<(String, &str)> =
        foreign.iter().map(|kept| (kept.kind.to_lowercase(), kept.name.as_str())).collect();
    let mut found = Vec::new();
    for request in requests.iter().filter(|request| request.is_controllers()) {
        let (what, name) = (request.what(), request.name());
        if LOOKS.contains(&request.verb.as_str()) || what.ends_with(')') {
            continue;
        }
        let resource = what.split([' ', '/']).nth(1).unwrap_or_default();
        let base = name.split('.').next().unwrap_or_default();
        let kind = resource.strip_suffix("es").filter(|_| resource == "ingresses");
        let kind = kind.or_else(|| resource.strip_suffix('s')).unwrap_or_default().to_owned();
        let is_child = matches!(resource, "pods" | "services" | "httproutes" | "ingresses");
        let at = super::history::short(request.received);
        if !MAY.contains(&what.as_str()) {
            found.push(format!("{at} {what} {name}: controllers have no business there"));
        } else if is_child && request.verb != "create" && foreign.contains(&(kind, name)) {
            found.push(format!("{at} {what} {name}: it is foreign"));
        } else if is_child && !name.is_empty() && !names.contains(base) {
            found.push(format!("{at} {what} {name}: there was no such Ephemeron"));
        } else if what == "delete pods" && ends.get(name).is_some_and(|end| request.received < *end) {
            found.push(format!("{at} {what} {name}: before its end"));
        }
    }
    found
}

/// What controllers have asked for, but for what an idle one does: watch, and renew its lease.
pub fn asked<'a>(requests: impl Iterator<Item = &'a Request>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in requests.filter(|request| request.is_controllers() && request.verb != "watch") {
        let what = request.what();
        if !what.contains(" leases") {
            *counts.entry(what).or_default() += 1;
        }
    }
    counts
}
