//! What `render()` is told of the Ephemeron: `presets/wit/schema/context.schema.json`.

use std::{fmt, str::FromStr};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::Sha256;

use super::{Fault, typed};
use crate::digest::hexadecimal;

/// The document. Its `apiVersion` is written, and checked by [`Context::read`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "apiVersion", rename = "preset.ephemeron/v1")]
pub struct Context {
    /// The Ephemeron's name.
    pub name: String,
    /// The namespace in which its Pod will be.
    pub namespace: String,
    /// Who asked for it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The group it was asked for in, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What secret values are derived from.
    pub seed: Seed,
    /// When the Ephemeron was created (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Seconds from then until its end, as it was first asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<u64>,
    /// What the installation tells all presets.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Value>,
}

impl Context {
    /// The one that a preset's examples are tried with.
    #[must_use]
    pub fn example() -> Self {
        Self {
            name: "example".into(),
            namespace: "default".into(),
            owner: Some("someone".into()),
            group: None,
            seed: Seed::of(b"an example has no secrets", "example"),
            created: Some("2026-01-01T00:00:00Z".into()),
            lifetime: Some(3_600),
            values: Map::new(),
        }
    }

    /// Reads one that somebody has written.
    ///
    /// # Errors
    /// When it is not JSON within bounds, or not such a document.
    pub fn read(text: &str, depth: usize) -> Result<Self, Fault> {
        typed(text, depth)
    }

    /// Its text, as a preset gets it.
    #[must_use]
    pub fn text(&self) -> String {
        // Strings, numbers and JSON: there is nothing in it that cannot be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// 64 hexadecimal digits that belong to a name in an installation: the same each time, unknown to others.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Seed(String);

/// The text is not a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a seed has 64 of the characters 0-9 and a-f")]
pub struct NoSeed;

impl Seed {
    /// The one of this name: HMAC-SHA256 with the installation's secret.
    #[must_use]
    pub fn of(secret: &[u8], name: &str) -> Self {
        // A key of any length will do, so this cannot fail.
        let mac = Hmac::<Sha256>::new_from_slice(secret).map(|mac| mac.chain_update(name).finalize());
        Self(mac.map(|mac| hexadecimal(&mac.into_bytes())).unwrap_or_default())
    }
}

impl FromStr for Seed {
    type Err = NoSeed;

    fn from_str(text: &str) -> Result<Self, NoSeed> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for Seed {
    type Error = NoSeed;

    fn try_from(text: String) -> Result<Self, NoSeed> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 64 && text.bytes().all(digit) { Ok(Self(text)) } else { Err(NoSeed) }
    }
}

impl From<Seed> for String {
    fn from(seed: Seed) -> Self {
        seed.0
    }
}

/// A seed is a secret: logs do not get it.
impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_the_document_of_its_schema() {
        let schema: Value =
            serde_json::from_str(include_str!("../../../wit/schema/context.schema.json")).expect("a schema");
        let full = Context {
            group: Some("blue".into()),
            values: [("a".into(), json!(1))].into_iter().collect(),
            ..Context::example()
        };
        let fields =
            |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<BTreeSet<_>>());
        let written = serde_json::to_value(&full).expect("a document");
        assert_eq!(fields(&written), fields(&schema["properties"]));
        assert_eq!(written["apiVersion"], schema["properties"]["apiVersion"]["const"]);
        assert_eq!(Context::read(&full.text(), 64), Ok(full));

        let least = json!({"apiVersion": "preset.ephemeron/v1", "name": "a", "namespace": "b", "seed": "0".repeat(64)});
        let read = Context::read(&least.to_string(), 64).expect("a context");
        assert_eq!(serde_json::to_value(&read).expect("a document"), least);
        let required = schema["required"].as_array().expect("a list");
        for field in required.iter().filter_map(Value::as_str) {
            let mut without = least.clone();
            without.as_object_mut().expect("fields").remove(field);
            assert!(Context::read(&without.to_string(), 64).is_err(), "{field}");
        }
    }

    #[test]
    fn a_seed_belongs_to_its_name_and_is_not_logged() {
        // HMAC-SHA256, test case 2 of RFC 4231.
        let seed = Seed::of(b"Jefe", "what do ya want for nothing?");
        assert_eq!(seed.0, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(seed.0.parse(), Ok(seed.clone()));
        assert_ne!(Seed::of(b"Jefe", "other"), seed);
        assert!(!format!("{seed:?}").contains("5bdc"));
        for text in ["", "0", &"g".repeat(64), &"A".repeat(64), &"0".repeat(65)] {
            assert_eq!(text.parse::<Seed>(), Err(NoSeed), "{text}");
        }
    }
}
