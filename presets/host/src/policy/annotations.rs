//! Which annotations an Ephemeron may give its Ingress: some controllers take configuration from them.

use std::{collections::BTreeMap, str::FromStr};

use super::Violation;

/// The keys that may be set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    /// All.
    #[default]
    Any,
    /// Those that one of these fits.
    These(Vec<Pattern>),
}

/// Some keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// This one.
    Key(String),
    /// All that begin so; it ends in a slash.
    Below(String),
}

/// The text is not a list of annotation keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither an annotation's key nor a prefix that ends in /*: write a list of these with commas between \
     them, * for any key, or none"
)]
pub struct NotAPattern(String);

impl FromStr for Keys {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        match text.trim() {
            "*" => Ok(Self::Any),
            "none" => Ok(Self::These(Vec::new())),
            text => Ok(Self::These(text.split(',').map(|one| one.trim().parse()).collect::<Result<_, _>>()?)),
        }
    }
}

impl FromStr for Pattern {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        let is_plain = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        match text.split_once('/') {
            Some((prefix, "*")) if is_plain(prefix) => Ok(Self::Below(format!("{prefix}/"))),
            Some((prefix, name)) if is_plain(prefix) && is_plain(name) => Ok(Self::Key(text.into())),
            None if is_plain(text) => Ok(Self::Key(text.into())),
            _ => Err(NotAPattern(text.chars().take(200).collect())),
        }
    }
}

impl Keys {
    /// Checks the annotations of an Ingress, as `field` has them.
    ///
    /// # Errors
    ///
    /// The first whose key is not allowed.
    pub(super) fn check(&self, field: &str, annotations: &BTreeMap<String, String>) -> Result<(), Violation> {
        let Self::These(patterns) = self else { return Ok(()) };
        let fits = |key: &str| {
            patterns.iter().any(|pattern| match pattern {
                Pattern::Key(allowed) => allowed == key,
                Pattern::Below(prefix) => key.starts_with(prefix.as_str()),
            })
        };
        match annotations.iter().find(|(key, _)| !fits(key)) {
            None => Ok(()),
            Some((key, _)) => Err(Violation::AnnotationNotAllowed {
                field: field.into(),
                key: key.chars().take(200).collect(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(keys: &str, key: &str) -> bool {
        let annotations = BTreeMap::from([(key.to_owned(), String::new())]);
        keys.parse::<Keys>().expect(keys).check("annotations", &annotations).is_ok()
    }

    #[test]
    fn keys_fit_what_they_say_and_no_more() {
        let rows: &[(&str, &[&str], &[&str])] = &[
            ("*", &["a", "nginx.ingress.kubernetes.io/configuration-snippet"], &[]),
            ("none", &[], &["a", "none"]),
            (
                "example.com/*",
                &["example.com/a", "example.com/b"],
                &["example.com.evil.org/a", "a.example.com/a", "example.com"],
            ),
            ("a/b, c", &["a/b", "c"], &["a/c", "a/bc", "A/b", "b"]),
        ];
        for (keys, fitting, others) in rows {
            for key in *fitting {
                assert!(fits(keys, key), "{keys} should allow {key}");
            }
            for key in *others {
                assert!(!fits(keys, key), "{keys} should not allow {key}");
            }
        }
        assert!(Keys::These(Vec::new()).check("annotations", &BTreeMap::new()).is_ok());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", ",", "a,", "/*", "*/a", "a*", "a/b*", "a/b/c", "a b", "*,a"] {
            assert!(text.parse::<Keys>().is_err(), "{text}");
        }
    }
}
