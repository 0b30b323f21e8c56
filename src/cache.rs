//! What the watches have shown of one kind of object, and what this process wrote since.

mod guard;
mod kept;
mod pause;
mod trouble;

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    future::Future,
    marker::PhantomData,
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::StreamExt as _;
use kube::{
    Api, Resource,
    core::{ObjectMeta, error_boundary::InvalidObject},
    runtime::watcher::{self, Event, watcher},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::watch, time};

pub use guard::Guard;
use kept::Kept;
use pause::Pause;
pub use trouble::{Counts, Trouble};

/// Objects of one kind by their key, kept up to date by a watch: the name, or namespace/name where
/// the cache spans namespaces.
///
/// Answers to our own writes are taken in at once ([`Cache::wrote`]), so that nobody
/// acts on a state from before its own last write. The newer of the two wins: resource versions of
/// one kind can be compared as numbers (KEP-5504).
#[derive(Debug)]
pub struct Cache<K> {
    state: Mutex<State>,
    synced: watch::Sender<bool>,
    served: watch::Sender<bool>,
    key: fn(&ObjectMeta) -> String,
    groups: fn(&K) -> Vec<String>,
    prune: fn(&mut K),
    kind: PhantomData<fn() -> K>,
}

#[derive(Debug, Default)]
struct State {
    objects: HashMap<String, Kept>,
    /// The keys of the objects in each group.
    members: HashMap<String, Vec<String>>,
    /// What a list that is under way has brought so far; None while there is none.
    listing: Option<HashMap<String, Kept>>,
    /// What was written since that list began: it may have come too late to be in it.
    written: HashSet<String>,
    /// The keys of objects that are there but cannot be read.
    unreadable: HashSet<String>,
    /// The newest resource version that the watch has shown.
    shown: u64,
    /// The UIDs of objects that are known to be gone, until the watch has shown it, too: what it shows of them
    /// before is old.
    gone: HashSet<Box<str>>,
}

/// What a kind needs to be kept.
pub trait Kind: Resource + Serialize + DeserializeOwned {}

impl<K: Resource + Serialize + DeserializeOwned> Kind for K {}

fn name(metadata: &ObjectMeta) -> String {
    metadata.name.clone().unwrap_or_default()
}

impl<K: Kind> Default for Cache<K> {
    fn default() -> Self {
        Self::new(name, |_| Vec::new())
    }
}

