//! The fault suite: hundreds of Ephemerons come, change and end at random, from a printed seed, while
//! everything around the controllers breaks; then a checker reads the cluster and the audit log.
//!
//! `make chaos` brings a cluster of its own up and runs it; docs/chaos.md tells what it does and shows.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

#[path = "mod.rs"]
mod chaos;
#[path = "../controller/cluster.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod cluster;
#[path = "../controller/controllers.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod controllers;
mod faults;
mod report;

use std::{collections::HashMap, path::Path, process::ExitCode, time::Duration};

use chaos::{
    dice::Dice,
    history::Time,
    installation::Installation,
    manifests::{Runs, on_fake_nodes},
    trial::Trial,
    workload::{Plan, Users},
};
use chrono::{TimeDelta, Utc};
use clap::{Parser, builder::PossibleValuesParser};
use cluster::Cluster;
use faults::{FAULTS, Stage};
use report::Run;
use tokio::{sync::watch, time};

/// How late a deletion may be, but for outages.
const LATE: TimeDelta = TimeDelta::seconds(1);
/// Ephemerons that live through all of it, of each installation.
const KEPT: usize = 5;
/// On fake nodes, and on the real one with presets.
const FAKE: &str = "chaos-fake";
const REAL: &str = "chaos-real";
/// An ingress class that no controller serves: the routes of hundreds cost nothing but themselves.
const CLASS: &str = "chaos";
const CLASS_MANIFEST: &str = r"
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: chaos}
spec: {controller: ephemeron.test/nobody}
";

/// Breaks everything around the controllers, and looks at what they make of it.
#[derive(Parser)]
#[command(name = "chaos")]
struct Arguments {
    /// What the dice begin with; several are run one after the other.
    #[arg(long, env = "SEED", value_delimiter = ',', default_value = "1,2,3")]
    seed: Vec<u64>,

    /// How many Ephemerons are created on fake nodes; as many again for every twenty run presets.
    #[arg(long, env = "LIVES", default_value_t = 1_900)]
    lives: usize,

    /// How many of them live at once.
    #[arg(long, env = "ALIVE", default_value_t = 250)]
    alive: usize,

    /// Which faults happen. Default: all.
    #[arg(long, env = "FAULTS", value_delimiter = ',', value_parser = PossibleValuesParser::new(FAULTS.map(|(name, _)| name)))]
    faults: Vec<String>,

