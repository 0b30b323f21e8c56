//! Brings Ephemerons about, keeps them as they should be, and deletes them when their time is over.

mod apply;
mod attempts;
mod caches;
pub mod check;
mod choosing;
mod clock;
mod complaints;
mod desired;
mod drift;
mod expire;
#[cfg(test)]
mod fixtures;
mod gateway_api;
mod holding;
mod insecure;
mod life;
pub mod metrics;
mod moving;
mod observe;
mod ownership;
mod pacing;
pub mod permissions;
mod presets;
mod probe;
#[cfg(test)]
mod properties;
mod publish;
mod reconcile;
mod rendering;
#[cfg(test)]
mod requests;
pub mod routing;
pub mod settings;
#[cfg(test)]
mod simulation;
mod status;
mod target;
mod telling;
mod validate;

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::{FutureExt as _, StreamExt as _, stream};
use kube::{
    Client,
    client::ClientBuilder,
    core::{PartialObjectMeta, PartialObjectMetaExt as _},
    runtime::{
        applier,
        controller::{self, Action},
        reflector::{ObjectRef, store::Writer},
        watcher::Event,
    },
};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
    time,
};

use apply::Mending;
use caches::{Caches, Listeners};
use clock::Clock;
use complaints::Complaints;
use holding::Keeper;
use life::Lives;
use metrics::{Failure, Metrics, Phase};
use pacing::Pacing;
use presets::Presets;
use probe::Prober;
use reconcile::reconcile;
use routing::Routing;
use settings::Settings;
use telling::Teller;

use crate::{client::root_cause, health::Readiness, resource::Ephemeron};

/// Reconciles that run at once; each is bounded by [`TIMEOUT`].
const CONCURRENCY: u16 = 100;
const TIMEOUT: Duration = Duration::from_secs(30);
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);
/// After a failure; doubled with each that follows it.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_mins(1);
/// The longest pause between two attempts to delete what has expired, and where the API server has said
/// that it will not, such as for an admission webhook's sake, again and again.
const LONGEST_LATE_RETRY: Duration = Duration::from_secs(1);
const LONGEST_REFUSED_RETRY: Duration = Duration::from_secs(10);

/// What the queue holds: an Ephemeron's name. The Ephemeron itself is in the caches.
type Key = PartialObjectMeta<Ephemeron>;

/// Everything that a reconcile uses.
struct Context {
    settings: Settings,
    client: Client,
    caches: Arc<Caches>,
    routing: watch::Receiver<Option<Arc<Routing>>>,
    presets: Presets,
    prober: Prober,
    complaints: Complaints,
    mending: Mending,
    pacing: Pacing,
    teller: Teller,
    lives: Lives,
    keeper: Arc<Keeper>,
    metrics: Arc<Metrics>,
    /// Failures in a row, by name.
    failures: Mutex<HashMap<String, u32>>,
    now: Box<dyn Fn() -> DateTime<Utc> + Send + Sync>,
}

