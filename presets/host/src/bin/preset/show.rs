//! How things are shown: YAML, differences, numbers.

use std::fmt::Write;

use anyhow::{Context as _, Result};
use ephemeron_preset_host::{
    document::Rendered,
    error::{Issue, Refusal},
};
use serde_json::{Map, Value, json};
use similar::TextDiff;

/// What of a rendered answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The template and its port.
    Template,
    /// The warnings and the secret values, too.
    Everything,
}

/// What was rendered, as YAML.
pub fn rendered(rendered: &Rendered, extent: Extent) -> Result<String> {
    let mut shown = Map::new();
    shown.insert("port".into(), rendered.port.into());
    shown.insert("template".into(), rendered.template.clone().into());
    if extent == Extent::Everything {
        if !rendered.secrets.is_empty() {
            shown.insert("secrets".into(), json!(rendered.secrets));
        }
        if !rendered.warnings.is_empty() {
            shown.insert("warnings".into(), json!(rendered.warnings));
        }
    }
    yaml(&shown.into())
}

/// Why nothing was rendered, as YAML.
pub fn refusal(refusal: &Refusal) -> Result<String> {
    let issue =
        |issue: &Issue| json!({"pointer": issue.pointer, "code": issue.code, "message": issue.message});
    yaml(&match refusal {
        Refusal::InvalidParameters(issues) => {
            json!({"refused": {"invalid-parameters": issues.iter().map(issue).collect::<Vec<_>>()}})
        }
        Refusal::Rejected(one) => json!({"refused": {"rejected": issue(one)}}),
        Refusal::Internal(message) => json!({"refused": {"internal": message}}),
    })
}

fn yaml(value: &Value) -> Result<String> {
    serde_saphyr::to_string(value).context("it cannot be written as YAML")
}

/// The lines that differ, with some around them; empty where none does.
pub fn difference(before: &str, after: &str, name_before: &str, name_after: &str) -> String {
    TextDiff::from_lines(before, after).unified_diff().header(name_before, name_after).to_string()
}

/// A number as people read it: 1,234,567.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        let _ = write!(shown, "{digit}");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators() {
        for (value, shown) in [(0, "0"), (999, "999"), (1_000, "1,000"), (50_000_000, "50,000,000")] {
            assert_eq!(number(value), shown);
        }
    }

    #[test]
    fn secret_values_are_shown_only_with_everything() {
        let rendered_answer = Rendered {
            template: Map::from_iter([("spec".to_owned(), json!({}))]),
            port: 80,
            warnings: vec!["careful".into()],
            secrets: [("flag".to_owned(), "s3cret".to_owned())].into(),
        };
        let shown = |extent| rendered(&rendered_answer, extent).expect("YAML");
        assert_eq!(shown(Extent::Template), "port: 80\ntemplate:\n  spec: {}\n");
        assert!(shown(Extent::Everything).contains("flag: s3cret"));
    }

    #[test]
    fn a_difference_is_a_unified_diff() {
        assert_eq!(difference("a\n", "a\n", "x", "y"), "");
        assert_eq!(difference("a\nb\n", "a\nc\n", "x", "y"), "--- x\n+++ y\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n");
    }
}
