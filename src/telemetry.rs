//! What the programs tell while they run: lines for people on a terminal, JSON otherwise.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, fmt};

/// Starts to write logs to standard error. `EPHEMERON_LOG` selects what is logged, as
/// `tracing_subscriber::EnvFilter` reads it; an unreadable filter is said and left out.
pub fn init() {
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
    let logs = fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    if io::stderr().is_terminal() {
        logs.compact().init();
    } else {
        logs.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    }
    if let Some(error) = unreadable {
        tracing::warn!("EPHEMERON_LOG={wanted:?} is not a filter: {error}; using info");
    }
}
