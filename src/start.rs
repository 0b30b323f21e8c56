//! How a program begins: with settings that can work. In a Pod that lacks them it would be started again
//! and again; there it says what is wrong in its log and at `/readyz`, and waits for what may still come,
//! such as a file, or to be ended.

use std::{env, future::Future, io::IsTerminal as _, process::ExitCode, time::Duration};

use prometheus_client::registry::Registry;
use tokio::{
    signal::unix::{SignalKind, signal},
    time,
};

use crate::{
    client,
    config::Refused,
    health::{Beside, Listen, Readiness},
    telemetry,
};

/// How often settings that cannot work are read again: files may have come.
const AGAIN: Duration = Duration::from_secs(5);
/// Who runs a program with one of these wants an answer and no server.
const ONE_SHOT: &[&str] = &["--check", "--spec"];

/// Settings as `attempt` reads them, once they can work; `listen` is where to say meanwhile what is wrong.
///
/// # Errors
///
/// The code to exit with. What is wrong, or the help that was asked for, has been printed.
pub async fn settled<T, F>(listen: Option<Listen>, attempt: impl Fn() -> F) -> Result<T, ExitCode>
where
    F: Future<Output = Result<T, Refused>>,
{
    let refused = match attempt().await {
        Ok(settings) => {
            telemetry::init();
            return Ok(settings);
        }
        Err(refused) => refused,
    };
    let one_shot = || env::args().any(|argument| ONE_SHOT.contains(&argument.as_str()));
    let waits = client::is_in_pod() && !one_shot() && !std::io::stderr().is_terminal();
    match listen {
        Some(listen @ Listen::At(_)) if waits && refused.code() != 0 => wait(listen, refused, attempt).await,
        // Where nobody can ask, an end is what shows.
        _ => Err(refused.print()),
    }
}

async fn wait<T, F>(listen: Listen, refused: Refused, attempt: impl Fn() -> F) -> Result<T, ExitCode>
where
    F: Future<Output = Result<T, Refused>>,
{
    telemetry::init();
    let code = ExitCode::from(refused.code());
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return Err(refused.print());
    };
    let mut said = refused.text();
    let say = |readiness: &Readiness, said: &str| {
        tracing::error!("{said}; nothing is done until this is corrected");
        readiness.lacks("settings", said);
    };
    let readiness = Readiness::starting("it waits for settings that can work");
    say(&readiness, &said);
    let beside = match Beside::start(listen, &readiness, Registry::default()).await {
        Ok(beside) => beside,
        Err(error) => {
            tracing::error!("{error}");
            return Err(code);
        }
    };
    let settings = loop {
        tokio::select! {
            _ = terminate.recv() => break Err(code),
            _ = interrupt.recv() => break Err(code),
            () = time::sleep(AGAIN) => {}
        }
        match attempt().await {
            Ok(settings) => break Ok(settings),
            Err(refused) if refused.text() != said => {
                said = refused.text();
                say(&readiness, &said);
            }
            Err(_) => {}
        }
    };
    // It has answered all who have asked; whether it has panicked is all the same now.
    drop(beside.end().await);
    if settings.is_ok() {
        tracing::info!("the settings can work now");
    }
    settings
}
