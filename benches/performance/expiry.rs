//! Many services that end in the same second: how late their deletion is asked for, and when the
//! last Pod and route are gone, beside a script that deletes the same objects itself.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use ephemeron::resource::Ephemeron;
use kube::api::{Patch, PatchParams};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    World,
    acceptor::{self, Acceptor},
    audit::Request,
    crowd, fake_nodes,
    floor::Documents,
    report::{Figure, Goal, Row},
    spread::Spread,
};

/// How many, and how often.
const CROWDS: [(usize, u32); 2] = [(100, 3), (1000, 1)];
/// From the last extension to the end that all then have; as much again for every 100 of them.
const AHEAD: TimeDelta = TimeDelta::seconds(2);
/// The largest crowd that the goal speaks of, and what it says, in ms.
const GOAL: (usize, f64) = (100, 100.0);

/// One crowd that has ended; all times in ms after the end.
#[derive(Serialize)]
struct Run {
    /// When each deletion was received by the API server.
    late: Vec<f64>,
    spread: Spread,
    last_pod: f64,
    last_route: f64,
}

/// Measures floor and project in turn, for each size.
pub async fn measure(world: &World) -> Figure {
    let cluster = &world.cluster;
    fake_nodes::open(cluster).await;
    let acceptor = Acceptor::start(cluster).await;
    let env = [("EPHEMERON_GATEWAY", acceptor::GATEWAY), ("EPHEMERON_PROBE_ADDRESS", "off")];
    let controller = world.controller(acceptor::DOMAIN, &env).await;
    let documents = Documents::learn(cluster).await;
    let (mut rows, mut details, mut data) = (Vec::new(), Vec::new(), Vec::new());
    for (count, pairs) in CROWDS {
        let count = world.size(count);
        let (mut floor, mut project) = (Vec::new(), Vec::new());
        for _ in 0..pairs {
            floor.push(run_floor(world, count, &documents).await);
            project.push(run_project(world, count).await);
        }
        rows.extend(compare(count, &floor, &project));
        details.push(format!("{count} in the same second, in ms after it:"));
        details.extend(tell("floor", &floor).chain(tell("project", &project)));
        data.push(json!({ "count": count, "floor": floor, "project": project }));
    }
    controller.stop().await;
    acceptor.stop(cluster).await;
    fake_nodes::close(cluster).await;
    Figure { rows, details, data: Value::Array(data) }
}

/// A whole second, far enough away to have everything ready for it.
fn end_for(count: usize) -> DateTime<Utc> {
    let ahead = AHEAD * i32::try_from(count / 100 + 1).expect("a small number");
    (Utc::now() + ahead).duration_round_up(TimeDelta::seconds(1)).expect("a time")
}

async fn run_project(world: &World, count: usize) -> Run {
    let cluster = &world.cluster;
    let names = crowd::names(cluster, "end", count);
    crowd::project(cluster, &names, "2h").await;
    let (end, place) = (end_for(count), world.audit.end());
    crowd::each(&names, |name| async move {
        let patch = Patch::Merge(json!({ "spec": { "expirationTime": end } }));
        let written: kube::Result<Ephemeron> =
            cluster.ephemerons().patch(&name, &PatchParams::default(), &patch).await;
        written.expect("its end is set");
    })
    .await;
    assert!(Utc::now() < end, "setting {count} ends took too long");
    sleep_until(end).await;
    finish(world, &names, place, end, "delete ephemerons", Request::is_controllers).await
}

async fn run_floor(world: &World, count: usize, documents: &Documents) -> Run {
    let cluster = &world.cluster;
    let names = crowd::names(cluster, "end", count);
    crowd::floor(cluster, &names, documents).await;
    let (end, place) = (end_for(1), world.audit.end());
    sleep_until(end).await;
    crowd::each(&names, |name| async move { documents.delete(cluster, &name).await }).await;
    finish(world, &names, place, end, "delete services", |_| true).await
}

async fn sleep_until(end: DateTime<Utc>) {
    // Timers have whole milliseconds, and one that is early would be early in all that follows.
    let left = (end - Utc::now()).to_std().unwrap_or_default() + std::time::Duration::from_millis(1);
    tokio::time::sleep(left).await;
}

/// Waits until all is gone, and reads from the audit log when that was.
async fn finish(
    world: &World,
    names: &[String],
    place: crate::audit::Place,
    end: DateTime<Utc>,
    deletion: &str,
    by: fn(&Request) -> bool,
) -> Run {
    crate::cluster::until("all have ended", || async {
        let left = crowd::left::<k8s_openapi::api::core::v1::Pod>(
            &world.cluster,
            &names.iter().map(String::as_str).collect(),
        )
        .await;
        left.is_empty().then_some(())
    })
    .await;
    let requests = world.audit.since(place).await;
    let wanted: HashSet<&str> = names.iter().map(String::as_str).collect();
    let ms = |time: DateTime<Utc>| (time - end).as_seconds_f64() * 1000.0;
    let last = |what: &str| {
        let of = |request: &&Request| request.what() == what && wanted.contains(request.name());
        requests.iter().filter(of).map(|request| ms(request.answered)).fold(0.0, f64::max)
    };
    let mut first = HashMap::<&str, f64>::new();
    for request in requests.iter().filter(|request| request.what() == deletion && by(request)) {
        if wanted.contains(request.name()) {
            first.entry(request.name()).or_insert(ms(request.received));
        }
    }
    assert_eq!(first.len(), names.len(), "some were not deleted by whom they should have been");
    let mut late: Vec<f64> = first.into_values().collect();
    late.sort_by(f64::total_cmp);
    let (last_pod, last_route) = (last("delete pods"), last("delete httproutes"));
    crowd::remove(&world.cluster, names).await;
    let run = Run { spread: Spread::of(late.iter().copied()), late, last_pod, last_route };
    eprintln!("  {} ended: P99 {:.0} ms late ({deletion})", names.len(), run.spread.p99);
    run
}

fn compare(count: usize, floor: &[Run], project: &[Run]) -> [Row; 4] {
    let median = |runs: &[Run], of: fn(&Run) -> f64| Spread::of(runs.iter().map(of)).median;
    let row = |what: &str, of: fn(&Run) -> f64, goal| {
        let what = format!("{count} ending at once: {what}");
        Row::beside(what, median(project, of), median(floor, of), "ms", goal)
    };
    let goal = if count <= GOAL.0 { Goal::AtMost(GOAL.1) } else { Goal::None };
    [
        row("deletion asked for, P50", |run| run.spread.median, Goal::None),
        row("deletion asked for, P99", |run| run.spread.p99, goal),
        row("last Pod deleted", |run| run.last_pod, Goal::None),
        row("last route deleted", |run| run.last_route, Goal::None),
    ]
}

fn tell<'a>(side: &'a str, runs: &'a [Run]) -> impl Iterator<Item = String> + 'a {
    runs.iter().map(move |Run { spread, last_pod, last_route, .. }| {
        format!(
            "  {side}: deletion asked for {:.0} to {:.0}, P50 {:.0}, P99 {:.0}; last Pod {last_pod:.0}, last route {last_route:.0}",
            spread.min, spread.max, spread.median, spread.p99
        )
    })
}
