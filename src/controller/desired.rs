//! The children that an Ephemeron should have: data in, documents out.

mod httproute;
mod ingress;
mod pod;
mod service;

use std::collections::BTreeMap;

use gateway_api::httproutes::HttpRoute;
use k8s_openapi::{
    api::{
        core::v1::{Pod, Service},
        networking::v1::Ingress,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{moving::Move, routing::Routing, settings::Settings, validate::Valid};
use crate::{
    resource::{Ephemeron, MANAGED_BY_LABEL, MANAGER, NAME_LABEL},
    template::PORT_NAME,
};

/// The children as they should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The Pod.
    pub pod: Pod,
    /// The Service in front of it.
    pub service: Service,
    /// What routes the host to the Service; None while nothing can.
    pub route: Option<DesiredRoute>,
}

/// The routing child as it should be.
#[derive(Clone, Debug, PartialEq)]
pub enum DesiredRoute {
    /// On a Gateway.
    HttpRoute(HttpRoute),
    /// By an ingress controller.
    Ingress(Ingress),
}

/// The children of this Ephemeron under this routing. It cannot fail: what could is checked before.
/// While it is moved from one Gateway to another, its HTTPRoute is attached to both.
#[must_use]
pub fn desired(valid: &Valid<'_>, routing: &Routing, moving: Option<&Move>, settings: &Settings) -> Desired {
    Desired {
        pod: pod::pod(valid, settings),
        service: service::service(valid, settings),
        route: match routing {
            Routing::Gateway(parent) => {
                Some(DesiredRoute::HttpRoute(httproute::http_route(valid, parent, moving, settings)))
            }
            Routing::Ingress { class } => {
                Some(DesiredRoute::Ingress(ingress::ingress(valid, class, settings)))
            }
            Routing::Unavailable(_) => None,
        },
    }
}

/// Metadata that every child has: the Ephemeron's name, our labels, and the Ephemeron as its owner.
fn metadata(ephemeron: &Ephemeron, settings: &Settings) -> ObjectMeta {
    ObjectMeta {
        name: Some(ephemeron.name().into()),
        namespace: Some(settings.namespace.clone()),
        labels: Some(labels(ephemeron)),
        owner_references: Some(vec![ephemeron.owner_reference()]),
        ..ObjectMeta::default()
    }
}

/// The labels of every child.
fn labels(ephemeron: &Ephemeron) -> BTreeMap<String, String> {
    BTreeMap::from([(MANAGED_BY_LABEL.into(), MANAGER.into()), (NAME_LABEL.into(), ephemeron.name().into())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::{
        fixtures,
        routing::Parent,
        validate::{Standing, validate},
    };

    fn parent() -> Parent {
        Parent {
            namespace: "gateways".into(),
            name: "main".into(),
            listener: "https".into(),
            port: 443,
            tls: true,
            address: None,
            controller: None,
            gone: false,
        }
    }

    fn documents(routing: &Routing, manifest: &str) -> Desired {
        let (ephemeron, settings) = (fixtures::ephemeron(manifest), fixtures::settings());
        let valid = validate(&ephemeron, &settings, Standing::default()).expect("a valid spec");
        let first = desired(&valid, routing, None, &settings);
        assert_eq!(first, desired(&valid, routing, None, &settings), "the same from the same");
        first
    }

    #[test]
    fn the_least_that_can_be_said() {
        let desired = documents(&Routing::Gateway(parent()), fixtures::MINIMAL);
        insta::assert_yaml_snapshot!("minimal-pod", desired.pod);
        insta::assert_yaml_snapshot!("minimal-service", desired.service);
        let Some(DesiredRoute::HttpRoute(route)) = desired.route else { panic!("no HTTPRoute") };
        insta::assert_yaml_snapshot!("minimal-httproute", route);
    }

    #[test]
    fn a_move_between_gateways_has_both_parents() {
        let (ephemeron, settings) = (fixtures::ephemeron(fixtures::MINIMAL), fixtures::settings());
        let valid = validate(&ephemeron, &settings, Standing::default()).expect("a valid spec");
        let parents = |kind: &str, old: &str| {
            let from = crate::resource::Route { kind: kind.into(), parent: Some(old.into()) };
            let desired = desired(&valid, &Routing::Gateway(parent()), Some(&Move { from }), &settings);
            let Some(DesiredRoute::HttpRoute(route)) = desired.route else { panic!("no HTTPRoute") };
            let name = |parent: gateway_api::httproutes::HttpRouteParentRefs| parent.name;
            route.spec.parent_refs.into_iter().flatten().map(name).collect::<Vec<_>>()
        };
        assert_eq!(parents("HTTPRoute", "gateways/old/http"), ["main", "old"]);
        assert_eq!(parents("Ingress", "traefik"), ["main"]);
        assert_eq!(parents("HTTPRoute", "gateways/main/https"), ["main"], "never twice the same");
    }

    #[test]
    fn all_that_can_be_said() {
        let desired = documents(&Routing::Ingress { class: "traefik".into() }, fixtures::FULL);
        insta::assert_yaml_snapshot!("full-pod", desired.pod);
        let Some(DesiredRoute::Ingress(ingress)) = desired.route else { panic!("no Ingress") };
        insta::assert_yaml_snapshot!("full-ingress", ingress);
    }

    #[test]
    fn our_labels_win() {
        let (ephemeron, settings) = (fixtures::ephemeron(fixtures::FULL), fixtures::settings());
        let mut valid = validate(&ephemeron, &settings, Standing::default()).expect("a valid spec");
        let admitted = valid.template.metadata.get_or_insert_default();
        admitted.labels.get_or_insert_default().insert(NAME_LABEL.into(), "other".into());
        admitted.annotations = Some(BTreeMap::from([("note".into(), "x".into())]));
        let pod = desired(&valid, &Routing::Ingress { class: "traefik".into() }, None, &settings).pod;
        let labels = pod.metadata.labels.unwrap_or_default();
        assert_eq!(labels.get(NAME_LABEL).map(String::as_str), Some("full"));
        assert_eq!(labels.get("team").map(String::as_str), Some("blue"));
        assert_eq!(pod.metadata.annotations.unwrap_or_default().len(), 1);
    }

    #[test]
    fn no_route_where_nothing_routes() {
        let nothing = crate::resource::conditions::Finding::no(
            crate::resource::conditions::Reason::NoGateway,
            "no Gateway",
        );
        assert_eq!(documents(&Routing::Unavailable(nothing), fixtures::MINIMAL).route, None);
    }
}
