//! What a preset is tried with: parameters, and a context of which only what differs has to be said.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Usage;

/// A file `NAME.in.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the user asks for.
    pub parameters: Value,
    /// The fields of the context that are not the usual ones.
    #[serde(default)]
    context: Map<String, Value>,
}

impl Case {
    /// Reads a file.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        serde_json::from_str(&text).with_context(|| {
            format!("{} is not a case: {{\"parameters\": {{…}}, \"context\": {{…}}}}", file.display())
        })
    }

    /// Takes what stands on the command line: JSON, or `@` and the name of a file with it.
    pub fn said(parameters: &str, context: Option<&str>) -> Result<Self> {
        let parameters = json("--parameters", parameters)?;
        let context = match context.map(|context| json("--context", context)).transpose()? {
            Some(Value::Object(context)) => context,
            None => Map::new(),
            Some(_) => return Err(Usage("--context: it must be an object".into()).into()),
        };
        Ok(Self { parameters, context })
    }

    /// The context in full. The seed, unless one is said, is all zeros: tests have no secrets.
    pub fn context(&self) -> String {
        let mut context = json!({
            "apiVersion": "preset.ephemeron/v1",
            "name": "example",
            "namespace": "default",
            "owner": "someone",
            "seed": "0".repeat(64),
            "created": "2026-01-01T00:00:00Z",
            "lifetime": 3600,
        });
        if let Some(context) = context.as_object_mut() {
            context.extend(self.context.clone());
        }
        context.to_string()
    }
}

fn json(option: &str, said: &str) -> Result<Value> {
    let text = match said.strip_prefix('@') {
        Some(file) => fs::read_to_string(file)
            .map_err(|error| Usage(format!("{option}: {file} cannot be read: {error}")))?,
        None => said.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| Usage(format!("{option}: this is not JSON: {error}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_the_context_is_laid_over_the_usual() {
        let case = Case::said("{}", Some(r#"{"name":"own","values":{"a":1}}"#)).expect("a case");
        let context: Value = serde_json::from_str(&case.context()).expect("JSON");
        assert_eq!((&context["name"], &context["namespace"]), (&json!("own"), &json!("default")));
        assert_eq!(context["values"], json!({"a": 1}));
        assert_eq!(context["apiVersion"], json!(ephemeron_preset_host::document::API_VERSION));
    }

    #[test]
    fn what_cannot_be_read_is_a_wrong_call() {
        for (parameters, context) in [("{", None), ("@/nowhere", None), ("{}", Some("[]")), ("{}", Some("x"))]
        {
            let error = Case::said(parameters, context).expect_err(parameters);
            assert!(error.is::<Usage>(), "{error}");
        }
    }
}
