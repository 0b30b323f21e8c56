//! Parameters of a preset, as JSON that is not looked into.

use ephemeron_preset_host::digest::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error as _};
use serde_json::{Value, value::RawValue};

/// A JSON object of any shape and depth. It stays text until a preset is asked: nested deeply, it would
/// otherwise make the whole Ephemeron unreadable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters(String);

impl Parameters {
    /// The JSON text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The SHA-256 of what they say, however it is written; none are as good as `{}`.
    #[must_use]
    pub fn digest(parameters: Option<&Self>) -> String {
        let text = parameters.map_or("{}", Self::text);
        // What is nested too deeply to be read is never rendered.
        let said = serde_json::from_str::<Value>(text).map(|value| value.to_string());
        Digest::of(said.as_deref().unwrap_or(text).as_bytes()).hexadecimal()
    }
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|raw| Self(raw.get().to_owned()))
    }
}

impl Serialize for Parameters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.clone()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Ephemeron;

    #[test]
    fn what_they_say_has_a_digest_however_it_is_written() {
        let digest = |text: &str| Parameters::digest(Some(&Parameters(text.into())));
        assert_eq!(digest(r#"{"a": 1, "b": "<"}"#), digest(r#"{"a":1,"b":"\u003c"}"#));
        assert_ne!(digest(r#"{"a":1}"#), digest(r#"{"b":1}"#));
        assert_eq!(digest("{}"), Parameters::digest(None));
        let deep = |depth: usize| digest(&"[".repeat(depth));
        assert_ne!(deep(9_000), deep(9_001));
    }

    #[test]
    fn what_is_nested_deeply_can_be_read() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(9_000), "]".repeat(9_000));
        let text = format!(
            r#"{{"apiVersion":"qualified.io/v1alpha1","kind":"Ephemeron","metadata":{{"name":"a"}},
                "spec":{{"preset":{{"name":"nginx","parameters":{deep}}}}}}}"#
        );
        let one: Ephemeron = serde_json::from_str(&text).expect("an Ephemeron");
        let parameters = one.spec.preset.as_ref().and_then(|preset| preset.parameters.as_ref());
        assert_eq!(parameters.map(Parameters::text), Some(deep.as_str()));
        let again: Ephemeron =
            serde_json::from_str(&serde_json::to_string(&one).expect("JSON")).expect("an Ephemeron");
        assert_eq!(again.spec, one.spec);
    }
}
