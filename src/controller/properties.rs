//! Properties of the pure middle, over situations put together at random: no observed state panics,
//! what is desired is deterministic, a status is a fixed point, and nobody sleeps past a change.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::{Pod, Service};
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use super::{
    apply::{Applied, Child},
    attempts::{self, Pick},
    desired::desired,
    fixtures,
    moving::Move,
    probe::Reachability,
    routing::{Parent, Routing},
    status::{Outcome, Situation, pod, status},
    validate::{Standing, validate},
};
use crate::resource::{
    Ephemeron, EphemeronStatus, Route,
    conditions::{Finding, Reason},
};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_900_000_000 + seconds, 0).expect("a time")
}

/// A state of a container, well-formed or strange.
fn container() -> impl Strategy<Value = Value> {
    let reason = select(vec![
        "ContainerCreating",
        "ImagePullBackOff",
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "OOMKilled",
        "StartError",
        "Completed",
        "",
        "SomethingNew",
    ]);
    let message = prop_oneof![Just(Value::Null), "\\PC{0,80}".prop_map(Value::String)];
    let end = (reason.clone(), any::<i32>(), message.clone())
        .prop_map(|(reason, code, message)| json!({"reason": reason, "exitCode": code, "message": message}));
    let state = prop_oneof![
        Just(json!({})),
        (reason, message)
            .prop_map(|(reason, message)| json!({"waiting": {"reason": reason, "message": message}})),
        (-200_i64..200).prop_map(|since| json!({"running": {"startedAt": at(since).to_rfc3339()}})),
        Just(json!({"running": {}})),
        end.clone().prop_map(|end| json!({ "terminated": end })),
    ];
    let last = prop_oneof![Just(json!({})), end.prop_map(|end| json!({ "terminated": end }))];
    (state, last, any::<bool>(), any::<i32>()).prop_map(|(state, last, ready, restarts)| {
        json!({"name": "c", "image": "i", "imageID": "", "ready": ready, "restartCount": restarts, "state": state, "lastState": last})
    })
}

fn pod_status() -> impl Strategy<Value = Value> {
    let condition =
        (select(vec!["Ready", "PodScheduled", "New"]), select(vec!["True", "False", "Unknown", "?"]))
            .prop_map(|(kind, status)| json!({"type": kind, "status": status}));
    let phase = select(vec!["Pending", "Running", "Failed", "Succeeded", "Unknown", ""]);
    let containers = || prop::collection::vec(container(), 0..3);
    (phase, prop::collection::vec(condition, 0..3), containers(), containers()).prop_map(
        |(phase, conditions, containers, init)| {
            json!({"phase": phase, "conditions": conditions, "containerStatuses": containers, "initContainerStatuses": init})
        },
    )
}

fn live_pod() -> impl Strategy<Value = Arc<Pod>> {
    let name = select(vec!["minimal", "minimal.1", "minimal.7", "minimal.x", "minimal.99999999999"]);
    let created = prop::option::of(-1_000_i64..1_000);
    (name, created, any::<bool>(), pod_status()).prop_map(|(name, created, going, status)| {
        let mut pod = json!({"metadata": {"name": name}, "status": status});
        if let Some(created) = created {
            pod["metadata"]["creationTimestamp"] = at(created).to_rfc3339().into();
        }
        if going {
            pod["metadata"]["deletionTimestamp"] = at(0).to_rfc3339().into();
        }
        Arc::new(serde_json::from_value(pod).expect("a Pod"))
    })
}

fn child<K: Clone + std::fmt::Debug + 'static>(
    live: impl Strategy<Value = Arc<K>>,
) -> impl Strategy<Value = Child<K>> {
    prop_oneof![
        4 => live.prop_map(Child::Ours),
        1 => Just(Child::Going),
        1 => Just(Child::Taken),
        1 => Just(Child::Unreadable("why".into())),
        1 => Just(Child::Refused(Reason::QuotaExceeded, "why".into())),
    ]
}

fn routing() -> impl Strategy<Value = Routing> {
    let parent = (any::<bool>(), any::<bool>(), any::<u16>()).prop_map(|(tls, gone, port)| {
        Routing::Gateway(Parent {
            namespace: "gateways".into(),
            name: "main".into(),
            listener: "http".into(),
            port,
            tls,
            address: None,
            controller: None,
            gone,
        })
    });
    prop_oneof![
        parent,
        Just(Routing::Ingress { class: "traefik".into() }),
        Just(Routing::Unavailable(Finding::no(Reason::NoGateway, "none"))),
    ]
}

/// A situation with all that it refers to.
#[derive(Clone, Debug)]
struct World {
    pod: Child<Pod>,
    service: Child<Service>,
    routing: Routing,
    endpoint_ready: bool,
    host_holder: Option<&'static str>,
    reachability: Option<Reachability>,
    moving: bool,
    held: Option<&'static str>,
    notice: i64,
    lifetime: i64,
    complaint: Option<String>,
}

