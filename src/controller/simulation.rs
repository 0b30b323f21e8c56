//! The race between extension and expiry, explored in process: the real loop, on a virtual clock,
//! against a simulated API server that is slow, refuses, and loses answers, while users extend,
//! shorten and delete at random moments around the end, and the controller's clock is set wrong and
//! right again.
//!
//! `SEED=7 cargo test --lib simulation` repeats one run; `SEEDS=20000` explores more of them.

mod dice;
mod server;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use kube::Client;
use prometheus_client::registry::Registry;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{self, Instant},
};

use super::{
    Context, Mending, Pacing,
    caches::{Caches, Listeners},
    clock::{Clock, Verdict},
    complaints::Complaints,
    fixtures,
    holding::{self, Keeper},
    life::Lives,
    metrics::Metrics,
    presets::Presets,
    probe::Prober,
    routing::{Parent, Routing},
    settings::Expiry,
    telling::Teller,
    work::work,
};
use crate::health::Readiness;
use dice::Dice;
use server::Server;

/// Runs without `SEEDS` in the environment.
const SEEDS: u64 = 300;
/// Users act and faults happen until this moment; afterwards everything must come to rest.
const RESTLESS: Duration = Duration::from_secs(90);
const CALM: Duration = Duration::from_secs(200);
/// In the last part of the calm nobody may ask for anything any more.
const QUIET: Duration = Duration::from_mins(1);

fn start_of_time() -> DateTime<Utc> {
    DateTime::from_timestamp(1_893_456_000, 0).expect("a time")
}

#[test]
fn extensions_and_ends_never_harm_each_other() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let mut sum = Sum::default();
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        match runtime.expect("a runtime").block_on(run(seed)) {
            Ok(seen) => sum.add(&seen),
            Err(problem) => panic!("SEED={seed}: {problem}"),
        }
    }
    println!("{sum:?}");
    // What never happens is not explored.
    if std::env::var_os("SEED").is_none() {
        let Sum { expired, extended, conflicts, lost, deleted, wrong_clocks, pods } = sum;
        let seen = [expired, extended, conflicts, lost, deleted, wrong_clocks, pods];
        assert!(seen.iter().all(|times| *times > 0), "{seen:?}");
    }
}

/// What has happened, so that it is known to have been explored.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// Ephemerons that the controller has deleted.
    pub expired: u64,
    /// Extensions that users got through.
    pub extended: u64,
    /// Deletions at the end that came too late for an extension.
    pub conflicts: u64,
    /// Answers that never arrived.
    pub lost: u64,
    /// Ephemerons that users have deleted.
    pub deleted: u64,
    /// How often the controller's clock was wrong.
    pub wrong_clocks: u64,
    /// Pods that were made.
    pub pods: u64,
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.expired += other.expired;
        self.extended += other.extended;
        self.conflicts += other.conflicts;
        self.lost += other.lost;
        self.deleted += other.deleted;
        self.wrong_clocks += other.wrong_clocks;
        self.pods += other.pods;
    }
}

/// One run; what it has seen, or what went wrong.
async fn run(seed: u64) -> Result<Sum, String> {
    let began = Instant::now();
    let now = move || start_of_time() + TimeDelta::from_std(began.elapsed()).unwrap_or_default();
    let server = Server::new(Dice::new(seed), now);
    let mut dice = Dice::new(seed ^ 0x5eed);
    let clock = Arc::new(Clock::right());
    let skew = Arc::new(AtomicI64::new(0));
    let off = Arc::clone(&skew);
    let told = move || now() + TimeDelta::seconds(off.load(Ordering::Relaxed));
    let (context, queue, caches, listeners) = controller(&server, told, &clock);
    let keeper = Arc::clone(&context.keeper);
    let keeping =
        tokio::spawn(holding::keep(keeper, context.client.clone(), Arc::clone(&caches), listeners.clone()));
    let setting = tokio::spawn(set_clock(skew, Arc::clone(&clock), Dice::new(dice.next()), server.clone()));
    let (stop, stopped) = oneshot::channel::<()>();
    let loops = tokio::spawn(async move {
        let mut queue = queue;
        work(context, &mut queue, async { drop(stopped.await) }).await;
    });
    let watches = server.watch(&caches, &listeners);
    let world = server.live();

    let users: Vec<_> = (0..=dice.below(3))
        .map(|number| tokio::spawn(user(server.clone(), format!("e{number}"), Dice::new(dice.next()))))
        .collect();
    for user in users {
        user.await.map_err(|error| error.to_string())?;
    }
    setting.await.map_err(|error| error.to_string())?;
    time::sleep_until(began + RESTLESS).await;
    server.calm();
    time::sleep_until(began + RESTLESS + CALM - QUIET).await;
    let asked = server.asked();
    time::sleep(QUIET).await;
    let asked = server.asked() - asked;

    drop(stop);
    let _ = time::timeout(Duration::from_mins(1), loops).await;
    watches.abort();
    world.abort();
    keeping.abort();
    let mut problems = server.problems();
    let (overdue, alive) = server.alive(now());
    problems.extend(overdue.into_iter().map(|name| format!("{name} lives on past its end")));
    if asked > 0 {
        problems.push(format!("{asked} requests while all was quiet, with {alive} alive"));
    }
    match problems.first() {
        None => Ok(server.sum()),
        Some(first) => Err(format!("{first} (and {} more)", problems.len() - 1)),
    }
}

