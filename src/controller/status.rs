//! From what is there to what the status says of it, and when to look again.

use chrono::{DateTime, TimeDelta, Utc};
use gateway_api::httproutes::{HttpRoute, HttpRouteStatusParents};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1 as meta_v1};

use super::{
    apply::{Applied, AppliedRoute, Child},
    probe::Reachability,
    routing::{Parent, Routing},
    validate::{Invalid, Valid},
};
use crate::resource::{
    Ephemeron, EphemeronStatus,
    conditions::{self, AVAILABLE, Condition, Finding, POD_READY, Reason},
};

/// In the moments after a Pod became ready its endpoint, its route and the gateway follow one after
/// the other; each of these stages is told only when it lasts longer than this.
const SETTLING: TimeDelta = TimeDelta::seconds(2);

/// Everything that a status is made from, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The Ephemeron with its previous status.
    pub ephemeron: &'a Ephemeron,
    /// How hosts are routed.
    pub routing: &'a Routing,
    /// When it ends, as the installation's settings have it.
    pub end: Option<DateTime<Utc>>,
    /// The spec, or what is wrong with it; with the children that came of it.
    pub outcome: Result<Outcome<'a>, &'a Invalid>,
}

/// What came of a valid spec.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The spec.
    pub valid: &'a Valid<'a>,
    /// The children.
    pub applied: &'a Applied,
    /// Whether the Service has an endpoint that is ready.
    pub endpoint_ready: bool,
    /// What is known of the public URL; None where it need not be asked.
    pub reachability: Option<&'a Reachability>,
}

