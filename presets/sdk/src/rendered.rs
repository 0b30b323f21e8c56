//! The template and what goes with it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::API_VERSION;

/// The Secret in which a preset's secret values stand. The operator puts the name of the real one there,
/// which belongs to one Ephemeron.
pub const SECRETS: &str = "ephemeron-secrets";

/// What a preset answers (`presets/wit/schema/rendered.schema.json`).
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    template: Value,
    port: u16,
    warnings: Vec<String>,
    secrets: BTreeMap<String, String>,
}

impl Rendered {
    /// A service that listens on this port, in a Pod of this template: a PodTemplateSpec of Kubernetes, whose
    /// container `service` is the one that listens.
    #[must_use]
    pub fn new(port: u16, template: Value) -> Self {
        Self { template, port, warnings: Vec::new(), secrets: BTreeMap::new() }
    }

    /// Tells the user something although it was rendered. At most 16 are handed on.
    #[must_use]
    pub fn warning(mut self, text: impl Into<String>) -> Self {
        self.warnings.push(text.into());
        self
    }

    /// Puts a value into the Secret that only this Pod's containers read, by [`secret`].
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.secrets.insert(name.into(), value.into());
        self
    }

    pub(crate) fn into_json(self) -> Value {
        let mut document = Map::new();
        document.insert("apiVersion".into(), API_VERSION.into());
        document.insert("port".into(), self.port.into());
        document.insert("template".into(), self.template);
        if !self.warnings.is_empty() {
            document.insert("warnings".into(), self.warnings.into());
        }
        if !self.secrets.is_empty() {
            document.insert("secrets".into(), json!(self.secrets));
        }
        document.into()
    }
}

/// Where an environment variable's value comes from: the secret value of this name. It is what
/// `valueFrom` wants:
///
/// ```
/// # use ephemeron_preset::{json, secret};
/// let variable = json!({"name": "FLAG", "valueFrom": secret("flag")});
/// ```
#[must_use]
pub fn secret(name: &str) -> Value {
    json!({"secretKeyRef": {"name": SECRETS, "key": name}})
}

/// A text that Kubernetes takes as it is in `command`, `args` and the `value` of a variable: without it,
/// `$(NAME)` is replaced by the variable of this name.
#[must_use]
pub fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_replaced_in_a_literal() {
        assert_eq!(literal("$(HOME) $$ a"), "$$(HOME) $$$$ a");
    }
}