impl<K: Kind> Cache<K> {
    fn new(key: fn(&ObjectMeta) -> String, groups: fn(&K) -> Vec<String>) -> Self {
        Self {
            state: Mutex::default(),
            synced: watch::Sender::new(false),
            served: watch::Sender::new(true),
            key,
            groups,
            prune: |_| {},
            kind: PhantomData,
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

    /// The same cache, which drops what is never read before it keeps an object.
    #[must_use]
    pub fn pruned(self, prune: fn(&mut K)) -> Self {
        Self { prune, ..self }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves the state whole, whatever happens to its thread.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object as it is kept: what is never read is taken out of it.
    fn keep(&self, object: &mut K, is_told: bool) -> (String, Kept) {
        object.meta_mut().managed_fields = None;
        (self.prune)(object);
        ((self.key)(object.meta()), Kept::new(object, (self.groups)(object), is_told))
    }

    /// The objects of a group, in the order of their keys.
    pub fn group(&self, group: &str) -> Vec<Arc<K>> {
        let kept: Vec<Kept> = {
            let state = self.state();
            let mut members = state.members.get(group).cloned().unwrap_or_default();
            members.sort_unstable();
            members.iter().filter_map(|key| state.objects.get(key).cloned()).collect()
        };
        kept.iter().filter_map(Kept::read).collect()
    }

    /// The keys of a group's objects, in order.
    pub fn members(&self, group: &str) -> Vec<String> {
        let mut members = self.state().members.get(group).cloned().unwrap_or_default();
        members.sort_unstable();
        members
    }

    /// How many objects a group has.
    pub fn size(&self, group: &str) -> usize {
        self.state().members.get(group).map_or(0, Vec::len)
    }

    /// The object of this name.
    pub fn get(&self, name: &str) -> Option<Arc<K>> {
        let kept = self.state().objects.get(name).cloned()?;
        kept.read()
    }

    /// The UID of the object of this name.
    pub fn uid(&self, name: &str) -> Option<String> {
        self.state().objects.get(name)?.uid.as_deref().map(Into::into)
    }

    /// All objects, in no order.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.each().collect()
    }

    /// All objects one after the other, in no order: only one of them takes up room at a time.
    pub fn each(&self) -> impl Iterator<Item = Arc<K>> + use<K> {
        let kept: Vec<Kept> = self.state().objects.values().cloned().collect();
        kept.into_iter().filter_map(|kept| kept.read())
    }

    /// All keys, in no order.
    pub fn names(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }

    /// Takes in the API server's answer to a write or a read of ours, unless the watch is already
    /// past it: then what it has shown is as new, or newer, or the object is gone again.
    pub fn wrote(&self, object: K) -> Arc<K>
    where
        K: Clone,
    {
        self.take(object, false)
    }

    /// The same, for a write that nothing can have come before unseen: its event in the watch is no
    /// news to anybody.
    pub fn wrote_alone(&self, object: K) -> Arc<K>
    where
        K: Clone,
    {
        self.take(object, true)
    }

    fn take(&self, object: K, is_told: bool) -> Arc<K>
    where
        K: Clone,
    {
        let (key, kept) = self.keep(&mut object.clone(), is_told);
        let mut state = self.state();
        if kept.version > state.shown && !state.is_gone(&kept) {
            if state.listing.is_some() {
                state.written.insert(key.clone());
            }
            state.insert(key, kept);
        }
        Arc::new(object)
    }

    /// Forgets an object that an answer to us said is not there, for good: what the watch still shows of it is
    /// no news.
    pub fn missing(&self, name: &str, uid: Option<&str>) {
        let mut state = self.state();
        // Of one that is not known, the watch has shown the end already.
        if state.objects.get(name).is_some_and(|object| object.uid.as_deref() == uid) {
            let removed = state.remove(name);
            state.gone.extend(removed.and_then(|kept| kept.uid));
        }
    }

    /// Forgets an object that has changed into what cannot be read; returns it as it was.
    fn unreadable(&self, metadata: &ObjectMeta) -> Option<Kept> {
        let (key, mut state) = ((self.key)(metadata), self.state());
        let known = state.remove(&key);
        state.unreadable.insert(key);
        known
    }

    /// Whether there is an object of this name that cannot be read.
    pub fn is_unreadable(&self, name: &str) -> bool {
        self.state().unreadable.contains(name)
    }

    /// Returns once the first list is complete.
    pub async fn synced(&self) {
        // The sender lives in self: the wait cannot fail.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Whether the first list is complete.
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Declares the cache complete with nothing in it: the kind is not served here. Returns what was
    /// in it.
    fn empty(&self) -> Vec<Kept> {
        let mut state = self.state();
        state.members.clear();
        let gone = state.objects.drain().map(|(_, kept)| kept).collect();
        drop(state);
        self.served.send_if_modified(mem::take);
        self.synced.send_replace(true);
        gone
    }

    /// Declares the cache complete with nothing in it: the kind is not served here.
    pub fn not_served(&self) {
        drop(self.empty());
    }

    /// Whether the kind is served here, as far as is known, and when that changes.
    pub fn served(&self) -> watch::Receiver<bool> {
        self.served.subscribe()
    }

    /// Takes in an event of the watch; calls `changed` with the objects that it changed, added or
    /// removed.
    pub fn apply(&self, event: Event<K>, mut changed: impl FnMut(&K)) {
        match event {
            Event::Init => {
                let mut state = self.state();
                state.listing = Some(HashMap::new());
                state.written.clear();
            }
            Event::InitApply(mut object) => {
                let (key, kept) = self.keep(&mut object, false);
                self.state().listing.get_or_insert_default().insert(key, kept);
            }
            Event::InitDone => {
                let all = self.state().relist();
                self.served.send_if_modified(|served| !mem::replace(served, true));
                self.synced.send_replace(true);
                all.iter().filter_map(Kept::read).for_each(|object| changed(&object));
            }
            Event::Apply(mut object) => {
                let (key, kept) = self.keep(&mut object, true);
                // Whoever it does not concern any more is concerned, too.
                let left =
                    self.state().objects.get(&key).filter(|known| known.groups != kept.groups).cloned();
                if self.state().show(key, kept) {
                    left.as_ref().and_then(Kept::read).iter().for_each(|object| changed(object));
                    changed(&object);
                }
            }
            Event::Delete(mut object) => {
                let (key, kept) = self.keep(&mut object, true);
                let mut state = self.state();
                state.shown = state.shown.max(kept.version);
                if let Some(uid) = &kept.uid {
                    state.gone.remove(uid);
                }
                if state.objects.get(&key).is_some_and(|known| known.version <= kept.version) {
                    state.remove(&key);
                }
                drop(state);
                changed(&object);
            }
        }
    }
}

impl State {
    fn insert(&mut self, key: String, kept: Kept) {
        self.remove(&key);
        self.unreadable.remove(&key);
        for group in &kept.groups {
            self.members.entry(group.clone()).or_default().push(key.clone());
        }
        self.objects.insert(key, kept);
    }

    fn is_gone(&self, kept: &Kept) -> bool {
        kept.uid.as_ref().is_some_and(|uid| self.gone.contains(uid))
    }

    fn remove(&mut self, key: &str) -> Option<Kept> {
        let kept = self.objects.remove(key)?;
        for group in &kept.groups {
            if let Some(members) = self.members.get_mut(group) {
                members.retain(|member| member != key);
                if members.is_empty() {
                    self.members.remove(group);
                }
            }
        }
        Some(kept)
    }

    /// Takes in what the watch shows; returns whether it is news.
    fn show(&mut self, key: String, kept: Kept) -> bool {
        self.shown = self.shown.max(kept.version);
        if self.is_gone(&kept) {
            return false;
        }
        let news = match self.objects.get(&key) {
            Some(known) if known.version > kept.version => return false,
            Some(known) => known.version != kept.version || !known.is_told,
            None => true,
        };
        self.insert(key, kept);
        news
    }

    /// Takes a complete list in; returns all that is in it, and what vanished.
    fn relist(&mut self) -> Vec<Kept> {
        let mut listed = self.listing.take().unwrap_or_default();
        // What went before the list was made is not in it, and no event of it will come.
        let uids: HashSet<Box<str>> = listed.values().filter_map(|kept| kept.uid.clone()).collect();
        self.gone.retain(|uid| uids.contains(uid));
        listed.retain(|_, kept| !self.is_gone(kept));
        let written = mem::take(&mut self.written);
        let newest = listed.values().map(|kept| kept.version).max().unwrap_or(0);
        self.shown = self.shown.max(newest);
        let mut changed = Vec::new();
        for (key, kept) in mem::take(&mut self.objects) {
            match listed.get(&key) {
                Some(new) if new.version > kept.version => {
                    if new.groups != kept.groups {
                        changed.push(kept);
                    }
                }
                // Written after the list was made; an older one would be in it.
                None if written.contains(&key) && kept.version > newest => {
                    listed.insert(key, kept);
                }
                None => changed.push(kept),
                Some(_) => {
                    listed.insert(key, kept);
                }
            }
        }
        changed.extend(listed.values().cloned());
        self.members.clear();
        for (key, kept) in listed {
            self.insert(key, kept);
        }
        changed
    }
}

/// Watches a kind for ever, after `start`, and keeps its cache; calls `changed` with every object
/// that was added, changed or removed.
pub async fn keep<K>(
    cache: Arc<Cache<K>>,
    api: Api<Guard<K>>,
    config: watcher::Config,
    start: impl Future<Output = ()>,
    changed: impl Fn(&K),
    mut trouble: Trouble,
) where
    K: Kind + Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    start.await;
    let (mut events, mut pause) = (pin!(watcher(api, config)), Pause::default());
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                pause.shown(&event);
                trouble.over(&event);
                match readable(event) {
                    Ok(event) => cache.apply(event, &changed),
                    Err(unreadable) => {
                        trouble.unreadable(&unreadable);
                        let known = cache.unreadable(&unreadable.metadata);
                        known.as_ref().and_then(Kept::read).iter().for_each(|object| changed(object));
                    }
                }
            }
            Err(error) => {
                if is_not_served(&error) {
                    cache.empty().iter().filter_map(Kept::read).for_each(|object| changed(&object));
                }
                trouble.report(&error);
                time::sleep(pause.failed()).await;
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
fn readable<K>(event: Event<Guard<K>>) -> Result<Event<K>, Box<InvalidObject>> {
    Ok(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(Guard(object)) => Event::InitApply(object.map_err(Box::new)?),
        Event::Apply(Guard(object)) => Event::Apply(object.map_err(Box::new)?),
        Event::Delete(Guard(object)) => Event::Delete(object.map_err(Box::new)?),
    })
}

#[cfg(test)]
mod tests;
