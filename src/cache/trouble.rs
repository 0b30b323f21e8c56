//! Tells why a watch does not work, once, with what to do about it, and when it works again.

use std::sync::Arc;

use kube::{
    core::error_boundary::InvalidObject,
    runtime::watcher::{Error, Event},
};

use crate::{client::root_cause, health::Readiness};

/// Counts what goes wrong with watches, by the kind of object.
pub trait Counts: Send + Sync {
    /// A watch failed.
    fn watch_failed(&self, kind: &str);
    /// An object was skipped since it cannot be read.
    fn unreadable(&self, kind: &str);
}

/// The trouble that one watch is in.
pub struct Trouble {
    program: &'static str,
    kind: String,
    told: Option<String>,
    counts: Arc<dyn Counts>,
    readiness: Readiness,
    insists: bool,
}

impl Trouble {
    /// For the watch of this kind by `program`, `controller` or `api`.
    pub fn new(program: &'static str, kind: String, counts: Arc<dyn Counts>, readiness: Readiness) -> Self {
        Self { program, kind, told: None, counts, readiness, insists: false }
    }

    /// The program is not ready either while the watch, once begun, does not go on.
    #[must_use]
    pub fn insisting(self) -> Self {
        Self { insists: true, ..self }
    }

    /// Tells an error, unless it is the one that was told last.
    pub fn report(&mut self, error: &Error) {
        let Some(message) = explain(self.program, &self.kind, error) else { return };
        self.counts.watch_failed(&self.kind);
        if self.insists || matches!(error, Error::InitialListFailed(_)) {
            self.readiness.lacks(&self.kind, message.clone());
        }
        if self.told.as_ref() != Some(&message) {
            tracing::warn!("{message}; trying again");
            self.told = Some(message);
        }
    }

    /// Tells that the watch works again.
    pub fn over<K>(&mut self, event: &Event<K>) {
        if !matches!(event, Event::Init) && self.told.take().is_some() {
            self.readiness.has(&self.kind);
            tracing::info!("{} can be read now", self.kind);
        }
    }

    /// Tells of an object that cannot be read.
    pub fn unreadable(&self, object: &InvalidObject) {
        self.counts.unreadable(&self.kind);
        tracing::warn!(
            kind = self.kind,
            name = object.metadata.name.as_deref().unwrap_or_default(),
            error = %object.error,
            "an object cannot be read: correct it, or delete it"
        );
    }
}

/// What happened and what to do; None for what is part of a watch's normal life.
fn explain(program: &str, kind: &str, error: &Error) -> Option<String> {
    let (Error::InitialListFailed(cause) | Error::WatchStartFailed(cause) | Error::WatchFailed(cause)) =
        error
    else {
        // The watch fell behind the API server's history: it lists again by itself.
        return None;
    };
    Some(match cause {
        kube::Error::Api(status) if status.code == 403 => format!(
            "no permission to watch {kind}: {}; apply k8s/{program}/sa.yaml{}",
            status.message,
            if program == "controller" { ", or see what is missing with `run --check`" } else { "" }
        ),
        kube::Error::Api(status) if status.code == 404 => match kind {
            "Ephemeron" => "the custom resource definition ephemerons.qualified.io is not installed: \
                 kubectl apply -f k8s/ephemerons.yaml"
                .into(),
            _ => format!("{kind} is not served by this cluster"),
        },
        kube::Error::Api(status) if status.code == 401 => format!(
            "the API server does not accept our credentials: {}; renew the kubeconfig's or ServiceAccount's token",
            status.message
        ),
        kube::Error::Api(status) => {
            format!("the API server answered {} to the watch of {kind}: {}", status.code, status.message)
        }
        // One line for all watches: without the kind it is told once per cause by each, but the
        // kind says which of them suffers.
        error => format!("the watch of {kind} has no connection to the API server: {}", root_cause(error)),
    })
}
