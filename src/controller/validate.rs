//! From what an Ephemeron says to what can be carried out, or to what is wrong with it.

use std::collections::BTreeMap;

use crate::resource::{
    Ephemeron, GROUP_LABEL, HOST_ANNOTATION, KEY_PREFIX, MANAGED_BY_LABEL, Service, conditions::Reason,
    domain::Domain,
};

use super::settings::Settings;

/// An Ephemeron whose children can be made.
#[derive(Clone, Debug)]
pub struct Valid<'a> {
    /// The Ephemeron itself.
    pub ephemeron: &'a Ephemeron,
    /// What to run.
    pub service: &'a Service,
    /// Where it answers. Chosen once: a changed domain does not move a living service.
    pub host: String,
}

/// What is wrong with a spec, naming the field and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Nothing says when it ends.
    #[error("set spec.lifetime or spec.expirationTime: nothing says when this Ephemeron ends")]
    NoEnd,
    /// A label of the Pod that only we may set.
    #[error("spec.service.podLabels: the key {0:?} is reserved: take it out")]
    ReservedLabel(String),
    /// A label of the Pod that is no label.
    #[error("spec.service.podLabels: {0:?}: {1:?} is not a label: {LABEL_RULE}")]
    NotALabel(String, String),
}

impl Invalid {
    /// The reason that the conditions have then.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoEnd | Self::ReservedLabel(_) | Self::NotALabel(..) => Reason::InvalidSpec,
        }
    }
}

const LABEL_RULE: &str = "keys have an optional DNS prefix and a slash, keys and values at most 63 letters, digits, '-', '_' \
                          and '.' between letters or digits";

/// Checks what the custom resource's schema cannot.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn validate<'a>(ephemeron: &'a Ephemeron, settings: &Settings) -> Result<Valid<'a>, Invalid> {
    if ephemeron.expiration_time().is_none() {
        return Err(Invalid::NoEnd);
    }
    let service = &ephemeron.spec.service;
    pod_labels(service.pod_labels.as_ref())?;
    Ok(Valid { ephemeron, service, host: host(ephemeron, settings) })
}

/// The host of the status, else the one that the installation's domain gives. Objects of the earlier
/// implementation have their host in an annotation only; anybody can write that, so it counts only
/// where a status without a host shows that such an implementation has already served it.
fn host(ephemeron: &Ephemeron, settings: &Settings) -> String {
    let name = ephemeron.name();
    let annotation = |key: &str| ephemeron.metadata.annotations.as_ref()?.get(key).cloned();
    // A status can be written by hand.
    let is_its_own = |host: &String| {
        let domain = host.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
        domain.is_some_and(|domain| domain.parse::<Domain>().is_ok())
    };
    ephemeron
        .status
        .as_ref()
        .and_then(|status| match &status.host {
            Some(host) => Some(host.clone()),
            None if status.conditions.is_empty() => None,
            None => annotation(HOST_ANNOTATION),
        })
        .filter(is_its_own)
        .unwrap_or_else(|| settings.domain.host(name))
}

fn pod_labels(labels: Option<&BTreeMap<String, String>>) -> Result<(), Invalid> {
    for (key, value) in labels.into_iter().flatten() {
        if (key.starts_with(KEY_PREFIX) && key != GROUP_LABEL) || key == MANAGED_BY_LABEL {
            return Err(Invalid::ReservedLabel(key.clone()));
        }
        let (prefix, name) =
            key.rsplit_once('/').map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
        let prefix_fits = prefix.is_none_or(|prefix| {
            prefix.len() <= 253
                && prefix.split('.').all(|label| {
                    is_part(label) && !label.contains(['.', '_']) && label == label.to_ascii_lowercase()
                })
        });
        if !(prefix_fits && is_part(name) && (value.is_empty() || is_part(value))) {
            return Err(Invalid::NotALabel(key.clone(), value.clone()));
        }
    }
    Ok(())
}

/// The name part of a label's key, or a value that is not empty
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>).
fn is_part(text: &str) -> bool {
    let ends_fit = |char: Option<char>| char.is_some_and(|char| char.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && ends_fit(text.chars().next())
        && ends_fit(text.chars().last())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{controller::fixtures, resource::EphemeronStatus};

    fn with_labels(labels: &serde_json::Value) -> Result<(), Invalid> {
        let mut ephemeron = fixtures::ephemeron(fixtures::MINIMAL);
        ephemeron.spec.service.pod_labels = serde_json::from_value(labels.clone()).expect("labels");
        validate(&ephemeron, &fixtures::settings()).map(drop)
    }

    #[test]
    fn what_can_be_carried_out_is_valid() {
        for manifest in [fixtures::MINIMAL, fixtures::FULL] {
            let ephemeron = fixtures::ephemeron(manifest);
            let valid = validate(&ephemeron, &fixtures::settings());
            assert_eq!(valid.map(|valid| valid.host), Ok(format!("{}.example.com", ephemeron.name())));
        }
    }

    #[test]
    fn without_an_end_it_is_invalid() {
        let mut ephemeron = fixtures::ephemeron(fixtures::MINIMAL);
        ephemeron.spec.lifetime = None;
        assert_eq!(validate(&ephemeron, &fixtures::settings()).map(drop), Err(Invalid::NoEnd));
    }

    #[test]
    fn pod_labels_are_checked() {
        for labels in [json!({"a": ""}), json!({"example.com/a_b.c": "X-1"}), json!({GROUP_LABEL: "g.app"})] {
            assert_eq!(with_labels(&labels), Ok(()), "{labels}");
        }
        for key in ["ephemerons.qualified.io/name", "ephemerons.qualified.io/other", MANAGED_BY_LABEL] {
            assert_eq!(with_labels(&json!({ key: "a" })), Err(Invalid::ReservedLabel(key.into())));
        }
        let long = "a".repeat(64);
        let rows = [
            ("", "a"),
            ("a b", "a"),
            ("-a", "a"),
            ("/a", "a"),
            ("a/", "a"),
            ("A.b/c", "a"),
            ("a/b/c", "a"),
            ("a", "ü"),
            ("a", &long),
            (&long, "a"),
        ];
        for (key, value) in rows {
            assert!(
                matches!(with_labels(&json!({ key: value })), Err(Invalid::NotALabel(..))),
                "{key} {value}"
            );
        }
    }

    #[test]
    fn the_host_is_chosen_once() {
        let host = |status: Option<serde_json::Value>, annotation: &str| {
            let mut ephemeron = fixtures::ephemeron(fixtures::MINIMAL);
            ephemeron.status =
                status.map(|status| serde_json::from_value::<EphemeronStatus>(status).expect("a status"));
            ephemeron.metadata.annotations =
                Some(BTreeMap::from([(HOST_ANNOTATION.into(), annotation.into())]));
            validate(&ephemeron, &fixtures::settings()).expect("valid").host
        };
        let conditions = json!([{"type": "PodReady", "status": "True"}]);
        assert_eq!(
            host(Some(json!({"host": "minimal.old.org"})), "x"),
            "minimal.old.org",
            "a new domain moves nobody"
        );
        assert_eq!(host(Some(json!({"host": "bank.example.org"})), "x"), "minimal.example.com", "by hand");
        assert_eq!(host(None, "bank.example.org"), "minimal.example.com", "anybody can annotate");
        let earlier = Some(json!({ "conditions": conditions }));
        assert_eq!(
            host(earlier.clone(), "minimal.old.org"),
            "minimal.old.org",
            "the earlier implementation's"
        );
        assert_eq!(host(earlier, "bank.example.org"), "minimal.example.com", "not under its own name");
    }
}
