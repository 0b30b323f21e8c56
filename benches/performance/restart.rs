//! A restart with many living: when the controller has caught up, beside the bare lists of the same
//! objects.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use ephemeron::resource::{MANAGED_BY_LABEL, MANAGER};
use gateway_api::httproutes::HttpRoute;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{Pod, Service},
        discovery::v1::EndpointSlice,
        networking::v1::Ingress,
    },
};
use kube::{Api, Resource, api::ListParams};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time;

use crate::{
    World, acceptor,
    audit::{Request, tally},
    lives,
    process::Usage,
    report::{Figure, Goal, Row},
    spread::Spread,
};

const RESTARTS: usize = 3;
const RATIO: f64 = 2.0;
/// The most writes that a restart may cause.
const WRITES: f64 = 0.0;
/// A process that uses less than a tenth of a core for this long has nothing to do.
const CALM: Duration = Duration::from_secs(1);
const SAMPLE: Duration = Duration::from_millis(50);

/// One restart; all times in seconds after the start.
#[derive(Serialize)]
struct Run {
    lists: f64,
    ready: f64,
    caught_up: f64,
    cpu: f64,
    memory: f64,
    peak: f64,
    writes: std::collections::BTreeMap<String, usize>,
}

/// Lists and restarts in turn, with `held` Ephemerons living.
pub async fn measure(world: &World, env: &[(&str, &str)], held: usize) -> Figure {
    let mut runs = Vec::new();
    for _ in 0..RESTARTS {
        let lists = bare_lists(world).await;
        let (place, began, clock) = (world.audit.end(), Utc::now(), Instant::now());
        let controller = world.controller(acceptor::DOMAIN, env).await;
        let pid = controller.id().expect("it runs");
        let ready = (said_ready(&controller.said()) - began).as_seconds_f64();
        let caught_up = calm(pid).await.duration_since(clock).as_secs_f64().max(ready);
        let usage = Usage::of(pid);
        let requests = world.audit.since(place).await;
        let reading = ["get", "list", "watch"];
        let is_write =
            |request: &&Request| request.is_controllers() && !reading.contains(&request.verb.as_str());
        let writes = tally(requests.iter().filter(is_write));
        controller.stop().await;
        eprintln!("  lists {lists:.2} s; restart: ready {ready:.2} s, caught up {caught_up:.2} s");
        let Usage { cpu, memory, peak } = usage;
        runs.push(Run { lists, ready, caught_up, cpu, memory, peak, writes });
    }
    let median = |of: fn(&Run) -> f64| Spread::of(runs.iter().map(of)).median;
    let most = runs.iter().map(|run| run.writes.values().sum()).max().unwrap_or_default();
    let lists = median(|run| run.lists);
    let named = |what: &str| format!("restart with {held}: {what}");
    Figure {
        rows: vec![
            Row::ratio(named("ready"), median(|run| run.ready), lists, "s", Goal::None),
            Row::ratio(named("caught up"), median(|run| run.caught_up), lists, "s", Goal::AtMost(RATIO)),
            Row::value(named("writes"), lives::as_f64(most), "", Goal::AtMost(WRITES)),
            Row::value(named("memory then"), median(|run| run.memory), "MB", Goal::None),
            Row::value(named("most memory on the way"), median(|run| run.peak), "MB", Goal::None),
        ],
        details: runs.iter().map(tell).collect(),
        data: json!(runs),
    }
}

fn tell(run: &Run) -> String {
    let Run { lists, ready, caught_up, cpu, memory, peak, writes } = run;
    format!(
        "restart: lists {lists:.2} s; ready {ready:.2} s, caught up {caught_up:.2} s with {cpu:.2} s of CPU; \
         memory {memory:.0} MB, at most {peak:.0} MB; writes {}",
        json!(writes)
    )
}

/// The time of the line in which the controller says that it is ready.
fn said_ready(said: &str) -> DateTime<Utc> {
    let line = said.lines().find(|line| line.contains("\"ready\"")).expect("it is ready");
    let line: Value = serde_json::from_str(line).expect("its log is JSON where it is no terminal's");
    let time = line["timestamp"].as_str().expect("each line has its time");
    DateTime::parse_from_rfc3339(time).expect("RFC 3339").to_utc()
}

/// Waits until the process has nothing to do; returns since when.
pub async fn calm(pid: u32) -> Instant {
    let (mut since, mut before) = (Instant::now(), Usage::of(pid).cpu);
    let waiting = async {
        while since.elapsed() < CALM {
            time::sleep(SAMPLE).await;
            let now = Usage::of(pid).cpu;
            // The kernel counts in 10 ms: one tick in 50 ms may be chance, two are work.
            if now - before > 0.015 {
                since = Instant::now();
            }
            before = now;
        }
    };
    time::timeout(Duration::from_mins(5), waiting).await.expect("the controller comes to rest");
    since
}

/// How long it takes to list and read what the controller watches, all kinds at once.
async fn bare_lists(world: &World) -> f64 {
    let client = || world.cluster.client.clone();
    let (ours, foreign) = (format!("{MANAGED_BY_LABEL}={MANAGER}"), format!("{MANAGED_BY_LABEL}!={MANAGER}"));
    let began = Instant::now();
    let labels = ListParams::default().labels(lives::LABEL);
    let ephemerons = tokio::spawn({
        let api = world.cluster.ephemerons();
        async move { api.list(&labels).await.expect("a list").items.len() }
    });
    let (pods, services, routes, ingresses, slices) = (
        tokio::spawn(count::<Pod>(Api::default_namespaced(client()), ours.clone())),
        tokio::spawn(count::<Service>(Api::default_namespaced(client()), ours.clone())),
        tokio::spawn(count::<HttpRoute>(Api::default_namespaced(client()), ours.clone())),
        tokio::spawn(count::<Ingress>(Api::default_namespaced(client()), ours.clone())),
        tokio::spawn(count::<EndpointSlice>(Api::default_namespaced(client()), ours)),
    );
    // Whose hosts might clash.
    let (foreign_routes, foreign_ingresses) = (
        tokio::spawn(count::<HttpRoute>(Api::all(client()), foreign.clone())),
        tokio::spawn(count::<Ingress>(Api::all(client()), foreign)),
    );
    let counts = tokio::join!(
        ephemerons,
        pods,
        services,
        routes,
        ingresses,
        slices,
        foreign_routes,
        foreign_ingresses
    );
    let seconds = began.elapsed().as_secs_f64();
    let (living, pods) = (counts.0.expect("a list"), counts.1.expect("a list"));
    assert_eq!(living, pods, "every Ephemeron has a Pod");
    seconds
}

async fn count<K>(api: Api<K>, labels: String) -> usize
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    api.list(&ListParams::default().labels(&labels)).await.expect("a list").items.len()
}
