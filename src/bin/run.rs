//! The controller.

use std::process::ExitCode;

use ephemeron::{
    client,
    config::{self, Run},
    controller::{self, metrics::Metrics},
    health::{Beside, Readiness},
    policy::Policy,
    telemetry,
};
use ephemeron_preset_host::compile;
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    // Presets are compiled by this same program, in a process of its own.
    if let Some(code) = compile::child_main() {
        return code;
    }
    let options = match config::parse::<Run>() {
        Ok(options) => options,
        Err(code) => return code,
    };
    let policy = match options.pods.policy() {
        Ok(policy) => policy,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match start(options, policy) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn start(options: Run, policy: Policy) -> anyhow::Result<ExitCode> {
    telemetry::init();
    let config = client::config("ephemeron-controller").await?;
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
    controller::run(settings, config, readiness, metrics, shutdown).await?;
    beside.end().await?;
    Ok(ExitCode::SUCCESS)
}
