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
mod terms;
mod validate;
mod work;

use std::{
    collections::HashMap,
    future::Future,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use kube::{Client, client::ClientBuilder};
use tokio::{
    sync::{Notify, RwLock, mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
    time,
};

use apply::Mending;
use caches::{Caches, Listeners};
use clock::Clock;
use complaints::Complaints;
use holding::Keeper;
use life::Lives;
use metrics::{Metrics, Phase};
use pacing::Pacing;
use presets::Presets;
use probe::Prober;
use routing::Routing;
use settings::Settings;
use telling::Teller;
use work::{Error, round_up};

use crate::{
    client::{self, root_cause},
    health::Readiness,
    lease::{
        candidate::{self, Candidate},
        gate::{Gate, Hold},
    },
    resource::Ephemeron,
};

/// The longest that one request of the start is waited for.
const TIMEOUT: Duration = Duration::from_secs(30);
/// After a failure; doubled with each that follows it.
const FIRST_RETRY: Duration = Duration::from_millis(250);

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
    /// Every reconcile has a part of it: who has it all knows that none goes on.
    under_way: Arc<RwLock<()>>,
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
    /// There is no name for a candidate.
    #[error("the system has no random bytes for the name of a holder of the Lease")]
    Identity(#[source] io::Error),
    /// A part of it has ended.
    #[error("a part of the controller has ended by a defect: please report it with the lines before")]
    Defect(#[source] JoinError),
}

/// Runs the controller until `shutdown` resolves, and then until every reconcile that is under way
/// has ended. Watches and writes have connections of their own, so that neither waits for the other. Where
/// there is a lease, nothing is written but while it is held.
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
    let watching = Client::try_from(client::watching(config.clone()))?;
    let mut writing = config;
    // Retries are ours: hidden ones would hold a reconcile's place.
    writing.default_retry = false;
    let clock = Arc::new(Clock::default());
    let hold = Arc::new(if settings.lease.is_some() { Hold::default() } else { Hold::for_ever() });
    let candidate = match &settings.lease {
        None => None,
        Some(place) => Some(Candidate::new(
            candidate::identity().map_err(RunError::Identity)?,
            place.clone(),
            settings.lease_times,
            (watching.clone(), Client::try_from(writing.clone())?),
            Arc::clone(&hold),
            readiness.clone(),
        )),
    };
    let client = writer(writing, Arc::clone(&hold), Arc::clone(&clock))?;
    let shutdown = shutdown.shared();
    let mut tasks = JoinSet::new();

    let Some(served) = unless(shutdown.clone(), reach(&client, &readiness)).await else { return Ok(()) };
    let (gateway_api_sender, gateway_api) = watch::channel(served);
    tasks.spawn(gateway_api::await_served(watching.clone(), gateway_api_sender));

    let (names, mut queue) = mpsc::unbounded_channel();
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
        prober: Prober::new(listeners.clone()),
        complaints: Complaints::default(),
        mending: Mending::default(),
        pacing: Pacing::default(),
        lives: Lives::new(Arc::clone(&metrics)),
        keeper,
        metrics,
        failures: Mutex::default(),
        under_way: Arc::default(),
        now: Box::new(Utc::now),
    });
    tasks.spawn(tell_ends(Arc::clone(&context), hold, ends));
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
        terms::lead(&context, candidate, &mut queue, &listeners, stop.shared()).await;
        if let Ok((_, Some(defect))) = end.await {
            return Err(RunError::Defect(defect));
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// The client of all reconciles: nothing that it would write gets out but while the lease is held.
fn writer(config: kube::Config, hold: Arc<Hold>, clock: Arc<Clock>) -> kube::Result<Client> {
    let builder = ClientBuilder::try_from(config)?.with_layer(&Gate(hold));
    Ok(builder.with_layer(&clock::Listening(clock)).build())
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
async fn reach(client: &Client, readiness: &Readiness) -> bool {
    const SUBJECT: &str = "API server";
    let mut pause = FIRST_RETRY;
    let mut told = String::new();
    loop {
        let error = match time::timeout(TIMEOUT, gateway_api::is_served(client)).await {
            Ok(Ok(served)) => {
                readiness.has(SUBJECT);
                return served;
            }
            Ok(Err(error)) => root_cause(&error),
            Err(_) => format!("no answer within {} s", TIMEOUT.as_secs()),
        };
        if error != told {
            let remedy = "Is the kubeconfig (KUBECONFIG) right, and the cluster up?";
            readiness.lacks(SUBJECT, format!("it cannot be reached: {error}; trying again. {remedy}"));
            tracing::warn!("cannot reach the API server: {error}; trying again. {remedy}");
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

/// Tells the end of every Ephemeron that is seen to be gone; of several replicas only the leader does.
async fn tell_ends(
    context: Arc<Context>,
    hold: Arc<Hold>,
    mut ends: mpsc::UnboundedReceiver<Arc<Ephemeron>>,
) {
    while let Some(ephemeron) = ends.recv().await {
        if !hold.is_held() {
            continue;
        }
        let end = context.settings.end_of(&ephemeron);
        context.lives.gone(&ephemeron, end, (context.now)());
    }
}

#[cfg(test)]
mod tests {
    use kube::{Api, api::DeleteParams};

    use super::*;

    #[tokio::test]
    async fn what_a_reconcile_writes_is_behind_the_gate() {
        for (hold, wanted) in
            [(Hold::default(), "does not hold the lease"), (Hold::for_ever(), "Connection refused")]
        {
            // Nothing listens at port 1.
            let config = kube::Config::new("http://127.0.0.1:1".parse().expect("an address"));
            let client = writer(config, Arc::new(hold), Arc::default()).expect("a client");
            let ephemerons = Api::<Ephemeron>::all(client);
            let deleted = ephemerons.delete("any", &DeleteParams::default()).await;
            let why = root_cause(&deleted.expect_err("nobody answers"));
            assert!(why.contains(wanted), "{why}");
            let read = root_cause(&ephemerons.get("any").await.expect_err("nobody answers"));
            assert!(read.contains("Connection refused"), "{read}");
        }
    }
}
