//! Which Gateway or ingress class serves the hosts of this installation.

use std::collections::BTreeMap;

use gateway_api::{
    gatewayclasses::GatewayClass,
    gateways::{Gateway, GatewayListeners, GatewayListenersAllowedRoutesNamespacesFrom as From},
};
use k8s_openapi::api::networking::v1::IngressClass;
use kube::ResourceExt as _;

use super::settings::{RoutingChoice, Settings};
use crate::resource::{
    Route,
    conditions::{Finding, Reason},
};

/// The API group of the Gateway API.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";

/// How hosts are routed at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routing {
    /// By HTTPRoutes on this Gateway.
    Gateway(Parent),
    /// By Ingresses of this class.
    Ingress {
        /// The ingress class.
        class: String,
    },
    /// Not at all; the finding says why and what to do.
    Unavailable(Finding),
}

/// The listener of a Gateway that HTTPRoutes attach to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The Gateway's namespace.
    pub namespace: String,
    /// The Gateway's name.
    pub name: String,
    /// The listener's name.
    pub listener: String,
    /// The listener's port.
    pub port: u16,
    /// Whether the listener speaks TLS.
    pub tls: bool,
    /// The address in the Gateway's status.
    pub address: Option<String>,
    /// The controller that the Gateway's class names; None while the class does not exist.
    pub controller: Option<String>,
}

impl Routing {
    /// What the status says of it.
    #[must_use]
    pub fn as_status(&self) -> Option<Route> {
        match self {
            Self::Gateway(parent) => Some(Route {
                kind: "HTTPRoute".into(),
                parent: Some(format!("{}/{}/{}", parent.namespace, parent.name, parent.listener)),
            }),
            Self::Ingress { class } => Some(Route { kind: "Ingress".into(), parent: Some(class.clone()) }),
            Self::Unavailable(_) => None,
        }
    }
}

/// What there is to choose from.
#[derive(Debug, Default)]
pub struct Offer<'a> {
    /// All Gateways.
    pub gateways: Vec<&'a Gateway>,
    /// All classes of Gateways.
    pub classes: Vec<&'a GatewayClass>,
    /// All classes of Ingresses.
    pub ingress_classes: Vec<&'a IngressClass>,
    /// The labels of the children's namespace.
    pub namespace_labels: BTreeMap<String, String>,
}

/// Chooses. A configured Gateway wins and never falls back.
#[must_use]
pub fn choose(settings: &Settings, offer: &Offer<'_>) -> Routing {
    match &settings.routing {
        RoutingChoice::Ingress => ingress(settings, offer, "EPHEMERON_GATEWAY asks for an Ingress"),
        RoutingChoice::Gateway { namespace, name, listener } => {
            configured(settings, offer, namespace, name, listener.as_deref())
        }
        RoutingChoice::Automatic => automatic(settings, offer),
    }
}

fn configured(
    settings: &Settings,
    offer: &Offer<'_>,
    namespace: &str,
    name: &str,
    listener: Option<&str>,
) -> Routing {
    let missing = |message| Routing::Unavailable(Finding::no(Reason::NoGateway, message));
    let Some(gateway) = offer
        .gateways
        .iter()
        .find(|gateway| gateway.namespace().as_deref() == Some(namespace) && gateway.name_any() == name)
    else {
        return missing(format!(
            "the Gateway {namespace}/{name} does not exist: create it, or set EPHEMERON_GATEWAY to one that does"
        ));
    };
    match admitting(settings, offer, gateway, listener) {
        Some(parent) => Routing::Gateway(parent),
        None => missing(format!(
            "{} of the Gateway {namespace}/{name} admits HTTPRoutes of the namespace {} for *.{}: see its \
             protocol, hostname and allowedRoutes",
            listener.map_or("no listener".into(), |listener| format!("the listener {listener:?} is missing, or does not fit: no such listener")),
            settings.namespace,
            settings.domain
        )),
    }
}

