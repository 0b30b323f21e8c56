//! The Pod Security Standards, checked on what a Pod will be
//! (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>, as of Kubernetes 1.35).

mod baseline;
mod restricted;

use std::{fmt, str::FromStr};

use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};

/// How much a Pod may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// No known way out of the container; plain images, which run as root, work.
    #[default]
    Baseline,
    /// Hardened: no root, no privileges at all.
    Restricted,
}

/// The text does not name a level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write baseline or restricted")]
pub struct NotALevel;

impl FromStr for Level {
    type Err = NotALevel;

    fn from_str(text: &str) -> Result<Self, NotALevel> {
        match text {
            "baseline" => Ok(Self::Baseline),
            "restricted" => Ok(Self::Restricted),
            _ => Err(NotALevel),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        })
    }
}

/// A field that goes beyond a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excess {
    /// Where it is, such as `spec.hostNetwork`.
    pub field: String,
    /// What it may or must be.
    pub rule: &'static str,
}

/// Checks a Pod against a level.
///
/// # Errors
///
/// The first field that goes beyond it.
pub fn check(level: Level, pod: &PodTemplateSpec) -> Result<(), Excess> {
    let nothing = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&nothing);
    baseline::check(pod, spec)?;
    match level {
        Level::Baseline => Ok(()),
        Level::Restricted => restricted::check(spec),
    }
}

/// Fails unless `fits`.
fn must(fits: bool, field: impl FnOnce() -> String, rule: &'static str) -> Result<(), Excess> {
    if fits { Ok(()) } else { Err(Excess { field: field(), rule }) }
}

/// Whether the Pod has a user namespace of its own, so that its root is nobody on the node
/// (KEP-127: since Kubernetes 1.35 some rules do not concern such a Pod).
fn has_own_users(spec: &PodSpec) -> bool {
    spec.host_users == Some(false)
}

/// Whether the Pod is for Windows, where Linux' security fields must not be set.
fn is_windows(spec: &PodSpec) -> bool {
    spec.os.as_ref().is_some_and(|os| os.name == "windows")
}