/// The status at `now`, and after what time it may be another without any object changing.
#[must_use]
pub fn status(situation: &Situation<'_>, now: DateTime<Utc>) -> (EphemeronStatus, Option<TimeDelta>) {
    let ephemeron = situation.ephemeron;
    let none = Vec::new();
    let previous = ephemeron.status.as_ref().map_or(&none, |status| &status.conditions);
    let generation = ephemeron.metadata.generation;
    let (pod, available) = match &situation.outcome {
        Err(invalid) => {
            let finding = Finding::no(invalid.reason(), invalid.to_string());
            (finding.clone(), finding)
        }
        Ok(outcome) => {
            let pod = pod_ready(&outcome.applied.pod);
            let available = if pod.status { available(outcome, situation.routing) } else { pod.clone() };
            (pod, available)
        }
    };
    let pod = pod.condition(POD_READY, conditions::find(previous, POD_READY), generation, now);
    let mut available =
        available.condition(AVAILABLE, conditions::find(previous, AVAILABLE), generation, now);
    let settles_in = settle(previous, &pod, &mut available, now);
    let others = previous.iter().filter(|known| ![POD_READY, AVAILABLE].contains(&known.r#type.as_str()));
    let mut conditions = vec![pod, available];
    conditions.extend(others.cloned());
    let host = match &situation.outcome {
        Ok(outcome) => Some(outcome.valid.host.clone()),
        Err(_) => ephemeron.status.as_ref().and_then(|status| status.host.clone()),
    };
    let status = EphemeronStatus {
        conditions,
        observed_generation: generation,
        url: host.as_deref().and_then(|host| url(host, ephemeron, situation.routing)),
        host,
        expiration_time: situation.end,
        route: situation.routing.as_status(),
    };
    (status, settles_in)
}

/// What still keeps a service from being available, the probe of its URL aside.
#[must_use]
pub fn blocker(applied: &Applied, endpoint_ready: bool, routing: &Routing) -> Option<Finding> {
    let pod = pod_ready(&applied.pod);
    if !pod.status {
        return Some(pod);
    }
    if let Some(finding) = child(&applied.service, "Service") {
        return Some(finding);
    }
    if let Routing::Unavailable(finding) = routing {
        return Some(finding.clone());
    }
    if !endpoint_ready {
        return Some(Finding::no(
            Reason::EndpointsNotReady,
            "the Pod is ready, its Service has no ready endpoint yet",
        ));
    }
    match (&applied.route, routing) {
        (Some(AppliedRoute::HttpRoute(route)), Routing::Gateway(parent)) => child(route, "HTTPRoute")
            .or_else(|| match route {
                Child::Ours(route) => not_accepted(route, parent),
                _ => None,
            }),
        (Some(AppliedRoute::Ingress(ingress)), _) => child(ingress, "Ingress"),
        _ => None,
    }
}

fn available(outcome: &Outcome<'_>, routing: &Routing) -> Finding {
    if let Some(finding) = blocker(outcome.applied, outcome.endpoint_ready, routing) {
        return finding;
    }
    match outcome.reachability {
        None | Some(Reachability::Answered) => Finding::yes(Reason::Available, "the service can be reached"),
        Some(Reachability::Unknown) => {
            Finding::no(Reason::URLNotAnswering, "the public URL is being asked for the first time")
        }
        Some(Reachability::Unreachable(why)) => Finding::no(
            Reason::ProbeAddressUnreachable,
            format!(
                "no connection to the address of the Gateway or ingress controller: {why}; is it reachable from \
                 the controller? EPHEMERON_PROBE_ADDRESS sets another"
            ),
        ),
        Some(Reachability::NotAnswering(what)) => Finding::no(
            Reason::URLNotAnswering,
            format!("the Pod is ready, but its public URL does not answer with 200 to 399: {what}"),
        ),
    }
}

/// Why a child is not there; None if it is.
fn child<K>(child: &Child<K>, kind: &str) -> Option<Finding> {
    match child {
        Child::Ours(_) => None,
        Child::Going => Some(Finding::no(
            Reason::WaitingForDeletion,
            format!("{} of this name is still being deleted", with_article(kind)),
        )),
        Child::Taken => Some(Finding::no(
            Reason::NameTaken,
            format!(
                "{} of this name belongs to somebody else: delete it, or use another name",
                with_article(kind)
            ),
        )),
        Child::Refused(why) => {
            Some(Finding::no(Reason::Refused, format!("the API server refuses the {kind}: {why}")))
        }
    }
}

fn with_article(kind: &str) -> String {
    let article = if matches!(kind, "HTTPRoute" | "Ingress") { "an" } else { "a" };
    format!("{article} {kind}")
}

fn pod_ready(pod: &Child<Pod>) -> Finding {
    let live = match pod {
        Child::Ours(live) => live,
        other => {
            return child(other, "Pod")
                .unwrap_or_else(|| Finding::no(Reason::PodNotReady, "there is no Pod"));
        }
    };
    let status = live.status.as_ref();
    let is_ready = status
        .and_then(|status| status.conditions.as_ref())
        .is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"));
    if is_ready {
        return Finding::yes(Reason::PodReady, "the Pod is ready");
    }
    Finding::no(
        Reason::PodNotReady,
        match trouble(live) {
            Some(trouble) => format!("the Pod is not ready: {trouble}"),
            None => "the Pod is not ready yet".into(),
        },
    )
}

/// What keeps a Pod from becoming ready, if it is more than that it takes its time.
fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let detail = |reason: &str, message: Option<&String>| match message {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    };
    let unschedulable = status.conditions.iter().flatten().find_map(|condition| {
        let is_it = condition.type_ == "PodScheduled" && condition.status == "False";
        is_it.then(|| {
            detail(condition.reason.as_deref().unwrap_or("Unschedulable"), condition.message.as_ref())
        })
    });
    let waiting = status.container_statuses.iter().flatten().find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        match waiting.reason.as_deref()? {
            "ContainerCreating" | "PodInitializing" => None,
            reason => Some(detail(reason, waiting.message.as_ref())),
        }
    });
    let failed = || {
        let phase = status.phase.as_deref().filter(|phase| matches!(*phase, "Failed" | "Succeeded"))?;
        Some(detail(status.reason.as_deref().unwrap_or(phase), status.message.as_ref()))
    };
    unschedulable.or(waiting).or_else(failed)
}

/// Why the Gateway does not take the route; None if it does. Only the word of the Gateway's own
/// controller counts, and only on the route's present state.
fn not_accepted(route: &HttpRoute, parent: &Parent) -> Option<Finding> {
    let gateway = format!("the Gateway {}/{}", parent.namespace, parent.name);
    let no = |message| Some(Finding::no(Reason::RouteNotAccepted, message));
    let Some(word) = word_of(route, parent) else {
        return no(format!(
            "{gateway} has not said anything of the HTTPRoute yet: is its controller running?"
        ));
    };
    let verdict = |r#type: &str| {
        word.conditions
            .iter()
            .find(|condition: &&meta_v1::Condition| condition.type_ == r#type)
            .filter(|condition| condition.observed_generation == route.metadata.generation)
    };
    for r#type in ["Accepted", "ResolvedRefs"] {
        match verdict(r#type) {
            Some(condition) if condition.status == "True" => {}
            Some(condition) => {
                return no(format!(
                    "{gateway} says {type} is false: {}: {}",
                    condition.reason, condition.message
                ));
            }
            None => return no(format!("{gateway} has not said whether {type} is true for the HTTPRoute")),
        }
    }
    None
}

