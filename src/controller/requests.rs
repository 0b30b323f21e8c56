//! Tests of which requests go to the API server, in which order, and what each answer leads to.

use std::{collections::VecDeque, pin::pin};

use chrono::{DateTime, Utc};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    apply::{Child, Mending, apply},
    caches::Caches,
    desired::desired,
    expire::expire,
    fixtures,
    observe::observe,
    publish::publish,
    routing::Routing,
    telling::Teller,
    validate::{Standing, validate},
};
use crate::resource::{
    Ephemeron, EphemeronStatus,
    conditions::{AVAILABLE, Condition, Finding, Reason},
};

/// What the API server answers to one request.
struct Answer {
    /// The request's method and path.
    to: &'static str,
    status: u16,
    body: Value,
}

fn answer(to: &'static str, status: u16, body: Value) -> Answer {
    Answer { to, status, body }
}

fn refusal(to: &'static str, code: u16, reason: &str) -> Answer {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": "so it is"});
    answer(to, code, status)
}

/// An API server that answers each request as scripted, whatever their order; returns the requests
/// as they came, with their bodies.
fn api_server(answers: Vec<Answer>) -> (Client, JoinHandle<Vec<(String, Value)>>) {
    let (service, handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let server = tokio::spawn(async move {
        let mut answers = VecDeque::from(answers);
        let mut handle = pin!(handle);
        let mut came = Vec::new();
        while let Some((request, send)) = handle.next_request().await {
            let line = format!("{} {}", request.method(), request.uri().path());
            let body = request.into_body().collect().await.expect("a body").to_bytes();
            let index = answers.iter().position(|answer| answer.to == line);
            let answer =
                answers.remove(index.unwrap_or_else(|| panic!("unexpected: {line}"))).expect("an answer");
            came.push((line, serde_json::from_slice(&body).unwrap_or_default()));
            let response = Response::builder().status(StatusCode::from_u16(answer.status).expect("a code"));
            send.send_response(
                response.body(Body::from(answer.body.to_string().into_bytes())).expect("a response"),
            );
        }
        assert!(
            answers.is_empty(),
            "never asked: {:?}",
            answers.iter().map(|answer| answer.to).collect::<Vec<_>>()
        );
        came
    });
    (Client::new(service, "default"), server)
}

fn ephemeron() -> Ephemeron {
    let mut ephemeron = fixtures::ephemeron(fixtures::MINIMAL);
    ephemeron.metadata.resource_version = Some("7".into());
    ephemeron
}

fn nothing_routes() -> Routing {
    Routing::Unavailable(Finding::no(Reason::NoGateway, "none"))
}

/// An object as the API server has it.
fn stored(kind: &str, version: &str, name: &str, uid: &str, owner_uid: Option<&str>) -> Value {
    let owners: Vec<Value> = owner_uid
        .into_iter()
        .map(|uid| json!({"apiVersion": "qualified.io/v1alpha1", "kind": "Ephemeron", "name": name, "uid": uid, "controller": true}))
        .collect();
    json!({
        "kind": kind, "apiVersion": version,
        "metadata": {"name": name, "namespace": "ephemerons", "uid": uid, "resourceVersion": "9", "ownerReferences": owners,
            "labels": {"app.kubernetes.io/managed-by": "ephemeron", "ephemerons.qualified.io/name": name}},
    })
}

const NOW: &str = "2030-01-01T00:00:10Z";
const POD: &str = "/api/v1/namespaces/ephemerons/pods";
const THIS_POD: &str = "GET /api/v1/namespaces/ephemerons/pods/minimal";
const DELETE_POD: &str = "DELETE /api/v1/namespaces/ephemerons/pods/minimal";
const MAKE_POD: &str = "POST /api/v1/namespaces/ephemerons/pods";
const MAKE_SERVICE: &str = "POST /api/v1/namespaces/ephemerons/services";
const DELETE: &str = "DELETE /apis/qualified.io/v1alpha1/ephemerons/minimal";
const ANNOTATE: &str = "PATCH /apis/qualified.io/v1alpha1/ephemerons/minimal";
const STATUS: &str = "PATCH /apis/qualified.io/v1alpha1/ephemerons/minimal/status";

async fn bring_about(client: Client, caches: &Caches) -> Child<k8s_openapi::api::core::v1::Pod> {
    let (ephemeron, settings) = (ephemeron(), fixtures::settings());
    let valid = validate(&ephemeron, &settings, Standing::default()).expect("valid");
    let desired = desired(&valid, &nothing_routes(), None, &settings);
    apply(&client, caches, &Mending::default(), &ephemeron, desired, &observe(caches, "minimal"), time(NOW))
        .await
        .expect("applied")
        .pod
}

fn service() -> Value {
    stored("Service", "v1", "minimal", "s", Some("0b0e"))
}

#[tokio::test]
async fn a_child_is_made_by_one_request_and_known_at_once() {
    let pod = stored("Pod", "v1", "minimal", "p", Some("0b0e"));
    let (client, server) = api_server(vec![answer(MAKE_POD, 201, pod), answer(MAKE_SERVICE, 201, service())]);
    let caches = Caches::default();
    assert!(matches!(bring_about(client, &caches).await, Child::Ours(_)));
    assert_eq!(server.await.expect("no defect").len(), 2);
    // The watch has not shown anything, and yet nothing is made a second time.
    let (client, server) = api_server(Vec::new());
    assert!(matches!(bring_about(client, &caches).await, Child::Ours(_)));
    assert!(server.await.expect("no defect").is_empty());
}

#[tokio::test]
async fn a_foreign_object_is_read_and_left_alone() {
    let rows = [(None, "Taken"), (Some("0b0e"), "Ours")];
    for (owner, wanted) in rows {
        let live = stored("Pod", "v1", "minimal", "p", owner);
        let (client, server) = api_server(vec![
            refusal(MAKE_POD, 409, "AlreadyExists"),
            answer(THIS_POD, 200, live),
            answer(MAKE_SERVICE, 201, service()),
        ]);
        let child = bring_about(client, &Caches::default()).await;
        assert!(format!("{child:?}").starts_with(wanted), "{owner:?}: {child:?}");
        let came = server.await.expect("no defect");
        assert!(!came.iter().any(|(line, _)| line.starts_with("PUT") && line.contains(POD)), "{came:?}");
    }
}

#[tokio::test]
async fn what_a_predecessor_has_left_is_deleted_unless_it_is_a_successors() {
    for (holder, goes) in [("0b0e", true), ("another", false)] {
        let live = stored("Pod", "v1", "minimal", "p", Some("another"));
        let there = stored("Ephemeron", "qualified.io/v1alpha1", "minimal", holder, None);
        let mut answers = vec![
            refusal(MAKE_POD, 409, "AlreadyExists"),
            answer(THIS_POD, 200, live.clone()),
            answer("GET /apis/qualified.io/v1alpha1/ephemerons/minimal", 200, there),
            answer(MAKE_SERVICE, 201, service()),
        ];
        answers.extend(goes.then(|| answer(DELETE_POD, 200, live)));
        let (client, server) = api_server(answers);
        let child = bring_about(client, &Caches::default()).await;
        assert!(matches!(child, Child::Going), "{child:?}");
        let came = server.await.expect("no defect");
        let deletions: Vec<_> = came.iter().filter(|(line, _)| line == DELETE_POD).collect();
        assert!(deletions.iter().all(|(_, body)| body["preconditions"]["uid"] == "p"), "{deletions:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_and_a_failure_is_tried_again() {
    for code in [400, 403, 404, 422] {
        let (client, _server) =
            api_server(vec![refusal(MAKE_POD, code, "Why"), answer(MAKE_SERVICE, 201, service())]);
        let child = bring_about(client, &Caches::default()).await;
        assert!(matches!(&child, Child::Refused(_, why) if why.contains("so it is")), "{code}: {child:?}");
    }
    for code in [409, 429, 500, 503] {
        let (client, _server) =
            api_server(vec![refusal(MAKE_POD, code, "Other"), answer(MAKE_SERVICE, 201, service())]);
        let (ephemeron, settings, caches) = (ephemeron(), fixtures::settings(), Caches::default());
        let valid = validate(&ephemeron, &settings, Standing::default()).expect("valid");
        let desired = desired(&valid, &nothing_routes(), None, &settings);
        let failed = apply(
            &client,
            &caches,
            &Mending::default(),
            &ephemeron,
            desired,
            &observe(&caches, "minimal"),
            time(NOW),
        )
        .await;
        let message = failed.expect_err("it failed").to_string();
        assert_eq!(message, "cannot create the Pod ephemerons/minimal", "{code}");
    }
}

/// A Pod of ours as the API server has it, with a status.
fn stored_pod(name: &str, status: &Value) -> Value {
    let mut pod = stored("Pod", "v1", name, name, Some("0b0e"));
    pod["metadata"]["ownerReferences"][0]["name"] = "minimal".into();
    pod["metadata"]["labels"]["ephemerons.qualified.io/name"] = "minimal".into();
    pod["metadata"]["creationTimestamp"] = "2030-01-01T00:00:00Z".into();
    pod["status"] = status.clone();
    pod
}

fn with_pods(pods: &[Value]) -> Caches {
    let caches = Caches::default();
    for (version, pod) in pods.iter().enumerate() {
        let mut pod = pod.clone();
        pod["metadata"]["resourceVersion"] = (version + 1).to_string().into();
        caches.pods.wrote(serde_json::from_value(pod).expect("a Pod"));
    }
    caches
}

#[tokio::test]
async fn a_pod_that_has_failed_gets_a_successor_and_then_goes() {
    let failed = stored_pod("minimal", &json!({"phase": "Failed"}));
    let next = stored_pod("minimal.1", &json!({}));
    let caches = with_pods(&[failed]);
    let (client, server) =
        api_server(vec![answer(MAKE_POD, 201, next), answer(MAKE_SERVICE, 201, service())]);
    assert!(
        matches!(bring_about(client, &caches).await, Child::Ours(pod) if pod.metadata.name.as_deref() == Some("minimal.1"))
    );
    let came = server.await.expect("no defect");
    let made =
        came.iter().find(|(line, _)| line == MAKE_POD).map(|(_, body)| body.clone()).expect("it was made");
    assert_eq!(
        (&made["metadata"]["name"], &made["spec"]["hostname"]),
        (&json!("minimal.1"), &json!("minimal"))
    );

    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
    let (client, server) =
        api_server(vec![answer("DELETE /api/v1/namespaces/ephemerons/pods/minimal", 200, gone)]);
    bring_about(client, &caches).await;
    assert_eq!(server.await.expect("no defect")[0].1["preconditions"], json!({"uid": "minimal"}));
}

#[tokio::test]
async fn a_pod_has_its_labels_before_the_service_selects_by_them() {
    let mut unlabelled = stored_pod("minimal", &json!({}));
    unlabelled["metadata"]["labels"] = json!({"mine": "a"});
    let labelled = stored_pod("minimal", &json!({}));
    let label = "PATCH /api/v1/namespaces/ephemerons/pods/minimal";
    let (client, server) =
        api_server(vec![answer(label, 200, labelled), answer(MAKE_SERVICE, 201, service())]);
    bring_about(client, &with_pods(&[unlabelled])).await;
    let came = server.await.expect("no defect");
    assert_eq!((came[0].0.as_str(), came[1].0.as_str()), (label, MAKE_SERVICE));
    assert_eq!(came[0].1["metadata"]["uid"], "minimal", "never another's");
}

#[tokio::test]
async fn the_name_of_a_lost_predecessor_is_not_waited_for() {
    let mut lost = stored("Pod", "v1", "minimal", "p", Some("another"));
    lost["metadata"]["deletionTimestamp"] = "2029-12-31T23:00:00Z".into();
    let (client, server) = api_server(vec![
        refusal(MAKE_POD, 409, "AlreadyExists"),
        answer(THIS_POD, 200, lost),
        answer(MAKE_POD, 201, stored_pod("minimal.1", &json!({}))),
        answer(MAKE_SERVICE, 201, service()),
    ]);
    assert!(matches!(bring_about(client, &Caches::default()).await, Child::Ours(_)));
    server.await.expect("no defect");
}

#[tokio::test]
async fn a_child_that_cannot_be_read_is_made_anew_if_it_is_ours() {
    for (owner, wanted) in [(Some("0b0e"), "Unreadable"), (None, "Taken")] {
        let mut strange = stored("Service", "v1", "minimal", "s", owner);
        strange["spec"] = json!("what is this?");
        let this = "GET /api/v1/namespaces/ephemerons/services/minimal";
        let mut answers = vec![
            refusal(MAKE_SERVICE, 409, "AlreadyExists"),
            answer(this, 200, strange.clone()),
            answer(this, 200, strange.clone()),
        ];
        if owner.is_some() {
            answers.push(answer("DELETE /api/v1/namespaces/ephemerons/services/minimal", 200, strange));
        }
        let (client, server) = api_server(answers);
        let (ephemeron, settings) = (ephemeron(), fixtures::settings());
        let caches = with_pods(&[stored_pod("minimal", &json!({}))]);
        let valid = validate(&ephemeron, &settings, Standing::default()).expect("valid");
        let desired = desired(&valid, &nothing_routes(), None, &settings);
        let applied = apply(
            &client,
            &caches,
            &Mending::default(),
            &ephemeron,
            desired,
            &observe(&caches, "minimal"),
            time(NOW),
        )
        .await;
        let child = applied.expect("applied").service;
        assert!(format!("{child:?}").starts_with(wanted), "{owner:?}: {child:?}");
        drop(client);
        server.await.expect("no defect");
    }
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

#[tokio::test]
async fn the_end_begins_with_the_ephemeron_itself() {
    let caches = Caches::default();
    let pod = stored("Pod", "v1", "minimal", "p", Some("0b0e"));
    caches.pods.wrote(serde_json::from_value(pod.clone()).expect("a Pod"));
    let delete_pod = "DELETE /api/v1/namespaces/ephemerons/pods/minimal";
    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
    let (client, server) = api_server(vec![answer(DELETE, 200, gone), answer(delete_pod, 200, pod)]);
    let (end, now) = (time("2030-01-01T00:30:00Z"), time("2030-01-01T00:30:00.010Z"));
    expire(&client, &caches, &fixtures::lives(), &ephemeron(), end, now).await.expect("it ends");
    drop(client);
    let came = server.await.expect("no defect");
    let lines: Vec<&str> = came.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(lines, [DELETE, delete_pod]);
    assert_eq!(came[0].1["preconditions"], json!({"uid": "0b0e", "resourceVersion": "7"}));
    assert_eq!(came[1].1["preconditions"], json!({"uid": "p"}));
}

#[tokio::test]
async fn an_extension_that_came_first_leaves_everything_whole() {
    let caches = Caches::default();
    let pod = stored("Pod", "v1", "minimal", "p", Some("0b0e"));
    caches.pods.wrote(serde_json::from_value(pod).expect("a Pod"));
    let (client, server) = api_server(vec![refusal(DELETE, 409, "Conflict")]);
    let end = time("2030-01-01T00:30:00Z");
    expire(&client, &caches, &fixtures::lives(), &ephemeron(), end, end)
        .await
        .expect("it is looked at again");
    drop(client);
    assert_eq!(server.await.expect("no defect").len(), 1, "neither route nor Pod are touched");
}

#[tokio::test]
async fn the_annotation_is_there_before_the_condition() {
    let condition = Condition {
        r#type: AVAILABLE.into(),
        status: "True".into(),
        last_transition_time: None,
        reason: None,
        message: None,
        observed_generation: None,
    };
    let status = EphemeronStatus {
        conditions: vec![condition],
        host: Some("minimal.example.com".into()),
        ..EphemeronStatus::default()
    };
    let mut before = ephemeron();
    before.status = Some(EphemeronStatus { url: Some("http://old/".into()), ..EphemeronStatus::default() });
    let body = || serde_json::to_value(ephemeron()).expect("JSON");
    let (client, server) = api_server(vec![answer(ANNOTATE, 200, body()), answer(STATUS, 200, body())]);
    publish(&client, &Caches::default(), &Teller::new(client.clone()), &before, status.clone())
        .await
        .expect("written");
    drop(client);
    let came = server.await.expect("no defect");
    assert_eq!(came[0].0, ANNOTATE);
    assert_eq!(came[0].1["metadata"], json!({"uid": "0b0e", "annotations": {"host": "minimal.example.com"}}));
    assert_eq!(came[1].0, STATUS);
    assert_eq!(came[1].1["metadata"]["uid"], "0b0e", "never into another object of this name");
    assert_eq!(came[1].1["status"]["url"], Value::Null, "what is no longer true is removed");

    let mut after = ephemeron();
    after.metadata.annotations = Some([("host".to_owned(), "minimal.example.com".to_owned())].into());
    after.status = Some(status.clone());
    let (client, server) = api_server(Vec::new());
    publish(&client, &Caches::default(), &Teller::new(client.clone()), &after, status)
        .await
        .expect("nothing to write");
    drop(client);
    assert!(server.await.expect("no defect").is_empty());
}

#[tokio::test]
async fn nothing_is_written_to_an_ephemeron_that_is_gone() {
    let status = EphemeronStatus { host: Some("a".into()), ..EphemeronStatus::default() };
    let (client, server) = api_server(vec![refusal(STATUS, 404, "NotFound")]);
    publish(&client, &Caches::default(), &Teller::new(client.clone()), &ephemeron(), status)
        .await
        .expect("it is gone: nothing to do");
    drop(client);
    assert_eq!(server.await.expect("no defect").len(), 1);
}
