//! Who wants to know of which services, and what has changed since they looked last.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

/// Tells subscribers of changes. What a slow one has not looked at yet is kept once per service, so that
/// nothing is lost and nothing grows beyond the number of services.
#[derive(Clone, Debug, Default)]
pub struct Changes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    topics: Mutex<HashMap<String, HashMap<u64, Arc<Inbox>>>>,
    numbers: AtomicU64,
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inbox {
    changed: Mutex<BTreeSet<String>>,
    news: Notify,
}

/// The interest of one caller in a topic. It ends when this is dropped.
#[derive(Debug)]
pub struct Subscription {
    topic: String,
    number: u64,
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section leaves the state whole, whatever happens to its thread.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Changes {
    /// Begins to collect what changes in a topic.
    #[must_use]
    pub fn subscribe(&self, topic: String) -> Subscription {
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let inbox = Arc::<Inbox>::default();
        locked(&self.0.topics).entry(topic.clone()).or_default().insert(number, Arc::clone(&inbox));
        self.0.count.fetch_add(1, Ordering::Relaxed);
        Subscription { topic, number, inbox, shared: Arc::clone(&self.0) }
    }

    /// Tells those who are interested in one of these topics that a service has changed.
    pub fn tell<'a>(&self, topics: impl IntoIterator<Item = &'a str>, id: &str) {
        let topics = topics.into_iter();
        let inboxes: Vec<Arc<Inbox>> = {
            let known = locked(&self.0.topics);
            topics.filter_map(|topic| known.get(topic)).flat_map(|all| all.values().cloned()).collect()
        };
        for inbox in inboxes {
            locked(&inbox.changed).insert(id.to_owned());
            inbox.news.notify_one();
        }
    }

    /// How many subscriptions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }
}

impl Subscription {
    /// Waits until there is something new, and returns the services that have changed since the last time.
    pub async fn changed(&self) -> BTreeSet<String> {
        loop {
            let changed = mem::take(&mut *locked(&self.inbox.changed));
            if !changed.is_empty() {
                return changed;
            }
            self.inbox.news.notified().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut topics = locked(&self.shared.topics);
        if let Some(inboxes) = topics.get_mut(&self.topic) {
            inboxes.remove(&self.number);
            if inboxes.is_empty() {
                topics.remove(&self.topic);
            }
        }
        self.shared.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_are_told_once_to_those_who_want_them() {
        let changes = Changes::default();
        let (one, other) = (changes.subscribe("a".into()), changes.subscribe("b".into()));
        for id in ["x", "y", "x"] {
            changes.tell(["a", "c"], id);
        }
        assert_eq!(one.changed().await, ["x".to_owned(), "y".to_owned()].into());
        changes.tell(["b"], "z");
        assert_eq!(other.changed().await, ["z".to_owned()].into());
        // Nothing is left: the next change is what it waits for.
        let ((), next) = tokio::join!(async { changes.tell(["a"], "w") }, one.changed());
        assert_eq!(next, ["w".to_owned()].into());
        assert_eq!(changes.count(), 2);
        drop((one, other));
        assert_eq!(changes.count(), 0);
        assert!(locked(&changes.0.topics).is_empty());
    }
}
