//! From what is there to what the status says of it, and when to look again.

pub mod pod;
pub mod route;
#[cfg(test)]
mod tests;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    apply::{Applied, Child},
    moving::Move,
    probe::Reachability,
    routing::{Parent, Routing},
    validate::{Invalid, Valid},
};
use crate::resource::{
    Ephemeron, EphemeronStatus, Rendered, Route,
    conditions::{self, AVAILABLE, Condition, EXPIRING, Finding, POD_READY, PRESET_READY, Reason},
    parameters::Parameters,
};

/// In the moments after a Pod became ready its endpoint, its route and the gateway follow one after
/// the other; each of these stages is told only when that lasts longer than this.
const SETTLING: TimeDelta = TimeDelta::seconds(10);
/// That the end is near is told of lives that are so many times as long as the notice: the end of a
/// short one surprises nobody, and telling it costs two requests.
const NOTICE_WORTH: i32 = 12;

/// Everything that a status is made from, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The Ephemeron with its previous status.
    pub ephemeron: &'a Ephemeron,
    /// When it ends.
    pub end: Option<DateTime<Utc>>,
    /// Why its deletion is held, if its time is over.
    pub held: Option<&'a str>,
    /// How long before the end it is told that it is near; zero for never.
    pub notice: TimeDelta,
    /// How hosts are routed.
    pub routing: &'a Routing,
    /// The spec, or what is wrong with it; with the children that came of it.
    pub outcome: Result<Outcome<'a>, &'a Invalid>,
}

/// What came of a valid spec.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The spec.
    pub valid: &'a Valid<'a>,
    /// The children.
    pub applied: &'a Applied,
    /// Whether the Pod is ready.
    pub pod: &'a Finding,
    /// Whether the Service has an endpoint that is ready.
    pub endpoint_ready: bool,
    /// Who else has the host, as kind namespace/name.
    pub host_holder: Option<&'a str>,
    /// What is known of the public URL; None where it need not be asked.
    pub reachability: Option<&'a Reachability>,
    /// The move to another route that is not done yet.
    pub moving: Option<&'a Move>,
}

