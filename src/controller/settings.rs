//! What an installation has set for its controller, already validated.

use std::{collections::BTreeSet, fmt, str::FromStr};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    lease::{Place, election::Times},
    policy::Policy,
    presets,
    resource::{Ephemeron, domain::Domain, lifetime::Lifetime, selector::Selector},
};

/// The settings of one controller.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Services answer at `{name}.{domain}`.
    pub domain: Domain,
    /// The namespace of the children.
    pub namespace: String,
    /// Which Ephemerons are looked after.
    pub selector: Selector,
    /// What no Ephemeron may be called.
    pub reserved: Reserved,
    /// How hosts are routed.
    pub routing: RoutingChoice,
    /// The class of Ingresses; None for the cluster's default.
    pub ingress_class: Option<String>,
    /// How public URLs are probed.
    pub probe: ProbeChoice,
    /// What is done when a time is over.
    pub expiry: Expiry,
    /// How long before the end it is told that it is near; zero for never.
    pub notice: TimeDelta,
    /// In which time after its container's start a Pod usually becomes ready.
    pub ready_within: TimeDelta,
    /// The `timeouts.request` of HTTPRoutes, as a Gateway API duration (GEP-2257); `0s` for none.
    pub request_timeout: String,
    /// What the Pods may be.
    pub policy: Policy,
    /// Where presets come from.
    pub presets: presets::Settings,
    /// How long an Ephemeron may live, whatever its spec says; None for as long as it says.
    pub max_lifetime: Option<Lifetime>,
    /// The Lease that decides which of several replicas leads; None where only one runs.
    pub lease: Option<Place>,
    /// The times of that.
    pub lease_times: Times,
}

impl Settings {
    /// When an Ephemeron ends: at the time of its spec, but never later than the longest lifetime
    /// after its creation. None where its spec does not say an end.
    #[must_use]
    pub fn end_of(&self, ephemeron: &Ephemeron) -> Option<DateTime<Utc>> {
        let said = ephemeron.expiration_time()?;
        let latest = self.max_lifetime.as_ref().and_then(|longest| {
            let created = ephemeron.metadata.creation_timestamp.as_ref()?.0.as_second();
            let longest = TimeDelta::try_seconds(longest.as_secs())?;
            DateTime::from_timestamp(created, 0)?.checked_add_signed(longest)
        });
        Some(latest.map_or(said, |latest| said.min(latest)))
    }
}

/// The names and hosts that an installation keeps for itself. The oldest route of a host wins (Gateway API,
/// HTTPRoute, "conflicts"), so that a service could stand in front of what comes later.
#[derive(Clone, Debug, Default)]
pub struct Reserved {
    /// Names of Ephemerons.
    pub names: BTreeSet<String>,
    /// The host of the REST API.
    pub api_host: Option<Domain>,
}

impl Reserved {
    /// Whether a service of this name and host would take what is kept.
    #[must_use]
    pub fn has(&self, name: &str, host: &str) -> bool {
        self.names.contains(name) || self.api_host.as_ref().is_some_and(|kept| kept.as_str() == host)
    }
}

/// What is done when a time is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// The Ephemeron is deleted.
    #[default]
    Delete,
    /// Nothing: it is only told what would be deleted.
    Hold,
}

/// Which routing an installation asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutingChoice {
    /// The one usable Gateway, else an Ingress.
    Automatic,
    /// This Gateway and nothing else; `listener` None for the one that suits best.
    Gateway {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The listener's name (`sectionName`).
        listener: Option<String>,
    },
    /// An Ingress, whatever Gateways there are.
    Ingress,
}

/// The text does not name a way of routing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write auto, ingress, NAMESPACE/NAME or NAMESPACE/NAME/LISTENER")]
pub struct NotARouting;

impl FromStr for RoutingChoice {
    type Err = NotARouting;

    fn from_str(text: &str) -> Result<Self, NotARouting> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || part.contains(char::is_whitespace)) {
            return Err(NotARouting);
        }
        match parts[..] {
            ["auto"] => Ok(Self::Automatic),
            ["ingress"] => Ok(Self::Ingress),
            [namespace, name] => {
                Ok(Self::Gateway { namespace: namespace.into(), name: name.into(), listener: None })
            }
            [namespace, name, listener] => Ok(Self::Gateway {
                namespace: namespace.into(),
                name: name.into(),
                listener: Some(listener.into()),
            }),
            _ => Err(NotARouting),
        }
    }
}