fn word_of<'a>(route: &'a HttpRoute, parent: &Parent) -> Option<&'a HttpRouteStatusParents> {
    route.status.as_ref()?.parents.iter().find(|word| {
        let named = &word.parent_ref;
        named.name == parent.name
            && named.namespace.as_ref().is_none_or(|namespace| *namespace == parent.namespace)
            && named.section_name.as_ref().is_none_or(|listener| *listener == parent.listener)
            && parent.controller.as_ref().is_none_or(|controller| *controller == word.controller_name)
    })
}

/// Keeps the previous words on availability while the stages after the Pod's readiness pass;
/// returns when they must be told.
fn settle(
    previous: &[Condition],
    pod: &Condition,
    available: &mut Condition,
    now: DateTime<Utc>,
) -> Option<TimeDelta> {
    let known = conditions::find(previous, AVAILABLE)?;
    let passes = ["EndpointsNotReady", "RouteNotAccepted", "URLNotAnswering", "ProbeAddressUnreachable"]
        .contains(&available.reason.as_deref()?);
    if !passes
        || available.status == known.status
            && available.reason == known.reason
            && available.message == known.message
    {
        return None;
    }
    // A status that flips is written at once, and the words with it.
    if known.status == "True" || !conditions::is_true(previous, POD_READY) || pod.status != "True" {
        return None;
    }
    let left = SETTLING - (now - pod.last_transition_time?);
    if left <= TimeDelta::zero() || known.observed_generation != available.observed_generation {
        return None;
    }
    available.reason.clone_from(&known.reason);
    available.message.clone_from(&known.message);
    Some(left)
}

