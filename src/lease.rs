//! Which of several replicas leads: by a Lease that one of them holds (coordination.k8s.io/v1).
//!
//! | room | what lives in it |
//! | --- | --- |
//! | [`election`] | what a candidate knows of the Lease, and what it does next (pure) |
//! | [`candidate`] | does it: watches, reads and writes the Lease |
//! | [`gate`] | lets no write through that does not come from the leader |

pub mod candidate;
pub mod election;
pub mod gate;

use std::{fmt, str::FromStr};

/// The namespace and name of a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The text does not say where the Lease is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write NAMESPACE/NAME of a Lease, each of lowercase letters, digits and '-', or off")]
pub struct NotAPlace;

impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        // A name may have more of it than a label, but need not.
        let is_name = |text: &str| {
            let bytes = text.as_bytes();
            (1..=63).contains(&bytes.len())
                && bytes
                    .iter()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
                && !text.starts_with('-')
                && !text.ends_with('-')
        };
        match text.split_once('/') {
            Some((namespace, name)) if is_name(namespace) && is_name(name) => {
                Ok(Self { namespace: namespace.into(), name: name.into() })
            }
            _ => Err(NotAPlace),
        }
    }
}

/// Whether there is a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// There is none: only one process runs.
    Off,
    /// It is this one.
    At(Place),
}

impl FromStr for Choice {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        if text == "off" { Ok(Self::Off) } else { text.parse().map(Self::At) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read() {
        assert_eq!("off".parse(), Ok(Choice::Off));
        assert_eq!("a/b".parse(), "a/b".parse().map(Choice::At));
        assert_eq!("".parse::<Choice>(), Err(NotAPlace));
    }

    #[test]
    fn places_are_read() {
        assert_eq!("a/b-1".parse::<Place>().map(|place| place.to_string()), Ok("a/b-1".into()));
        for text in ["", "a", "/b", "a/", "a/b/c", "A/b", "a/b_c", "-a/b", "a/b ", "off"] {
            assert_eq!(text.parse::<Place>(), Err(NotAPlace), "{text}");
        }
    }
}
