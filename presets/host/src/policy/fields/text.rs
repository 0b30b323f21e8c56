//! Which texts a field can have.

use crate::{labels, policy::SECRETS};

/// A kind of text.
pub struct Text {
    /// The most bytes.
    pub most: usize,
    /// Whether it is one.
    pub fits: fn(&str) -> bool,
    /// What it has to be, after "must be".
    pub rule: &'static str,
}

/// Anything; what a process is given cannot have a NUL within.
pub const ANY: Text =
    Text { most: 32 << 10, fits: |text| !text.contains('\0'), rule: "text of at most 32 KiB without NUL" };

pub const IMAGE: Text = Text { most: 512, fits: |_| true, rule: "an image reference" };

/// The name of a container or volume (RFC 1123). `*` is none: in a template that is every container.
pub const NAME: Text = Text {
    most: 63,
    fits: is_dns_label,
    rule: "a name of at most 63 lower-case letters, digits and '-' between letters or digits",
};

pub const OBJECT_NAME: Text = Text {
    most: 253,
    fits: |text| text.split('.').all(is_dns_label),
    rule: "the name of an object: names of lower-case letters, digits and '-' with dots between them",
};

/// The Secret of this Ephemeron, and no other.
pub const OWN_SECRET: Text = Text {
    most: SECRETS.len(),
    fits: |text| text == SECRETS,
    rule: "ephemeron-secrets: a preset reads no Secret but the one with its own `secrets`",
};

/// The key of an entry in a ConfigMap or Secret.
pub const KEY: Text = Text {
    most: 253,
    fits: |text| is_made_of(text, b"-_.") && text != "." && !text.starts_with(".."),
    rule: "a key of letters, digits, '-', '_' and '.'",
};

pub const VARIABLE: Text = Text {
    most: 253,
    fits: |text| is_made_of(text, b"-_.") && !text.starts_with(|char: char| char.is_ascii_digit()),
    rule: "a name of letters, digits, '-', '_' and '.' that does not begin with a digit",
};

/// A port's name (RFC 6335, section 5.1).
pub const PORT_NAME: Text = Text {
    most: 15,
    fits: is_port_name,
    rule: "a name of at most 15 lower-case letters, digits and '-', with a letter in it",
};

/// Where a volume is mounted. Runtimes write `SOURCE:PATH`.
pub const MOUNT_PATH: Text = Text {
    most: 1024,
    fits: |text| text.starts_with('/') && !text.contains([':', '\0']) && stays_below(&text[1..]),
    rule: "an absolute path without .. and ':'",
};

/// A place within a volume.
pub const INNER_PATH: Text = Text {
    most: 1024,
    fits: |text| {
        !text.is_empty() && !text.starts_with('/') && !text.contains([':', '\0']) && stays_below(text)
    },
    rule: "a relative path without .. and ':'",
};

pub const HEADER: Text = Text {
    most: 256,
    fits: |text| is_made_of(text, b"-_"),
    rule: "a header's name of letters, digits, '-' and '_'",
};

pub const SYSCTL: Text =
    Text { most: 253, fits: |text| is_made_of(text, b"-_./"), rule: "the name of a sysctl" };

pub const CAPABILITY: Text = Text {
    most: 64,
    fits: |text| is_made_of(text, b"_"),
    rule: "the name of a capability, such as NET_BIND_SERVICE",
};

/// The value of a label; which ones are is said with the key.
pub const LABEL: Text = Text { most: 63, fits: |_| true, rule: "at most 63 characters" };

pub const NOTE: Text = Text { most: 4 << 10, fits: |_| true, rule: "text of at most 4 KiB" };

/// Keys with this prefix are the presets' own.
const OWN_PREFIX: &str = "preset.ephemeron/";
/// Of the recommended labels of Kubernetes, those that only describe
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>).
const COMMON: &[&str] = &[
    "app.kubernetes.io/component",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/name",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/version",
];
const OURS: &str = "the key is reserved: take it out";
const STEERS: &str = "such a key may steer other software: take keys without a prefix, those that begin with \
                      preset.ephemeron/, or the labels app.kubernetes.io/name, instance, component, part-of and version";

/// Why there can be no such label. The group's is the user's to set.
pub fn label(key: &str, value: &str) -> Option<&'static str> {
    if is_ours(key) {
        Some(OURS)
    } else if !labels::is_label(key, value) {
        Some(labels::RULE)
    } else if is_own(key) || COMMON.contains(&key) {
        None
    } else {
        Some(STEERS)
    }
}

/// Why there can be no such annotation.
pub fn annotation(key: &str, _: &str) -> Option<&'static str> {
    if is_ours(key) {
        Some(OURS)
    } else if !labels::is_label(key, "") {
        Some(labels::RULE)
    } else if is_own(key) {
        None
    } else {
        Some(STEERS)
    }
}

fn is_ours(key: &str) -> bool {
    labels::is_reserved(key) || key.starts_with(labels::KEY_PREFIX)
}

fn is_own(key: &str) -> bool {
    !key.contains('/') || key.starts_with(OWN_PREFIX)
}

fn is_dns_label(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_fit = |byte: Option<&u8>| byte.copied().is_some_and(is_inner);
    text.len() <= 63
        && text.bytes().all(|byte| is_inner(byte) || byte == b'-')
        && ends_fit(text.as_bytes().first())
        && ends_fit(text.as_bytes().last())
}

pub fn is_port_name(text: &str) -> bool {
    is_dns_label(text) && text.bytes().any(|byte| byte.is_ascii_lowercase()) && !text.contains("--")
}

fn is_made_of(text: &str, others: &[u8]) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

fn stays_below(path: &str) -> bool {
    path.split('/').all(|part| part != "..")
}
