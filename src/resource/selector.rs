//! Label selectors, as text.

use std::{fmt, str::FromStr};

use super::labels::{self, is_label};

/// A label selector that the API server will take
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>). The
/// default selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(String);

/// The text is not a label selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no requirement of a label selector: write key, !key, key=value, key!=value, key in (a, b) or \
     key notin (a, b), with commas between them; {rule}",
    rule = labels::RULE
)]
pub struct NotASelector(String);

impl FromStr for Selector {
    type Err = NotASelector;

    fn from_str(text: &str) -> Result<Self, NotASelector> {
        let text = text.trim();
        match requirements(text).into_iter().find(|one| !is_requirement(one)) {
            Some(one) if !text.is_empty() => Err(NotASelector(one.chars().take(200).collect())),
            _ => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Divides at the commas that are not between parentheses.
fn requirements(text: &str) -> Vec<&str> {
    let mut inside = false;
    text.split(|char| {
        match char {
            '(' => inside = true,
            ')' => inside = false,
            _ => {}
        }
        char == ',' && !inside
    })
    .map(str::trim)
    .collect()
}

fn is_requirement(text: &str) -> bool {
    let is_key = |key: &str| is_label(key.trim(), "");
    let fits = |(key, value): (&str, &str)| is_label(key.trim(), value.trim());
    if let Some((left, values)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        let mut words = left.split_whitespace();
        let (key, operator, rest) = (words.next(), words.next(), words.next());
        return key.is_some_and(is_key)
            && matches!(operator, Some("in" | "notin"))
            && rest.is_none()
            && values.split(',').all(|value| is_label("key", value.trim()));
    }
    if let Some(key) = text.strip_prefix('!') {
        return is_key(key);
    }
    let equation = text.split_once("!=").or_else(|| text.split_once("==")).or_else(|| text.split_once('='));
    equation.map_or_else(|| is_key(text), fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_what_the_api_server_takes() {
        let good = [
            "",
            " ",
            "a",
            "!a",
            "a=b",
            "a==b",
            "a != b",
            "a=",
            "a in (b)",
            "example.com/a notin (b, c),d=e",
            "a in (b,c),!d",
        ];
        for text in good {
            assert_eq!(text.parse::<Selector>().map(|one| one.to_string()).as_deref(), Ok(text.trim()));
        }
        let bad = [
            ",",
            "a,",
            "a b",
            "a=b c",
            "a in b",
            "a in (b",
            "a on (b)",
            "in (b)",
            "a = b = c",
            "-a",
            "a=ü",
            "!",
            "a in (b c)",
            "a in x (b)",
        ];
        for text in bad {
            assert!(text.parse::<Selector>().is_err(), "{text}");
        }
    }
}
