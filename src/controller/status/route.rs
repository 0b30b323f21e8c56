//! What a Gateway says of an HTTPRoute.

use chrono::{DateTime, Utc};
use gateway_api::httproutes::{HttpRoute, HttpRouteStatusParents};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta_v1;

use crate::{
    controller::routing::Parent,
    resource::conditions::{Finding, Reason},
};

/// Reasons of `Accepted` that are about the listener (Gateway API, `RouteConditionReason`).
const NOT_ADMITTED: &[&str] = &["NoMatchingListenerHostname", "NotAllowedByListeners", "NoMatchingParent"];

/// Why the Gateway does not take the route; None if it does. Only the word of the Gateway's own
/// controller counts, and only on the route's present state.
#[must_use]
pub fn not_accepted(route: &HttpRoute, parent: &Parent) -> Option<Finding> {
    let gateway = format!("the Gateway {}/{}", parent.namespace, parent.name);
    let no = |message| Some(Finding::no(Reason::RouteNotAccepted, message));
    let Some(word) = word_of(route, parent) else {
        return no(format!(
            "{gateway} has not said anything of the HTTPRoute yet: is its controller running?"
        ));
    };
    for r#type in ["Accepted", "ResolvedRefs"] {
        match verdict(route, word, r#type) {
            Some(condition) if condition.status == "True" => {}
            Some(condition) => {
                let message =
                    format!("{gateway} says {type} is false: {}: {}", condition.reason, condition.message);
                return if NOT_ADMITTED.contains(&condition.reason.as_str()) {
                    Some(Finding::no(Reason::HostNotAdmitted, message))
                } else {
                    no(message)
                };
            }
            None => return no(format!("{gateway} has not said whether {type} is true for the HTTPRoute")),
        }
    }
    None
}

/// Since when the Gateway takes the route; None if it does not.
#[must_use]
pub fn accepted_since(route: &HttpRoute, parent: &Parent) -> Option<DateTime<Utc>> {
    let accepted = verdict(route, word_of(route, parent)?, "Accepted")?;
    DateTime::from_timestamp(accepted.last_transition_time.0.as_second(), 0)
}

fn verdict<'a>(
    route: &HttpRoute,
    word: &'a HttpRouteStatusParents,
    r#type: &str,
) -> Option<&'a meta_v1::Condition> {
    word.conditions
        .iter()
        .find(|condition| condition.type_ == r#type)
        .filter(|condition| condition.observed_generation == route.metadata.generation)
}

fn word_of<'a>(route: &'a HttpRoute, parent: &Parent) -> Option<&'a HttpRouteStatusParents> {
    route.status.as_ref()?.parents.iter().find(|word| {
        let named = &word.parent_ref;
        named.name == parent.name
            && named.namespace.as_ref().is_none_or(|namespace| *namespace == parent.namespace)
            && named.section_name.as_ref().is_none_or(|listener| *listener == parent.listener)
            && parent.controller.as_ref().is_none_or(|controller| *controller == word.controller_name)
    })
}
