//! The domain under which the services of an installation answer.

use std::{fmt, str::FromStr};

use super::labels::is_dns_label;

/// A DNS name in lower case, at most 189 characters long, so that a label of 63 and a dot fit
/// before it (RFC 1035: 253 in all).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain(String);

/// Why a text cannot be a [`Domain`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotADomain {
    /// It has no room for the services' names.
    #[error("it has {0} characters; at most 189 leave room for a service's name before it")]
    TooLong(usize),
    /// One of its labels is not a DNS label.
    #[error(
        "{0:?} is not a DNS label: 1 to 63 letters, digits and '-' that begin and end with a letter or digit"
    )]
    Label(String),
    /// It is a number, as an address would end in.
    #[error("it looks like an address; a domain is needed, such as example.com or {0}.sslip.io")]
    Address(String),
}

impl Domain {
    const MAX: usize = 189;

    /// The host of the service with this name.
    #[must_use]
    pub fn host(&self, name: &str) -> String {
        format!("{name}.{}", self.0)
    }

    /// The domain as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Domain {
    type Err = NotADomain;

    fn from_str(text: &str) -> Result<Self, NotADomain> {
        if text.len() > Self::MAX {
            return Err(NotADomain::TooLong(text.chars().count()));
        }
        if text.parse::<std::net::IpAddr>().is_ok() {
            return Err(NotADomain::Address(text.into()));
        }
        let text = text.to_ascii_lowercase();
        match text.split('.').find(|label| !is_dns_label(label)) {
            Some(label) => Err(NotADomain::Label(label.into())),
            None => Ok(Self(text)),
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_checked() {
        let domain = |text: &str| text.parse::<Domain>();
        assert_eq!(domain("Example.COM").map(|domain| domain.host("a")), Ok("a.example.com".into()));
        assert!(domain("localhost").is_ok());
        assert!(domain("10.0.0.1.sslip.io").is_ok());
        assert!(domain(&"a.".repeat(94).chars().chain(['a']).collect::<String>()).is_ok());
        assert_eq!(domain(&"a".repeat(190)), Err(NotADomain::TooLong(190)));
        for text in ["", ".", "a..b", "example.com.", "-a", "a-", "a_b", "*.example.com", "http://a", "ü.de"]
        {
            assert!(matches!(domain(text), Err(NotADomain::Label(_))), "{text}");
        }
        assert!(matches!(domain("10.0.0.1"), Err(NotADomain::Address(_))));
    }
}
