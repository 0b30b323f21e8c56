//! Brings Ephemerons about, keeps them as they should be, and deletes them when their time is over.

mod apply;
mod cache;
mod caches;
pub mod check;
mod desired;
mod drift;
mod expire;
#[cfg(test)]
mod fixtures;
mod gateway_api;
mod insecure;
mod observe;
pub mod permissions;
mod probe;
mod publish;
#[cfg(test)]
mod requests;
pub mod routing;
pub mod settings;
mod status;
mod template;
mod trouble;
mod validate;

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{FutureExt as _, StreamExt as _, stream};
use kube::{
    Client,
    core::{PartialObjectMeta, PartialObjectMetaExt as _},
    runtime::{
        applier,
        controller::{self, Action},
        reflector::{ObjectRef, store::Writer},
        watcher::Event,
    },
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
    time,
};

use apply::{Applied, AppliedRoute, Child};
use caches::{Caches, Listeners};
use desired::desired;
use expire::expire;
use k8s_openapi::api::networking::v1::Ingress;
use observe::observe;
use probe::{Prober, Reachability, Target};
use publish::publish;
use routing::{Offer, Routing};
use settings::{ProbeChoice, Settings};
use status::{Outcome, Situation, status};
use validate::{Valid, validate};

use crate::resource::{Ephemeron, conditions};

/// Reconciles that run at once; each is bounded by [`TIMEOUT`].
const CONCURRENCY: u16 = 64;
const TIMEOUT: Duration = Duration::from_secs(30);
/// Timers are monotonic and the clock is not: nothing sleeps longer without looking at the clock.
const LONGEST_SLEEP: TimeDelta = TimeDelta::minutes(30);
/// After a failure; doubled with each that follows it.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_mins(1);
/// The longest pause between two attempts to delete what has expired.
const LONGEST_LATE_RETRY: Duration = Duration::from_secs(1);

/// What the queue holds: an Ephemeron's name. The Ephemeron itself is in the caches.
type Key = PartialObjectMeta<Ephemeron>;

