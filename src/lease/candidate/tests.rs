//! What a candidate leaves behind when it ends in the middle of a write.

use std::sync::{Mutex, PoisonError};

use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::json;

use super::*;

type Stored = Arc<Mutex<Option<Lease>>>;

fn stored(lease: &Stored) -> Option<Lease> {
    lease.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// An API server with one Lease; it does what it is asked to, and answers writes only when `answers` says so.
fn server(lease: &Stored, answers: impl Fn() -> bool + Clone + Send + Sync + 'static) -> Client {
    let lease = Arc::clone(lease);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (lease, answers) = (Arc::clone(&lease), answers.clone());
        async move {
            let method = request.method().clone();
            let body = request.into_body().collect().await.expect("a body").to_bytes();
            let version = |lease: &Lease| lease.metadata.resource_version.clone();
            let refused = |code: u16| (code, json!({"kind": "Status", "code": code}).to_string());
            let known = stored(&lease);
            let (status, text) = match (method == Method::GET, known) {
                (true, Some(known)) => (200, serde_json::to_string(&known).expect("JSON")),
                (true, None) => refused(404),
                (false, known) => {
                    let mut new: Lease = serde_json::from_slice(&body).expect("a Lease");
                    if known.as_ref().and_then(version) == version(&new) {
                        let next = version(&new).and_then(|old| old.parse::<u64>().ok()).unwrap_or(0) + 1;
                        new.metadata.resource_version = Some(next.to_string());
                        *lease.lock().unwrap_or_else(PoisonError::into_inner) = Some(new.clone());
                        (200, serde_json::to_string(&new).expect("JSON"))
                    } else {
                        refused(409)
                    }
                }
            };
            if method != Method::GET && !answers() {
                std::future::pending::<()>().await;
            }
            let answer = Response::builder().status(status).body(Body::from(text.into_bytes()));
            Ok::<_, io::Error>(answer.expect("an answer"))
        }
    });
    Client::new(service, "default")
}

/// Somebody who stops while a write is under way that is done, but not answered.
async fn stops_in_a_write(is_leading: bool) -> Option<String> {
    let (lease, answered) = (Stored::default(), Arc::new(Mutex::new(is_leading)));
    let answers = Arc::clone(&answered);
    let client = server(&lease, move || *answers.lock().unwrap_or_else(PoisonError::into_inner));
    let (place, times) = ("a/b".parse().expect("a place"), Times::of(Duration::from_secs(15)));
    let hold = Arc::new(Hold::default());
    let clients = (client.clone(), client);
    let mut one = Candidate::new("one".into(), place, times, clients, hold, Readiness::starting("a test"));
    let (found, now) = (stored(&lease), one.hold.now());
    one.election.read(now, found);
    if is_leading {
        one.follow().await;
        *answered.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }
    let Step::Write(next) = one.election.next(one.hold.now() + Duration::from_secs(3), &wall()) else {
        panic!("it is time to write")
    };
    let before = stored(&lease).and_then(|lease| lease.metadata.resource_version);
    {
        let mut write = std::pin::pin!(one.write(&next));
        while stored(&lease).and_then(|lease| lease.metadata.resource_version) == before {
            assert!(futures::poll!(&mut write).is_pending(), "its answer never comes");
            tokio::task::yield_now().await;
        }
    }
    *answered.lock().unwrap_or_else(PoisonError::into_inner) = true;
    one.release().await;
    stored(&lease)?.spec?.holder_identity
}

#[tokio::test]
async fn a_write_that_the_end_cuts_off_leaves_no_holder() {
    assert_eq!(stops_in_a_write(true).await, None, "of one who led");
    assert_eq!(stops_in_a_write(false).await, None, "of one who was about to");
}