    /// How many controllers each installation has.
    #[arg(long, env = "REPLICAS", default_value_t = 2)]
    replicas: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let cluster = match Cluster::connect().await {
        Ok(cluster) => cluster,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    cluster.clean().await;
    cluster.apply(CLASS_MANIFEST).await.expect("the class is accepted");
    let mut runs = Vec::new();
    for seed in &arguments.seed {
        runs.push(run(&cluster, &arguments, *seed).await);
    }
    report::sum(&runs);
    if runs.iter().all(Run::is_well) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One seed.
async fn run(cluster: &Cluster, arguments: &Arguments, seed: u64) -> Run {
    println!("SEED={seed} LIVES={} ALIVE={}", arguments.lives, arguments.alive);
    let mut dice = Dice::new(seed);
    let trial = Trial::begin(cluster, &[FAKE, REAL]);
    let installations = installations(cluster, arguments.replicas, &trial, &mut dice).await;
    let users = [plan(FAKE, arguments), plan(REAL, arguments)]
        .map(|plan| Users::new(&cluster.client, &trial.history, &trial.foreign, plan));
    let mut kept = HashMap::new();
    for users in &users {
        kept.extend(users.settle(KEPT, || cluster.name("kept")).await);
    }

    let (done, is_done) = watch::channel(false);
    let [fake, real] = users.map(|users| users.act(Dice::new(dice.next()), || cluster.name("c")));
    let act = async {
        tokio::join!(fake, real);
        done.send_replace(true);
    };
    let stage = Stage { cluster, installations: &installations };
    let ((), happened) = tokio::join!(act, happen(&stage, &arguments.faults, is_done, &mut dice));
    let outages = trial.outages.clone();
    let outcome = trial.finish(&kept, Some(LATE), true).await;
    let mut logs = Vec::new();
    for installation in &installations {
        logs.push((installation.name.clone(), installation.stop().await));
    }
    let run = Run { seed, happened, outages: outages.all(), outcome };
    report::print(&run);
    report::save(&run, &logs);
    run
}

async fn installations(
    cluster: &Cluster,
    replicas: usize,
    trial: &Trial<'_>,
    dice: &mut Dice,
) -> Vec<Installation> {
    let template = std::env::temp_dir().join(cluster.name("chaos-template"));
    std::fs::write(&template, on_fake_nodes().to_string()).expect("a file");
    let template = template.display().to_string();
    let fake = [
        ("EPHEMERON_POD_TEMPLATE", template.as_str()),
        ("EPHEMERON_PROBE_ADDRESS", "off"),
        ("EPHEMERON_GATEWAY", "ingress"),
        ("EPHEMERON_INGRESS_CLASS", CLASS),
    ];
    let presets = std::env::temp_dir().join(cluster.name("chaos-presets"));
    std::fs::create_dir_all(&presets).expect("a folder");
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/presets/web.wasm");
    std::fs::copy(&built, presets.join("web.wasm")).expect("target/presets/web.wasm: presets/build web");
    // Compiled once, not at every start.
    let cache = std::env::temp_dir().join(cluster.name("chaos-cache"));
    let (presets, cache) = (presets.display().to_string(), cache.display().to_string());
    let real = [
        ("EPHEMERON_PRESETS", presets.as_str()),
        ("EPHEMERON_PRESET_CACHE", cache.as_str()),
        ("EPHEMERON_GATEWAY", "gateways/traefik"),
    ];
    vec![
        Installation::start(cluster, (FAKE, replicas), &fake, &trial.outages, dice).await,
        Installation::start(cluster, (REAL, replicas), &real, &trial.outages, dice).await,
    ]
}

fn plan(whose: &str, arguments: &Arguments) -> Plan {
    let &Arguments { lives, alive, .. } = arguments;
    let whose = whose.to_owned();
    if whose == FAKE {
        let (lifetimes, pace) = ((1_000, 50_000), Duration::from_millis(200));
        Plan { whose, runs: Runs::Image, lives, alive, lifetimes, pace, squatted: 30 }
    } else {
        let (lives, alive, lifetimes) = (lives.div_ceil(20), 12, (5_000, 60_000));
        let pace = Duration::from_secs(5);
        Plan { whose, runs: Runs::Preset, lives, alive, lifetimes, pace, squatted: 15 }
    }
}

/// Has faults happen one after the other, each as often as any other, until nobody lives any more.
/// Returns their names, and from when until when they were.
async fn happen(
    stage: &Stage<'_>,
    chosen: &[String],
    mut done: watch::Receiver<bool>,
    dice: &mut Dice,
) -> Vec<(&'static str, Time, Time)> {
    let mut happened = Vec::new();
    loop {
        let is_chosen = |name: &str| chosen.is_empty() || chosen.iter().any(|wanted| wanted == name);
        let mut round: Vec<_> = FAULTS.into_iter().filter(|(name, _)| is_chosen(name)).collect();
        while !round.is_empty() {
            let calm = Duration::from_secs(4) + dice.milliseconds(6_000);
            if time::timeout(calm, done.wait_for(|done| *done)).await.is_ok() {
                return happened;
            }
            let count = u64::try_from(round.len()).unwrap_or(1);
            let (name, fault) = round.swap_remove(usize::try_from(dice.below(count)).unwrap_or_default());
            let from = Utc::now();
            fault(stage, dice).await;
            let until = Utc::now();
            println!("  {} to {} {name}", chaos::history::short(from), chaos::history::short(until));
            happened.push((name, from, until));
        }
    }
}
