//! What an installation has set for the REST API, as plain values.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{policy::Policy, presets, resource::Service};

/// All of it.
pub struct Settings {
    /// Where the API is served.
    pub listen: SocketAddr,
    /// Connections that are open at once; others wait.
    pub connections: usize,
    /// How long the program goes on after it was told to stop, so that requests find another one.
    pub drain: Duration,
    /// The namespace of the services' Pods.
    pub namespace: String,
    /// What tokens are signed with: the first signs, all verify.
    pub secrets: Vec<Vec<u8>>,
    /// What the ids of idempotent requests are derived with.
    pub id_secret: Vec<u8>,
    /// The backends that may use the API, by name.
    pub apps: BTreeMap<String, Arc<App>>,
    /// Services by the name of their preset.
    pub services: BTreeMap<String, Service>,
    /// From which origins browsers may call; None for any.
    pub origins: Option<Vec<String>>,
    /// What Pods may be.
    pub policy: Policy,
    /// Presets that are modules.
    pub presets: presets::Settings,
}

/// One backend, and what it may do.
#[derive(Clone, Debug)]
pub struct App {
    /// Its name.
    pub name: String,
    /// What it authenticates with.
    pub key: Key,
    /// The presets that it may ask for; None for all.
    pub presets: Option<BTreeSet<String>>,
    /// The longest time from a request to the end that it asks for; None for no limit.
    pub longest: Option<TimeDelta>,
    /// How many services there may be at once.
    pub quotas: Quotas,
    /// Whether its users may read the logs of their services.
    pub logs: bool,
    /// Whether its users may see what a preset makes of parameters.
    pub render: bool,
}

impl App {
    /// Whether it may ask for a preset.
    #[must_use]
    pub fn may_use(&self, preset: &str) -> bool {
        self.presets.as_ref().is_none_or(|presets| presets.contains(preset))
    }
}

/// How many services there may be at once; None for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Of one user.
    pub user: Option<usize>,
    /// Of one group.
    pub group: Option<usize>,
    /// Of the app.
    pub app: Option<usize>,
}

/// The digest of an app's key: the key itself is not kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

/// A text that begins so has the key's SHA-256 in hexadecimal digits after it.
const HASHED: &str = "sha256:";

impl Key {
    /// The key as the configuration has it: itself, or `sha256:` and its digest.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        let Some(digest) = text.strip_prefix(HASHED) else {
            return if text.is_empty() { Err("an empty key protects nothing") } else { Ok(Self::of(text)) };
        };
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(digest.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok()).map(Self);
        bytes.ok_or("after sha256: there are the 64 hexadecimal digits of the key's SHA-256")
    }

    fn of(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Whether this is the key. It takes the same time for all keys of one length.
    #[must_use]
    pub fn is(&self, key: &str) -> bool {
        self.0.ct_eq(&Self::of(key).0).into()
    }
}

/// Logs do not get it.
impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_by_their_digest() {
        let hashed = "sha256:5E884898DA28047151D0E56F8DC6292773603D0D6AABBDD62A11EF721D1542D8";
        for text in ["password", hashed] {
            let key = Key::read(text).expect("a key");
            assert!(key.is("password") && !key.is("passwords") && !key.is(""), "{text}");
            assert!(!format!("{key:?}").contains("5e88"));
        }
        for text in ["", "sha256:", "sha256:00", "sha256:password"] {
            assert!(Key::read(text).is_err(), "{text:?}");
        }
    }
}
