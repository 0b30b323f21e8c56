//! The user's parameters: read, and what is wrong with them, each fault with its place.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::{Issue, schema};

/// Reads parameters that keep to their schema.
///
/// # Errors
/// What is wrong with them: all that the schema finds, else the first that their type finds.
pub fn read<T: DeserializeOwned>(text: &str, schema: &Value) -> Result<T, Vec<Issue>> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| vec![Issue::new("not-json", format!("this is not JSON: {error}"))])?;
    let issues = schema::issues(schema, &value);
    if !issues.is_empty() {
        return Err(issues);
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let pointer = pointer(error.path());
        vec![Issue::new("invalid", error.into_inner().to_string()).at(pointer)]
    })
}

/// A step down from a JSON Pointer.
pub(crate) fn below(pointer: &str, key: &str) -> String {
    // RFC 6901, section 3: `~` first.
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

fn pointer(path: &Path) -> String {
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => below(&pointer, &index.to_string()),
        Segment::Map { key } => below(&pointer, key),
        Segment::Enum { variant } => below(&pointer, variant),
        // Where an untagged enum or a flattened field hides the way.
        Segment::Unknown => pointer,
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, num::NonZeroU8};

    use schemars::{JsonSchema, schema_for};
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    #[expect(dead_code, reason = "only read")]
    struct Parameters {
        #[schemars(length(min = 1, max = 3))]
        image: String,
        port: u16,
        #[serde(default)]
        size: Size,
        #[schemars(range(max = 9))]
        replicas: Option<NonZeroU8>,
        #[serde(default)]
        environment: BTreeMap<String, String>,
        #[serde(default)]
        command: Vec<String>,
        probe: Option<Probe>,
        tree: Option<Box<Tree>>,
        address: Option<std::net::Ipv4Addr>,
    }

    #[derive(Debug, Default, Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Size {
        /// Half a core.
        #[default]
        Small,
        /// Two cores.
        Large,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Probe {
        path: String,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only read")]
    struct Tree {
        left: Option<Box<Tree>>,
        right: Option<Box<Tree>>,
    }

    fn found(text: &str) -> Vec<(String, String)> {
        match read::<Parameters>(text, schema_for!(Parameters).as_value()) {
            Ok(_) => Vec::new(),
            Err(issues) => issues.into_iter().map(|issue| (issue.pointer, issue.code)).collect(),
        }
    }

    #[test]
    fn each_fault_has_its_place_and_kind() {
        let good = r#""image":"a","port":80"#;
        let rows: &[(&str, &[(&str, &str)])] = &[
            ("", &[]),
            (
                r#","size":"small","replicas":9,"environment":{"A":"b"},"command":["x"],"probe":{"path":"/"}"#,
                &[],
            ),
            (r#","replicas":null,"probe":null,"tree":{"left":{"right":{}}}"#, &[]),
            (r#","sise":"small","a/b~c":1"#, &[("/a~1b~0c", "unknown"), ("/sise", "unknown")]),
            (r#","size":"huge""#, &[("/size", "not-allowed")]),
            (r#","size":1"#, &[("/size", "not-allowed")]),
            (r#","replicas":0"#, &[("/replicas", "too-small")]),
            (r#","replicas":10"#, &[("/replicas", "too-large")]),
            (r#","replicas":1.5"#, &[("/replicas", "wrong-type")]),
            (
                r#","environment":{"A/B":1,"C":null}"#,
                &[("/environment/A~1B", "wrong-type"), ("/environment/C", "wrong-type")],
            ),
            (r#","command":["a",1,"b",{}]"#, &[("/command/1", "wrong-type"), ("/command/3", "wrong-type")]),
            (r#","command":"a""#, &[("/command", "wrong-type")]),
            (r#","probe":{}"#, &[("/probe/path", "missing")]),
            (r#","probe":{"path":"/","more":1}"#, &[("/probe/more", "unknown")]),
            (r#","probe":7"#, &[("/probe", "wrong-type")]),
            (r#","tree":{"left":{"right":3}}"#, &[("/tree/left/right", "wrong-type")]),
            // What the schema does not say, the type does.
            (r#","address":"here""#, &[("/address", "invalid")]),
        ];
        for (more, wanted) in rows {
            let text = format!("{{{good}{more}}}");
            let wanted: Vec<_> =
                wanted.iter().map(|(pointer, code)| ((*pointer).to_owned(), (*code).to_owned())).collect();
            assert_eq!(found(&text), wanted, "{text}");
        }
    }

    #[test]
    fn several_faults_are_told_at_once_and_not_too_many() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<_> {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        assert_eq!(
            found(r#"{"image":"","port":70000,"x":1}"#),
            pairs(&[("/image", "too-short"), ("/port", "too-large"), ("/x", "unknown")])
        );
        assert_eq!(found(r#"{"image":"long"}"#), pairs(&[("/port", "missing"), ("/image", "too-long")]));
        let many = format!(r#"{{"image":"a","port":80,"command":[{}0]}}"#, "0,".repeat(1_000));
        assert_eq!(found(&many).len(), schema::MOST);
    }

    #[test]
    fn what_is_no_object_or_no_json_is_told() {
        for (text, code) in [
            ("", "not-json"),
            ("{", "not-json"),
            ("{} {}", "not-json"),
            ("[]", "wrong-type"),
            ("null", "wrong-type"),
            (&"[".repeat(10_000), "not-json"),
        ] {
            assert_eq!(found(text), [(String::new(), code.to_owned())], "{text:.20}");
        }
    }
}
