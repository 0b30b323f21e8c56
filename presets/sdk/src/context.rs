//! What is known of the Ephemeron, and the secrets derived from its seed.

use std::fmt::{self, Write as _};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};
use sha2::Sha256;

/// What an installation says of the Ephemeron that a Pod is for (`presets/wit/schema/context.schema.json`).
#[derive(Clone, Debug, Deserialize)]
pub struct Context {
    /// The Ephemeron's name.
    pub name: String,
    /// The namespace in which its Pod will be.
    pub namespace: String,
    /// Who asked for it, where that is known.
    pub owner: Option<String>,
    /// The group it was asked for in, where there is one.
    pub group: Option<String>,
    /// What secret values are derived from.
    pub seed: Seed,
    /// When the Ephemeron was created (RFC 3339, UTC).
    pub created: Option<String>,
    /// Seconds from then until its end, as it was first asked for.
    pub lifetime: Option<u64>,
    /// What the installation tells all presets.
    #[serde(default)]
    pub values: Map<String, Value>,
}

/// 32 bytes that belong to one name in one installation: the same each time, unknown to others.
#[derive(Clone)]
pub struct Seed([u8; 32]);

impl Context {
    /// A context for tests: its seed is all zeros.
    #[must_use]
    pub fn example(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            owner: None,
            group: None,
            seed: Seed([0; 32]),
            created: None,
            lifetime: None,
            values: Map::new(),
        }
    }

    /// The image that the installation has for this name (`images.NAME` in its values), else `default`.
    #[must_use]
    pub fn image<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        let images = self.values.get("images");
        images.and_then(|images| images.get(name)).and_then(Value::as_str).unwrap_or(default)
    }

    /// A secret value in 64 hexadecimal digits: HMAC-SHA256 of the label, with the seed's 32 bytes as key.
    /// Whoever has the seed computes it again; different labels give independent values.
    #[must_use]
    pub fn derive(&self, label: &str) -> String {
        self.seed.derive(label)
    }

    /// A flag such as `CTF{…}`: the first 32 digits of what [`Context::derive`] makes of the label.
    #[must_use]
    pub fn flag(&self, prefix: &str, label: &str) -> String {
        let digits: String = self.derive(label).chars().take(32).collect();
        format!("{prefix}{{{digits}}}")
    }
}

impl Seed {
    fn derive(&self, label: &str) -> String {
        // A key of 32 bytes is used as it is; HMAC takes keys of any length.
        let Ok(mut hmac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        hmac.update(label.as_bytes());
        hmac.finalize().into_bytes().iter().fold(String::new(), |mut text, byte| {
            // A string takes all that is written.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits: Option<Vec<u8>> = text
            .bytes()
            .map(|byte| match byte {
                b'0'..=b'9' => Some(byte - b'0'),
                b'a'..=b'f' => Some(byte - b'a' + 10),
                _ => None,
            })
            .collect();
        let mut seed = [0; 32];
        match digits {
            Some(digits) if digits.len() == 64 => {
                for (byte, pair) in seed.iter_mut().zip(digits.chunks(2)) {
                    *byte = pair.iter().fold(0, |byte, digit| byte * 16 + digit);
                }
                Ok(Self(seed))
            }
            // What it is stays out of the message: it is secret.
            _ => Err(D::Error::custom("a seed has 64 hexadecimal digits in lower case")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with_seed(seed: &str) -> Result<Context, serde_json::Error> {
        serde_json::from_value(json!({"name": "a", "namespace": "b", "seed": seed, "later": 1}))
    }

    #[test]
    fn a_secret_is_the_hmac_of_its_label() {
        // printf flag | openssl dgst -sha256 -mac HMAC -macopt hexkey:000102…1f
        let seed = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        let context = with_seed(seed).expect("a context");
        assert_eq!(
            context.derive("flag"),
            "35b1355a1deb86f681ca35b6f63dcc7bc6706889ed69ca33f6b93dcb718cd5a2"
        );
        assert_eq!(context.flag("CTF", "flag"), "CTF{35b1355a1deb86f681ca35b6f63dcc7b}");
        assert_ne!(context.derive("flag"), context.derive("password"));
    }

    #[test]
    fn an_installation_can_have_images_of_its_own() {
        let mut context = Context::example("a");
        assert_eq!(context.image("nginx", "default"), "default");
        context.values =
            serde_json::from_value(json!({"images": {"nginx": "own", "other": 1}})).expect("map");
        assert_eq!(context.image("nginx", "default"), "own");
        assert_eq!(context.image("other", "default"), "default");
    }

    #[test]
    fn a_seed_is_64_digits_and_stays_secret() {
        for seed in ["", "00", &"0".repeat(63), &"A".repeat(64), &"g".repeat(64), &"0".repeat(66)] {
            let error = with_seed(seed).expect_err(seed).to_string();
            assert!(error.contains("64 hexadecimal digits"), "{error}");
            assert!(seed.is_empty() || seed == "00" || !error.contains(seed), "{error}");
        }
        let shown = format!("{:?}", with_seed(&"ab".repeat(32)).expect("a context"));
        assert!(shown.contains("Seed(…)") && !shown.contains("abab"), "{shown}");
    }
}
