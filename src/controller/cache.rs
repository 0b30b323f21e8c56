//! What the watches have shown of one kind of object, and what this process wrote since.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    future::Future,
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::StreamExt as _;
use kube::{
    Api, Resource, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::trouble::Trouble;

/// Objects of one kind by name, kept up to date by a watch.
///
/// Answers to our own writes are taken in at once ([`Cache::wrote`]), so that a reconcile never
/// acts on a state from before its own last write. The newer of the two wins: resource versions of
/// one kind can be compared as numbers (KEP-5504).
#[derive(Debug)]
pub struct Cache<K> {
    state: Mutex<State<K>>,
    synced: watch::Sender<bool>,
}

#[derive(Debug)]
struct State<K> {
    objects: HashMap<String, Arc<K>>,
    /// What a list that is under way has brought so far.
    listing: HashMap<String, Arc<K>>,
    /// What was written since that list began: it may have come too late to be in it.
    written: HashSet<String>,
    /// The newest resource version that the watch has shown.
    shown: u64,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        let state =
            State { objects: HashMap::new(), listing: HashMap::new(), written: HashSet::new(), shown: 0 };
        Self { state: Mutex::new(state), synced: watch::Sender::new(false) }
    }
}

impl<K: Resource> Cache<K> {
    fn state(&self) -> MutexGuard<'_, State<K>> {
        // Every critical section leaves the state whole, whatever happens to its thread.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object of this name.
    pub fn get(&self, name: &str) -> Option<Arc<K>> {
        self.state().objects.get(name).cloned()
    }

    /// All objects, in no order.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.state().objects.values().cloned().collect()
    }

    /// All names, in no order.
    pub fn names(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }

    /// Takes in the API server's answer to a write or a read of ours, unless the watch is already
    /// past it: then what it has shown is as new, or newer, or the object is gone again.
    pub fn wrote(&self, object: K) -> Arc<K> {
        let (name, version, object) = (object.name_any(), version(&object), Arc::new(object));
        let mut state = self.state();
        if version > state.shown {
            state.written.insert(name.clone());
            state.objects.insert(name, Arc::clone(&object));
        }
        object
    }

    /// Forgets an object that an answer to us said is not there, so that it is made again.
    pub fn missing(&self, name: &str, uid: Option<&str>) {
        let mut state = self.state();
        if state.objects.get(name).is_some_and(|object| object.meta().uid.as_deref() == uid) {
            state.objects.remove(name);
        }
    }

    /// Returns once the first list is complete.
    pub async fn synced(&self) {
        // The sender lives in self: the wait cannot fail.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Declares the cache complete although nothing was listed: the kind is not served here.
    pub fn not_served(&self) {
        self.synced.send_replace(true);
    }

    /// Takes in an event of the watch; returns the objects that it changed, added or removed.
    fn apply(&self, event: Event<K>) -> Vec<Arc<K>> {
        let mut state = self.state();
        match event {
            Event::Init => {
                state.listing.clear();
                state.written.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                let object = Arc::new(object);
                state.listing.insert(object.name_any(), object);
                Vec::new()
            }
            Event::InitDone => {
                let mut listed = mem::take(&mut state.listing);
                let written = mem::take(&mut state.written);
                let newest = listed.values().map(|object| version(object.as_ref())).max().unwrap_or(0);
                state.shown = state.shown.max(newest);
                let mut changed = Vec::new();
                for (name, object) in state.objects.drain() {
                    match listed.get(&name) {
                        Some(new) if version(new.as_ref()) > version(object.as_ref()) => {}
                        None if !written.contains(&name) => changed.push(object),
                        _ => {
                            listed.insert(name, object);
                        }
                    }
                }
                changed.extend(listed.values().cloned());
                state.objects = listed;
                drop(state);
                self.synced.send_replace(true);
                changed
            }
            Event::Apply(object) => {
                state.shown = state.shown.max(version(&object));
                let (name, object) = (object.name_any(), Arc::new(object));
                match state.objects.get(&name) {
                    Some(known) if version(known.as_ref()) > version(object.as_ref()) => Vec::new(),
                    _ => {
                        state.objects.insert(name, Arc::clone(&object));
                        vec![object]
                    }
                }
            }
            Event::Delete(object) => {
                state.shown = state.shown.max(version(&object));
                let name = object.name_any();
                if state.objects.get(&name).is_some_and(|known| version(known.as_ref()) <= version(&object)) {
                    state.objects.remove(&name);
                }
                vec![Arc::new(object)]
            }
        }
    }
}