fn world() -> impl Strategy<Value = World> {
    let service = Just(Arc::new(Service::default()));
    let reachability = prop::option::of(select(vec![
        Reachability::Unknown,
        Reachability::Answered,
        Reachability::WrongCertificate,
        Reachability::Unreachable("why".into()),
        Reachability::NotAnswering("why".into()),
    ]));
    let inside = (child(live_pod()), child(service), any::<bool>(), prop::option::of("\\PC{0,40}"));
    let outside = (routing(), prop::option::of(Just("HTTPRoute a/b")), reachability, any::<bool>());
    let time = (prop::option::of(Just("deletions are held")), 0_i64..600, 1_i64..20_000);
    (inside, outside, time).prop_map(
        |(
            (pod, service, endpoint_ready, complaint),
            (routing, host_holder, reachability, moving),
            (held, notice, lifetime),
        )| World {
            pod,
            service,
            routing,
            endpoint_ready,
            host_holder,
            reachability,
            moving,
            held,
            notice,
            lifetime,
            complaint,
        },
    )
}

impl World {
    fn status(&self, ephemeron: &Ephemeron, now: DateTime<Utc>) -> (EphemeronStatus, Option<TimeDelta>) {
        let settings = fixtures::settings();
        let valid = validate(ephemeron, &settings, Standing::default()).expect("valid");
        let view =
            pod::View { ready_within: TimeDelta::seconds(60), complaint: self.complaint.as_deref(), now };
        let (finding, again) = match &self.pod {
            Child::Ours(live) => pod::judge(live, &view),
            other => (super::status::child(other, "Pod").expect("a finding"), None),
        };
        let applied = Applied {
            pod: self.pod.clone(),
            replaced: false,
            again: None,
            service: self.service.clone(),
            http_route: None,
            ingress: None,
        };
        let moving = Move { from: Route { kind: "Ingress".into(), parent: None } };
        let outcome = Outcome {
            valid: &valid,
            applied: &applied,
            pod: &finding,
            endpoint_ready: self.endpoint_ready,
            host_holder: self.host_holder,
            reachability: self.reachability.as_ref(),
            moving: self.moving.then_some(&moving),
        };
        let situation = Situation {
            ephemeron,
            end: ephemeron.expiration_time(),
            held: self.held,
            notice: TimeDelta::seconds(self.notice),
            routing: &self.routing,
            outcome: Ok(outcome),
        };
        let (status, later) = status(&situation, now);
        (status, again.into_iter().chain(later).min())
    }

    fn ephemeron(&self) -> Ephemeron {
        let mut ephemeron = fixtures::ephemeron(fixtures::MINIMAL);
        let created = ephemeron.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
        ephemeron.spec.expiration_time = DateTime::from_timestamp(created + self.lifetime, 0);
        ephemeron
    }
}

proptest! {
    #[test]
    fn a_status_is_a_fixed_point_until_it_is_looked_at_again(world in world(), now in -500_i64..500) {
        let mut ephemeron = world.ephemeron();
        let (first, again) = world.status(&ephemeron, at(now));
        ephemeron.status = Some(first.clone());
        let (second, _) = world.status(&ephemeron, at(now));
        prop_assert_eq!(&first, &second, "written, it stays");
        // One second before the next look nothing has changed, and without one nothing ever does.
        let quiet = again.map_or(1_000_000, |again| again.num_seconds() - 1).max(0);
        let (later, _) = world.status(&ephemeron, at(now + quiet));
        prop_assert_eq!(&first, &later, "after {} s", quiet);
        prop_assert!(again.is_none_or(|again| again > TimeDelta::zero()), "never at once again: {:?}", again);
    }

    #[test]
    fn every_condition_has_a_known_reason_and_a_message_that_can_be_shown(world in world()) {
        for condition in world.status(&world.ephemeron(), at(0)).0.conditions {
            let reason = condition.reason.unwrap_or_default();
            let known = Reason::ALL.iter().find(|known| known.reason.as_str() == reason);
            prop_assert!(known.is_some_and(|known| known.of.contains(&condition.r#type.as_str())), "{} {reason}", condition.r#type);
            prop_assert!(!condition.message.unwrap_or_default().contains(char::is_control));
        }
    }

    #[test]
    fn what_is_desired_is_deterministic(routing in routing(), moving: bool) {
        let (ephemeron, settings) = (fixtures::ephemeron(fixtures::FULL), fixtures::settings());
        let valid = validate(&ephemeron, &settings, Standing::default()).expect("valid");
        let from = Route { kind: "HTTPRoute".into(), parent: Some("a/b/c".into()) };
        let moving = moving.then_some(Move { from });
        let once = || desired(&valid, &routing, moving.as_ref(), &settings);
        prop_assert_eq!(once(), once());
    }

    #[test]
    fn a_pod_is_picked_from_whatever_is_there(pods in prop::collection::vec(live_pod(), 0..4), now in -2_000_i64..2_000) {
        match attempts::pick(&pods, at(now)) {
            Pick::Live(pod) => prop_assert!(pod.metadata.deletion_timestamp.is_none() && !attempts::has_failed(&pod)),
            Pick::Wait { until, .. } => prop_assert!(until > at(now) && until <= at(now + 300)),
            Pick::Make { attempt } => {
                let name = attempts::name("minimal", attempt);
                prop_assert!(pods.iter().all(|pod| pod.metadata.name.as_ref() != Some(&name)), "{name} is taken");
            }
        }
    }
}
