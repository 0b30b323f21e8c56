//! Keeps to a choice while the cluster flaps: services that answer are not moved without need.
//!
//! A Gateway's `Programmed` turns false while its traffic flows, and the definitions of the Gateway
//! API may be applied anew. So what is in use stays in use until it is gone for good, a Gateway
//! appears where there was none, or the settings change.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Offer, Parent, Routing, admitting, choose};
use crate::{
    controller::settings::{RoutingChoice, Settings},
    resource::Route,
};

/// For so long a Gateway must have been gone before something else takes its place.
pub const GONE_FOR: TimeDelta = TimeDelta::seconds(60);
/// From one move of all services to the next.
pub const BETWEEN_MOVES: TimeDelta = TimeDelta::seconds(60);

/// What a living service says of how it is routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    /// Its route.
    pub route: Route,
    /// Whether it answers with TLS.
    pub tls: bool,
}

/// A choice with its past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// How hosts are routed.
    pub routing: Routing,
    /// Since when the Gateway in use is not there.
    gone_since: Option<DateTime<Utc>>,
    /// When services were last moved from one way to another.
    moved: Option<DateTime<Utc>>,
}

impl Choice {
    /// The first choice of a controller's life, and after what time it may be another. What living
    /// services use counts as chosen before, so that a restart moves nobody.
    #[must_use]
    pub fn first(
        settings: &Settings,
        offer: &Offer<'_>,
        in_use: Option<&InUse>,
        now: DateTime<Utc>,
    ) -> (Self, Option<TimeDelta>) {
        let fresh = Self { routing: choose(settings, offer), gone_since: None, moved: None };
        match in_use.and_then(|in_use| as_routing(settings, offer, in_use)) {
            Some(routing) => Self { routing, ..fresh }.next(settings, offer, now),
            None => (fresh, None),
        }
    }

    /// The choice from now on, and after what time it may be another without anything changing.
    #[must_use]
    pub fn next(
        self,
        settings: &Settings,
        offer: &Offer<'_>,
        now: DateTime<Utc>,
    ) -> (Self, Option<TimeDelta>) {
        let fresh = choose(settings, offer);
        let calm = |routing| Self { routing, gone_since: None, moved: self.moved };
        if settings.routing != RoutingChoice::Automatic {
            return (calm(fresh), None);
        }
        let moved = |routing| Self { routing, gone_since: None, moved: Some(now) };
        let left = self.moved.map_or(TimeDelta::zero(), |moved| moved + BETWEEN_MOVES - now);
        match (&self.routing, fresh) {
            (Routing::Unavailable(_), fresh) => (calm(fresh), None),
            (Routing::Gateway(held), fresh) => match (still_there(settings, offer, held), fresh) {
                (Some(parent), _) => (calm(Routing::Gateway(parent)), None),
                (None, fresh @ Routing::Gateway(_)) => (moved(fresh), None),
                (None, fresh) => {
                    let since = self.gone_since.unwrap_or(now);
                    if now - since >= GONE_FOR {
                        return (moved(fresh), None);
                    }
                    let routing = Routing::Gateway(Parent { gone: true, ..held.clone() });
                    let wait = since + GONE_FOR - now;
                    (Self { routing, gone_since: Some(since), moved: self.moved }, Some(wait))
                }
            },
            (Routing::Ingress { class }, fresh) => {
                let is_there =
                    offer.ingress_classes.iter().any(|one| one.metadata.name.as_ref() == Some(class));
                match fresh {
                    fresh @ Routing::Gateway(_) if left <= TimeDelta::zero() => (moved(fresh), None),
                    Routing::Gateway(_) if is_there => (self.clone(), Some(left)),
                    Routing::Unavailable(_) if is_there => (self.clone(), None),
                    // Another class has become the default: that is for those who have none yet.
                    Routing::Ingress { .. } if is_there && settings.ingress_class.is_none() => {
                        (self.clone(), None)
                    }
                    fresh => (calm(fresh), None),
                }
            }
        }
    }
}

