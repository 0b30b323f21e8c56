//! The move of a service that can be reached from one route to another, without a gap: both exist
//! until the new one is known to answer.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    apply::{Applied, Child},
    observe::Observed,
    probe::Reachability,
    routing::Routing,
    status::route::accepted_since,
};
use crate::resource::{
    Ephemeron, Route,
    conditions::{self, AVAILABLE},
};

/// A gateway says that it accepts a route a moment before it serves it, and while the old route is there, an answer
/// may come by that one: nothing but time tells.
const SERVED_AFTER: TimeDelta = TimeDelta::seconds(10);

/// A move that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The route by which the service can be reached meanwhile.
    pub from: Route,
}

/// The move that this Ephemeron has before it: it is available, but not by what is in use now.
#[must_use]
pub fn begun(ephemeron: &Ephemeron, observed: &Observed, routing: &Routing) -> Option<Move> {
    let status = ephemeron.status.as_ref()?;
    if !conditions::is_true(&status.conditions, AVAILABLE) {
        return None;
    }
    let to = routing.as_status()?;
    if let Some(from) = &status.route {
        return (*from != to).then(|| Move { from: from.clone() });
    }
    // The earlier implementation says nothing of its route, which is an Ingress of any class.
    let from_ingress = to.kind == "HTTPRoute" && observed.ingress.is_some();
    from_ingress.then(|| Move { from: Route { kind: "Ingress".into(), parent: None } })
}

/// How long it takes until the new route may be taken for served; zero if it may now, None while
/// something else is missing.
#[must_use]
pub fn served_in(
    applied: &Applied,
    routing: &Routing,
    reachability: Option<&Reachability>,
    now: DateTime<Utc>,
) -> Option<TimeDelta> {
    let since = match (routing, &applied.http_route, &applied.ingress) {
        (Routing::Gateway(parent), Some(Child::Ours(route)), _) => accepted_since(route, parent)?,
        (Routing::Ingress { .. }, _, Some(Child::Ours(ingress))) => {
            let created = ingress.metadata.creation_timestamp.as_ref()?;
            DateTime::from_timestamp(created.0.as_second(), 0)?
        }
        _ => return None,
    };
    let answers = reachability.is_none_or(|found| *found == Reachability::Answered);
    answers.then(|| (since + SERVED_AFTER - now).clamp(TimeDelta::zero(), SERVED_AFTER))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::controller::{fixtures, routing::Parent};

    fn routing(name: &str) -> Routing {
        Routing::Gateway(Parent {
            namespace: "gateways".into(),
            name: name.into(),
            listener: "http".into(),
            port: 80,
            tls: false,
            address: None,
            controller: None,
            gone: false,
        })
    }

    fn ephemeron(status: serde_json::Value) -> Ephemeron {
        let mut ephemeron = fixtures::ephemeron(fixtures::MINIMAL);
        ephemeron.status = serde_json::from_value(status).expect("a status");
        ephemeron
    }

    #[test]
    fn only_what_can_be_reached_is_moved() {
        let is = |status: &str| json!([{"type": "Available", "status": status}]);
        let on = |name: &str| json!({"kind": "HTTPRoute", "parent": format!("gateways/{name}/http")});
        let from = |status, observed: &Observed, to: &Routing| {
            begun(&ephemeron(status), observed, to)
                .map(|one| one.from.kind + &one.from.parent.unwrap_or_default())
        };
        let none = Observed::default();
        let at_a = json!({"conditions": is("True"), "route": on("a")});
        assert_eq!(from(at_a.clone(), &none, &routing("a")), None);
        assert_eq!(from(at_a.clone(), &none, &routing("b")).as_deref(), Some("HTTPRoutegateways/a/http"));
        let ingress = Routing::Ingress { class: "c".into() };
        assert_eq!(from(at_a, &none, &ingress).as_deref(), Some("HTTPRoutegateways/a/http"));
        assert_eq!(from(json!({"conditions": is("False"), "route": on("a")}), &none, &routing("b")), None);
        let ingress = serde_json::from_value(json!({"metadata": {"name": "a"}})).expect("an Ingress");
        let observed = Observed { ingress: Some(Arc::new(ingress)), ..Observed::default() };
        assert_eq!(
            from(json!({"conditions": is("True")}), &observed, &routing("a")).as_deref(),
            Some("Ingress")
        );
    }
}
