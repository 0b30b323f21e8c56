//! Whether a listener of a Gateway admits our routes.

use gateway_api::gateways::{Gateway, GatewayListeners, GatewayListenersAllowedRoutesNamespacesFrom as From};
use kube::ResourceExt as _;

use super::{GATEWAY_GROUP, Offer, Parent};
use crate::controller::settings::Settings;

/// The listener of this Gateway that admits our routes; one with TLS before one without.
pub fn admitting(
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
            candidate
                .hostname
                .as_deref()
                .is_none_or(|hostname| admits_host(hostname, settings.domain.as_str()))
        })
        .filter(|candidate| admits_namespace(candidate, &namespace, settings, offer))
        // The first of equals: one that is added moves nobody.
        .min_by_key(|candidate| candidate.protocol != "HTTPS")?;
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
        gone: false,
        namespace,
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
        Some(From::Selector) => {
            namespaces.and_then(|namespaces| namespaces.selector.as_ref()).is_some_and(|selector| {
                let labels = &offer.namespace_labels;
                let by_labels =
                    selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
                let by_expressions = selector.match_expressions.iter().flatten().all(|expression| {
                    let value = labels.get(&expression.key);
                    let listed = || {
                        value.is_some_and(|value| expression.values.iter().flatten().any(|one| one == value))
                    };
                    match expression.operator.as_str() {
                        "In" => listed(),
                        "NotIn" => !listed(),
                        "Exists" => value.is_some(),
                        "DoesNotExist" => value.is_none(),
                        _ => false,
                    }
                });
                by_labels && by_expressions
            })
        }
    }
}
