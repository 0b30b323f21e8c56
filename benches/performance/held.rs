//! What it costs to hold many: memory and processor time of the controller on the way there and when
//! nothing happens; and then its restart.

use std::time::Duration;

use chrono::Utc;
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::{
    World,
    acceptor::{self, Acceptor},
    audit::{Request, tally},
    crowd, fake_nodes, lives,
    process::Usage,
    report::{Figure, Goal, Row},
    restart,
};

/// How many are held at each stop.
const STOPS: [usize; 2] = [1000, 10_000];
/// They come about in portions of this size, so that the plot has points.
const PORTION: usize = 1000;
/// How long the idle controller is looked at.
const IDLE: Duration = Duration::from_mins(1);

/// In MB, and in percent of a core.
const MEMORY: f64 = 150.0;
const WHILE_IDLE: f64 = 1.0;

/// The controller when it holds a number of Ephemerons.
#[derive(Clone, Copy, Serialize)]
struct Point {
    held: usize,
    usage: Usage,
}

/// Brings them about, looks at the controller, restarts it, and removes them.
pub async fn measure(world: &World) -> Figure {
    let cluster = &world.cluster;
    fake_nodes::open(cluster).await;
    let acceptor = Acceptor::start(cluster).await;
    let env = [("EPHEMERON_GATEWAY", acceptor::GATEWAY), ("EPHEMERON_PROBE_ADDRESS", "off")];
    let controller = world.controller(acceptor::DOMAIN, &env).await;
    let pid = controller.id().expect("it runs");
    let (mut names, mut points) = (Vec::new(), vec![Point { held: 0, usage: Usage::of(pid) }]);
    let (mut rows, mut idle) = (Vec::new(), Vec::new());
    for stop in STOPS.map(|stop| world.size(stop)) {
        while names.len() < stop {
            let portion = crowd::names(cluster, "held", world.size(PORTION).min(stop - names.len()));
            crowd::project(cluster, &portion, "6h").await;
            names.extend(portion);
            let point = Point { held: names.len(), usage: Usage::of(pid) };
            eprintln!("  {} held: {:.1} MB, CPU {:.1} s", point.held, point.usage.memory, point.usage.cpu);
            points.push(point);
        }
        let usage = Usage::of(pid);
        let goal = if stop == STOPS[1] { Goal::AtMost(MEMORY) } else { Goal::None };
        rows.push(Row::value(format!("{stop} held: memory of the controller"), usage.memory, "MB", goal));
        rows.push(Row::value(format!("{stop} held: most memory on the way"), usage.peak, "MB", goal));
        rows.push(Row::value(
            format!("{stop} held: CPU of the controller for all"),
            usage.cpu,
            "s",
            Goal::None,
        ));
        idle.push(look_at_idle(world, pid, &mut rows, stop).await);
    }
    let details = vec![
        format!("CPU per life brought about: {:.1} ms", per_life(&points)),
        format!("requests of the idle controller in {} s: {}", IDLE.as_secs(), json!(idle)),
    ];
    controller.stop().await;
    let restarts = restart::measure(world, &env, names.len()).await;
    crowd::remove(cluster, &names).await;
    acceptor.stop(cluster).await;
    fake_nodes::close(cluster).await;
    rows.extend(restarts.rows);
    Figure {
        rows,
        details: details.into_iter().chain(restarts.details).collect(),
        data: json!({ "points": points, "idle": idle, "restarts": restarts.data }),
    }
}

/// Processor time over a minute in which nothing is asked for, and what the controller asked for itself.
async fn look_at_idle(
    world: &World,
    pid: u32,
    rows: &mut Vec<Row>,
    held: usize,
) -> std::collections::BTreeMap<String, usize> {
    restart::calm(pid).await;
    let (place, from, until) = (world.audit.end(), Utc::now(), Instant::now() + IDLE);
    let before = Usage::of(pid);
    sleep_until(until).await;
    let percent = (Usage::of(pid).cpu - before.cpu) / IDLE.as_secs_f64() * 100.0;
    let what = format!("{held} held: CPU when idle, of a core");
    rows.push(Row::value(what, percent, "%", Goal::AtMost(WHILE_IDLE)));
    let requests = world.audit.since(place).await;
    let ours = |request: &&Request| request.is_controllers() && request.received >= from;
    tally(requests.iter().filter(ours))
}

fn per_life(points: &[Point]) -> f64 {
    let (first, last) = (points[0], points[points.len() - 1]);
    (last.usage.cpu - first.usage.cpu) * 1000.0 / lives::as_f64(last.held - first.held)
}