/// What a living service's status says of its route. A Gateway that is not there may have gone this
/// moment: it is waited for like one that goes before our eyes.
fn as_routing(settings: &Settings, offer: &Offer<'_>, in_use: &InUse) -> Option<Routing> {
    let InUse { route, tls } = in_use;
    let parent = route.parent.as_deref()?;
    if route.kind == "Ingress" {
        let class =
            offer.ingress_classes.iter().find(|class| class.metadata.name.as_deref() == Some(parent))?;
        return Some(Routing::Ingress { class: class.metadata.name.clone()? });
    }
    let (namespace, rest) = parent.split_once('/')?;
    let (name, listener) = rest.split_once('/')?;
    let Some(gateway) = offer.gateway(namespace, name) else {
        return Some(Routing::Gateway(Parent {
            namespace: namespace.into(),
            name: name.into(),
            listener: listener.into(),
            port: if *tls { 443 } else { 80 },
            tls: *tls,
            address: None,
            controller: None,
            gone: true,
        }));
    };
    admitting(settings, offer, gateway, Some(listener)).map(Routing::Gateway)
}

/// The listener in use as it is now, or another of the same Gateway. An address that is missing for a
/// while is still the last one that was known.
fn still_there(settings: &Settings, offer: &Offer<'_>, held: &Parent) -> Option<Parent> {
    let gateway = offer.gateway(&held.namespace, &held.name)?;
    let parent = admitting(settings, offer, gateway, Some(&held.listener))
        .or_else(|| admitting(settings, offer, gateway, None))?;
    let address = parent.address.clone().or_else(|| held.address.clone());
    let controller = parent.controller.clone().or_else(|| held.controller.clone());
    Some(Parent { address, controller, ..parent })
}

#[cfg(test)]
mod tests {
    use gateway_api::gateways::Gateway;
    use k8s_openapi::api::networking::v1::IngressClass;
    use serde_json::json;

