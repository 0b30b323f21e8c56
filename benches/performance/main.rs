//! What Ephemeron costs on a real cluster, each figure beside its floor where there is one: the
//! least that Kubernetes and the gateway need for the same.
//!
//! `make bench` brings the test cluster up and runs all figures; docs/performance.md tells what they
//! mean. A new figure is a file with a `measure`, and a line in [`FIGURES`].
#![allow(clippy::expect_used, clippy::panic, reason = "what cannot be measured fails loudly")]

mod acceptor;
mod api;
mod at_once;
mod audit;
mod bare;
#[path = "../../tests/controller/cluster.rs"]
mod cluster;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/controller/controllers.rs"]
mod controllers;
mod crowd;
mod expiry;
mod fake_nodes;
mod first_answer;
mod floor;
#[path = "../../presets/host/tests/attacks/guest.rs"]
mod guest;
mod held;
mod lives;
mod plots;
mod poll;
mod preset;
mod process;
mod report;
mod requests;
mod restart;
mod spread;

use std::{future::Future, pin::Pin, process::ExitCode};

use acceptor::Acceptor;
use audit::AuditLog;
use clap::{Parser, builder::PossibleValuesParser};
use cluster::Cluster;
use controllers::Controller;
use report::Figure;

/// A figure's name, and how it is measured.
type Measurement = (&'static str, for<'a> fn(&'a World) -> Pin<Box<dyn Future<Output = Figure> + 'a>>);

/// All figures, in the order in which they are measured.
const FIGURES: [Measurement; 6] = [
    ("requests", |world| Box::pin(requests::measure(world))),
    ("first-answer", |world| Box::pin(first_answer::measure(world))),
    ("at-once", |world| Box::pin(at_once::measure(world))),
    ("expiry", |world| Box::pin(expiry::measure(world))),
    ("api", |world| Box::pin(api::measure(world))),
    ("held", |world| Box::pin(held::measure(world))),
];

/// Measures the controller on the test cluster.
#[derive(Parser)]
#[command(name = "performance")]
struct Arguments {
    /// What to measure. Default: everything.
    #[arg(value_parser = PossibleValuesParser::new(FIGURES.map(|(name, _)| name)))]
    figures: Vec<String>,

    /// How often what takes time is measured, floor and project in turn.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,

    /// Take crowds of one in so many: for a look at whether all of it works.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    fraction: u32,

    /// Measure nothing: draw docs/performance/*.svg from what was measured last.
    #[arg(long)]
    plots: bool,

    /// Answer like an operation that does nothing, and no more: the floor of `api`.
    #[arg(long, hide = true)]
    bare: bool,

    /// What `cargo bench` says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What the figures are measured with.
pub struct World {
    /// The project's own cluster.
    pub cluster: Cluster,
    /// Its API server's audit log.
    pub audit: AuditLog,
    /// How often to measure what takes time.
    pub pairs: u32,
    fraction: u32,
}

impl World {
    /// Starts the controller for the benchmark's Ephemerons, and waits until it is ready.
    pub async fn controller(&self, domain: &str, env: &[(&str, &str)]) -> Controller {
        let mut all = vec![("EPHEMERON_SELECTOR", lives::LABEL)];
        all.extend(env);
        let controller = Controller::start(&self.cluster, domain, &all);
        controller.says("\"ready\"").await;
        controller
    }

    /// How many to take of so many.
    pub fn size(&self, full: usize) -> usize {
        full.div_ceil(self.fraction as usize)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.plots {
        return plots::draw();
    }
    if arguments.bare {
        bare::serve().await;
        return ExitCode::SUCCESS;
    }
    let cluster = match Cluster::connect().await {
        Ok(cluster) => cluster,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    cluster.kubectl("apply -f k8s/ephemerons.yaml").await;
    cluster.kubectl("wait --for=condition=Established crd/ephemerons.qualified.io").await;
    lives::clean(&cluster).await;
    Acceptor::clean(&cluster).await;
    fake_nodes::close(&cluster).await;

    let Arguments { pairs, fraction, .. } = arguments;
    let world = World { audit: AuditLog::of(&cluster), cluster, pairs, fraction };
    let mut figures = Vec::new();
    for (name, measure) in FIGURES {
        if arguments.figures.is_empty() || arguments.figures.iter().any(|wanted| wanted == name) {
            eprintln!("measuring {name}");
            let figure = measure(&world).await;
            report::save(name, &figure);
            figures.push(figure);
        }
    }
    report::print(&figures);
    ExitCode::SUCCESS
}
