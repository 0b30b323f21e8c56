//! What the watches have shown of one kind of object, and what this process wrote since.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt::Debug,
    future::Future,
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::StreamExt as _;
use kube::{
    Api, Resource, ResourceExt,
    core::{DeserializeGuard, ObjectMeta, error_boundary::InvalidObject},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::trouble::Trouble;

/// Objects of one kind by their key, kept up to date by a watch: the name, or namespace/name where
/// the cache spans namespaces.
///
/// Answers to our own writes are taken in at once ([`Cache::wrote`]), so that a reconcile never
/// acts on a state from before its own last write. The newer of the two wins: resource versions of
/// one kind can be compared as numbers (KEP-5504).
#[derive(Debug)]
pub struct Cache<K> {
    state: Mutex<State<K>>,
    synced: watch::Sender<bool>,
    served: watch::Sender<bool>,
    key: fn(&ObjectMeta) -> String,
    groups: fn(&K) -> Vec<String>,
}

#[derive(Debug)]
struct State<K> {
    objects: HashMap<String, Arc<K>>,
    /// The keys of the objects in each group.
    members: HashMap<String, BTreeSet<String>>,
    /// What a list that is under way has brought so far.
    listing: HashMap<String, Arc<K>>,
    /// What was written since that list began: it may have come too late to be in it.
    written: HashSet<String>,
    /// The newest resource version that the watch has shown.
    shown: u64,
}

fn name(metadata: &ObjectMeta) -> String {
    metadata.name.clone().unwrap_or_default()
}

impl<K: Resource> Default for Cache<K> {
    fn default() -> Self {
        Self::new(name, |_| Vec::new())
    }
}

impl<K: Resource> Cache<K> {
    fn new(key: fn(&ObjectMeta) -> String, groups: fn(&K) -> Vec<String>) -> Self {
        let state = State {
            objects: HashMap::new(),
            members: HashMap::new(),
            listing: HashMap::new(),
            written: HashSet::new(),
            shown: 0,
        };
        Self {
            state: Mutex::new(state),
            synced: watch::Sender::new(false),
            served: watch::Sender::new(true),
            key,
            groups,
        }
    }

    /// A cache of one namespace, whose objects can be found by the groups that they are in.
    pub fn grouped(groups: fn(&K) -> Vec<String>) -> Self {
        Self::new(name, groups)
    }

    /// A cache of all namespaces, whose objects can be found by the groups that they are in.
    pub fn across_namespaces(groups: fn(&K) -> Vec<String>) -> Self {
        let key = |metadata: &ObjectMeta| {
            format!("{}/{}", metadata.namespace.as_deref().unwrap_or_default(), name(metadata))
        };
        Self::new(key, groups)
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        // Every critical section leaves the state whole, whatever happens to its thread.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The objects of a group, in the order of their keys.
    pub fn group(&self, group: &str) -> Vec<Arc<K>> {
        let state = self.state();
        let members = state.members.get(group).into_iter().flatten();
        members.filter_map(|key| state.objects.get(key).cloned()).collect()
    }

    /// The object of this name.
    pub fn get(&self, name: &str) -> Option<Arc<K>> {
        self.state().objects.get(name).cloned()
    }

    /// All objects, in no order.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.state().objects.values().cloned().collect()
    }

    /// All keys, in no order.
    pub fn names(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }

    /// Takes in the API server's answer to a write or a read of ours, unless the watch is already
    /// past it: then what it has shown is as new, or newer, or the object is gone again.
    pub fn wrote(&self, object: K) -> Arc<K> {
        let (key, version, object) = ((self.key)(object.meta()), version(&object), Arc::new(object));
        let mut state = self.state();
        if version > state.shown {
            state.written.insert(key.clone());
            state.insert(key, Arc::clone(&object), self.groups);
        }
        object
    }

    /// Forgets an object that an answer to us said is not there, so that it is made again.
    pub fn missing(&self, name: &str, uid: Option<&str>) {
        let mut state = self.state();
        if state.objects.get(name).is_some_and(|object| object.meta().uid.as_deref() == uid) {
            state.remove(name, self.groups);
        }
    }

    /// Forgets an object that has changed into what cannot be read; returns it as it was.
    fn unreadable(&self, metadata: &ObjectMeta) -> Option<Arc<K>> {
        let (key, mut state) = ((self.key)(metadata), self.state());
        let known = state.objects.get(&key).cloned();
        state.remove(&key, self.groups);
        known
    }

    /// Returns once the first list is complete.
    pub async fn synced(&self) {
        // The sender lives in self: the wait cannot fail.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Declares the cache complete with nothing in it: the kind is not served here. Returns what was
    /// in it.
    pub fn not_served(&self) -> Vec<Arc<K>> {
        let mut state = self.state();
        state.members.clear();
        let gone = state.objects.drain().map(|(_, object)| object).collect();
        drop(state);
        self.served.send_if_modified(std::mem::take);
        self.synced.send_replace(true);
        gone
    }

    /// Whether the kind is served here, as far as is known, and when that changes.
    pub fn served(&self) -> watch::Receiver<bool> {
        self.served.subscribe()
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
                state.listing.insert((self.key)(object.meta()), Arc::new(object));
                Vec::new()
            }
            Event::InitDone => {
                let changed = state.relist(self.groups);
                drop(state);
                self.served.send_if_modified(|served| !std::mem::replace(served, true));
                self.synced.send_replace(true);
                changed
            }
            Event::Apply(object) => {
                state.shown = state.shown.max(version(&object));
                let (key, object) = ((self.key)(object.meta()), Arc::new(object));
                match state.objects.get(&key) {
                    Some(known) if version(known.as_ref()) > version(object.as_ref()) => Vec::new(),
                    _ => {
                        state.insert(key, Arc::clone(&object), self.groups);
                        vec![object]
                    }
                }
            }
            Event::Delete(object) => {
                state.shown = state.shown.max(version(&object));
                let key = (self.key)(object.meta());
                if state.objects.get(&key).is_some_and(|known| version(known.as_ref()) <= version(&object)) {
                    state.remove(&key, self.groups);
                }
                vec![Arc::new(object)]
            }
        }
    }
}

