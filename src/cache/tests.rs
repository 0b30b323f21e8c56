//! What a cache shows after each order of events and writes.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Client, ResourceExt as _, client::Body};
use serde_json::json;
use tokio::time::Instant;

use super::{kept::version, *};
use crate::health::Readiness;

fn object(name: &str, version: u64) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.into()),
            uid: Some(format!("uid-{name}")),
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

/// Takes an event in; tells what it is news of.
fn see(cache: &Cache<ConfigMap>, event: Event<ConfigMap>) -> Vec<String> {
    let mut changed = Vec::new();
    cache.apply(event, |object| changed.push(object.name_any()));
    changed
}

fn at(cache: &Cache<ConfigMap>, name: &str) -> Option<u64> {
    cache.get(name).map(|object| version(object.as_ref()))
}

#[test]
fn an_answer_is_known_before_the_watch_shows_it() {
    let cache = Cache::default();
    cache.wrote(object("a", 7));
    assert_eq!(at(&cache, "a"), Some(7));
    see(&cache, Event::Apply(object("a", 5)));
    assert_eq!(at(&cache, "a"), Some(7), "an older event does not undo it");
    see(&cache, Event::Apply(object("a", 8)));
    assert_eq!(at(&cache, "a"), Some(8));
}

#[test]
fn what_is_known_is_no_news() {
    let cache = Cache::default();
    assert_eq!(see(&cache, Event::Apply(object("a", 1))), ["a"]);
    cache.wrote_alone(object("a", 2));
    assert!(see(&cache, Event::Apply(object("a", 2))).is_empty(), "our own write");
    cache.wrote(object("a", 4));
    assert!(see(&cache, Event::Apply(object("a", 3))).is_empty(), "somebody's, before ours");
    assert_eq!(see(&cache, Event::Apply(object("a", 4))), ["a"], "so ours is told for both");
    assert!(see(&cache, Event::Apply(object("a", 4))).is_empty(), "once");
    assert_eq!(see(&cache, Event::Delete(object("a", 5))), ["a"]);
}

#[test]
fn an_answer_that_comes_after_the_deletion_was_shown_is_no_ghost() {
    let cache = Cache::default();
    see(&cache, Event::Apply(object("a", 7)));
    see(&cache, Event::Delete(object("a", 9)));
    cache.wrote(object("a", 7));
    assert_eq!(at(&cache, "a"), None);
}

#[test]
fn objects_are_found_by_their_groups() {
    let cache = Cache::grouped(|object: &ConfigMap| vec![object.name_any()[..1].to_owned()]);
    let names = |group| cache.group(group).iter().map(|object| object.name_any()).collect::<Vec<_>>();
    cache.wrote(object("a.1", 2));
    see(&cache, Event::Apply(object("a", 1)));
    see(&cache, Event::Apply(object("b", 3)));
    assert_eq!(names("a"), ["a", "a.1"]);
    see(&cache, Event::Delete(object("a", 4)));
    assert_eq!(names("a"), ["a.1"]);
    see(&cache, Event::Init);
    see(&cache, Event::InitApply(object("b", 3)));
    see(&cache, Event::InitApply(object("a.2", 9)));
    see(&cache, Event::InitDone);
    assert_eq!(names("a"), ["a.2"]);
    cache.missing("a.2", Some("uid-a.2"));
    assert!(names("a").is_empty());
    assert_eq!(cache.empty().len(), 1);
    assert!(names("b").is_empty());
}

