//! The JSON documents that presets answer with, read within bounds.

mod context;
mod json;

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{error::printable, labels::is_dns_label};
pub use context::{Context, Seed};
pub use json::{is_deeper, parse};

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
    #[serde(skip)]
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

/// The most entries of a document's lists.
const MOST: usize = 16;
/// The most secrets, and their names and values together in bytes.
const SECRETS: (usize, usize) = (64, 64 << 10);

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A line and column, or a JSON Pointer.
    pub at: String,
    /// What is wrong there.
    pub reason: String,
}

impl Fault {
    pub(crate) fn new(at: &str, reason: impl fmt::Display) -> Self {
        Self { at: printable(at), reason: printable(&reason.to_string()) }
    }
}

/// Reads what `describe()` has answered.
///
/// # Errors
/// When it is not JSON within bounds, or not such a document.
pub fn description(text: &str, depth: usize) -> Result<Description, Fault> {
    let mut document: Description = typed(text, depth)?;
    if !is_dns_label(&document.name) {
        return Err(Fault::new(
            "at /name",
            "a name has 1 to 63 of the characters a-z, 0-9 and -, and neither begins nor ends with -",
        ));
    }
    for (at, count) in [("at /examples", document.examples.len()), ("at /uses", document.uses.len())] {
        if count > MOST {
            return Err(Fault::new(at, format!("there are more than {MOST}")));
        }
    }
    for (at, text, most) in [("at /title", &document.title, 200), ("at /version", &document.version, 64)] {
        if text.chars().count() > most {
            return Err(Fault::new(at, format!("there are more than {most} characters")));
        }
    }
    document.title = printable(&document.title);
    document.version = printable(&document.version);
    Ok(document)
}

/// Reads what `render()` has answered.
///
/// # Errors
/// When it is not JSON within bounds, or not such a document.
pub fn rendered(text: &str, depth: usize) -> Result<Rendered, Fault> {
    let mut value = parse(text, depth)?;
    // As it is: to be read once more, as a part of the document, it would have to be built anew.
    let template = value.as_object_mut().and_then(|fields| fields.remove("template"));
    // What is wrong with a value would be told with the value.
    match value.get("secrets") {
        None => {}
        Some(Value::Object(secrets)) if secrets.values().all(Value::is_string) => {}
        Some(_) => return Err(Fault::new("at /secrets", "it is no object of names and texts")),
    }
    let mut document: Rendered = document(value)?;
    document.template = match template {
        Some(Value::Object(template)) => template,
        Some(_) => return Err(Fault::new("at /template", "it is no object")),
        None => return Err(Fault::new("at /template", "it is missing")),
    };
    if document.port == 0 {
        return Err(Fault::new("at /port", "a port is a number from 1 to 65535"));
    }
    if document.warnings.len() > MOST {
        return Err(Fault::new("at /warnings", format!("there are more than {MOST}")));
    }
    secrets(&document.secrets)?;
    document.warnings = document.warnings.iter().map(|warning| printable(warning)).collect();
    Ok(document)
}

/// Kubernetes takes them as the keys of a Secret, and not too many.
fn secrets(secrets: &BTreeMap<String, String>) -> Result<(), Fault> {
    let (most, bytes) = SECRETS;
    if secrets.len() > most {
        return Err(Fault::new("at /secrets", format!("there are more than {most}")));
    }
    if secrets.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > bytes {
        return Err(Fault::new("at /secrets", format!("they are more than {bytes} bytes together")));
    }
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let fits = |name: &str| {
        (1..=253).contains(&name.len()) && name.bytes().all(inside) && name != "." && !name.starts_with("..")
    };
    match secrets.keys().find(|name| !fits(name)) {
        Some(name) => Err(Fault::new(
            "at /secrets",
            format!(
                "{} is no name: it has 1 to 253 of the characters a-z, A-Z, 0-9, -, . and _, and does not begin with ..",
                printable(name)
            ),
        )),
        None => Ok(()),
    }
}

fn typed<T: for<'de> Deserialize<'de>>(text: &str, depth: usize) -> Result<T, Fault> {
    document(parse(text, depth)?)
}

fn document<T: for<'de> Deserialize<'de>>(value: Value) -> Result<T, Fault> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn reason<T: fmt::Debug>(outcome: Result<T, Fault>) -> String {
        let fault = outcome.expect_err("a fault");
        format!("{}: {}", fault.at, fault.reason)
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
            (good.replace("template", "tmplate"), "at /template: it is missing"),
            (good.replace("{}", "[]"), "at /template: it is no object"),
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
    #[test]
    fn secrets_are_few_small_and_named_as_keys() {
        let with = |secrets: &Value| {
            let text = serde_json::json!({
                "apiVersion": API_VERSION, "template": {}, "port": 80, "secrets": secrets
            });
            rendered(&text.to_string(), 64)
        };
        let named = |name: &str| with(&serde_json::json!({ name: "x" }));
        for name in ["a", "FLAG_1", "a.b-c", ".a", &"a".repeat(253)] {
            assert!(named(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "..a", "a/b", "a b", "ä", "a\n", &"a".repeat(254)] {
            assert!(reason(named(name)).starts_with("at /secrets"), "{name}");
        }
        let many =
            |count: usize| (0..count).map(|name| (format!("a{name}"), "x".into())).collect::<Map<_, _>>();
        assert!(with(&many(64).into()).is_ok());
        assert!(reason(with(&many(65).into())).contains("more than 64"));
        let large = |size: usize| with(&serde_json::json!({ "a": "x".repeat(size) }));
        assert!(large((64 << 10) - 1).is_ok());
        assert!(reason(large(64 << 10)).contains("65536 bytes"));
    }

    #[test]
    fn what_a_preset_says_of_itself_is_bounded() {
        let with = |field: &str, value: Value| {
            let mut text = serde_json::json!({
                "apiVersion": API_VERSION, "name": "a", "version": "1", "parameters": {}
            });
            text[field] = value;
            description(&text.to_string(), 64)
        };
        assert_eq!(with("title", "a\u{1b}b".into()).expect("a description").title, "a\\u{1b}b");
        assert!(reason(with("title", "x".repeat(201).into())).starts_with("at /title"));
        assert!(reason(with("version", "x".repeat(65).into())).starts_with("at /version"));
        assert!(reason(with("examples", vec![serde_json::json!({}); 17].into())).starts_with("at /examples"));
        assert!(reason(with("uses", vec!["name"; 17].into())).starts_with("at /uses"));
    }
}
