//! The controller.

use std::process::ExitCode;

use ephemeron::{
    client,
    config::{self, Run},
    controller,
    policy::Policy,
    telemetry,
};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
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
    let check = options.check;
    let settings = options.settings(policy, &config.default_namespace);
    if check {
        let findings = controller::check::check(&settings, config).await;
        println!("{findings}");
        return Ok(if findings.are_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: reconciles that are under way are finished");
    };
    controller::run(settings, config, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