/// Where the public URL is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeChoice {
    /// Nowhere: a service counts as available without.
    Off,
    /// At the address that the Gateway or Ingress says, else at the one that DNS has for the host.
    Published,
    /// At this address.
    At {
        /// A host name or an IP address.
        host: String,
        /// The port; None for the listener's.
        port: Option<u16>,
    },
}

/// The text is not an address to probe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write off, HOST or HOST:PORT (an IPv6 address in brackets)")]
pub struct NotAnAddress;

impl FromStr for ProbeChoice {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        if text == "off" {
            return Ok(Self::Off);
        }
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return Ok(Self::At { host: text.into(), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, Some(port.parse().map_err(|_| NotAnAddress)?))
            }
            _ => (text, None),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
        if host.is_empty() || !(is_name || host.parse::<std::net::Ipv6Addr>().is_ok()) || port == Some(0) {
            return Err(NotAnAddress);
        }
        Ok(Self::At { host: host.into(), port })
    }
}

impl fmt::Display for RoutingChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Automatic => formatter.write_str("auto"),
            Self::Ingress => formatter.write_str("ingress"),
            Self::Gateway { namespace, name, listener: None } => write!(formatter, "{namespace}/{name}"),
            Self::Gateway { namespace, name, listener: Some(listener) } => {
                write!(formatter, "{namespace}/{name}/{listener}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixtures;

    #[test]
    fn an_end_is_never_later_than_the_longest_lifetime() {
        let end = |manifest: &str, longest: Option<&str>| {
            let max_lifetime = longest.map(|text| text.parse().expect("a lifetime"));
            let settings = Settings { max_lifetime, ..fixtures::settings() };
            settings.end_of(&fixtures::ephemeron(manifest)).map(|end| end.to_rfc3339())
        };
        // One lives 30 min from midnight, the other until 1:00.
        let rows = [
            (fixtures::MINIMAL, None, "00:30:00"),
            (fixtures::MINIMAL, Some("1h"), "00:30:00"),
            (fixtures::MINIMAL, Some("10m"), "00:10:00"),
            (fixtures::FULL, None, "01:00:00"),
            (fixtures::FULL, Some("1h"), "01:00:00"),
            (fixtures::FULL, Some("59m"), "00:59:00"),
            (fixtures::FULL, Some("99999d99999d99999d99999d"), "01:00:00"),
        ];
        for (manifest, longest, wanted) in rows {
            assert_eq!(end(manifest, longest), Some(format!("2030-01-01T{wanted}+00:00")), "{longest:?}");
        }
        let mut endless = fixtures::ephemeron(fixtures::MINIMAL);
        endless.spec.lifetime = None;
        assert_eq!(fixtures::settings().end_of(&endless), None);
    }

    #[test]
    fn routing_choices_are_read() {
        assert_eq!("auto".parse(), Ok(RoutingChoice::Automatic));
        assert_eq!("ingress".parse(), Ok(RoutingChoice::Ingress));
        for text in ["a/b", "a/b/c"] {
            assert_eq!(text.parse::<RoutingChoice>().map(|choice| choice.to_string()), Ok(text.into()));
        }
        for text in ["", "gateway", "/b", "a/", "a/b/c/d", "a /b"] {
            assert_eq!(text.parse::<RoutingChoice>(), Err(NotARouting), "{text}");
        }
    }

    #[test]
    fn probe_addresses_are_read() {
        let at = |host: &str, port| Ok(ProbeChoice::At { host: host.into(), port });
        assert_eq!("off".parse(), Ok(ProbeChoice::Off));
        assert_eq!("10.0.0.1".parse(), at("10.0.0.1", None));
        assert_eq!("lb.example.com:8080".parse(), at("lb.example.com", Some(8080)));
        assert_eq!("[fd00::1]:80".parse(), at("fd00::1", Some(80)));
        assert_eq!("fd00::1".parse(), at("fd00::1", None));
        assert_eq!("[fd00::1]".parse(), at("fd00::1", None));
        for text in ["", ":80", "a:", "a:0", "a:99999", "http://a", "a b"] {
            assert_eq!(text.parse::<ProbeChoice>(), Err(NotAnAddress), "{text}");
        }
    }
}
