//! The services as a watch has shown them. Reads cost no request to the API server, but for a service that
//! was not seen yet.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use ephemeron_preset_host::labels::is_dns_label;
use kube::{Client, runtime::watcher};
use tokio::time;

use super::{
    caller::{Caller, of_service, topics},
    changes::{Changes, Subscription},
    metrics::Metrics,
    pace::Pace,
    problem::Problem,
    requests::{Ephemerons, away},
};
use crate::{
    cache::{self, Cache, Guard, Trouble},
    health::Readiness,
    resource::{Ephemeron, Service},
};

/// Objects in one page of a list.
const PAGE: u32 = 500;
/// A user may look for so many services a second that are not known here, and for so many at once.
const OF_USER: (u32, u32) = (10, 100);
/// The same of all users of an app together.
const OF_APP: (u32, u32) = (200, 1_000);

/// The services, and who wants to know of their changes.
pub struct Directory {
    /// What the watch has shown.
    pub cache: Arc<Cache<Ephemeron>>,
    /// Who is told.
    pub changes: Changes,
    of_user: Pace,
    of_app: Pace,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            cache: Arc::new(Cache::grouped(topics).pruned(prune)),
            changes: Changes::default(),
            of_user: Pace::new(Duration::from_secs(1) / OF_USER.0, OF_USER.1),
            of_app: Pace::new(Duration::from_secs(1) / OF_APP.0, OF_APP.1),
        }
    }
}

/// Of what is to be run only what is shown is kept.
fn prune(ephemeron: &mut Ephemeron) {
    ephemeron.status.iter_mut().for_each(|status| status.rendering = None);
    if let Some(service) = ephemeron.spec.service.take() {
        ephemeron.spec.service = Some(Service {
            image: service.image,
            port: service.port,
            pod_labels: service.pod_labels,
            tls_secret_name: service.tls_secret_name,
            ..Service::default()
        });
    }
}

impl Directory {
    /// Watches for ever.
    pub async fn keep(&self, client: Client, metrics: Arc<Metrics>, readiness: Readiness) {
        let api = kube::Api::<Guard<Ephemeron>>::all(client);
        let listeners = self.changes.clone();
        let changed = move |ephemeron: &Ephemeron| tell(&listeners, ephemeron);
        let trouble = Trouble::new("api", "Ephemeron".into(), metrics, readiness).insisting();
        let config = watcher::Config::default().page_size(PAGE);
        let cache = Arc::clone(&self.cache);
        cache::keep(cache, api, config, std::future::ready(()), changed, trouble).await;
    }

    /// The caller's service of this id. One that is not known here is looked for once: another process may
    /// have created it a moment ago.
    ///
    /// # Errors
    ///
    /// There is none, it is somebody else's, or the API server does not answer.
    pub async fn get(
        &self,
        ephemerons: &Ephemerons,
        caller: &Caller,
        id: &str,
    ) -> Result<Arc<Ephemeron>, Problem> {
        let found = match self.cache.get(id) {
            Some(found) => found,
            None => self.look(ephemerons, caller, id).await?,
        };
        if caller.owns(&found) {
            Ok(found)
        } else {
            Err(Problem::forbidden("this service is somebody else's"))
        }
    }

    async fn look(
        &self,
        ephemerons: &Ephemerons,
        caller: &Caller,
        id: &str,
    ) -> Result<Arc<Ephemeron>, Problem> {
        if !is_dns_label(id) {
            return Err(missing(id));
        }
        let now = Instant::now();
        let in_time =
            self.of_user.take(caller.name(), now).and_then(|()| self.of_app.take(&caller.app.name, now));
        in_time.map_err(|pause| {
            Problem::too_many("too many services were asked for that are not there", pause)
        })?;
        let found = ephemerons.get(id).await.map_err(|error| away("read the service", &error))?;
        Ok(self.cache.wrote(found.ok_or_else(|| missing(id))?))
    }

    /// Asks that the first list is there: what is not known before may be there all the same.
    ///
    /// # Errors
    ///
    /// It is not.
    pub fn is_complete(&self) -> Result<(), Problem> {
        let why = "the services are not known yet: the cluster has not answered since the start";
        if self.cache.is_synced() { Ok(()) } else { Err(Problem::unavailable(why)) }
    }

    /// Forgets a service that an answer to us said is gone, and tells who wants to know: the watch may be
    /// interrupted, and never show it.
    pub fn gone(&self, seen: &Ephemeron) {
        self.cache.missing(seen.name(), seen.metadata.uid.as_deref());
        tell(&self.changes, seen);
    }

    /// All services of a topic.
    #[must_use]
    pub fn of(&self, topic: &str) -> Vec<Arc<Ephemeron>> {
        self.cache.group(topic)
    }

    /// How many services a topic has.
    #[must_use]
    pub fn count(&self, topic: &str) -> usize {
        self.cache.size(topic)
    }

    /// Begins to collect changes of a topic.
    #[must_use]
    pub fn subscribe(&self, topic: String) -> Subscription {
        self.changes.subscribe(topic)
    }

    /// Waits until one of the subscription's services changes, at the latest until `end`.
    pub async fn changed(&self, subscription: &Subscription, end: time::Instant) -> BTreeSet<String> {
        time::timeout_at(end, subscription.changed()).await.unwrap_or_default()
    }
}

fn tell(changes: &Changes, ephemeron: &Ephemeron) {
    let mut all = topics(ephemeron);
    all.push(of_service(ephemeron.name()));
    changes.tell(all.iter().map(String::as_str), ephemeron.name());
}

/// There is no service of this id.
#[must_use]
pub fn missing(id: &str) -> Problem {
    let shown: String = id.chars().take(63).filter(|char| !char.is_control()).collect();
    Problem::not_found(format!("there is no service {shown}"))
}
