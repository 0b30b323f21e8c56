//! The run's own watch of the Ephemerons, past every proxy.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use ephemeron::resource::Ephemeron;
use futures::StreamExt as _;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::watcher::{self, Event, watcher},
};
use tokio::{task::AbortHandle, time};

use super::{
    history::{History, What},
    manifests::LABEL,
};

/// After a failure.
const PAUSE: Duration = Duration::from_millis(100);

/// Adds to the history what a watch shows, until it is aborted. Where the watch was interrupted for so
/// long that events are lost, only lists tell who is gone.
pub fn watch(client: Client, selector: &str, history: Arc<History>) -> AbortHandle {
    let config = watcher::Config::default().labels(selector);
    let watching = async move {
        let mut events = watcher(Api::<Ephemeron>::all(client), config).boxed();
        let (mut known, mut listed) = (HashMap::new(), HashSet::new());
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => {
                    // Who comes later need not be in the list.
                    known = history.living();
                    listed.clear();
                }
                Ok(Event::InitApply(one)) => {
                    listed.insert(one.uid().to_owned());
                    seen(&history, &one);
                }
                Ok(Event::InitDone) => {
                    for (uid, name) in known.drain().filter(|(uid, _)| !listed.contains(uid)) {
                        history.add(&uid, &name, "", What::Missing);
                    }
                }
                Ok(Event::Apply(one)) => seen(&history, &one),
                Ok(Event::Delete(one)) => note(&history, &one, What::Gone(one.expiration_time())),
                // It goes on from where it was.
                Err(_) => time::sleep(PAUSE).await,
            }
        }
    };
    tokio::spawn(watching).abort_handle()
}

fn seen(history: &History, one: &Ephemeron) {
    let end = one.expiration_time();
    if !history.was_seen(one.uid(), end) {
        note(history, one, What::Ends(end));
    }
}

fn note(history: &History, one: &Ephemeron, what: What) {
    let whose = one.labels().get(LABEL).cloned().unwrap_or_default();
    history.add(one.uid(), one.name(), &whose, what);
}
