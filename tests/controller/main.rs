//! The controller on a real cluster: every case has Ephemerons of its own and runs beside the others.
//!
//! It needs the test cluster (`make cluster-up`, with both gateways) and runs the built controller
//! against it: one that looks after every Ephemeron without the label `controller`, as users run
//! it, and further ones for those with it. Cases that concern all Ephemerons at once come last,
//! alone; after them the installation, without other controllers.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
#![expect(clippy::too_many_lines, reason = "a function lists all cases of its file")]

mod accounts;
#[path = "../api/mod.rs"]
mod api;
mod bad_input;
#[path = "../chaos/mod.rs"]
#[allow(dead_code, reason = "the fault suite uses more of it")]
mod chaos;
mod children;
mod cluster;
mod contract;
mod controllers;
mod envsubst;
mod faults;
#[path = "../../presets/host/tests/attacks/guest.rs"]
mod guest;
mod hammer;
mod installed;
mod life;
mod moves;
mod policy;
mod presets;
mod programs;
mod replicas;
mod routing;
mod streams;
mod time;
mod tls;
mod troubles;
mod upgrade;

use std::{future::Future, process::ExitCode, sync::Arc};

use cluster::Cluster;
use controllers::Controllers;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::{Builder, Runtime};

/// What a case works with.
pub struct World {
    /// The cluster.
    pub cluster: Cluster,
    /// The controllers that run on it.
    pub controllers: Controllers,
}

/// Cases run at once: they mostly wait.
const CONCURRENCY: usize = 12;

/// Collects cases, and knows how to run them.
pub struct Cases {
    runtime: Arc<Runtime>,
    world: Arc<World>,
    trials: Vec<Trial>,
}

impl Cases {
    /// Adds a case.
    pub fn add<F>(&mut self, name: &str, case: impl FnOnce(Arc<World>) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (runtime, world) = (Arc::clone(&self.runtime), Arc::clone(&self.world));
        self.trials.push(Trial::test(name, move || {
            // On a task of its own, so that a failed assertion is this case's alone.
            runtime.block_on(runtime.spawn(case(world))).map_err(|panic| Failed::from(message(panic)))
        }));
    }
}

fn message(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "cancelled".into() };
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

fn main() -> ExitCode {
    let began = chrono::Utc::now();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(CONCURRENCY);
    // More threads than processors: what reads large files on one of them holds up nobody else.
    let runtime = Builder::new_multi_thread().worker_threads(CONCURRENCY).enable_all().build();
    let runtime = Arc::new(runtime.expect("a runtime"));
    let world = match runtime.block_on(async { prepare(&arguments).await }) {
        Ok(world) => Arc::new(world),
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    let cases = || Cases { runtime: Arc::clone(&runtime), world: Arc::clone(&world), trials: Vec::new() };

    let mut together = cases();
    // The longest come first.
    faults::cases(&mut together);
    streams::cases(&mut together);
    replicas::cases(&mut together);
    presets::cases(&mut together);
    api::cases(&mut together);
    contract::cases(&mut together);
    routing::cases(&mut together);
    moves::cases(&mut together);
    troubles::cases(&mut together);
    tls::cases(&mut together);
    life::cases(&mut together);
    time::cases(&mut together);
    policy::cases(&mut together);
    children::cases(&mut together);
    bad_input::cases(&mut together);
    programs::cases(&mut together);
    accounts::cases(&mut together);
    let first = libtest_mimic::run(&arguments, together.trials);

    let mut alone = cases();
    contract::alone(&mut alone);
    moves::alone(&mut alone);
    programs::alone(&mut alone);
    moves::without_gateway_api(&mut alone);
    arguments.test_threads = Some(1);
    let second = libtest_mimic::run(&arguments, alone.trials);

    runtime.block_on(world.controllers.stop());

    // It looks after every Ephemeron, as an installation does.
    let mut by_itself = cases();
    installed::cases(&mut by_itself);
    envsubst::cases(&mut by_itself);
    upgrade::cases(&mut by_itself);
    let third = libtest_mimic::run(&arguments, by_itself.trials);

    // Only all cases together use all rights.
    let mut last = cases();
    if arguments.filter.is_none() && !arguments.list {
        accounts::last(&mut last, began);
    }
    let fourth = libtest_mimic::run(&arguments, last.trials);
    let all = [first, second, third, fourth];
    if all.iter().any(libtest_mimic::Conclusion::has_failed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn prepare(arguments: &Arguments) -> Result<World, String> {
    let cluster = Cluster::connect().await?;
    if arguments.list {
        return Ok(World { cluster, controllers: Controllers::default() });
    }
    cluster.clean().await;
    cluster.apply(troubles::OBJECTS).await?;
    // As installed: with the rights of the shipped account, and no others.
    cluster.run_controllers_with(accounts::kubeconfig(&cluster, "ephemeron-controller").await);
    cluster.apply(chaos::installation::LEASES).await?;
    for namespace in troubles::NAMESPACES {
        accounts::grant(&cluster, namespace).await;
    }
    let controllers = Controllers::start(&cluster).await?;
    Ok(World { cluster, controllers })
}
