//! The REST API.

use std::process::ExitCode;

use ephemeron::{
    api::{self, document, metrics::Metrics},
    client,
    config::{self, Api, Refused},
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
    if let Some(code) = keys::main("ephemeron-api") {
        return code;
    }
    start()
}

/// All that can be wrong before anything is done. The document needs no settings.
async fn read() -> Result<(Api, Option<(Policy, kube::Config)>), Refused> {
    let options = config::parse::<Api>()?;
    if options.spec {
        return Ok((options, None));
    }
    let policy = options.pods.policy().map_err(|error| Refused::new(&error, 2))?;
    if let Some(sample) = options.sample().filter(|_| client::is_in_pod()) {
        return Err(Refused::new(&sample, 2));
    }
    let config = client::config("ephemeron-api").await.map_err(|error| Refused::new(&error, 1))?;
    Ok((options, Some((policy, config))))
}

#[tokio::main]
async fn start() -> ExitCode {
    let (options, policy, config) = match start::settled(config::listen::<Api>(), read).await {
        Ok((options, Some((policy, config)))) => (options, policy, config),
        Ok((_, None)) => {
            print!("{}", document::text());
            return ExitCode::SUCCESS;
        }
        Err(code) => return code,
    };
    match run(options, policy, config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Api, policy: Policy, config: kube::Config) -> anyhow::Result<()> {
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
