//! Many services asked for at once: how soon they can be reached, beside a script that makes the same
//! objects itself.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    World,
    acceptor::{self, Acceptor},
    crowd, fake_nodes,
    floor::Documents,
    lives, process,
    report::{Figure, Goal, Row},
    spread::Spread,
};

/// How many, how often, and whether a real gateway serves them.
const CROWDS: [(usize, u32, bool); 2] = [(300, 3, true), (1000, 2, false)];
const THROUGHPUT: f64 = 0.8;
const SLOWEST: f64 = 2.0;

/// One crowd that came about.
#[derive(Serialize)]
struct Run {
    /// When each could be reached, in seconds after all were asked for.
    seconds: Vec<f64>,
    per_second: f64,
    spread: Spread,
    /// Processor time of each program for each of them, in ms.
    cpu: BTreeMap<String, f64>,
}

/// Measures floor and project in turn, for each size.
pub async fn measure(world: &World) -> Figure {
    fake_nodes::open(&world.cluster).await;
    let (mut rows, mut details, mut data) = (Vec::new(), Vec::new(), Vec::new());
    for (count, pairs, real) in CROWDS {
        let count = world.size(count);
        let (floor, project) = if real {
            pairs_of(world, count, pairs, lives::DOMAIN, "auto").await
        } else {
            let acceptor = Acceptor::start(&world.cluster).await;
            let both = pairs_of(world, count, pairs, acceptor::DOMAIN, acceptor::GATEWAY).await;
            acceptor.stop(&world.cluster).await;
            both
        };
        rows.extend(compare(count, &floor, &project));
        let gateway = if real { "Traefik" } else { "a bare acceptor of routes" };
        details.push(format!("{count} at once, {pairs} pairs, the gateway is {gateway}:"));
        details.extend(tell("floor", &floor));
        details.extend(tell("project", &project));
        data.push(json!({ "count": count, "gateway": gateway, "floor": floor, "project": project }));
    }
    fake_nodes::close(&world.cluster).await;
    Figure { rows, details, data: Value::Array(data) }
}

async fn pairs_of(
    world: &World,
    count: usize,
    pairs: u32,
    domain: &str,
    gateway: &str,
) -> (Vec<Run>, Vec<Run>) {
    let cluster = &world.cluster;
    let env = [("EPHEMERON_GATEWAY", gateway), ("EPHEMERON_PROBE_ADDRESS", "off")];
    let controller = world.controller(domain, &env).await;
    let pid = controller.id().expect("it runs");
    let documents = Documents::learn(cluster).await;
    let (mut floor, mut project) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        for is_floor in [pair % 2 == 0, pair % 2 == 1] {
            let names = crowd::names(cluster, "crowd", count);
            let before = process::all(cluster, pid);
            let mut seconds = if is_floor {
                crowd::floor(cluster, &names, &documents).await
            } else {
                crowd::project(cluster, &names, "2h").await
            };
            seconds.sort_by(f64::total_cmp);
            let spread = Spread::of(seconds.iter().copied());
            let cpu = used(&before, process::all(cluster, pid), count);
            let run = Run { per_second: lives::as_f64(count) / spread.max, seconds, spread, cpu };
            let side = if is_floor { "floor" } else { "project" };
            eprintln!("  {count} by the {side}: {:.1}/s, P99 {:.2} s", run.per_second, spread.p99);
            if is_floor { &mut floor } else { &mut project }.push(run);
            crowd::remove(cluster, &names).await;
        }
    }
    controller.stop().await;
    (floor, project)
}

fn used(
    before: &BTreeMap<String, f64>,
    mut after: BTreeMap<String, f64>,
    count: usize,
) -> BTreeMap<String, f64> {
    for (name, cpu) in &mut after {
        let seconds = *cpu - before.get(name).copied().unwrap_or_default();
        *cpu = (seconds * 1e6 / lives::as_f64(count)).round() / 1000.0;
    }
    after.retain(|_, cpu| *cpu > 0.0);
    after
}

fn compare(count: usize, floor: &[Run], project: &[Run]) -> [Row; 3] {
    let median = |runs: &[Run], of: fn(&Run) -> f64| Spread::of(runs.iter().map(of)).median;
    let row = |what: &str, unit: &str, of: fn(&Run) -> f64, goal| {
        Row::ratio(format!("{count} at once: {what}"), median(project, of), median(floor, of), unit, goal)
    };
    [
        row("to Available", "/s", |run| run.per_second, Goal::AtLeast(THROUGHPUT)),
        row("P50 after all were asked for", "s", |run| run.spread.median, Goal::None),
        row("P99 after all were asked for", "s", |run| run.spread.p99, Goal::AtMost(SLOWEST)),
    ]
}

fn tell<'a>(side: &'a str, runs: &'a [Run]) -> impl Iterator<Item = String> + 'a {
    runs.iter().map(move |run| {
        let Run { per_second, spread, cpu, .. } = run;
        format!(
            "  {side}: {per_second:.1}/s, P50 {:.2} s, P99 {:.2} s, last {:.2} s; CPU in ms for each: {}",
            spread.median,
            spread.p99,
            spread.max,
            json!(cpu)
        )
    })
}
