//! API-server requests of the controller: for a whole life, and for one that is merely lived.

use std::{collections::BTreeMap, time::Duration};

use chrono::Utc;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::{
    World,
    audit::{Request, tally},
    lives::{self, as_f64},
    preset,
    report::{Figure, Goal, Row},
    spread::Spread,
};

/// Lives that are counted: one that was unlucky would not show in one.
const LIVES: usize = 5;
/// Long enough to become available in on a busy machine, and to be idle for a while then.
const LIFETIME: &str = "30s";
/// How long the idle one is looked at.
const IDLE: Duration = Duration::from_mins(1);

const PER_LIFE: f64 = 10.0;
/// 3 creations, 2 status writes, the host annotation, 3 deletions.
const FLOOR: f64 = 9.0;
const PER_PRESET_LIFE: f64 = 11.0;
/// The same, and what must be there before the Pod: a Secret, and the record in the status.
const PRESET_FLOOR: f64 = 11.0;
const WHILE_IDLE: f64 = 0.0;

/// Counts the requests of some lives, while another Ephemeron only lives.
pub async fn measure(world: &World) -> Figure {
    let World { cluster, audit, .. } = world;
    let folder = preset::Folder::new(cluster);
    let controller = world.controller(lives::DOMAIN, &[("EPHEMERON_PRESETS", &folder.path())]).await;
    let place = audit.end();
    let idle = cluster.name("idle");
    lives::create(cluster, &lives::ephemeron(&idle, "1h")).await;
    cluster.available(&idle).await;
    let (idle_from, idle_end) = (Utc::now(), Instant::now() + IDLE);

    let names: Vec<String> = (0..LIVES).map(|_| cluster.name("life")).collect();
    let by_preset: Vec<String> = (0..LIVES).map(|_| cluster.name("preset-life")).collect();
    for name in &names {
        lives::create(cluster, &lives::ephemeron(name, LIFETIME)).await;
        cluster.available(name).await;
    }
    for name in &by_preset {
        lives::create(cluster, &preset::ephemeron(name, LIFETIME)).await;
        cluster.available(name).await;
    }
    for name in names.iter().chain(&by_preset) {
        lives::gone(cluster, name).await;
    }
    sleep_until(idle_end).await;
    let idle_until = Utc::now();
    let requests: Vec<Request> =
        audit.since(place).await.into_iter().filter(Request::is_controllers).collect();
    cluster.delete(&idle).await;
    lives::gone(cluster, &idle).await;
    controller.stop().await;

    let counted = |names: &[String]| -> Vec<BTreeMap<String, usize>> {
        names.iter().map(|name| tally(requests.iter().filter(|request| request.names(name)))).collect()
    };
    let most = |lives: &[BTreeMap<String, usize>]| {
        Spread::of(lives.iter().map(|counts| as_f64(counts.values().sum()))).max
    };
    let (of_lives, of_presets) = (counted(&names), counted(&by_preset));
    let of_idle = tally(
        requests
            .iter()
            .filter(|request| request.names(&idle) && (idle_from..idle_until).contains(&request.received)),
    );
    let of_none = tally(requests.iter().filter(|request| {
        !request.names(&idle) && !names.iter().chain(&by_preset).any(|name| request.names(name))
    }));

    let mut details = vec![format!("of each of {LIVES} lives (the row above has the one with the most):")];
    details.extend(breakdown(&of_lives));
    details.push(format!("of each of {LIVES} lives by a preset, with a value in a Secret:"));
    details.extend(breakdown(&of_presets));
    details.push(format!("of one that was idle for {} s:", IDLE.as_secs()));
    details.extend(lines(&of_idle));
    details.push("of none of them, meanwhile:".into());
    details.extend(lines(&of_none));
    Figure {
        rows: vec![
            Row::beside("API-server requests per life", most(&of_lives), FLOOR, "", Goal::AtMost(PER_LIFE)),
            Row::beside(
                "API-server requests per life with a preset",
                most(&of_presets),
                PRESET_FLOOR,
                "",
                Goal::AtMost(PER_PRESET_LIFE),
            ),
            Row::value(
                "API-server requests in a minute idle",
                as_f64(of_idle.values().sum()),
                "",
                Goal::AtMost(WHILE_IDLE),
            ),
        ],
        details,
        data: json!({ "lives": of_lives, "presets": of_presets, "idle": of_idle, "others": of_none }),
    }
}

/// Each thing that was asked for, with how often that was in each of the lives.
fn breakdown(lives: &[BTreeMap<String, usize>]) -> Vec<String> {
    let mut all = BTreeMap::<&str, Vec<String>>::new();
    for what in lives.iter().flat_map(BTreeMap::keys) {
        let counts = lives.iter().map(|life| life.get(what).copied().unwrap_or_default().to_string());
        all.insert(what, counts.collect());
    }
    all.into_iter()
        .map(|(what, mut counts)| {
            counts.dedup();
            format!("  {what}: {}", counts.join(", "))
        })
        .collect()
}

fn lines(counts: &BTreeMap<String, usize>) -> Vec<String> {
    if counts.is_empty() {
        return vec!["  none".into()];
    }
    counts.iter().map(|(what, count)| format!("  {what}: {count}")).collect()
}
