//! A status from each situation, by table.

use std::sync::Arc;

use gateway_api::httproutes::HttpRoute;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::controller::{
    fixtures,
    validate::{Standing, validate},
};

/// A situation in which everything is as it should be, to be changed by each test.
struct Scene {
    ephemeron: Ephemeron,
    routing: Routing,
    applied: Applied,
    endpoint_ready: bool,
    host_holder: Option<&'static str>,
    reachability: Option<Reachability>,
    moving: Option<Move>,
    held: Option<&'static str>,
    notice: TimeDelta,
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_900_000_000 + seconds, 0).expect("a time")
}

fn pod(status: &Value) -> Child<Pod> {
    let metadata = json!({"creationTimestamp": at(0).to_rfc3339()});
    Child::Ours(Arc::new(
        serde_json::from_value(json!({"metadata": metadata, "status": status})).expect("a Pod"),
    ))
}

fn ready_pod() -> Child<Pod> {
    pod(&json!({"conditions": [{"type": "Ready", "status": "True"}]}))
}

fn route(parents: &Value) -> Child<HttpRoute> {
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"generation": 2}, "spec": {}, "status": {"parents": parents},
    });
    Child::Ours(Arc::new(serde_json::from_value(route).expect("a route")))
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
            gone: false,
        };
        let metadata = json!({"apiVersion": "v1", "kind": "Service", "metadata": {}});
        Self {
            ephemeron: fixtures::ephemeron(fixtures::MINIMAL),
            routing: Routing::Gateway(parent),
            applied: Applied {
                pod: ready_pod(),
                service: Child::Ours(Arc::new(serde_json::from_value(metadata).expect("a Service"))),
                replaced: false,
                again: None,
                http_route: Some(route(&json!([word("main", "example.com/main", ACCEPTED)]))),
                ingress: None,
            },
            endpoint_ready: true,
            host_holder: None,
            reachability: Some(Reachability::Answered),
            moving: None,
            held: None,
            notice: TimeDelta::zero(),
        }
    }

    fn status(&self, now: DateTime<Utc>) -> (EphemeronStatus, Option<TimeDelta>) {
        self.status_after(&self.ephemeron, now)
    }

    fn status_after(
        &self,
        ephemeron: &Ephemeron,
        now: DateTime<Utc>,
    ) -> (EphemeronStatus, Option<TimeDelta>) {
        let settings = fixtures::settings();
        let valid = validate(ephemeron, &settings, Standing::default()).expect("valid");
        let pod = match &self.applied.pod {
            Child::Ours(pod) => {
                pod::judge(
                    pod,
                    &pod::View { ready_within: TimeDelta::seconds(60), complaint: None, now: at(0) },
                )
                .0
            }
            other => child(other, "Pod").expect("a finding"),
        };
        let outcome = Outcome {
            valid: &valid,
            applied: &self.applied,
            pod: &pod,
            endpoint_ready: self.endpoint_ready,
            host_holder: self.host_holder,
            reachability: self.reachability.as_ref(),
            moving: self.moving.as_ref(),
        };
        let situation = Situation {
            ephemeron,
            end: ephemeron.expiration_time(),
            held: self.held,
            notice: self.notice,
            routing: &self.routing,
            outcome: Ok(outcome),
        };
        status(&situation, now)
    }

    /// Moves on: the status is written.
    fn write(&mut self, now: DateTime<Utc>) -> EphemeronStatus {
        let (status, _) = self.status(now);
        self.ephemeron.status = Some(status.clone());
        status
    }

    fn available(&self) -> (String, String) {
        let mut long_ready = Self { ephemeron: self.ephemeron.clone(), ..Self::new() };
        long_ready.write(at(-3_600));
        let previous = long_ready.ephemeron.status.as_mut().expect("a status");
        previous.conditions.retain(|one| one.r#type == POD_READY);
        let (status, _) = self.status_after(&long_ready.ephemeron, at(0));
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
        (|scene| scene.applied.pod = pod(&json!({})), "PodNotReady", "being started"),
        (|scene| scene.applied.pod = Child::Going, "WaitingForDeletion", "a Pod of this name"),
        (
            |scene| scene.applied.pod = Child::Taken,
            "NameTaken",
            "a Pod of this name belongs to somebody else",
        ),
        (
            |scene| scene.applied.pod = Child::Refused(Reason::QuotaExceeded, "quota".into()),
            "QuotaExceeded",
            "refuses the Pod: quota",
        ),
        (|scene| scene.applied.service = Child::Unreadable("why".into()), "ChildUnreadable", "made anew"),
        (|scene| scene.applied.service = Child::Taken, "NameTaken", "a Service"),
        (|scene| scene.applied.http_route = Some(Child::Taken), "NameTaken", "an HTTPRoute"),
        (|scene| scene.endpoint_ready = false, "EndpointsNotReady", "no ready endpoint"),
        (
            |scene| scene.applied.http_route = Some(route(&json!([]))),
            "RouteNotAccepted",
            "has not said anything",
        ),
        (
            |scene| scene.routing = Routing::Unavailable(Finding::no(Reason::NoGateway, "none here")),
            "NoGateway",
            "none here",
        ),
        (
            |scene| {
                if let Routing::Gateway(parent) = &mut scene.routing {
                    parent.gone = true;
                }
            },
            "NoGateway",
            "the Gateway gateways/main is gone",
        ),
        (
            |scene| scene.host_holder = Some("HTTPRoute shop/front"),
            "HostTaken",
            "the HTTPRoute shop/front has the host minimal.example.com already",
        ),
        (|scene| scene.reachability = Some(Reachability::Unknown), "URLNotAnswering", "first time"),
        (|scene| scene.reachability = Some(Reachability::WrongCertificate), "CertificateMismatch", "Secret"),
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
        scene.applied.http_route = Some(route(&parents));
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
    let reason = |status: &EphemeronStatus| {
        conditions::find(&status.conditions, AVAILABLE).and_then(|one| one.reason.clone()).unwrap_or_default()
    };
    assert_eq!(reason(&ready), "Connecting", "it comes with the flip of PodReady");
    scene.endpoint_ready = true;
    scene.reachability = Some(Reachability::Unknown);
    let (soon, wake) = scene.status(at(11));
    assert_eq!(soon, ready, "not worth a write yet");
    assert_eq!(wake, Some(TimeDelta::seconds(9)), "but it is looked at again");
    let (later, wake) = scene.status(at(20));
    assert_eq!((reason(&later).as_str(), wake), ("URLNotAnswering", None));
    scene.reachability = Some(Reachability::Answered);
    assert_eq!(reason(&scene.write(at(11))), "Available", "success is told at once");
    scene.endpoint_ready = false;
    assert_eq!(reason(&scene.status(at(12)).0), "EndpointsNotReady", "and so is its end");
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
fn conditions_of_others_leave_room_for_ours() {
    let mut scene = Scene::new();
    let others: Vec<Value> =
        (0..conditions::MOST).map(|number| json!({"type": format!("T{number}"), "status": "True"})).collect();
    scene.ephemeron.status = serde_json::from_value(json!({"conditions": others})).expect("a status");
    let conditions = scene.write(at(5)).conditions;
    assert_eq!(conditions.len(), conditions::MOST, "the schema takes no more");
    assert!(conditions::find(&conditions, AVAILABLE).is_some());
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

#[test]
fn a_move_keeps_what_can_be_reached() {
    let mut scene = Scene::new();
    scene.write(at(0));
    let from = Route { kind: "Ingress".into(), parent: Some("traefik".into()) };
    let before = scene.ephemeron.status.as_mut().expect("a status");
    (before.route, before.url) = (Some(from.clone()), Some("https://old/".into()));
    scene.moving = Some(Move { from: from.clone() });
    scene.applied.http_route = Some(route(&json!([])));
    let (status, _) = scene.status(at(5));
    let available = conditions::find(&status.conditions, AVAILABLE).expect("it is there");
    assert_eq!((available.status.as_str(), available.reason.as_deref()), ("True", Some("Available")));
    let words = available.message.as_deref().unwrap_or_default();
    assert!(words.contains("an Ingress (traefik)") && words.contains("has not said anything"), "{words}");
    assert_eq!((status.route, status.url.as_deref()), (Some(from), Some("https://old/")));
    scene.endpoint_ready = false;
    assert!(!conditions::is_true(&scene.status(at(5)).0.conditions, AVAILABLE), "only routes are moved");
}

#[test]
fn the_end_is_told_before_it_comes_if_that_is_worth_it() {
    let mut scene = Scene::new();
    let expiring = |scene: &Scene, now| {
        let (status, again) = scene.status(now);
        let reason = conditions::find(&status.conditions, EXPIRING).and_then(|one| one.reason.clone());
        (reason, again.map(|again| again.num_seconds()))
    };
    let end = scene.ephemeron.expiration_time().expect("an end");
    scene.notice = TimeDelta::seconds(60);
    assert_eq!(expiring(&scene, end - TimeDelta::seconds(100)), (None, Some(40)));
    assert_eq!(expiring(&scene, end - TimeDelta::seconds(60)), (Some("ExpiringSoon".into()), None));
    scene.notice = TimeDelta::seconds(600);
    assert_eq!(expiring(&scene, end - TimeDelta::seconds(60)), (None, None), "half an hour is short");
    scene.held = Some("deletions are held");
    assert_eq!(expiring(&scene, end), (Some("ExpiryHeld".into()), None));
}

#[test]
fn extensions_are_counted() {
    let mut scene = Scene::new();
    assert_eq!(scene.write(at(0)).extensions, None);
    let end = scene.ephemeron.expiration_time().expect("an end");
    for (seconds, count) in [(60, Some(1)), (60, Some(1)), (30, Some(1)), (90, Some(2))] {
        scene.ephemeron.spec.expiration_time = Some(end + TimeDelta::seconds(seconds));
        assert_eq!(scene.write(at(0)).extensions, count, "{seconds}");
    }
}

#[test]
fn what_a_preset_has_said_and_what_became_of_it_is_told() {
    let mut scene = Scene::new();
    let told = |scene: &Scene| {
        let mut ephemeron = scene.ephemeron.clone();
        // What is asked for is of no matter here.
        ephemeron.spec.preset = Some(crate::resource::Preset {
            name: "web".into(),
            parameters: serde_json::from_str(r#"{"a": 1}"#).expect("parameters"),
            ..Default::default()
        });
        let (status, _) = scene.status_after(&ephemeron, at(0));
        let found = conditions::find(&status.conditions, PRESET_READY).expect("it is there").clone();
        (found.status, found.reason.unwrap_or_default(), found.message.unwrap_or_default())
    };
    let parameters: Parameters = serde_json::from_str(r#"{"a":1}"#).expect("parameters");
    let digest = Parameters::digest(Some(&parameters));
    let rows = [
        (Some((80, digest.as_str())), "has said what to run", "no effect"),
        (Some((80, "")), "has said what to run", "no effect"),
        (Some((80, "0123")), "parameters have changed since, which has no effect", "asked anew"),
        (Some((0, digest.as_str())), "out of the status", "has said what to run;"),
        (None, "out of the status", "has said what to run;"),
    ];
    for (record, words, other) in rows {
        let preset = record.map(|(port, parameters_digest)| Rendered {
            port,
            parameters_digest: parameters_digest.into(),
            ..Rendered::default()
        });
        scene.ephemeron.status = Some(EphemeronStatus { preset, ..EphemeronStatus::default() });
        let (status, reason, message) = told(&scene);
        assert_eq!((status.as_str(), reason.as_str()), ("True", "Rendered"), "{message}");
        assert!(message.contains(words) && !message.contains(other), "{record:?}: {message}");
    }
}

#[test]
fn only_the_presets_own_condition_has_all_that_is_wrong() {
    let mut scene = Scene::new();
    scene.ephemeron.spec.service = None;
    scene.ephemeron.spec.preset = Some(crate::resource::Preset::default());
    let finding = Finding::whole(Reason::InvalidParameters, "/a: it is wrong; ".repeat(1_000));
    let situation = Situation {
        ephemeron: &scene.ephemeron,
        end: None,
        held: None,
        notice: TimeDelta::zero(),
        routing: &scene.routing,
        outcome: Err(&Invalid::Preset(finding)),
    };
    let (status, _) = status(&situation, at(0));
    let length = |r#type| {
        let found = conditions::find(&status.conditions, r#type).expect("it is there");
        found.message.as_ref().map_or(0, String::len)
    };
    assert!(length(PRESET_READY) > 16_000 && length(AVAILABLE) < 1_100 && length(POD_READY) < 1_100);
}