/// Why the controller cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no client.
    #[error("the kubeconfig does not make a client: correct it (KUBECONFIG)")]
    Client(#[from] kube::Error),
    /// The presets cannot be served.
    #[error(transparent)]
    Presets(#[from] ephemeron_preset_host::catalogue::OpenError),
    /// A part of it has ended.
    #[error("a part of the controller has ended by a defect: please report it with the lines before")]
    Defect(#[source] JoinError),
}

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Apply(#[from] apply::ApplyError),
    #[error(transparent)]
    Publish(#[from] publish::PublishError),
    #[error(transparent)]
    Preset(#[from] presets::PresetError),
    #[error(transparent)]
    Expire(#[from] expire::ExpireError),
    #[error("the API server did not answer within {0} s")]
    Timeout(u64),
    #[error("a defect of the controller: please report it with the lines before")]
    Defect(#[source] JoinError),
}

impl Error {
    /// The longest pause before the next attempt to delete what has expired.
    fn longest_late_retry(&self) -> Duration {
        match self {
            Self::Expire(error) if error.is_refusal() => LONGEST_REFUSED_RETRY,
            _ => LONGEST_LATE_RETRY,
        }
    }

    fn failure(&self) -> Failure {
        match self {
            Self::Apply(_) => Failure::Apply,
            Self::Preset(_) => Failure::Preset,
            Self::Publish(_) => Failure::Publish,
            Self::Expire(_) => Failure::Expire,
            Self::Timeout(_) => Failure::Timeout,
            Self::Defect(_) => Failure::Defect,
        }
    }
}

/// Runs the controller until `shutdown` resolves, and then until every reconcile that is under way
/// has ended. Watches and writes have connections of their own, so that neither waits for the other.
///
/// # Errors
///
/// The configuration does not make a client, or a part of the controller has ended by a defect: without
/// it the rest would go on with what was last seen.
pub async fn run(
    settings: Settings,
    config: kube::Config,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let (mut watching, mut writing) = (config.clone(), config);
    // The API server sends a bookmark every minute: silence means a dead connection.
    watching.read_timeout = Some(Duration::from_secs(150));
    // Retries are ours: hidden ones would hold a reconcile's place.
    writing.default_retry = false;
    let clock = Arc::new(Clock::default());
    let watching = Client::try_from(watching)?;
    let client = ClientBuilder::try_from(writing)?.with_layer(&clock::Listening(Arc::clone(&clock))).build();
    let shutdown = shutdown.shared();
    let mut tasks = JoinSet::new();

    let Some(served) = unless(shutdown.clone(), reach(&client)).await else { return Ok(()) };
    let (gateway_api_sender, gateway_api) = watch::channel(served);
    tasks.spawn(gateway_api::await_served(watching.clone(), gateway_api_sender));

    let (names, queue) = mpsc::unbounded_channel();
    let (gone, ends) = mpsc::unbounded_channel();
    let listeners = Listeners {
        names,
        gone,
        routing: Arc::new(Notify::new()),
        metrics: Arc::clone(&metrics),
        readiness: readiness.clone(),
    };
    let caches = Arc::new(Caches::default());
    let (counted, by) = (Arc::clone(&caches), settings.clone());
    metrics.count_phases(move || {
        let now = Utc::now();
        counted.ephemerons.each().map(|one| Phase::of(&one, by.end_of(&one), now)).collect::<Vec<_>>()
    });
    caches.watch(&watching, &settings, &gateway_api, &listeners, &mut tasks);
    let (routing_sender, routing) = watch::channel(None);
    tasks.spawn(choosing::keep_choosing(
        settings.clone(),
        Arc::clone(&caches),
        listeners.clone(),
        routing_sender,
    ));
    let keeper = Arc::new(Keeper::new(settings.expiry, clock));
    tasks.spawn(holding::keep(Arc::clone(&keeper), client.clone(), Arc::clone(&caches), listeners.clone()));

    let presets = Presets::open(&settings.presets, &settings.policy, &caches, &listeners)?;
    let context = Arc::new(Context {
        settings,
        presets,
        teller: Teller::new(client.clone()),
        client,
        caches: Arc::clone(&caches),
        routing,
        prober: Prober::new(listeners),
        complaints: Complaints::default(),
        mending: Mending::default(),
        pacing: Pacing::default(),
        lives: Lives::new(Arc::clone(&metrics)),
        keeper,
        metrics,
        failures: Mutex::default(),
        now: Box::new(Utc::now),
    });
    tasks.spawn(tell_ends(Arc::clone(&context), ends));
    if unless(shutdown.clone(), ready(&context)).await.is_some() {
        tracing::info!(
            ephemerons = context.caches.ephemerons.names().len(),
            domain = %context.settings.domain,
            namespace = context.settings.namespace,
            "ready"
        );
        readiness.started();
        // The tasks come back along with what has happened: they go on while reconciles are finished.
        let (ended, end) = oneshot::channel();
        let stop = async move {
            let defect = unless(shutdown, broken(&mut tasks)).await;
            drop(ended.send((tasks, defect)));
        };
        work(context, queue, stop).await;
        if let Ok((_, Some(defect))) = end.await {
            return Err(RunError::Defect(defect));
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// Returns when a task has ended by a panic, and only then.
async fn broken(tasks: &mut JoinSet<()>) -> JoinError {
    loop {
        match tasks.join_next().await {
            Some(Err(error)) => return error,
            Some(Ok(())) => {}
            None => std::future::pending().await,
        }
    }
}

/// What the future gives, unless the shutdown comes first.
async fn unless<T>(shutdown: impl Future<Output = ()>, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        () = shutdown => None,
        output = future => Some(output),
    }
}

/// Waits for the API server; tells whether it serves the Gateway API.
async fn reach(client: &Client) -> bool {
    let mut pause = FIRST_RETRY;
    let mut told = String::new();
    loop {
        let error = match time::timeout(TIMEOUT, gateway_api::is_served(client)).await {
            Ok(Ok(served)) => return served,
            Ok(Err(error)) => root_cause(&error),
            Err(_) => format!("no answer within {} s", TIMEOUT.as_secs()),
        };
        if error != told {
            tracing::warn!(
                "cannot reach the API server: {error}; trying again. Is the kubeconfig (KUBECONFIG) right?"
            );
            told = error;
        }
        time::sleep(pause).await;
        pause = Duration::from_secs(10).min(pause * 2);
    }
}

async fn ready(context: &Context) {
    context.caches.synced().await;
    // An error means that the chooser, and the controller with it, is gone.
    let _ = context.routing.clone().wait_for(Option::is_some).await;
}

/// Tells the end of every Ephemeron that is seen to be gone.
async fn tell_ends(context: Arc<Context>, mut ends: mpsc::UnboundedReceiver<Arc<Ephemeron>>) {
    while let Some(ephemeron) = ends.recv().await {
        let end = context.settings.end_of(&ephemeron);
        context.lives.gone(&ephemeron, end, (context.now)());
    }
}

/// Takes names from the queue and reconciles what bears them, until the shutdown.
async fn work(
    context: Arc<Context>,
    queue: mpsc::UnboundedReceiver<String>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let mut known = Writer::<Key>::new(());
    // The applier waits for a complete list; the caches have theirs already.
    known.apply_watcher_event(&Event::Init);
    known.apply_watcher_event(&Event::InitDone);
    let store = known.as_reader();
    let caches = Arc::clone(&context.caches);
    let queue = stream::unfold(queue, |mut queue| async { Some((queue.recv().await?, queue)) })
        .map(move |name| {
            let key = key(&name);
            let reference = ObjectRef::from_obj(&key);
            known.apply_watcher_event(&match caches.ephemerons.uid(&name) {
                Some(_) => Event::Apply(key),
                None => Event::Delete(key),
            });
            Ok::<_, std::convert::Infallible>(controller::ReconcileRequest::from(reference))
        })
        .take_until(shutdown);
    let config = controller::Config::default().concurrency(CONCURRENCY);
    applier(bounded, retry, Arc::clone(&context), store, queue.boxed(), config)
        .for_each(|end| {
            if let Err(controller::Error::ObjectNotFound(gone)) = end {
                context.forget(&gone.name);
            }
            std::future::ready(())
        })
        .await;
}

fn key(name: &str) -> Key {
    kube::core::ObjectMeta { name: Some(name.into()), ..Default::default() }.into_response_partial()
}

/// A reconcile on a task of its own, so that all cores are used and a panic stays within, and with
/// a limit to its time.
#[expect(clippy::needless_pass_by_value, reason = "the signature is the applier's")]
fn bounded(
    key: Arc<Key>,
    context: Arc<Context>,
) -> impl Future<Output = Result<Action, Error>> + Send + Unpin + 'static {
    let name = key.metadata.name.clone().unwrap_or_default();
    let (began, metrics) = (time::Instant::now(), Arc::clone(&context.metrics));
    tokio::spawn(async move {
        let limit = context.time_for(&name);
        let action = time::timeout(limit, Box::pin(reconcile(&name, &context)))
            .await
            .map_err(|_| Error::Timeout(limit.as_secs()))??;
        Ok(action)
    })
    .map(move |end| {
        let end = end.map_err(Error::Defect).flatten();
        match &end {
            Ok(_) => metrics.reconciled(began.elapsed()),
            Err(error) => metrics.reconcile_failed(error.failure(), began.elapsed()),
        }
        end
    })
}

/// What happens after a failure: the next attempt comes later each time, but never after the
/// Ephemeron's end.
#[expect(clippy::needless_pass_by_value, reason = "the signature is the applier's")]
fn retry(key: Arc<Key>, error: &Error, context: Arc<Context>) -> Action {
    let name = key.metadata.name.as_deref().unwrap_or_default();
    let pause = context.failed(name);
    tracing::warn!(ephemeron = name, error = %chain(error), retry_in = ?pause, "reconcile failed");
    let Some(ephemeron) = context.caches.ephemerons.get(name) else { return Action::requeue(pause) };
    let left = context.settings.end_of(&ephemeron).map(|end| (end - (context.now)()).to_std());
    Action::requeue(match left {
        None => pause,
        Some(Ok(left)) => pause.min(round_up(left)),
        Some(Err(_)) => pause.min(error.longest_late_retry()),
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

impl Context {
    /// The time for one reconcile: what hangs before an Ephemeron's end does not outlast it.
    fn time_for(&self, name: &str) -> Duration {
        let end = self.caches.ephemerons.get(name).and_then(|one| self.settings.end_of(&one));
        let left = end.and_then(|end| (end - (self.now)()).to_std().ok());
        left.map_or(TIMEOUT, |left| round_up(left).clamp(SHORTEST_TIMEOUT, TIMEOUT))
    }

    /// Counts a failure; returns how long to wait.
    fn failed(&self, name: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(name.into()).or_default();
        let pause = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(*count)).min(LONGEST_RETRY);
        *count = count.saturating_add(1);
        pause
    }

    fn succeeded(&self, name: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Drops what is remembered of an Ephemeron that is gone.
    fn forget(&self, name: &str) {
        self.succeeded(name);
        self.prober.forget(name);
        self.complaints.forget(name);
        self.pacing.forget(name);
    }
}

/// Whole milliseconds, rounded up: a timer that fires early would find nothing to do.
fn round_up(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}