/// Everything that a reconcile uses.
struct Context {
    settings: Settings,
    client: Client,
    caches: Arc<Caches>,
    routing: watch::Receiver<Option<Arc<Routing>>>,
    prober: Prober,
    /// Failures in a row, by name.
    failures: Mutex<HashMap<String, u32>>,
    now: fn() -> DateTime<Utc>,
}

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Apply(#[from] apply::ApplyError),
    #[error(transparent)]
    Publish(#[from] publish::PublishError),
    #[error(transparent)]
    Expire(#[from] expire::ExpireError),
    #[error("the API server did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("a defect of the controller: please report it with the lines before")]
    Defect(#[source] tokio::task::JoinError),
}

/// Runs the controller until `shutdown` resolves, and then until every reconcile that is under way
/// has ended. Watches and writes have connections of their own, so that neither waits for the other.
///
/// # Errors
///
/// The configuration does not make a client.
pub async fn run(
    settings: Settings,
    config: kube::Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> kube::Result<()> {
    let (mut watching, mut writing) = (config.clone(), config);
    // The API server sends a bookmark every minute: silence means a dead connection.
    watching.read_timeout = Some(Duration::from_secs(150));
    // Retries are ours: hidden ones would hold a reconcile's place.
    writing.default_retry = false;
    let (watching, client) = (Client::try_from(watching)?, Client::try_from(writing)?);
    let shutdown = shutdown.shared();
    let mut tasks = JoinSet::new();

    let Some(served) = unless(shutdown.clone(), reach(&client)).await else { return Ok(()) };
    let (gateway_api_sender, gateway_api) = watch::channel(served);
    tasks.spawn(gateway_api::await_served(watching.clone(), gateway_api_sender));

    let (names, queue) = mpsc::unbounded_channel();
    let listeners = Listeners { names, routing: Arc::new(Notify::new()) };
    let caches = Arc::new(Caches::default());
    caches.watch(&watching, &settings, &gateway_api, &listeners, &mut tasks);
    let (routing_sender, routing) = watch::channel(None);
    tasks.spawn(keep_choosing(settings.clone(), Arc::clone(&caches), listeners.clone(), routing_sender));

    let context = Arc::new(Context {
        settings,
        client,
        caches: Arc::clone(&caches),
        routing,
        prober: Prober::new(listeners),
        failures: Mutex::default(),
        now: Utc::now,
    });
    if unless(shutdown.clone(), ready(&context)).await.is_some() {
        tracing::info!(
            ephemerons = context.caches.ephemerons.names().len(),
            domain = %context.settings.domain,
            namespace = context.settings.namespace,
            "ready"
        );
        work(context, queue, shutdown).await;
    }
    tracing::info!("stopped");
    Ok(())
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
            Ok(Err(error)) => trouble::root_cause(&error),
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

/// Chooses the routing whenever what it is chosen from changes, and has every Ephemeron looked at
/// when the choice does.
async fn keep_choosing(
    settings: Settings,
    caches: Arc<Caches>,
    listeners: Listeners,
    routing: watch::Sender<Option<Arc<Routing>>>,
) {
    loop {
        caches.routing_synced().await;
        let (gateways, classes) = (caches.gateways.all(), caches.gateway_classes.all());
        let ingress_classes = caches.ingress_classes.all();
        let namespace = caches.namespaces.get(&settings.namespace);
        let offer = Offer {
            gateways: gateways.iter().map(AsRef::as_ref).collect(),
            classes: classes.iter().map(AsRef::as_ref).collect(),
            ingress_classes: ingress_classes.iter().map(AsRef::as_ref).collect(),
            namespace_labels: namespace.and_then(|one| one.metadata.labels.clone()).unwrap_or_default(),
        };
        let choice = routing::choose(&settings, &offer);
        let changed = routing.send_if_modified(|current| {
            let changed = current.as_deref() != Some(&choice);
            if changed {
                *current = Some(Arc::new(choice.clone()));
            }
            changed
        });
        if changed {
            match &choice {
                Routing::Unavailable(finding) => {
                    tracing::warn!("services cannot be routed: {}", finding.message);
                }
                choice => tracing::info!(route = ?choice.as_status(), "routing chosen"),
            }
            caches.ephemerons.names().into_iter().for_each(|name| listeners.name(name));
        }
        listeners.routing.notified().await;
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
            known.apply_watcher_event(&match caches.ephemerons.get(&name) {
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
    tokio::spawn(async move {
        let action =
            time::timeout(TIMEOUT, reconcile(&name, &context)).await.map_err(|_| Error::Timeout)??;
        Ok(action)
    })
    .map(|end| end.map_err(Error::Defect)?)
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
        Some(Err(_)) => pause.min(LONGEST_LATE_RETRY),
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
    }
}

/// Looks at one Ephemeron and does what is to be done.
async fn reconcile(name: &str, context: &Context) -> Result<Action, Error> {
    let Some(ephemeron) = context.caches.ephemerons.get(name) else { return Ok(Action::await_change()) };
    if ephemeron.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let now = (context.now)();
    let end = context.settings.end_of(&ephemeron);
    if let Some(end) = end.filter(|end| *end <= now) {
        return Ok(expire(&context.client, &context.caches, &ephemeron, end, now).await?);
    }
    let Some(routing) = context.routing.borrow().clone() else { return Ok(Action::requeue(FIRST_RETRY)) };
    let settled = match validate(&ephemeron, &context.settings) {
        Ok(valid) => bring_about(context, &valid, &routing).await?,
        Err(invalid) => {
            let situation =
                Situation { ephemeron: &ephemeron, routing: &routing, end, outcome: Err(&invalid) };
            let (status, _) = status(&situation, now);
            publish(&context.client, &context.caches, &ephemeron, status).await?;
            None
        }
    };
    let sooner = [settled, end.map(|end| end - (context.now)()), Some(LONGEST_SLEEP)];
    let sleep = sooner.into_iter().flatten().min().unwrap_or(LONGEST_SLEEP);
    Ok(Action::requeue(round_up(sleep.to_std().unwrap_or_default())))
}

/// Makes the children of a valid spec what they should be and writes the status; returns when to
/// look again if nothing happens before.
async fn bring_about(
    context: &Context,
    valid: &Valid<'_>,
    routing: &Routing,
) -> Result<Option<TimeDelta>, Error> {
    let Context { settings, client, caches, .. } = context;
    let ephemeron = valid.ephemeron;
    let observed = observe(caches, ephemeron.name());
    let applied =
        apply::apply(client, caches, ephemeron, desired(valid, routing, settings), &observed).await?;
    let reachability = reachability(context, valid, &applied, observed.endpoint_ready, routing);
    let outcome = Outcome {
        valid,
        applied: &applied,
        endpoint_ready: observed.endpoint_ready,
        reachability: reachability.as_ref(),
    };
    let end = settings.end_of(ephemeron);
    let situation = Situation { ephemeron, routing, end, outcome: Ok(outcome) };
    let (status, settles) = status(&situation, (context.now)());
    let is_available = conditions::is_true(&status.conditions, conditions::AVAILABLE);
    publish(client, caches, ephemeron, status).await?;
    if is_available {
        apply::prune(client, caches, ephemeron, routing, &observed).await?;
    }
    if applied.is_whole() {
        context.succeeded(ephemeron.name());
        return Ok(settles);
    }
    // What stands in the way may go without an event that we see.
    let again = TimeDelta::from_std(context.failed(ephemeron.name())).ok();
    Ok(settles.into_iter().chain(again).min())
}

/// What is known of the public URL; None where it need not be asked: there is no readiness probe,
/// something else is missing, or it has answered before. Only watches take availability away: a
/// service that is available causes no requests.
fn reachability(
    context: &Context,
    valid: &Valid<'_>,
    applied: &Applied,
    endpoint_ready: bool,
    routing: &Routing,
) -> Option<Reachability> {
    let name = valid.ephemeron.name();
    let previous = valid.ephemeron.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let target = if conditions::is_true(previous, conditions::AVAILABLE)
        || status::blocker(applied, endpoint_ready, routing).is_some()
    {
        None
    } else {
        target(&context.settings.probe, valid, applied, routing)
    };
    let Some(target) = target else {
        context.prober.forget(name);
        return None;
    };
    Some(context.prober.ask(name, target))
}

/// Whom to ask for the public URL; None where nobody is to be asked.
fn target(probe: &ProbeChoice, valid: &Valid<'_>, applied: &Applied, routing: &Routing) -> Option<Target> {
    let path = valid.service.readiness_probe.as_ref()?.path.clone();
    let Child::Ours(pod) = &applied.pod else { return None };
    let (published, listener, tls) = match (routing, &applied.route) {
        (Routing::Gateway(parent), _) => (parent.address.clone(), parent.port, parent.tls),
        (Routing::Ingress { .. }, Some(AppliedRoute::Ingress(Child::Ours(ingress)))) => {
            let tls = valid.service.tls_secret_name.is_some();
            (published_address(ingress), if tls { 443 } else { 80 }, tls)
        }
        _ => return None,
    };
    let (address, port) = match probe {
        ProbeChoice::Off => return None,
        ProbeChoice::Published => (published.unwrap_or_else(|| valid.host.clone()), listener),
        ProbeChoice::At { host, port } => (host.clone(), port.unwrap_or(listener)),
    };
    let pod = pod.metadata.uid.clone().unwrap_or_default();
    Some(Target { pod, host: valid.host.clone(), path, tls, address, port })
}

/// The address that an ingress controller has written into the Ingress; not all do.
fn published_address(ingress: &Ingress) -> Option<String> {
    let balancer = ingress.status.as_ref()?.load_balancer.as_ref()?;
    let first = balancer.ingress.as_ref()?.first()?;
    first.ip.clone().or_else(|| first.hostname.clone())
}

/// Whole milliseconds, rounded up: a timer that fires early would find nothing to do.
fn round_up(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}
