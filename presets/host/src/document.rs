//! The JSON documents that presets answer with, read within bounds.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use crate::error::printable;

/// The `apiVersion` of the documents.
pub const API_VERSION: &str = "preset.ephemeron/v1";

/// What `describe()` answers: `presets/wit/schema/describe.schema.json`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Description {
    /// The name by which the preset is asked for: a DNS label.
    pub name: String,
    /// One line for people.
    #[serde(default)]
    pub title: String,
    /// The preset's own version.
    pub version: String,
    /// The JSON Schema of the parameters.
    pub parameters: Map<String, Value>,
    /// Parameters that render.
    #[serde(default)]
    pub examples: Vec<Map<String, Value>>,
    /// Which fields of the context the preset looks at.
    #[serde(default)]
    pub uses: Vec<String>,
}

/// What `render()` answers: `presets/wit/schema/rendered.schema.json`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Rendered {
    /// A PodTemplateSpec, as yet unchecked.
    pub template: Map<String, Value>,
    /// The port on which the service listens.
    pub port: u16,
    /// What the user should know.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What stands in a Secret.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
}

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A line and column, or a JSON Pointer.
    pub at: String,
    /// What is wrong there.
    pub reason: String,
}

impl Fault {
    fn new(at: &str, reason: impl fmt::Display) -> Self {
        Self { at: at.to_owned(), reason: printable(&reason.to_string()) }
    }
}

/// Reads what `describe()` has answered.
///
/// # Errors
/// When it is not JSON within bounds, or not such a document.
pub fn description(text: &str, depth: usize) -> Result<Description, Fault> {
    let document: Description = typed(text, depth)?;
    if !is_label(&document.name) {
        return Err(Fault::new(
            "at /name",
            "a name has 1 to 63 of the characters a-z, 0-9 and -, and neither begins nor ends with -",
        ));
    }
    if document.examples.len() > 16 {
        return Err(Fault::new("at /examples", "there are more than 16"));
    }
    Ok(document)
}

/// Reads what `render()` has answered.
///
/// # Errors
/// When it is not JSON within bounds, or not such a document.
pub fn rendered(text: &str, depth: usize) -> Result<Rendered, Fault> {
    let mut document: Rendered = typed(text, depth)?;
    if document.port == 0 {
        return Err(Fault::new("at /port", "a port is a number from 1 to 65535"));
    }
    if document.warnings.len() > 16 {
        return Err(Fault::new("at /warnings", "there are more than 16"));
    }
    document.warnings = document.warnings.iter().map(|warning| printable(warning)).collect();
    Ok(document)
}

fn typed<T: for<'de> Deserialize<'de>>(text: &str, depth: usize) -> Result<T, Fault> {
    let value = parse(text, depth)?;
    match value.get("apiVersion").and_then(Value::as_str) {
        Some(API_VERSION) => {
            serde_json::from_value(value).map_err(|error| Fault::new("in the document", error))
        }
        Some(other) => Err(Fault::new(
            "at /apiVersion",
            format!("it is {}, and this program reads {API_VERSION}", printable(other)),
        )),
        None => Err(Fault::new("at /apiVersion", format!("it is missing; it should be {API_VERSION}"))),
    }
}

/// JSON without duplicate keys and nested at most so deep. JSON itself has no NaN and no infinity.
///
/// # Errors
/// When it is something else, with line and column.
pub fn parse(text: &str, depth: usize) -> Result<Value, Fault> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict { left: depth }.deserialize(&mut reader);
    value.and_then(|value| reader.end().map(|()| value)).map_err(|error| {
        let at = format!("at line {}, column {}", error.line(), error.column());
        Fault::new(&at, error)
    })
}

fn is_label(name: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inside)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// A value whose objects and arrays are nested at most `left` deep.
#[derive(Clone, Copy)]
struct Strict {
    left: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let left = self.left.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Self { left })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!("the key {key:?} is there twice")));
            }
            object.insert(key, entries.next_value_seed(inner)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason<T: fmt::Debug>(outcome: Result<T, Fault>) -> String {
        let fault = outcome.expect_err("a fault");
        format!("{}: {}", fault.at, fault.reason)
    }

    #[test]
    fn json_is_read_within_bounds() {
        assert_eq!(parse(r#"{"a":[1,-2,0.5,"x",null,true]}"#, 8).expect("JSON")["a"][2], 0.5);
        for (text, says) in [
            (r#"{"a":1,"a":2}"#, "twice"),
            ("NaN", "expected"),
            ("1e999", "out of range"),
            ("[1] 2", "trailing"),
            ("", "EOF"),
            (&"[".repeat(9), "too deep"),
            (&"[".repeat(1_000_000), "too deep"),
        ] {
            let reason = reason(parse(text, 8));
            assert!(reason.contains(says), "{reason}");
            assert!(reason.starts_with("at line 1"), "{reason}");
        }
        // The reader's own bound holds where ours is set higher.
        reason(parse(&"[".repeat(1_000_000), usize::MAX));
    }

    #[test]
    fn documents_say_what_is_wrong_and_where() {
        let good = r#"{"apiVersion":"preset.ephemeron/v1","template":{},"port":80,"new":1}"#;
        assert_eq!(rendered(good, 64).expect("a field of a later version is no fault").port, 80);
        for (text, says) in [
            ("{}".to_owned(), "at /apiVersion: it is missing"),
            (good.replace("v1", "v2"), "at /apiVersion: it is preset.ephemeron/v2"),
            (good.replace("80", "0"), "at /port"),
            (good.replace("80", "65536"), "65536"),
            (good.replace("port", "prot"), "missing field `port`"),
        ] {
            let reason = reason(rendered(&text, 64));
            assert!(reason.contains(says), "{reason}");
        }
        let named = |name: &str| {
            let text = serde_json::json!({
                "apiVersion": API_VERSION, "name": name, "version": "1", "parameters": {}
            });
            description(&text.to_string(), 64)
        };
        assert!(named("a-1").is_ok());
        for name in ["", "A", "-a", "a-", "a/b", "a.b", &"a".repeat(64)] {
            assert!(reason(named(name)).starts_with("at /name"), "{name}");
        }
    }
}
