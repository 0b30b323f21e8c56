//! Tells why a watch does not work, once, with what to do about it, and when it works again.

use std::sync::Arc;

use kube::{
    core::error_boundary::InvalidObject,
    runtime::watcher::{Error, Event},
};

use super::metrics::{Kind, Metrics};
use crate::health::Readiness;

/// The trouble that one watch is in.
pub struct Trouble {
    kind: String,
    told: Option<String>,
    metrics: Arc<Metrics>,
    readiness: Readiness,
}

impl Trouble {
    /// For the watch of this kind.
    pub fn new(kind: String, metrics: Arc<Metrics>, readiness: Readiness) -> Self {
        Self { kind, told: None, metrics, readiness }
    }

    fn label(&self) -> Kind {
        Kind::of(&self.kind)
    }

    /// Tells an error, unless it is the one that was told last.
    pub fn report(&mut self, error: &Error) {
        let Some(message) = explain(&self.kind, error) else { return };
        self.metrics.watch_failed(self.label());
        if matches!(error, Error::InitialListFailed(_)) {
            self.readiness.lacks(self.label().as_str(), message.clone());
        }
        if self.told.as_ref() != Some(&message) {
            tracing::warn!("{message}; trying again");
            self.told = Some(message);
        }
    }

    /// Tells that the watch works again.
    pub fn over<K>(&mut self, event: &Event<K>) {
        if !matches!(event, Event::Init) && self.told.take().is_some() {
            self.readiness.has(self.label().as_str());
            tracing::info!("{} can be read now", self.kind);
        }
    }

    /// Tells of an object that cannot be read.
    pub fn unreadable(&self, object: &InvalidObject) {
        self.metrics.unreadable(self.label());
        tracing::warn!(
            kind = self.kind,
            name = object.metadata.name.as_deref().unwrap_or_default(),
            error = %object.error,
            "an object cannot be read: correct it, or delete it"
        );
    }
}

/// What happened and what to do; None for what is part of a watch's normal life.
fn explain(kind: &str, error: &Error) -> Option<String> {
    let (Error::InitialListFailed(cause) | Error::WatchStartFailed(cause) | Error::WatchFailed(cause)) =
        error
    else {
        // The watch fell behind the API server's history: it lists again by itself.
        return None;
    };
    Some(match cause {
        kube::Error::Api(status) if status.code == 403 => format!(
            "no permission to watch {kind}: {}; apply k8s/controller/sa.yaml, or see what is missing with `run --check`",
            status.message
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

/// The innermost message of an error: the outer ones only repeat that a request failed.
pub fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
