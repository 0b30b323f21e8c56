//! From creation to the first 200 through the public URL: an Ephemeron beside the bare objects.

use std::time::Instant;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use crate::{
    World,
    audit::Request,
    floor::Documents,
    lives, poll,
    report::{Figure, Goal, Row},
    spread::Spread,
};

/// Pairs that are not counted: caches fill, connections open.
const WARM_UP: u32 = 2;
const RATIO: f64 = 1.1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Floor,
    Project,
}

/// One creation, and what came of it.
struct Run {
    name: String,
    began: DateTime<Utc>,
    ended: DateTime<Utc>,
    seconds: f64,
}

/// Measures floor and project in turn; which of the two is first changes from pair to pair.
pub async fn measure(world: &World) -> Figure {
    let controller = world.controller(lives::DOMAIN, &[]).await;
    let documents = Documents::learn(&world.cluster).await;
    let place = world.audit.end();
    let (mut floor, mut project) = (Vec::new(), Vec::new());
    for pair in 0..WARM_UP + world.pairs {
        let mut sides = [Side::Floor, Side::Project];
        sides.rotate_left(usize::from(pair % 2 == 1));
        for side in sides {
            let run = run(world, &documents, side).await;
            eprintln!("  {side:?}: {:.3} s{}", run.seconds, if pair < WARM_UP { " (warm-up)" } else { "" });
            if pair >= WARM_UP {
                if side == Side::Floor { &mut floor } else { &mut project }.push(run);
            }
        }
    }
    let requests = world.audit.since(place).await;
    controller.stop().await;

    let spread = |runs: &[Run]| Spread::of(runs.iter().map(|run| run.seconds));
    let (of_floor, of_project) = (spread(&floor), spread(&project));
    let pairs =
        Spread::of(floor.iter().zip(&project).map(|(floor, project)| project.seconds / floor.seconds));
    let [floor_stages, project_stages] = [&floor, &project].map(|runs| stages(runs, &requests));
    let mut details = vec![
        format!("{} pairs; floor {}; project {}", world.pairs, of_floor.told(" s"), of_project.told(" s")),
        format!("ratio of each pair: median {:.2}, from {:.2} to {:.2}", pairs.median, pairs.min, pairs.max),
        "medians in ms after the creation was asked for, by the audit log:".into(),
        format!("  {:<34} {:>8} {:>8}", "", "floor", "project"),
    ];
    details.extend(floor_stages.iter().zip(&project_stages).map(|(floor, project)| {
        format!("  {:<34} {:>8} {:>8}", floor.what, milliseconds(floor.at), milliseconds(project.at))
    }));
    Figure {
        rows: vec![Row::ratio(
            "create -> first 200, median",
            of_project.median,
            of_floor.median,
            "s",
            Goal::AtMost(RATIO),
        )],
        details,
        data: json!({
            "floor": { "seconds": values(&floor), "spread": of_floor, "stages": floor_stages },
            "project": { "seconds": values(&project), "spread": of_project, "stages": project_stages },
            "pairs": pairs,
        }),
    }
}

/// Creates one, asks for its URL until it answers, and removes all of it again.
async fn run(world: &World, documents: &Documents, side: Side) -> Run {
    let cluster = &world.cluster;
    let name = cluster.name("first");
    let (host, ephemeron) = (lives::host(&name), lives::ephemeron(&name, "10m"));
    let create = async {
        match side {
            Side::Floor => documents.create(cluster, &name).await,
            Side::Project => lives::create(cluster, &ephemeron).await,
        }
    };
    let (began, clock) = (Utc::now(), Instant::now());
    let answered = async {
        poll::first_200(cluster.env("NODE_ADDRESS"), &host).await;
        clock.elapsed().as_secs_f64()
    };
    let ((), seconds) = tokio::join!(create, answered);
    let ended = Utc::now();
    match side {
        Side::Floor => documents.delete(cluster, &name).await,
        Side::Project => cluster.delete(&name).await,
    }
    lives::gone(cluster, &name).await;
    Run { name, began, ended, seconds }
}

/// Something that happened on the way, and when: the median in milliseconds.
#[derive(Serialize)]
struct Stage {
    what: &'static str,
    at: Option<f64>,
}

/// The last moment before the first 200 at which each of these was done.
fn stages(runs: &[Run], requests: &[Request]) -> Vec<Stage> {
    type Belongs = fn(&Request, &str) -> bool;
    let all: [(&'static str, Belongs); 6] = [
        ("the Ephemeron is written", |request, name| {
            request.names(name) && request.what() == "create ephemerons"
        }),
        ("Pod, Service and route are written", |request, name| {
            let what = request.what();
            request.names(name)
                && ["create pods", "create services", "create httproutes"].contains(&what.as_str())
        }),
        ("the Pod is bound to the node", |request, name| {
            request.names(name) && request.what() == "create pods/binding"
        }),
        ("the gateway has accepted the route", |request, name| {
            request.names(name) && request.what().ends_with(" httproutes/status")
        }),
        ("the Pod's status is Ready", |request, name| {
            request.names(name) && request.what() == "patch pods/status"
        }),
        ("the endpoint is published", |request, name| {
            request.names_offspring(name) && request.what().ends_with("e endpointslices")
        }),
    ];
    let at = |belongs: Belongs, run: &Run| {
        let before = |request: &&Request| request.answered <= run.ended && belongs(request, &run.name);
        let last = requests.iter().filter(before).map(|request| request.answered).max()?;
        Some((last - run.began).as_seconds_f64() * 1000.0)
    };
    let mut stages: Vec<Stage> = all
        .into_iter()
        .map(|(what, belongs)| {
            let moments: Vec<f64> = runs.iter().filter_map(|run| at(belongs, run)).collect();
            Stage { what, at: (!moments.is_empty()).then(|| Spread::of(moments).median) }
        })
        .collect();
    let total = Spread::of(runs.iter().map(|run| run.seconds * 1000.0)).median;
    stages.push(Stage { what: "the public URL answers with 200", at: Some(total) });
    stages
}

fn values(runs: &[Run]) -> Vec<f64> {
    runs.iter().map(|run| run.seconds).collect()
}

fn milliseconds(at: Option<f64>) -> String {
    at.map_or_else(|| "-".into(), |at| format!("{at:.0}"))
}