#[test]
fn a_new_list_drops_what_is_gone_and_keeps_what_was_just_written() {
    let cache = Cache::default();
    see(&cache, Event::Apply(object("gone", 3)));
    see(&cache, Event::Apply(object("stays", 4)));
    see(&cache, Event::Init);
    see(&cache, Event::InitApply(object("stays", 4)));
    see(&cache, Event::InitApply(object("new", 6)));
    cache.wrote(object("written", 9));
    let changed = see(&cache, Event::InitDone);
    assert_eq!(at(&cache, "gone"), None);
    assert_eq!(at(&cache, "stays"), Some(4));
    assert_eq!(at(&cache, "new"), Some(6));
    assert_eq!(at(&cache, "written"), Some(9));
    assert!(changed.contains(&"gone".to_owned()), "what vanished is told");
    see(&cache, Event::Init);
    cache.wrote(object("ghost", 10));
    see(&cache, Event::InitApply(object("new", 12)));
    see(&cache, Event::InitDone);
    assert_eq!(at(&cache, "ghost"), None, "the list is newer: what is not in it is gone");
}

#[test]
fn what_is_gone_does_not_come_back_by_what_the_watch_shows_late() {
    let cache = Cache::<ConfigMap>::default();
    see(&cache, Event::Init);
    see(&cache, Event::InitApply(object("a", 1)));
    see(&cache, Event::InitDone);
    cache.missing("a", Some("uid-a"));
    assert_eq!(see(&cache, Event::Apply(object("a", 2))), Vec::<String>::new());
    cache.wrote(object("a", 3));
    assert_eq!(at(&cache, "a"), None);
    // A list that was made before it went.
    see(&cache, Event::Init);
    see(&cache, Event::InitApply(object("a", 2)));
    see(&cache, Event::InitDone);
    assert_eq!(at(&cache, "a"), None);
    see(&cache, Event::Delete(object("a", 4)));
    // Nothing is remembered for ever; another one of the name has a UID of its own.
    assert!(cache.state().gone.is_empty());
    cache.missing("a", Some("uid-a"));
    assert!(cache.state().gone.is_empty());
    see(&cache, Event::Apply(object("b", 4)));
    cache.missing("b", Some("uid-b"));
    see(&cache, Event::Init);
    see(&cache, Event::InitDone);
    assert!(cache.state().gone.is_empty());
    let mut another = object("a", 5);
    another.metadata.uid = Some("uid-another".into());
    assert_eq!(see(&cache, Event::Apply(another)), ["a"]);
}

struct Uncounted;

impl Counts for Uncounted {
    fn watch_failed(&self, _: &str) {}
    fn unreadable(&self, _: &str) {}
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_soon_after_a_long_outage() {
    /// On the virtual clock.
    const OUTAGE: Duration = Duration::from_mins(1);
    let (began, asked) = (Instant::now(), Arc::<AtomicUsize>::default());
    let counted = Arc::clone(&asked);
    let (back, mut is_back) = tokio::sync::mpsc::unbounded_channel();
    let service = tower::service_fn(move |request: Request<Body>| {
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let is_away = is_watch && began.elapsed() < OUTAGE;
        if is_away {
            counted.fetch_add(1, Ordering::Relaxed);
        } else if is_watch {
            let _ = back.send(began.elapsed());
        }
        let answer = match (is_watch, is_away) {
            (true, true) => Err(std::io::Error::other("away")),
            (true, false) => Ok(Response::new(Body::from(Vec::new()))),
            (false, _) => {
                let list = json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "1"}, "items": []});
                let body = Body::from(list.to_string().into_bytes());
                Ok(Response::builder().status(StatusCode::OK).body(body).expect("an answer"))
            }
        };
        std::future::ready(answer)
    });
    let api = Api::all(Client::new(service, "default"));
    let trouble =
        Trouble::new("controller", "ConfigMap".into(), Arc::new(Uncounted), Readiness::starting("a test"));
    let cache = Arc::new(Cache::<ConfigMap>::default());
    let keeping = keep(cache, api, watcher::Config::default(), async {}, |_| {}, trouble);
    let back = tokio::select! {
        () = keeping => None,
        back = is_back.recv() => back,
    };
    assert!(back.is_some_and(|back| back <= OUTAGE + Duration::from_secs(1)), "{back:?}");
    let asked = asked.load(Ordering::Relaxed);
    assert!((10..100).contains(&asked), "{asked} times in a minute");
}
