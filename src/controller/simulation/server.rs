//! A simulated API server: what Kubernetes keeps of objects, and the parts of the cluster that act on
//! them (kubelet, garbage collector, endpoints, a gateway). It checks every write as it comes in.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use kube::{client::Body, runtime::watcher::Event};
use serde_json::{Value, json};
use tokio::{task::AbortHandle, time};
use tower::Service;

use super::{Objects, Sum, dice::Dice};
use crate::{
    controller::caches::{Caches, Listeners},
    resource::Ephemeron,
};

const KINDS: [&str; 5] = ["ephemerons", "pods", "services", "httproutes", "endpointslices"];

type Now = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Clones are the same server.
#[derive(Clone)]
pub struct Server {
    store: Arc<Mutex<Store>>,
    now: Now,
}

struct Store {
    dice: Dice,
    faults: bool,
    version: u64,
    objects: BTreeMap<&'static str, Objects>,
    /// What the watches have to show: the kind, whether it is there, and the object.
    shown: Vec<(&'static str, bool, Value)>,
    asked: u64,
    problems: Vec<String>,
    sum: Sum,
}

impl Server {
    /// Without any object, with this clock.
    pub fn new(dice: Dice, now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        let objects = KINDS.into_iter().map(|kind| (kind, Objects::new())).collect();
        let store = Store {
            dice,
            faults: true,
            version: 1,
            objects,
            shown: Vec::new(),
            asked: 0,
            problems: Vec::new(),
            sum: Sum::default(),
        };
        Self { store: Arc::new(Mutex::new(store)), now: Arc::new(now) }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time.
    pub fn now(&self) -> DateTime<Utc> {
        (self.now)()
    }

    /// From now on everything is answered well.
    pub fn calm(&self) {
        self.store().faults = false;
    }

    /// The controller's clock differs from this server's.
    pub fn clock_was_wrong(&self) {
        self.store().sum.wrong_clocks += 1;
    }

    /// Requests so far.
    pub fn asked(&self) -> u64 {
        self.store().asked
    }

    /// Writes that should not have been.
    pub fn problems(&self) -> Vec<String> {
        self.store().problems.clone()
    }

    /// What has happened.
    pub fn sum(&self) -> Sum {
        self.store().sum.clone()
    }

    /// Ephemerons that are there although their time is over, and how many are there at all.
    pub fn alive(&self, now: DateTime<Utc>) -> (Vec<String>, usize) {
        let store = self.store();
        let all = &store.objects["ephemerons"];
        let overdue = all.iter().filter(|(_, one)| end(one).is_some_and(|end| end <= now));
        (overdue.map(|(name, _)| name.clone()).collect(), all.len())
    }

    /// A user creates one.
    pub fn create_ephemeron(&self, name: &str, lifetime: u64) {
        let now = self.now();
        let spec = json!({"lifetime": format!("{lifetime}s"), "service": {"image": "nginx", "port": 80}});
        let object = json!({
            "apiVersion": "qualified.io/v1alpha1", "kind": "Ephemeron", "metadata": {"name": name}, "spec": spec,
        });
        self.store().create("ephemerons", object, now);
    }

    /// A user sets another end.
    pub fn set_end(&self, name: &str, end: DateTime<Utc>) {
        let mut store = self.store();
        let Some(mut object) = store.objects["ephemerons"].get(name).cloned() else { return };
        if self::end(&object).is_some_and(|before| before < end) {
            store.sum.extended += 1;
        }
        object["spec"]["expirationTime"] = end.to_rfc3339().into();
        store.put("ephemerons", object, true);
    }

    /// A user deletes one.
    pub fn delete_ephemeron(&self, name: &str) {
        let mut store = self.store();
        if store.remove("ephemerons", name) {
            store.sum.deleted += 1;
        }
    }

    /// When the one of this name ends, if there is one.
    pub fn end_of(&self, name: &str) -> Option<DateTime<Utc>> {
        end(self.store().objects["ephemerons"].get(name)?)
    }

    /// Shows the caches what changes, late but in order.
    pub fn watch(&self, caches: &Arc<Caches>, listeners: &Listeners) -> AbortHandle {
        let (server, caches, listeners) = (self.clone(), Arc::clone(caches), listeners.clone());
        tokio::spawn(async move {
            let mut next = 0;
            loop {
                let (new, pause) = {
                    let mut store = server.store();
                    let new: Vec<_> = store.shown[next..].to_vec();
                    next = store.shown.len();
                    let late = if store.dice.below(20) == 0 { 3_000 } else { 120 };
                    (new, store.dice.milliseconds(late))
                };
                for (kind, is_there, object) in new {
                    show(&caches, &listeners, kind, is_there, object);
                }
                time::sleep(pause.max(Duration::from_millis(5))).await;
            }
        })
        .abort_handle()
    }

    /// Kubelet, garbage collector, endpoints and gateway do their work now and then.
    pub fn live(&self) -> AbortHandle {
        let server = self.clone();
        tokio::spawn(async move {
            loop {
                let pause = {
                    let mut store = server.store();
                    store.act(server.now());
                    store.dice.milliseconds(400)
                };
                time::sleep(pause.max(Duration::from_millis(20))).await;
            }
        })
        .abort_handle()
    }
}

impl Service<Request<Body>> for Server {
    type Response = Response<Body>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, std::io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let (before, after, fate) = {
                let mut store = server.store();
                store.asked += 1;
                let most = if store.faults { 400 } else { 20 };
                let fate = if store.faults { store.dice.below(100) } else { 100 };
                (store.dice.milliseconds(most), store.dice.milliseconds(most), fate)
            };
            time::sleep(before).await;
            let (code, answer) = match fate {
                0..6 => (500, failure(500, "InternalError")),
                6..10 => (429, failure(429, "TooManyRequests")),
                _ => {
                    let now = server.now();
                    server.store().answer(&head.method, head.uri.path(), body, now)
                }
            };
            time::sleep(after).await;
            if (10..16).contains(&fate) {
                server.store().sum.lost += 1;
                return Err(std::io::Error::other("the connection is gone"));
            }
            Response::builder()
                .status(code)
                .body(Body::from(answer.to_string().into_bytes()))
                .map_err(std::io::Error::other)
        })
    }
}

