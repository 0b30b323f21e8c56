//! From what an Ephemeron says to what can be carried out, or to what is wrong with it.

use std::collections::BTreeMap;

use crate::resource::{
    Ephemeron, GROUP_LABEL, HOST_ANNOTATION, KEY_PREFIX, MANAGED_BY_LABEL, Service, domain::Domain,
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
    ephemeron
        .status
        .as_ref()
        .and_then(|status| match &status.host {
            Some(host) => Some(host.clone()),
            None if status.conditions.is_empty() => None,
            None => annotation(HOST_ANNOTATION).filter(|host| {
                host.strip_prefix(name)
                    .and_then(|rest| rest.strip_prefix('.'))
                    .is_some_and(|domain| domain.parse::<Domain>().is_ok())
            }),
        })
        .unwrap_or_else(|| settings.domain.host(name))
}

fn pod_labels(labels: Option<&BTreeMap<String, String>>) -> Result<(), Invalid> {
    for (key, value) in labels.into_iter().flatten() {
        if (key.starts_with(KEY_PREFIX) && key != GROUP_LABEL) || key == MANAGED_BY_LABEL {
            return Err(Invalid::ReservedLabel(key.clone()));
        }
        let (prefix, name) = key.rsplit_once('/').map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
        let prefix_fits = prefix.is_none_or(|prefix| {
            prefix.len() <= 253
                && prefix.split('.').all(|label| is_part(label) && !label.contains(['.', '_']) && label == label.to_ascii_lowercase())
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
