//! Which Gateway or ingress class serves the hosts of this installation.

mod listener;
pub mod sticky;

use std::collections::BTreeMap;

use gateway_api::{gatewayclasses::GatewayClass, gateways::Gateway};
use k8s_openapi::api::networking::v1::IngressClass;
use kube::ResourceExt as _;

use super::settings::{RoutingChoice, Settings};
use crate::resource::{
    Route,
    conditions::{Finding, Reason},
};
use listener::admitting;

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
    /// The Gateway is not there at the moment, and is waited for.
    pub gone: bool,
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

impl Offer<'_> {
    fn gateway(&self, namespace: &str, name: &str) -> Option<&Gateway> {
        let mut gateways = self.gateways.iter();
        gateways
            .find(|gateway| gateway.namespace().as_deref() == Some(namespace) && gateway.name_any() == name)
            .copied()
    }
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
    let Some(gateway) = offer.gateway(namespace, name) else {
        return missing(format!(
            "the Gateway {namespace}/{name} does not exist: create it, or set EPHEMERON_GATEWAY to one that does"
        ));
    };
    if let Some(parent) = admitting(settings, offer, gateway, listener) {
        return Routing::Gateway(parent);
    }
    let names: Vec<&str> = gateway.spec.listeners.iter().map(|listener| listener.name.as_str()).collect();
    let (namespace_of_ours, domain) = (&settings.namespace, &settings.domain);
    let not_admitted = |message| Routing::Unavailable(Finding::no(Reason::HostNotAdmitted, message));
    match listener {
        Some(listener) if !names.contains(&listener) => missing(format!(
            "the Gateway {namespace}/{name} has no listener {listener:?}: set EPHEMERON_GATEWAY to one with {}",
            names.join(" or ")
        )),
        Some(listener) => not_admitted(format!(
            "the listener {listener:?} of the Gateway {namespace}/{name} does not admit HTTPRoutes of the namespace \
             {namespace_of_ours} for *.{domain}: see its protocol, hostname and allowedRoutes"
        )),
        None => not_admitted(format!(
            "no listener of the Gateway {namespace}/{name} admits HTTPRoutes of the namespace {namespace_of_ours} for \
             *.{domain}: see their protocol, hostname and allowedRoutes"
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

fn is_programmed(gateway: &Gateway) -> bool {
    let conditions = gateway.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| {
        conditions.iter().any(|condition| condition.type_ == "Programmed" && condition.status == "True")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::fixtures;

    fn gateway(name: &str, listeners: &Value) -> Gateway {
        serde_json::from_value(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"namespace": "gateways", "name": name},
            "spec": {"gatewayClassName": "class", "listeners": listeners},
            "status": {
                "addresses": [{"value": "192.0.2.1"}],
                "conditions": [{
                    "type": "Programmed", "status": "True", "reason": "Programmed", "message": "",
                    "lastTransitionTime": "2030-01-01T00:00:00Z",
                }],
            },
        }))
        .expect("a Gateway")
    }

    fn listener(name: &str, protocol: &str, port: u16, more: &Value) -> Value {
        let mut listener = json!({
            "name": name, "protocol": protocol, "port": port,
            "allowedRoutes": {"namespaces": {"from": "All"}},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            listener[key] = value.clone();
        }
        listener
    }

    fn ingress_class(name: &str, is_default: bool) -> IngressClass {
        let annotations = json!({ DEFAULT_CLASS: is_default.to_string() });
        serde_json::from_value(json!({"metadata": {"name": name, "annotations": annotations}}))
            .expect("a class")
    }

    fn chosen(choice: &str, gateways: &[Gateway], classes: &[IngressClass]) -> Routing {
        let settings = Settings { routing: choice.parse().expect("a choice"), ..fixtures::settings() };
        let class: GatewayClass = serde_json::from_value(json!({
            "metadata": {"name": "class"}, "spec": {"controllerName": "example.com/controller"},
        }))
        .expect("a class");
        let offer = Offer {
            gateways: gateways.iter().collect(),
            classes: vec![&class],
            ingress_classes: classes.iter().collect(),
            namespace_labels: BTreeMap::from([("team".into(), "blue".into())]),
        };
        choose(&settings, &offer)
    }

    fn parent_of(routing: Routing) -> Option<String> {
        match routing {
            Routing::Unavailable(_) => None,
            routing => routing.as_status().and_then(|route| route.parent),
        }
    }

    fn unavailable(routing: Routing) -> (Reason, String) {
        let Routing::Unavailable(finding) = routing else { panic!("{routing:?}") };
        (finding.reason, finding.message)
    }

    #[test]
    fn the_one_gateway_is_found() {
        let one = gateway("one", &json!([listener("http", "HTTP", 8080, &json!({}))]));
        let Routing::Gateway(parent) = chosen("auto", &[one], &[]) else { panic!("no Gateway") };
        assert_eq!(
            parent,
            Parent {
                namespace: "gateways".into(),
                name: "one".into(),
                listener: "http".into(),
                port: 8080,
                tls: false,
                address: Some("192.0.2.1".into()),
                controller: Some("example.com/controller".into()),
                gone: false,
            }
        );
    }

    #[test]
    fn listeners_are_judged() {
        let rows = [
            (json!({"hostname": "*.example.com"}), true),
            (json!({"hostname": "*.EXAMPLE.com"}), true),
            (json!({"hostname": "*.com"}), true),
            (json!({"hostname": "example.com"}), false),
            (json!({"hostname": "*.notexample.com"}), false),
            (json!({"hostname": "*.ample.com"}), false),
            (json!({"hostname": "*.sub.example.com"}), false),
            (json!({"protocol": "TCP"}), false),
            (json!({"protocol": "TLS"}), false),
            (json!({"allowedRoutes": null}), false),
            (json!({"allowedRoutes": {"namespaces": {"from": "Same"}}}), false),
            (
                json!({"allowedRoutes": {"namespaces": {"from": "All"}, "kinds": [{"kind": "GRPCRoute"}]}}),
                false,
            ),
            (
                json!({"allowedRoutes": {"namespaces": {"from": "All"}, "kinds": [{"kind": "HTTPRoute"}]}}),
                true,
            ),
            (
                json!({"allowedRoutes": {"namespaces": {"from": "Selector",
                "selector": {"matchLabels": {"team": "blue"}}}}}),
                true,
            ),
            (
                json!({"allowedRoutes": {"namespaces": {"from": "Selector",
                "selector": {"matchLabels": {"team": "red"}}}}}),
                false,
            ),
            (
                json!({"allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchExpressions":
                [{"key": "team", "operator": "In", "values": ["red", "blue"]}]}}}}),
                true,
            ),
            (
                json!({"allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchExpressions":
                [{"key": "team", "operator": "DoesNotExist"}]}}}}),
                false,
            ),
        ];
        for (more, admitted) in rows {
            let one = gateway("one", &json!([listener("web", "HTTP", 80, &more)]));
            assert_eq!(parent_of(chosen("auto", &[one], &[])).is_some(), admitted, "{more}");
        }
    }

    #[test]
    fn tls_goes_first() {
        let both =
            json!([listener("http", "HTTP", 80, &json!({})), listener("https", "HTTPS", 443, &json!({}))]);
        let gateways = [gateway("one", &both)];
        assert_eq!(parent_of(chosen("auto", &gateways, &[])).as_deref(), Some("gateways/one/https"));
        assert_eq!(
            parent_of(chosen("gateways/one/http", &gateways, &[])).as_deref(),
            Some("gateways/one/http")
        );
    }

    #[test]
    fn an_unprogrammed_gateway_counts_only_if_configured() {
        let mut one = gateway("one", &json!([listener("http", "HTTP", 80, &json!({}))]));
        one.status = None;
        let gateways = [one];
        let classes = [ingress_class("nginx", true)];
        assert_eq!(parent_of(chosen("auto", &gateways, &classes)).as_deref(), Some("nginx"));
        assert_eq!(
            parent_of(chosen("gateways/one", &gateways, &classes)).as_deref(),
            Some("gateways/one/http")
        );
    }

    #[test]
    fn two_gateways_are_ambiguous() {
        let listeners = json!([listener("http", "HTTP", 80, &json!({}))]);
        let gateways = [gateway("one", &listeners), gateway("two", &listeners)];
        let (reason, message) = unavailable(chosen("auto", &gateways, &[ingress_class("nginx", true)]));
        assert_eq!(reason, Reason::AmbiguousGateway);
        assert!(message.contains("gateways/one, gateways/two"), "{message}");
        assert_eq!(parent_of(chosen("gateways/two", &gateways, &[])).as_deref(), Some("gateways/two/http"));
    }

    #[test]
    fn a_configured_gateway_never_falls_back() {
        let one = gateway("one", &json!([listener("tcp", "TCP", 80, &json!({}))]));
        let gateways = [one];
        let classes = [ingress_class("nginx", true)];
        let rows = [
            ("gateways/none", Reason::NoGateway, "does not exist"),
            ("gateways/one", Reason::HostNotAdmitted, "no listener of the Gateway gateways/one"),
            (
                "gateways/one/web",
                Reason::NoGateway,
                "has no listener \"web\": set EPHEMERON_GATEWAY to one with tcp",
            ),
            (
                "gateways/one/tcp",
                Reason::HostNotAdmitted,
                "the listener \"tcp\" of the Gateway gateways/one does not admit",
            ),
        ];
        for (choice, wanted_reason, wanted) in rows {
            let (reason, message) = unavailable(chosen(choice, &gateways, &classes));
            assert_eq!(reason, wanted_reason);
            assert!(message.contains(wanted), "{choice}: {message}");
        }
    }

    #[test]
    fn the_ingress_class_is_found() {
        let (a, b) = (|| ingress_class("a", false), || ingress_class("b", true));
        assert_eq!(parent_of(chosen("ingress", &[], &[a()])).as_deref(), Some("a"), "the only one");
        assert_eq!(parent_of(chosen("ingress", &[], &[a(), b()])).as_deref(), Some("b"), "the default");
        let two = [a(), ingress_class("c", false)];
        assert!(unavailable(chosen("ingress", &[], &two)).1.contains("set EPHEMERON_INGRESS_CLASS"));
        assert!(unavailable(chosen("auto", &[], &[])).1.contains("no programmed Gateway"));
    }
}