/// The status at `now`, and after what time it may be another without any object changing.
#[must_use]
pub fn status(situation: &Situation<'_>, now: DateTime<Utc>) -> (EphemeronStatus, Option<TimeDelta>) {
    let ephemeron = situation.ephemeron;
    let none = EphemeronStatus::default();
    let before = ephemeron.status.as_ref().unwrap_or(&none);
    let previous = &before.conditions;
    let generation = ephemeron.metadata.generation;
    let (pod, available) = match &situation.outcome {
        Err(invalid) => {
            let finding = Finding::no(invalid.reason(), invalid.to_string());
            (finding.clone(), finding)
        }
        Ok(outcome) => (outcome.pod.clone(), available(outcome, situation.routing)),
    };
    let dated = |finding: Finding, r#type| {
        finding.condition(r#type, conditions::find(previous, r#type), generation, now)
    };
    let preset = ephemeron.spec.preset.as_ref().map(|_| dated(preset_ready(situation), PRESET_READY));
    let pod = dated(pod, POD_READY);
    let (available, settles_in) = settle(previous, &pod, available, now);
    let available = dated(available, AVAILABLE);
    let (expiring, notice_in) = expiring(situation, now);
    let ours = [PRESET_READY, POD_READY, AVAILABLE, EXPIRING];
    let others = previous.iter().filter(|known| !ours.contains(&known.r#type.as_str()));
    let mut conditions = vec![pod, available];
    conditions.extend(preset);
    conditions.extend(expiring.map(|finding| dated(finding, EXPIRING)));
    let room = conditions::MOST.saturating_sub(conditions.len());
    conditions.extend(others.take(room).cloned());
    let (host, moving) = match &situation.outcome {
        Ok(outcome) => (Some(outcome.valid.host.clone()), outcome.moving),
        Err(_) => (before.host.clone(), None),
    };
    let (url, route) = match moving {
        // Until the new one is known to answer, the old one is where it answers.
        Some(_) => (before.url.clone(), before.route.clone()),
        None => (
            host.as_deref().and_then(|host| url(host, ephemeron, situation.routing)),
            situation.routing.as_status(),
        ),
    };
    let put_off = matches!((before.expiration_time, situation.end), (Some(old), Some(new)) if new > old);
    let status = EphemeronStatus {
        conditions,
        observed_generation: generation,
        url,
        host,
        expiration_time: situation.end,
        extensions: if put_off {
            Some(before.extensions.unwrap_or(0).saturating_add(1))
        } else {
            before.extensions
        },
        route,
        preset: before.preset.clone(),
        rendering: before.rendering.clone(),
    };
    (status, settles_in.into_iter().chain(notice_in).min())
}

/// Whether the preset has said what to run.
fn preset_ready(situation: &Situation<'_>) -> Finding {
    match situation.outcome {
        // Here as a whole; the other conditions cut it.
        Err(Invalid::Preset(finding)) => return finding.clone(),
        Err(invalid) => return Finding::no(invalid.reason(), invalid.to_string()),
        Ok(_) => {}
    }
    let rendered = situation.ephemeron.status.as_ref().and_then(|status| status.preset.as_ref());
    let Some(rendered) = rendered.filter(|rendered| rendered.port > 0) else {
        return Finding::yes(
            Reason::Rendered,
            "somebody has taken what the preset has said out of the status: the service stays as it is, and \
             the preset is asked anew if another Pod must be made",
        );
    };
    let Rendered { version, digest, warnings, .. } = rendered;
    let digest = digest.get(..12).unwrap_or(digest);
    let mut said = vec![format!("version {version} ({digest}) has said what to run")];
    let parameters = situation.ephemeron.spec.preset.as_ref().and_then(|preset| preset.parameters.as_ref());
    if !rendered.was_asked_with(&Parameters::digest(parameters)) {
        said.push(
            "spec.preset.parameters have changed since, which has no effect: delete this Ephemeron and create another"
                .into(),
        );
    }
    said.extend(warnings.iter().cloned());
    Finding::yes(Reason::Rendered, said.join("; "))
}

/// Whether the end is near, or held; and after what time it will be near.
fn expiring(situation: &Situation<'_>, now: DateTime<Utc>) -> (Option<Finding>, Option<TimeDelta>) {
    if let Some(why) = situation.held {
        return (Some(Finding::yes(Reason::ExpiryHeld, format!("its time is over, but {why}"))), None);
    }
    let created = situation.ephemeron.metadata.creation_timestamp.as_ref();
    let created = created.and_then(|time| DateTime::from_timestamp(time.0.as_second(), 0));
    let (Some(end), Some(created)) = (situation.end, created) else { return (None, None) };
    let notice = situation.notice;
    let is_worth = notice.checked_mul(NOTICE_WORTH).is_some_and(|least| end - created >= least);
    if notice <= TimeDelta::zero() || !is_worth {
        return (None, None);
    }
    match end - notice - now {
        left if left > TimeDelta::zero() => (None, Some(left)),
        _ => {
            let text = format!("it ends at {}; a later spec.expirationTime keeps it", end.format("%FT%TZ"));
            (Some(Finding::yes(Reason::ExpiringSoon, text)), None)
        }
    }
}

/// What still keeps a service from being available, the probe of its URL aside.
#[must_use]
pub fn blocker(outcome: &Outcome<'_>, routing: &Routing) -> Option<Finding> {
    inner_blocker(outcome).or_else(|| route_blocker(outcome, routing))
}

/// What is missing inside of the cluster: a ready Pod behind a Service.
fn inner_blocker(outcome: &Outcome<'_>) -> Option<Finding> {
    if !outcome.pod.status {
        return Some(outcome.pod.clone());
    }
    child(&outcome.applied.service, "Service").or_else(|| {
        (!outcome.endpoint_ready).then(|| {
            Finding::no(Reason::EndpointsNotReady, "the Pod is ready, its Service has no ready endpoint yet")
        })
    })
}

/// What is missing on the way from the gateway to the Service.
fn route_blocker(outcome: &Outcome<'_>, routing: &Routing) -> Option<Finding> {
    let applied = outcome.applied;
    if let Routing::Unavailable(finding) = routing {
        return Some(finding.clone());
    }
    if let Routing::Gateway(Parent { gone: true, namespace, name, .. }) = routing {
        return Some(Finding::no(
            Reason::NoGateway,
            format!("the Gateway {namespace}/{name} is gone; what else there is takes its place in a minute"),
        ));
    }
    if let Some(holder) = outcome.host_holder {
        let host = &outcome.valid.host;
        return Some(Finding::no(
            Reason::HostTaken,
            format!("the {holder} has the host {host} already: take it out there, or use another name"),
        ));
    }
    let http_route = applied.http_route.as_ref().and_then(|route| {
        child(route, "HTTPRoute").or_else(|| match (route, routing) {
            (Child::Ours(route), Routing::Gateway(parent)) => route::not_accepted(route, parent),
            _ => None,
        })
    });
    http_route.or_else(|| child(applied.ingress.as_ref()?, "Ingress"))
}

fn available(outcome: &Outcome<'_>, routing: &Routing) -> Finding {
    if let Some(finding) = inner_blocker(outcome) {
        return finding;
    }
    let finding = match route_blocker(outcome, routing) {
        Some(finding) => finding,
        None => reached(outcome.reachability),
    };
    match outcome.moving {
        None => finding,
        Some(Move { from }) => {
            let state = if finding.status { String::new() } else { format!(": {}", finding.message) };
            let (from, to) = (described(Some(from)), described(routing.as_status().as_ref()));
            Finding::yes(
                Reason::Available,
                format!("the service can be reached by {from}, and is being moved to {to}{state}"),
            )
        }
    }
}

fn described(route: Option<&Route>) -> String {
    route.map_or_else(
        || "nothing".into(),
        |route| match &route.parent {
            Some(parent) => format!("{} {} ({parent})", article(&route.kind), route.kind),
            None => format!("{} {}", article(&route.kind), route.kind),
        },
    )
}

fn reached(reachability: Option<&Reachability>) -> Finding {
    match reachability {
        None | Some(Reachability::Answered) => Finding::yes(Reason::Available, "the service can be reached"),
        Some(Reachability::Unknown) => {
            Finding::no(Reason::URLNotAnswering, "the public URL is being asked for the first time")
        }
        Some(Reachability::Unreachable(why)) => Finding::no(
            Reason::ProbeAddressUnreachable,
            format!(
                "no connection to the address of the Gateway or ingress controller: {why}; is it reachable from \
                 the controller? EPHEMERON_PROBE_ADDRESS sets another"
            ),
        ),
        Some(Reachability::WrongCertificate) => Finding::no(
            Reason::CertificateMismatch,
            "the gateway answers with a certificate that is not for the host: is the TLS Secret there, and for it?",
        ),
        Some(Reachability::NotAnswering(what)) => Finding::no(
            Reason::URLNotAnswering,
            format!("the Pod is ready, but its public URL does not answer with 200 to 399: {what}"),
        ),
    }
}

/// Why a child is not there; None if it is.
#[must_use]
pub fn child<K>(child: &Child<K>, kind: &str) -> Option<Finding> {
    let named = || format!("{} {kind}", article(kind));
    match child {
        Child::Ours(_) => None,
        Child::Going => Some(Finding::no(
            Reason::WaitingForDeletion,
            format!("{} of this name is still being deleted", named()),
        )),
        Child::Taken => Some(Finding::no(
            Reason::NameTaken,
            format!("{} of this name belongs to somebody else: delete it, or use another name", named()),
        )),
        Child::Unreadable(why) => Some(Finding::no(
            Reason::ChildUnreadable,
            format!("somebody changed the {kind} into what cannot be read: {why}; it is made anew"),
        )),
        Child::Refused(reason, why) => {
            Some(Finding::no(*reason, format!("the API server refuses the {kind}: {why}")))
        }
    }
}

fn article(kind: &str) -> &'static str {
    if matches!(kind, "HTTPRoute" | "Ingress") { "an" } else { "a" }
}

/// While the stages after the Pod's readiness pass, one word stands for all of them; returns when they
/// must be told one by one. What was available and is not any more is told at once.
fn settle(
    previous: &[Condition],
    pod: &Condition,
    available: Finding,
    now: DateTime<Utc>,
) -> (Finding, Option<TimeDelta>) {
    let passes = matches!(
        available.reason,
        Reason::EndpointsNotReady
            | Reason::RouteNotAccepted
            | Reason::URLNotAnswering
            | Reason::ProbeAddressUnreachable
    );
    if !passes || conditions::is_true(previous, AVAILABLE) {
        return (available, None);
    }
    match pod.last_transition_time.map(|since| SETTLING - (now - since)) {
        Some(left) if left > TimeDelta::zero() => {
            let text = "the Pod is ready; its endpoint, its route and the gateway follow";
            (Finding::no(Reason::Connecting, text), Some(left))
        }
        _ => (available, None),
    }
}

/// Where to open the service; None while nothing routes to it.
fn url(host: &str, ephemeron: &Ephemeron, routing: &Routing) -> Option<String> {
    let (tls, port) = match routing {
        Routing::Gateway(parent) => (parent.tls, Some(parent.port)),
        Routing::Ingress { .. } => (ephemeron.spec.tls_secret_name().is_some(), None),
        Routing::Unavailable(_) => return None,
    };
    let (scheme, usual) = if tls { ("https", 443) } else { ("http", 80) };
    Some(match port.filter(|port| *port != usual) {
        Some(port) => format!("{scheme}://{host}:{port}/"),
        None => format!("{scheme}://{host}/"),
    })
}
