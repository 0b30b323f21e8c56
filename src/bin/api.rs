//! The REST API.

use std::process::ExitCode;

use ephemeron::{
    api::{self, document, metrics::Metrics},
    client,
    config::{self, Api},
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
    let options = match config::parse::<Api>() {
        Ok(options) => options,
        Err(code) => return code,
    };
    if options.spec {
        print!("{}", document::text());
        return ExitCode::SUCCESS;
    }
    let policy = match options.pods.policy() {
        Ok(policy) => policy,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match start(options, policy) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn start(options: Api, policy: Policy) -> anyhow::Result<()> {
    telemetry::init();
    let config = client::config("ephemeron-api").await?;
    let listen = options.listen;
    let settings = options.settings(policy, &config.default_namespace)?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let readiness = Readiness::starting("it waits for the first list of Ephemerons; the log says for what");
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let beside = Beside::start(listen, &readiness, registry).await?;
    let stopping = readiness.clone();
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopping.lacks("stopping", "it was told to; requests that are under way are finished");
    };
    api::run(settings, config, readiness, metrics, shutdown).await?;
    beside.end().await?;
    Ok(())
}