type Queue = mpsc::UnboundedReceiver<String>;

/// The controller's own parts, as `run` puts them together, but for watches and the choice of routing.
fn controller(
    server: &Server,
    now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static,
    clock: &Arc<Clock>,
) -> (Arc<Context>, Queue, Arc<Caches>, Listeners) {
    let client = Client::new(server.clone(), "ephemerons");
    let metrics = Metrics::register(&mut Registry::default());
    let (names, queue) = mpsc::unbounded_channel();
    let (gone, _) = mpsc::unbounded_channel();
    let listeners = Listeners {
        names,
        gone,
        routing: Arc::new(Notify::new()),
        metrics: Arc::clone(&metrics),
        readiness: Readiness::starting("a simulation"),
    };
    let parent = Parent {
        namespace: "gateways".into(),
        name: "main".into(),
        listener: "http".into(),
        port: 80,
        tls: false,
        address: None,
        controller: None,
        gone: false,
    };
    let caches = Arc::new(Caches::default());
    let context = Context {
        settings: fixtures::settings(),
        teller: Teller::new(client.clone()),
        client,
        caches: Arc::clone(&caches),
        // A receiver keeps its last value when the sender is gone.
        routing: watch::channel(Some(Arc::new(Routing::Gateway(parent)))).1,
        presets: Presets::default(),
        prober: Prober::new(listeners.clone()),
        complaints: Complaints::default(),
        mending: Mending::default(),
        pacing: Pacing::default(),
        lives: Lives::new(Arc::clone(&metrics)),
        keeper: Arc::new(Keeper::new(Expiry::Delete, Arc::clone(clock))),
        metrics,
        failures: Mutex::default(),
        under_way: Arc::default(),
        now: Box::new(now),
    };
    (Arc::new(context), queue, caches, listeners)
}

/// In some runs: sets the controller's clock wrong for a while, once or twice. Both are seen at once, as
/// they are when a clock is read.
async fn set_clock(skew: Arc<AtomicI64>, clock: Arc<Clock>, mut dice: Dice, server: Server) {
    for _ in 0..dice.below(3) {
        time::sleep(dice.milliseconds(25_000)).await;
        let seconds = i64::try_from(dice.below(7_200)).unwrap_or(0) - 3_600;
        skew.store(seconds, Ordering::Relaxed);
        clock.is_found(Verdict::Unknown);
        time::sleep(dice.milliseconds(2_000)).await;
        if seconds.abs() > 30 {
            clock.is_found(Verdict::Wrong(TimeDelta::seconds(seconds)));
            server.clock_was_wrong();
        }
        time::sleep(dice.milliseconds(10_000)).await;
        skew.store(0, Ordering::Relaxed);
        clock.is_found(Verdict::Right);
    }
}

/// Creates an Ephemeron, and puts its end off or forward, or deletes it, mostly close to its end; some
/// come back under the same name.
async fn user(server: Server, name: String, mut dice: Dice) {
    for _ in 0..=dice.below(2) {
        time::sleep(dice.milliseconds(3_000)).await;
        let lifetime = 2 + dice.below(10);
        server.create_ephemeron(&name, lifetime);
        for _ in 0..dice.below(4) {
            let Some(end) = server.end_of(&name) else { break };
            let left = (end - server.now()).to_std().unwrap_or_default();
            // Within a second of the end, on either side of it, or at any time before.
            let wait = match dice.below(4) {
                0 => left.mul_f64(dice.fraction()),
                _ => (left + dice.milliseconds(1_000)).saturating_sub(Duration::from_millis(600)),
            };
            time::sleep(wait).await;
            match dice.below(8) {
                0 => server.delete_ephemeron(&name),
                1 => server.set_end(&name, server.now() + TimeDelta::milliseconds(300)),
                _ => server.set_end(
                    &name,
                    server.now() + TimeDelta::seconds(i64::try_from(dice.below(9)).unwrap_or(0) + 1),
                ),
            }
        }
        time::sleep(dice.milliseconds(8_000)).await;
        if dice.below(3) == 0 {
            server.delete_ephemeron(&name);
        }
        // The name is free again when the last one is gone.
        let deadline = Instant::now() + Duration::from_secs(20);
        while server.end_of(&name).is_some() && Instant::now() < deadline {
            time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Objects by name, of one kind.
type Objects = BTreeMap<String, serde_json::Value>;
