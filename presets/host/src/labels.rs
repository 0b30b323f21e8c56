//! What may be a label, and which labels and annotations only we set.

/// Label of every child: the name of the Ephemeron that it belongs to.
pub const NAME_LABEL: &str = "ephemerons.qualified.io/name";
/// Label of every child: the program that manages it
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>).
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Pod label with the group that a service belongs to; set through `spec.service.podLabels`.
pub const GROUP_LABEL: &str = "ephemerons.qualified.io/group";
/// What the keys of our own labels and annotations begin with.
pub const KEY_PREFIX: &str = "ephemerons.qualified.io/";

/// What a label is, in words.
pub const RULE: &str = "keys have an optional DNS prefix and a slash, keys and values at most 63 letters, digits, '-', '_' \
                        and '.' between letters or digits";

/// Whether only we set the label or annotation of this key.
#[must_use]
pub fn is_reserved(key: &str) -> bool {
    (key.starts_with(KEY_PREFIX) && key != GROUP_LABEL) || key == MANAGED_BY_LABEL
}

/// Whether a label can have this key and value
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>).
#[must_use]
pub fn is_label(key: &str, value: &str) -> bool {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefix_fits = prefix.is_none_or(|prefix| {
        prefix.len() <= 253
            && prefix.split('.').all(|label| {
                is_part(label) && !label.contains(['.', '_']) && label == label.to_ascii_lowercase()
            })
    });
    prefix_fits && is_part(name) && (value.is_empty() || is_part(value))
}

/// Whether this is a DNS label (RFC 1123), as names of namespaces and presets are.
#[must_use]
pub fn is_dns_label(name: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inside)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// The name part of a label's key, or a value that is not empty.
fn is_part(text: &str) -> bool {
    let ends_fit = |char: Option<char>| char.is_some_and(|char| char.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && ends_fit(text.chars().next())
        && ends_fit(text.chars().last())
}