/// Where to open the service; None while nothing routes to it.
fn url(host: &str, ephemeron: &Ephemeron, routing: &Routing) -> Option<String> {
    let (tls, port) = match routing {
        Routing::Gateway(parent) => (parent.tls, Some(parent.port)),
        Routing::Ingress { .. } => (ephemeron.spec.service.tls_secret_name.is_some(), None),
        Routing::Unavailable(_) => return None,
    };
    let (scheme, usual) = if tls { ("https", 443) } else { ("http", 80) };
    Some(match port.filter(|port| *port != usual) {
        Some(port) => format!("{scheme}://{host}:{port}/"),
        None => format!("{scheme}://{host}/"),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::controller::{fixtures, validate::validate};

    /// A situation in which everything is as it should be, to be changed by each test.
    struct Scene {
        ephemeron: Ephemeron,
        routing: Routing,
        applied: Applied,
        endpoint_ready: bool,
        reachability: Option<Reachability>,
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000 + seconds, 0).expect("a time")
    }

    fn pod(status: &Value) -> Child<Pod> {
        Child::Ours(Arc::new(
            serde_json::from_value(json!({"metadata": {}, "status": status})).expect("a Pod"),
        ))
    }

    fn ready_pod() -> Child<Pod> {
        pod(&json!({"conditions": [{"type": "Ready", "status": "True"}]}))
    }

    fn route(parents: &Value) -> AppliedRoute {
        let route = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"generation": 2}, "spec": {}, "status": {"parents": parents},
        });
        AppliedRoute::HttpRoute(Child::Ours(Arc::new(serde_json::from_value(route).expect("a route"))))
    }

    fn word(gateway: &str, controller: &str, conditions: &[(&str, &str, i64)]) -> Value {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(kind, status, generation)| json!({
                "type": kind, "status": status, "observedGeneration": generation, "reason": "Because", "message": "it is so",
                "lastTransitionTime": "2030-01-01T00:00:00Z",
            }))
            .collect();
        let parent = json!({"namespace": "gateways", "name": gateway, "sectionName": "http"});
        json!({"parentRef": parent, "controllerName": controller, "conditions": conditions})
    }

    const ACCEPTED: &[(&str, &str, i64)] = &[("Accepted", "True", 2), ("ResolvedRefs", "True", 2)];

    impl Scene {
        fn new() -> Self {
            let parent = Parent {
                namespace: "gateways".into(),
                name: "main".into(),
                listener: "http".into(),
                port: 80,
                tls: false,
                address: None,
                controller: Some("example.com/main".into()),
            };
            let metadata = json!({"apiVersion": "v1", "kind": "Service", "metadata": {}});
            Self {
                ephemeron: fixtures::ephemeron(fixtures::MINIMAL),
                routing: Routing::Gateway(parent),
                applied: Applied {
                    pod: ready_pod(),
                    service: Child::Ours(Arc::new(serde_json::from_value(metadata).expect("a Service"))),
                    route: Some(route(&json!([word("main", "example.com/main", ACCEPTED)]))),
                },
                endpoint_ready: true,
                reachability: Some(Reachability::Answered),
            }
        }

        fn status(&self, now: DateTime<Utc>) -> (EphemeronStatus, Option<TimeDelta>) {
            let settings = fixtures::settings();
            let valid = validate(&self.ephemeron, &settings).expect("valid");
            let outcome = Outcome {
                valid: &valid,
                applied: &self.applied,
                endpoint_ready: self.endpoint_ready,
                reachability: self.reachability.as_ref(),
            };
            status(
                &Situation {
                    ephemeron: &self.ephemeron,
                    routing: &self.routing,
                    end: self.ephemeron.expiration_time(),
                    outcome: Ok(outcome),
                },
                now,
            )
        }

        /// Moves on: the status is written.
        fn write(&mut self, now: DateTime<Utc>) -> EphemeronStatus {
            let (status, _) = self.status(now);
            self.ephemeron.status = Some(status.clone());
            status
        }

        fn available(&self) -> (String, String) {
            let (status, _) = self.status(at(0));
            let found = conditions::find(&status.conditions, AVAILABLE).expect("it is there").clone();
            (found.reason.unwrap_or_default(), found.message.unwrap_or_default())
        }
    }

    #[test]
    fn each_obstacle_has_its_reason() {
        type Change = fn(&mut Scene);
        let rows: &[(Change, &str, &str)] = &[
            (|_| {}, "Available", "can be reached"),
            (|scene| scene.reachability = None, "Available", "can be reached"),
            (|scene| scene.applied.pod = pod(&json!({})), "PodNotReady", "not ready yet"),
            (|scene| scene.applied.pod = Child::Going, "WaitingForDeletion", "a Pod of this name"),
            (
                |scene| scene.applied.pod = Child::Taken,
                "NameTaken",
                "a Pod of this name belongs to somebody else",
            ),
            (|scene| scene.applied.pod = Child::Refused("quota".into()), "Refused", "refuses the Pod: quota"),
            (|scene| scene.applied.service = Child::Taken, "NameTaken", "a Service"),
            (
                |scene| scene.applied.route = Some(AppliedRoute::HttpRoute(Child::Taken)),
                "NameTaken",
                "an HTTPRoute",
            ),
            (|scene| scene.endpoint_ready = false, "EndpointsNotReady", "no ready endpoint"),
            (
                |scene| scene.applied.route = Some(route(&json!([]))),
                "RouteNotAccepted",
                "has not said anything",
            ),
            (
                |scene| scene.routing = Routing::Unavailable(Finding::no(Reason::NoGateway, "none here")),
                "NoGateway",
                "none here",
            ),
            (|scene| scene.reachability = Some(Reachability::Unknown), "URLNotAnswering", "first time"),
            (
                |scene| scene.reachability = Some(Reachability::Unreachable("refused".into())),
                "ProbeAddressUnreachable",
                "EPHEMERON_PROBE_ADDRESS",
            ),
            (
                |scene| scene.reachability = Some(Reachability::NotAnswering("status 500".into())),
                "URLNotAnswering",
                "status 500",
            ),
        ];
        for (change, reason, message) in rows {
            let mut scene = Scene::new();
            change(&mut scene);
            let (found, words) = scene.available();
            assert_eq!((found.as_str(), words.contains(message)), (*reason, true), "{words}");
        }
    }

    #[test]
    fn only_the_gateways_own_word_on_the_present_route_counts() {
        let rows = [
            (json!([word("main", "example.com/main", ACCEPTED)]), None),
            (json!([word("other", "example.com/main", ACCEPTED)]), Some("has not said anything")),
            (json!([word("main", "example.com/foreign", ACCEPTED)]), Some("has not said anything")),
            (
                json!([
                    word("main", "example.com/foreign", &[("Accepted", "False", 2)]),
                    word("main", "example.com/main", ACCEPTED)
                ]),
                None,
            ),
            (
                json!([word("main", "example.com/main", &[("Accepted", "True", 2)])]),
                Some("whether ResolvedRefs is true"),
            ),
            (
                json!([word(
                    "main",
                    "example.com/main",
                    &[("Accepted", "True", 1), ("ResolvedRefs", "True", 2)]
                )]),
                Some("whether Accepted is true"),
            ),
            (
                json!([word("main", "example.com/main", &[("Accepted", "False", 2)])]),
                Some("says Accepted is false: Because: it is so"),
            ),
        ];
        for (parents, wanted) in rows {
            let mut scene = Scene::new();
            scene.applied.route = Some(route(&parents));
            let (reason, message) = scene.available();
            match wanted {
                None => assert_eq!(reason, "Available", "{parents}"),
                Some(wanted) => {
                    assert!(reason == "RouteNotAccepted" && message.contains(wanted), "{message}");
                }
            }
        }
    }

    #[test]
    fn troubles_of_the_pod_are_told() {
        let rows = [
            (
                json!({"containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]}),
                "ImagePullBackOff: no such image",
            ),
            (
                json!({"containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ContainerCreating"}}}]}),
                "the Pod is not ready yet",
            ),
            (
                json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}),
                "Unschedulable: 0/1 nodes",
            ),
            (json!({"phase": "Failed", "reason": "Evicted", "message": "disk"}), "Evicted: disk"),
        ];
        for (status, wanted) in rows {
            let mut scene = Scene::new();
            scene.applied.pod = pod(&status);
            let (reason, message) = scene.available();
            assert!(reason == "PodNotReady" && message.contains(wanted), "{message}");
        }
    }

    #[test]
    fn a_status_is_a_fixed_point() {
        let mut scene = Scene::new();
        let first = scene.write(at(0));
        assert_eq!(scene.status(at(3_600)).0, first, "time alone changes nothing");
        scene.applied.pod = pod(&json!({}));
        let second = scene.write(at(10));
        assert_ne!(first, second);
        assert_eq!(scene.status(at(7_200)).0, second);
    }

    #[test]
    fn the_stages_after_readiness_are_told_only_if_they_last() {
        let mut scene = Scene::new();
        (scene.applied.pod, scene.endpoint_ready) = (pod(&json!({})), false);
        scene.write(at(0));
        scene.applied.pod = ready_pod();
        let ready = scene.write(at(10));
        let available =
            |status: &EphemeronStatus| conditions::find(&status.conditions, AVAILABLE).cloned().expect("it");
        assert_eq!(
            available(&ready).reason.as_deref(),
            Some("EndpointsNotReady"),
            "it comes with the flip of PodReady"
        );
        scene.endpoint_ready = true;
        scene.reachability = Some(Reachability::Unknown);
        let (soon, wake) = scene.status(at(11));
        assert_eq!(soon, ready, "not worth a write yet");
        assert_eq!(wake, Some(TimeDelta::seconds(1)), "but it is looked at again");
        let (later, wake) = scene.status(at(12));
        assert_eq!((available(&later).reason.as_deref(), wake), (Some("URLNotAnswering"), None));
        scene.reachability = Some(Reachability::Answered);
        assert_eq!(available(&scene.status(at(11)).0).status, "True", "success is told at once");
    }

    #[test]
    fn dates_stay_until_the_status_flips() {
        let mut scene = Scene::new();
        scene.write(at(0));
        scene.reachability = Some(Reachability::Unknown);
        let flipped = scene.write(at(5));
        let date = |status: &EphemeronStatus, kind| {
            conditions::find(&status.conditions, kind).and_then(|one| one.last_transition_time)
        };
        assert_eq!((date(&flipped, POD_READY), date(&flipped, AVAILABLE)), (Some(at(0)), Some(at(5))));
    }

    #[test]
    fn what_others_conditions_say_is_kept() {
        let mut scene = Scene::new();
        let other = json!({"conditions": [{"type": "Audited", "status": "True"}]});
        scene.ephemeron.status = Some(serde_json::from_value(other).expect("a status"));
        let status = scene.write(at(0));
        assert!(conditions::is_true(&status.conditions, "Audited"));
    }

    #[test]
    fn urls_say_what_must_be_typed() {
        let url = |tls, port| {
            let mut scene = Scene::new();
            if let Routing::Gateway(parent) = &mut scene.routing {
                (parent.tls, parent.port) = (tls, port);
            }
            scene.status(at(0)).0.url.unwrap_or_default()
        };
        assert_eq!(url(false, 80), "http://minimal.example.com/");
        assert_eq!(url(true, 443), "https://minimal.example.com/");
        assert_eq!(url(false, 8080), "http://minimal.example.com:8080/");
        assert_eq!(url(true, 80), "https://minimal.example.com:80/");
    }
}