    use super::*;
    use crate::controller::{fixtures, settings::RoutingChoice};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000 + seconds, 0).expect("a time")
    }

    fn gateway(name: &str, programmed: bool) -> Gateway {
        let condition = json!({
            "type": "Programmed", "status": if programmed { "True" } else { "False" }, "reason": "R", "message": "",
            "lastTransitionTime": "2030-01-01T00:00:00Z",
        });
        serde_json::from_value(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"namespace": "gateways", "name": name},
            "spec": {"gatewayClassName": "class", "listeners": [
                {"name": "http", "protocol": "HTTP", "port": 80, "allowedRoutes": {"namespaces": {"from": "All"}}},
            ]},
            "status": {"addresses": [{"value": "192.0.2.1"}], "conditions": [condition]},
        }))
        .expect("a Gateway")
    }

    fn class() -> IngressClass {
        serde_json::from_value(json!({"metadata": {"name": "traefik"}})).expect("a class")
    }

    /// A cluster that changes, and the choice in it.
    struct Scene {
        choice: Option<Choice>,
        classes: Vec<IngressClass>,
        settings: Settings,
        in_use: Option<InUse>,
    }

    impl Scene {
        fn new() -> Self {
            Self { choice: None, classes: vec![class()], settings: fixtures::settings(), in_use: None }
        }

        /// Looks at these Gateways; tells what is in use and when to look again, in seconds.
        fn sees(&mut self, gateways: &[Gateway], now: i64) -> (String, Option<i64>) {
            let offer = Offer {
                gateways: gateways.iter().collect(),
                ingress_classes: self.classes.iter().collect(),
                ..Offer::default()
            };
            let (choice, again) = match self.choice.take() {
                Some(choice) => choice.next(&self.settings, &offer, at(now)),
                None => Choice::first(&self.settings, &offer, self.in_use.as_ref(), at(now)),
            };
            let told = match &choice.routing {
                Routing::Gateway(parent) if parent.gone => format!("{} gone", parent.name),
                Routing::Gateway(parent) => parent.name.clone(),
                Routing::Ingress { class } => class.clone(),
                Routing::Unavailable(finding) => finding.reason.as_str().into(),
            };
            self.choice = Some(choice);
            (told, again.map(|again| again.num_seconds()))
        }
    }

    fn is(told: &str, again: Option<i64>) -> (String, Option<i64>) {
        (told.into(), again)
    }

    #[test]
    fn a_flapping_gateway_is_kept() {
        let mut scene = Scene::new();
        assert_eq!(scene.sees(&[gateway("a", true)], 0), is("a", None));
        assert_eq!(scene.sees(&[gateway("a", false)], 1), is("a", None));
        assert_eq!(scene.sees(&[gateway("a", false)], 1_000), is("a", None), "however long");
        let mut silent = gateway("a", false);
        silent.status = None;
        assert_eq!(scene.sees(&[silent], 1_001), is("a", None));
        let Some(Choice { routing: Routing::Gateway(parent), .. }) = &scene.choice else {
            panic!("no Gateway")
        };
        assert_eq!(parent.address.as_deref(), Some("192.0.2.1"), "its address is remembered");
    }

    #[test]
    fn a_gateway_that_is_gone_is_waited_for() {
        let mut scene = Scene::new();
        scene.sees(&[gateway("a", true)], 0);
        assert_eq!(scene.sees(&[], 10), is("a gone", Some(60)));
        assert_eq!(scene.sees(&[], 40), is("a gone", Some(30)));
        assert_eq!(scene.sees(&[gateway("a", false)], 50), is("a", None), "it is back");
        assert_eq!(scene.sees(&[], 60), is("a gone", Some(60)), "the wait starts anew");
        assert_eq!(scene.sees(&[], 120), is("traefik", None));
        assert_eq!(scene.sees(&[gateway("a", true)], 130), is("traefik", Some(50)), "no hurry back");
        assert_eq!(scene.sees(&[gateway("a", true)], 180), is("a", None));
    }

    #[test]
    fn another_gateway_takes_the_place_of_one_that_is_gone() {
        let mut scene = Scene::new();
        scene.sees(&[gateway("a", true)], 0);
        assert_eq!(
            scene.sees(&[gateway("a", true), gateway("b", true)], 1),
            is("a", None),
            "no ambiguity for the living"
        );
        assert_eq!(scene.sees(&[gateway("a", false), gateway("b", true)], 2), is("a", None));
        assert_eq!(scene.sees(&[gateway("b", true)], 3), is("b", None));
    }

    #[test]
    fn the_first_usable_gateway_takes_over_from_ingresses() {
        let mut scene = Scene::new();
        assert_eq!(scene.sees(&[], 0), is("traefik", None));
        assert_eq!(scene.sees(&[gateway("a", false)], 1), is("traefik", None), "it is not usable yet");
        assert_eq!(
            scene.sees(&[gateway("a", true), gateway("b", true)], 2),
            is("traefik", None),
            "which one?"
        );
        assert_eq!(scene.sees(&[gateway("a", true)], 3), is("a", None));
    }

    #[test]
    fn another_default_class_moves_nobody() {
        let mut scene = Scene::new();
        assert_eq!(scene.sees(&[], 0), is("traefik", None));
        let default = json!({"metadata": {"name": "other", "annotations": {
            "ingressclass.kubernetes.io/is-default-class": "true",
        }}});
        scene.classes.push(serde_json::from_value(default).expect("a class"));
        assert_eq!(scene.sees(&[], 1), is("traefik", None), "it is there, and nobody has asked for another");
        scene.classes.remove(0);
        assert_eq!(scene.sees(&[], 2), is("other", None), "it is gone");
        scene.classes.push(class());
        scene.settings.ingress_class = Some("traefik".into());
        assert_eq!(scene.sees(&[], 3), is("traefik", None), "it is asked for");
    }

    #[test]
    fn a_restart_goes_on_with_what_is_in_use() {
        let in_use = |kind: &str, parent: &str| {
            Some(InUse { route: Route { kind: kind.into(), parent: Some(parent.into()) }, tls: false })
        };
        let first = |in_use, gateways: &[Gateway]| Scene { in_use, ..Scene::new() }.sees(gateways, 0).0;
        let both = [gateway("a", true), gateway("b", true)];
        assert_eq!(first(None, &both), "AmbiguousGateway");
        assert_eq!(first(in_use("HTTPRoute", "gateways/b/http"), &both), "b");
        assert_eq!(first(in_use("HTTPRoute", "gateways/a/http"), &[gateway("a", false)]), "a");
        assert_eq!(first(in_use("HTTPRoute", "gateways/c/http"), &[gateway("a", true)]), "a");
        let mut scene = Scene { in_use: in_use("HTTPRoute", "gateways/c/http"), ..Scene::new() };
        assert_eq!(scene.sees(&[], 0), is("c gone", Some(60)), "it may come back");
        assert_eq!(scene.sees(&[], 60), is("traefik", None));
        assert_eq!(first(in_use("Ingress", "traefik"), &both), "traefik");
        assert_eq!(first(in_use("HTTPRoute", "nonsense"), &[gateway("a", true)]), "a");
    }

    #[test]
    fn a_configured_gateway_is_what_it_is() {
        let mut scene = Scene::new();
        scene.settings.routing =
            RoutingChoice::Gateway { namespace: "gateways".into(), name: "a".into(), listener: None };
        assert_eq!(scene.sees(&[gateway("a", false)], 0), is("a", None));
        assert_eq!(scene.sees(&[], 1), is("NoGateway", None), "it never falls back");
        assert_eq!(scene.sees(&[gateway("a", true)], 2), is("a", None));
    }
}
