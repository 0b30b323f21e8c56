//! The controller.

use std::process::ExitCode;

use ephemeron::{
    client,
    config::{self, Refused, Run},
    controller::{self, metrics::Metrics},
    health::{Beside, Readiness},
    keys,
    policy::Policy,
    start,
};
use ephemeron_preset_host::compile;
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    // Presets are compiled by this same program, in a process of its own.
    if let Some(code) = compile::child_main() {
        return code;
    }
    // Before the settings are read: they may name the files that this makes.
    if let Some(code) = keys::main("ephemeron-controller") {
        return code;
    }
    start()
}

/// All that can be wrong before anything is done.
async fn read() -> Result<(Run, Policy, kube::Config), Refused> {
    let options = config::parse::<Run>()?;
    let policy = options.pods.policy().map_err(|error| Refused::new(&error, 2))?;
    let config = client::config("ephemeron-controller").await.map_err(|error| Refused::new(&error, 1))?;
    Ok((options, policy, config))
}

#[tokio::main]
async fn start() -> ExitCode {
    let (options, policy, config) = match start::settled(config::listen::<Run>(), read).await {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    match run(options, policy, config).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Run, policy: Policy, config: kube::Config) -> anyhow::Result<ExitCode> {
    let (check, listen) = (options.check, options.listen);
    let settings = options.settings(policy, &config.default_namespace)?;
    if check {
        let findings = controller::check::check(&settings, config).await;
        println!("{findings}");
        return Ok(if findings.are_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let readiness =
        Readiness::starting("it waits for the API server and the first lists; the log says for which");
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let beside = Beside::start(listen, &readiness, registry).await?;
    let stopping = readiness.clone();
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopping.lacks("stopping", "it was told to; reconciles that are under way are finished");
        tracing::info!("stopping: reconciles that are under way are finished");
    };
    Box::pin(controller::run(settings, config, readiness, metrics, shutdown)).await?;
    beside.end().await?;
    Ok(ExitCode::SUCCESS)
}