/// The resource version as a number; 0 where it is none.
fn version<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// Watches a kind for ever, after `start`, and keeps its cache; calls `changed` with every object
/// that was added, changed or removed. `prune` drops what is not read, before it is kept.
pub async fn keep<K>(
    cache: Arc<Cache<K>>,
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    start: impl Future<Output = ()>,
    prune: fn(&mut K),
    changed: impl Fn(&K),
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    start.await;
    let kind = K::kind(&());
    let mut trouble = Trouble::new(kind.clone().into_owned());
    let mut events = pin!(watcher(api, config).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                trouble.over(&event);
                if let Some(event) = readable(&kind, event) {
                    let event = event.modify(|object| {
                        object.managed_fields_mut().clear();
                        prune(object);
                    });
                    cache.apply(event).iter().for_each(|object| changed(object));
                }
            }
            Err(error) => trouble.report(&error),
        }
    }
}

/// The event without its guard; an object that cannot be read is reported and left out, so that it
/// does not stop the others.
fn readable<K: Resource<DynamicType = ()>>(
    kind: &str,
    event: Event<DeserializeGuard<K>>,
) -> Option<Event<K>> {
    let read = |DeserializeGuard(object): DeserializeGuard<K>| {
        object
            .map_err(|unreadable| {
                tracing::warn!(
                    kind,
                    name = unreadable.metadata.name.as_deref().unwrap_or_default(),
                    error = %unreadable.error,
                    "an object cannot be read and is left alone: correct it, or delete it"
                );
            })
            .ok()
    };
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(read(object)?),
        Event::Apply(object) => Event::Apply(read(object)?),
        Event::Delete(object) => Event::Delete(read(object)?),
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};

    use super::*;

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

    fn at(cache: &Cache<ConfigMap>, name: &str) -> Option<u64> {
        cache.get(name).map(|object| version(object.as_ref()))
    }

    #[test]
    fn an_answer_is_known_before_the_watch_shows_it() {
        let cache = Cache::default();
        cache.wrote(object("a", 7));
        assert_eq!(at(&cache, "a"), Some(7));
        cache.apply(Event::Apply(object("a", 5)));
        assert_eq!(at(&cache, "a"), Some(7), "an older event does not undo it");
        cache.apply(Event::Apply(object("a", 8)));
        assert_eq!(at(&cache, "a"), Some(8));
    }

    #[test]
    fn an_answer_that_comes_after_the_deletion_was_shown_is_no_ghost() {
        let cache = Cache::default();
        cache.apply(Event::Apply(object("a", 7)));
        cache.apply(Event::Delete(object("a", 9)));
        cache.wrote(object("a", 7));
        assert_eq!(at(&cache, "a"), None);
    }

    #[test]
    fn a_new_list_drops_what_is_gone_and_keeps_what_was_just_written() {
        let cache = Cache::default();
        cache.apply(Event::Apply(object("gone", 3)));
        cache.apply(Event::Apply(object("stays", 4)));
        cache.apply(Event::Init);
        cache.apply(Event::InitApply(object("stays", 4)));
        cache.apply(Event::InitApply(object("new", 6)));
        cache.wrote(object("written", 9));
        let changed = cache.apply(Event::InitDone);
        assert_eq!(at(&cache, "gone"), None);
        assert_eq!(at(&cache, "stays"), Some(4));
        assert_eq!(at(&cache, "new"), Some(6));
        assert_eq!(at(&cache, "written"), Some(9));
        assert!(changed.iter().any(|object| object.name_any() == "gone"), "what vanished is told");
    }
}