fn failure(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason})
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"][key].as_str().unwrap_or_default()
}

fn owner(object: &Value) -> &str {
    object["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default()
}

fn end(ephemeron: &Value) -> Option<DateTime<Utc>> {
    serde_json::from_value::<Ephemeron>(ephemeron.clone()).ok()?.expiration_time()
}

impl Store {
    fn of(&mut self, kind: &'static str) -> &mut Objects {
        self.objects.entry(kind).or_default()
    }

    fn put(&mut self, kind: &'static str, mut object: Value, is_new_spec: bool) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if is_new_spec {
            let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
            object["metadata"]["generation"] = (generation + 1).into();
        }
        self.of(kind).insert(text(&object, "name").into(), object.clone());
        self.shown.push((kind, true, object.clone()));
        object
    }

    fn create(&mut self, kind: &'static str, mut object: Value, now: DateTime<Utc>) -> (u16, Value) {
        if self.of(kind).contains_key(text(&object, "name")) {
            return (409, failure(409, "AlreadyExists"));
        }
        self.sum.pods += u64::from(kind == "pods");
        object["metadata"]["uid"] = format!("uid-{}", self.version).into();
        object["metadata"]["creationTimestamp"] = now.format("%FT%TZ").to_string().into();
        (201, self.put(kind, object, true))
    }

    fn remove(&mut self, kind: &'static str, name: &str) -> bool {
        let Some(mut object) = self.of(kind).remove(name) else { return false };
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.shown.push((kind, false, object));
        true
    }

    fn answer(&mut self, method: &Method, path: &str, body: Value, now: DateTime<Utc>) -> (u16, Value) {
        let mut parts: Vec<&str> = path.split('/').collect();
        // A namespace may be called like a kind.
        if let Some(place) = parts.iter().position(|part| *part == "namespaces") {
            parts.drain(place..(place + 2).min(parts.len()));
        }
        let Some((place, kind)) = parts
            .iter()
            .enumerate()
            .find_map(|(place, part)| Some((place, *KINDS.iter().find(|kind| *kind == part)?)))
        else {
            // Events, which nobody looks at.
            return (if *method == Method::POST { 201 } else { 200 }, body);
        };
        let Some(name) = parts.get(place + 1).map(|name| (*name).to_owned()) else {
            return self.create(kind, body, now);
        };
        let Some(live) = self.of(kind).get(&name).cloned() else { return (404, failure(404, "NotFound")) };
        let conflicts =
            |wanted: &Value, key: &str| wanted.as_str().is_some_and(|wanted| wanted != text(&live, key));
        if *method == Method::GET {
            return (200, live);
        }
        if *method == Method::DELETE {
            let conditions = &body["preconditions"];
            if conflicts(&conditions["uid"], "uid")
                || conflicts(&conditions["resourceVersion"], "resourceVersion")
            {
                self.sum.conflicts += u64::from(kind == "ephemerons");
                return (409, failure(409, "Conflict"));
            }
            self.check_deletion(kind, &live, now);
            if kind == "pods" {
                let mut going = live;
                if going["metadata"]["deletionTimestamp"].is_null() {
                    let due = now + TimeDelta::seconds(5);
                    going["metadata"]["deletionTimestamp"] = due.format("%FT%TZ").to_string().into();
                    going = self.put(kind, going, false);
                }
                return (200, going);
            }
            self.sum.expired += u64::from(kind == "ephemerons");
            self.remove(kind, &name);
            return (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}));
        }
        if body["metadata"]["uid"].is_null() {
            self.problems.push(format!("{method} {path} does not say which object it means"));
        }
        if conflicts(&body["metadata"]["uid"], "uid")
            || conflicts(&body["metadata"]["resourceVersion"], "resourceVersion")
        {
            return (409, failure(409, "Conflict"));
        }
        let mut new = live.clone();
        if *method == Method::PUT {
            new["spec"] = body["spec"].clone();
            new["metadata"]["labels"] = body["metadata"]["labels"].clone();
        } else if parts.last() == Some(&"status") {
            merge(&mut new["status"], &body["status"]);
        } else {
            merge(&mut new["metadata"], &body["metadata"]);
        }
        let is_new_spec = new["spec"] != live["spec"];
        (200, self.put(kind, new, is_new_spec))
    }

    /// What the controller must never delete: a living Ephemeron before its end, and its children.
    fn check_deletion(&mut self, kind: &str, live: &Value, now: DateTime<Utc>) {
        let ephemerons = &self.objects["ephemerons"];
        let one = match kind {
            "ephemerons" => Some(live),
            _ => ephemerons.values().find(|one| text(one, "uid") == owner(live)),
        };
        let has_failed = live["status"]["phase"] == "Failed";
        if let Some(one) = one.filter(|one| !has_failed && end(one).is_none_or(|end| end > now)) {
            let (name, end) = (text(one, "name"), end(one));
            self.problems
                .push(format!("{kind} {} deleted at {now}; {name} ends at {end:?}", text(live, "name")));
        }
        if owner(live).is_empty() && kind != "ephemerons" {
            self.problems.push(format!("{kind} {} is somebody else's", text(live, "name")));
        }
    }

    fn act(&mut self, now: DateTime<Utc>) {
        let owners: Vec<String> =
            self.objects["ephemerons"].values().map(|one| text(one, "uid").to_owned()).collect();
        for kind in ["pods", "services", "httproutes", "endpointslices"] {
            for object in self.objects[kind].clone().values() {
                if self.dice.below(3) > 0 {
                    continue;
                }
                let going = text(object, "deletionTimestamp").parse::<DateTime<Utc>>().ok();
                let is_orphan = !owners.iter().any(|uid| uid == owner(object));
                if is_orphan && kind != "pods" || going.is_some_and(|due| due <= now + TimeDelta::seconds(4))
                {
                    self.remove(kind, text(object, "name"));
                } else if is_orphan && going.is_none() {
                    let mut object = object.clone();
                    object["metadata"]["deletionTimestamp"] = now.format("%FT%TZ").to_string().into();
                    self.put(kind, object, false);
                } else if going.is_none() {
                    self.make_ready(kind, object.clone());
                }
            }
        }
    }

    fn make_ready(&mut self, kind: &'static str, mut object: Value) {
        let name = text(&object, "name").to_owned();
        let generation = object["metadata"]["generation"].clone();
        match kind {
            "pods" if object["status"]["conditions"].is_null() => {
                object["status"] =
                    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
            }
            "services" if !self.objects["endpointslices"].contains_key(&name) => {
                let is_ready =
                    self.objects["pods"].get(&name).is_some_and(|pod| !pod["status"]["conditions"].is_null());
                if is_ready {
                    let mut slice = json!({
                        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
                        "addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": true}}],
                    });
                    slice["metadata"]["ownerReferences"] = object["metadata"]["ownerReferences"].clone();
                    self.put("endpointslices", slice, true);
                }
                return;
            }
            "httproutes"
                if object["status"]["parents"][0]["conditions"][0]["observedGeneration"] != generation =>
            {
                let verdict = |kind: &str| {
                    json!({
                        "type": kind, "status": "True", "observedGeneration": generation, "reason": "R", "message": "",
                        "lastTransitionTime": "2030-01-01T00:00:00Z",
                    })
                };
                let parent = object["spec"]["parentRefs"][0].clone();
                object["status"] = json!({"parents": [{
                    "parentRef": parent, "controllerName": "example.com/gateway",
                    "conditions": [verdict("Accepted"), verdict("ResolvedRefs")],
                }]});
            }
            _ => return,
        }
        self.put(kind, object, false);
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            if let Some(target) = target.as_object_mut() {
                target.remove(key);
            }
        } else {
            merge(&mut target[key], value);
        }
    }
}

/// Has a cache see a change, and tells whom it concerns, as the watches do.
fn show(caches: &Arc<Caches>, listeners: &Listeners, kind: &str, is_there: bool, object: Value) {
    fn event<K: serde::de::DeserializeOwned>(is_there: bool, object: Value) -> Event<K> {
        let object = serde_json::from_value(object).expect("an object of its kind");
        if is_there { Event::Apply(object) } else { Event::Delete(object) }
    }
    match kind {
        "ephemerons" => caches.ephemerons.apply(event(is_there, object), listeners.ephemeron(caches)),
        "pods" => caches.pods.apply(event(is_there, object), listeners.owner()),
        "services" => caches.services.apply(event(is_there, object), listeners.owner()),
        "httproutes" => caches.http_routes.apply(event(is_there, object), listeners.owner()),
        _ => caches.slices.apply(event(is_there, object), listeners.service()),
    }
}