impl<K: Resource> State<K> {
    fn insert(&mut self, key: String, object: Arc<K>, groups: fn(&K) -> Vec<String>) {
        self.remove(&key, groups);
        for group in groups(&object) {
            self.members.entry(group).or_default().insert(key.clone());
        }
        self.objects.insert(key, object);
    }

    fn remove(&mut self, key: &str, groups: fn(&K) -> Vec<String>) {
        let Some(object) = self.objects.remove(key) else { return };
        for group in groups(&object) {
            if let Some(members) = self.members.get_mut(&group) {
                members.remove(key);
                if members.is_empty() {
                    self.members.remove(&group);
                }
            }
        }
    }

    /// Takes a complete list in; returns what changed, what vanished included.
    fn relist(&mut self, groups: fn(&K) -> Vec<String>) -> Vec<Arc<K>> {
        let mut listed = mem::take(&mut self.listing);
        let written = mem::take(&mut self.written);
        let newest = listed.values().map(|object| version(object.as_ref())).max().unwrap_or(0);
        self.shown = self.shown.max(newest);
        let mut changed = Vec::new();
        for (key, object) in mem::take(&mut self.objects) {
            match listed.get(&key) {
                Some(new) if version(new.as_ref()) > version(object.as_ref()) => {}
                // Written after the list was made; an older one would be in it.
                None if written.contains(&key) && version(object.as_ref()) > newest => {
                    listed.insert(key, object);
                }
                None => changed.push(object),
                Some(_) => {
                    listed.insert(key, object);
                }
            }
        }
        changed.extend(listed.values().cloned());
        self.members.clear();
        for (key, object) in listed {
            self.insert(key, object, groups);
        }
        changed
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
    mut trouble: Trouble,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    start.await;
    let mut events = pin!(watcher(api, config).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                trouble.over(&event);
                match readable(event) {
                    Ok(event) => {
                        let event = event.modify(|object| {
                            object.managed_fields_mut().clear();
                            prune(object);
                        });
                        cache.apply(event).iter().for_each(|object| changed(object));
                    }
                    Err(unreadable) => {
                        trouble.unreadable(&unreadable);
                        cache.unreadable(&unreadable.metadata).iter().for_each(|object| changed(object));
                    }
                }
            }
            Err(error) => {
                if is_not_served(&error) {
                    cache.not_served().iter().for_each(|object| changed(object));
                }
                trouble.report(&error);
            }
        }
    }
}

/// Whether the API server does not know the kind: its definition was removed, and all objects with it.
fn is_not_served(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause)) = error else {
        return false;
    };
    matches!(cause, kube::Error::Api(status) if status.code == 404)
}

/// The event without its guard, or the object that cannot be read: it does not stop the others.
fn readable<K>(event: Event<DeserializeGuard<K>>) -> Result<Event<K>, Box<InvalidObject>> {
    Ok(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(DeserializeGuard(object)) => Event::InitApply(object.map_err(Box::new)?),
        Event::Apply(DeserializeGuard(object)) => Event::Apply(object.map_err(Box::new)?),
        Event::Delete(DeserializeGuard(object)) => Event::Delete(object.map_err(Box::new)?),
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

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
    fn objects_are_found_by_their_groups() {
        let cache = Cache::grouped(|object: &ConfigMap| vec![object.name_any()[..1].to_owned()]);
        let names = |group| cache.group(group).iter().map(|object| object.name_any()).collect::<Vec<_>>();
        cache.wrote(object("a.1", 2));
        cache.apply(Event::Apply(object("a", 1)));
        cache.apply(Event::Apply(object("b", 3)));
        assert_eq!(names("a"), ["a", "a.1"]);
        cache.apply(Event::Delete(object("a", 4)));
        assert_eq!(names("a"), ["a.1"]);
        cache.apply(Event::Init);
        cache.apply(Event::InitApply(object("b", 3)));
        cache.apply(Event::InitApply(object("a.2", 9)));
        cache.apply(Event::InitDone);
        assert_eq!(names("a"), ["a.2"]);
        cache.missing("a.2", Some("uid-a.2"));
        assert!(names("a").is_empty());
        assert_eq!(cache.not_served().len(), 1);
        assert!(names("b").is_empty());
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
        cache.apply(Event::Init);
        cache.wrote(object("ghost", 10));
        cache.apply(Event::InitApply(object("new", 12)));
        cache.apply(Event::InitDone);
        assert_eq!(at(&cache, "ghost"), None, "the list is newer: what is not in it is gone");
    }
}
