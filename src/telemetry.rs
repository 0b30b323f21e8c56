//! What the programs tell while they run: lines for people on a terminal, JSON otherwise.

use std::{
    io::{self, IsTerminal as _},
    panic,
    sync::Once,
};

use tracing_subscriber::{EnvFilter, fmt};

/// Starts to write logs to standard error, line by line and unbuffered. `EPHEMERON_LOG` selects what
/// is logged, as `tracing_subscriber::EnvFilter` reads it, and `EPHEMERON_LOG_FORMAT` how: `text`,
/// `json`, or `auto`. What cannot be read of the two is said and left out. A panic is a line of the
/// log like any other, so that programs that read the log see it, too. Only the first call counts.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(start);
}

fn start() {
    let wanted = std::env::var("EPHEMERON_LOG").unwrap_or_else(|_| "info".into());
    let (filter, unreadable) = match EnvFilter::try_new(&wanted) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    // kube's own lines tell of every failed request; ours say what it means.
    let filter = match "kube=off".parse() {
        Ok(quiet) if !wanted.contains("kube") => filter.add_directive(quiet),
        _ => filter,
    };
    let is_terminal = io::stderr().is_terminal();
    let format = std::env::var("EPHEMERON_LOG_FORMAT").unwrap_or_else(|_| "auto".into());
    let (is_text, known) = match format.as_str() {
        "text" => (true, true),
        "json" => (false, true),
        other => (is_terminal, other == "auto"),
    };
    let logs = fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    if is_text {
        // https://no-color.org
        let colours = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        logs.compact().with_ansi(colours).init();
    } else {
        logs.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    }
    if let Some(error) = unreadable {
        tracing::warn!("EPHEMERON_LOG={wanted:?} is not a filter: {error}; using info");
    }
    if !known {
        tracing::warn!(
            "EPHEMERON_LOG_FORMAT={format:?} is not a format: write auto, text or json; using auto"
        );
    }
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("no message");
        let backtrace = std::backtrace::Backtrace::capture();
        let backtrace = match backtrace.status() {
            std::backtrace::BacktraceStatus::Captured => Some(backtrace.to_string()),
            _ => None,
        };
        tracing::error!(place, backtrace, "panic: {what}; a defect of the program, please report it");
    }));
}