fn automatic(settings: &Settings, offer: &Offer<'_>) -> Routing {
    let mut usable: Vec<Parent> = offer
        .gateways
        .iter()
        .filter(|gateway| is_programmed(gateway))
        .filter_map(|gateway| admitting(settings, offer, gateway, None))
        .collect();
    usable.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    match &usable[..] {
        [] => ingress(
            settings,
            offer,
            &format!(
                "no programmed Gateway has a listener that admits HTTPRoutes of the namespace {} for *.{}",
                settings.namespace, settings.domain
            ),
        ),
        [_] => Routing::Gateway(usable.remove(0)),
        _ => Routing::Unavailable(Finding::no(
            Reason::AmbiguousGateway,
            format!(
                "several Gateways could serve *.{}: set EPHEMERON_GATEWAY to one of {}",
                settings.domain,
                usable
                    .iter()
                    .map(|parent| format!("{}/{}", parent.namespace, parent.name))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        )),
    }
}

fn ingress(settings: &Settings, offer: &Offer<'_>, why: &str) -> Routing {
    let named = |class: &&&IngressClass| settings.ingress_class.as_ref() == Some(&class.name_any());
    let is_default =
        |class: &&&IngressClass| class.annotations().get(DEFAULT_CLASS).is_some_and(|value| value == "true");
    let class = match (&settings.ingress_class, &offer.ingress_classes[..]) {
        (Some(_), classes) => classes.iter().find(named),
        (None, [only]) => Some(only),
        (None, classes) => classes.iter().find(is_default),
    };
    match (class, &settings.ingress_class) {
        (Some(class), _) => Routing::Ingress { class: class.name_any() },
        (None, Some(name)) => Routing::Unavailable(Finding::no(
            Reason::NoGateway,
            format!(
                "{why}, and the ingress class {name:?} of EPHEMERON_INGRESS_CLASS does not exist: create it, or \
                 name one that does"
            ),
        )),
        (None, None) => Routing::Unavailable(Finding::no(
            Reason::NoGateway,
            format!(
                "{why}, and there is no default ingress class: create a Gateway, or set EPHEMERON_INGRESS_CLASS"
            ),
        )),
    }
}

/// The listener of this Gateway that admits our routes; one with TLS before one without.
fn admitting(
    settings: &Settings,
    offer: &Offer<'_>,
    gateway: &Gateway,
    listener: Option<&str>,
) -> Option<Parent> {
    let namespace = gateway.namespace()?;
    let best = gateway
        .spec
        .listeners
        .iter()
        .filter(|candidate| listener.is_none_or(|name| name == candidate.name))
        .filter(|candidate| is_http(candidate))
        .filter(|candidate| {
            candidate.hostname.as_deref().is_none_or(|hostname| admits_host(hostname, settings.domain.as_str()))
        })
        .filter(|candidate| admits_namespace(candidate, &namespace, settings, offer))
        .max_by_key(|candidate| candidate.protocol == "HTTPS")?;
    let class = &gateway.spec.gateway_class_name;
    Some(Parent {
        name: gateway.name_any(),
        listener: best.name.clone(),
        port: u16::try_from(best.port).ok()?,
        tls: best.protocol == "HTTPS",
        address: gateway
            .status
            .as_ref()
            .and_then(|status| status.addresses.as_ref()?.first())
            .map(|address| address.value.clone()),
        controller: offer
            .classes
            .iter()
            .find(|candidate| candidate.name_any() == *class)
            .map(|class| class.spec.controller_name.clone()),
        namespace,
    })
}

fn is_programmed(gateway: &Gateway) -> bool {
    let conditions = gateway.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| {
        conditions.iter().any(|condition| condition.type_ == "Programmed" && condition.status == "True")
    })
}

/// Whether HTTPRoutes can attach at all: the protocol, and `allowedRoutes.kinds`.
fn is_http(listener: &GatewayListeners) -> bool {
    let kinds = listener.allowed_routes.as_ref().and_then(|routes| routes.kinds.as_ref());
    let kind_fits = kinds.is_none_or(|kinds| {
        kinds.is_empty()
            || kinds.iter().any(|kind| {
                kind.kind == "HTTPRoute" && kind.group.as_deref().is_none_or(|group| group == GATEWAY_GROUP)
            })
    });
    matches!(listener.protocol.as_str(), "HTTP" | "HTTPS") && kind_fits
}

/// Whether a listener's hostname admits every `{name}.{domain}`: a wildcard stands for one or more
/// labels (Gateway API, `Listener.hostname`).
fn admits_host(hostname: &str, domain: &str) -> bool {
    hostname.strip_prefix("*.").is_some_and(|suffix| {
        let suffix = suffix.to_ascii_lowercase();
        domain == suffix || domain.strip_suffix(&suffix).is_some_and(|rest| rest.ends_with('.'))
    })
}

fn admits_namespace(
    listener: &GatewayListeners,
    gateway_namespace: &str,
    settings: &Settings,
    offer: &Offer<'_>,
) -> bool {
    let namespaces = listener.allowed_routes.as_ref().and_then(|routes| routes.namespaces.as_ref());
    match namespaces.and_then(|namespaces| namespaces.from.as_ref()) {
        Some(From::All) => true,
        // The Gateway API's default is Same.
        None | Some(From::Same) => gateway_namespace == settings.namespace,
        Some(From::Selector) => namespaces.and_then(|namespaces| namespaces.selector.as_ref()).is_some_and(
            |selector| {
                let labels = &offer.namespace_labels;
                let by_labels = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
                let by_expressions = selector.match_expressions.iter().flatten().all(|expression| {
                    let value = labels.get(&expression.key);
                    let listed = || value.is_some_and(|value| expression.values.iter().flatten().any(|one| one == value));
                    match expression.operator.as_str() {
                        "In" => listed(),
                        "NotIn" => !listed(),
                        "Exists" => value.is_some(),
                        "DoesNotExist" => value.is_none(),
                        _ => false,
                    }
                });
                by_labels && by_expressions
            },
        ),
    }
}
