//! What a preset has made of parameters, or why it has not.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value};
use thiserror::Error;

use super::{Absent, Preset};
use crate::{digest::Digest, document::Rendered, error::CallError, module::Answer};

/// What a preset has made of parameters. The template is as yet unchecked.
#[derive(Clone, PartialEq)]
pub struct Rendering {
    /// The preset's name.
    pub name: String,
    /// Which file it was.
    pub digest: Digest,
    /// The preset's own version.
    pub version: String,
    /// The port on which the service listens.
    pub port: u16,
    /// A PodTemplateSpec.
    pub template: Map<String, Value>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// What stands in a Secret.
    pub secrets: BTreeMap<String, String>,
    /// The fuel that it took.
    pub fuel: u64,
}

/// Logs do not get the secrets.
impl fmt::Debug for Rendering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rendering")
            .field("name", &self.name)
            .field("digest", &self.digest)
            .field("port", &self.port)
            .field("secrets", &self.secrets.keys())
            .finish_non_exhaustive()
    }
}

/// Why there is no rendering.
#[derive(Debug, Error)]
pub enum RenderError {
    /// There is no such preset to call.
    #[error(transparent)]
    Absent(#[from] Absent),
    /// The call has no answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Rendering {
    pub(super) fn new(preset: &Preset, answer: Answer<Rendered>) -> Self {
        let Rendered { template, port, warnings, secrets } = answer.document;
        Self {
            name: preset.name.clone(),
            digest: preset.digest,
            version: preset.description.version.clone(),
            port,
            template,
            warnings,
            secrets,
            fuel: answer.fuel,
        }
    }
}
