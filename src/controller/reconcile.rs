//! One look at one Ephemeron: what is observed, what should be, what is written, when to look again.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use kube::runtime::controller::Action;

use super::{
    Context, Error, FIRST_RETRY,
    apply::{self, Applied, Child},
    attempts,
    desired::desired,
    expire::{expire, remove_children},
    holding::Hold,
    metrics::Asked,
    moving,
    observe::{Observed, observe},
    ownership::{Whose, whose},
    presets::{self, Again, Living, Said},
    probe::Reachability,
    publish::{self, publish},
    rendering::Rendering,
    round_up,
    routing::Routing,
    status::{self, Outcome, Situation, pod, status},
    target::target,
    validate::{Invalid, Standing, Valid, validate},
};
use crate::resource::{
    Ephemeron, EphemeronStatus, HOST_ANNOTATION,
    conditions::{self, AVAILABLE, Finding},
};

/// Timers are monotonic and the clock is not: nothing sleeps longer without looking at the clock.
const LONGEST_SLEEP: TimeDelta = TimeDelta::minutes(30);

/// Looks at the Ephemeron of this name and does what is to be done. Whatever comes of it, it is
/// looked at again no later than at its end.
pub(super) async fn reconcile(name: &str, context: &Context) -> Result<Action, Error> {
    let Some(ephemeron) = context.caches.ephemerons.get(name) else { return Ok(Action::await_change()) };
    let now = (context.now)();
    let end = context.settings.end_of(&ephemeron);
    let over = end.filter(|end| *end <= now);
    if ephemeron.metadata.deletion_timestamp.is_some() {
        return going(context, &ephemeron, end, now).await;
    }
    let held = match over.map(|end| (end, context.keeper.hold())) {
        None => None,
        Some((end, None)) => {
            let (client, caches, lives) = (&context.client, &context.caches, &context.lives);
            return Ok(expire(client, caches, lives, &ephemeron, end, now).await?);
        }
        // It is looked at again as soon as more is known.
        Some((_, Some(Hold::UnknownClock))) => return Ok(Action::requeue(FIRST_RETRY)),
        Some((_, Some(hold))) => Some(hold.to_string()),
    };
    let Some(routing) = context.routing.borrow().clone() else { return Ok(Action::requeue(FIRST_RETRY)) };
    let observed = observe(&context.caches, name);
    let pod = has_pod(&ephemeron, &observed, now);
    let (ephemeron, rendering, asked_again) = match &ephemeron.spec.preset {
        Some(_) => {
            let living = pod.then(|| Living { port: service_port(&ephemeron, &observed) });
            ask_preset(context, ephemeron, living).await?
        }
        None => (ephemeron, Ok(None), None),
    };
    let frame = Frame { ephemeron: &ephemeron, end, held: held.as_deref(), routing: &routing };
    let valid = rendering.as_ref().map_err(Clone::clone).and_then(|rendering| {
        let ingress_annotations = standing_annotations(&ephemeron, &observed, &routing, pod);
        let standing = Standing { pod, ingress_annotations, rendering: rendering.as_ref() };
        validate(&ephemeron, &context.settings, standing)
    });
    let settled = match valid {
        Ok(valid) => bring_about(context, &frame, &valid, &observed).await?,
        Err(invalid) => {
            let (status, again) = status(&frame.situation(context, Err(&invalid)), now);
            context.pacing.hold_back_nothing(name);
            context.prober.forget(name);
            [again, write(context, &ephemeron, status, now).await?].into_iter().flatten().min()
        }
    };
    // What is held is looked at again when nothing holds it any more.
    let left = end.filter(|_| held.is_none()).map(|end| end - (context.now)());
    Ok(look_again(settled.into_iter().chain(asked_again).chain(left)))
}

fn look_again(waits: impl Iterator<Item = TimeDelta>) -> Action {
    let sleep = waits.chain([LONGEST_SLEEP]).min().unwrap_or(LONGEST_SLEEP);
    Action::requeue(round_up(sleep.to_std().unwrap_or_default()))
}

/// One that somebody has deleted and that a finalizer keeps: it needs nothing any more, but what
/// runs for it ends with its time.
async fn going(
    context: &Context,
    ephemeron: &Ephemeron,
    end: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Action, Error> {
    match end.map(|end| end - now) {
        Some(left) if left > TimeDelta::zero() => Ok(look_again([left].into_iter())),
        // Whatever holds the end back is told of, and looked at again, by the keeper.
        Some(_) if context.keeper.hold().is_some() => Ok(look_again([].into_iter())),
        _ => {
            let observed = observe(&context.caches, ephemeron.name());
            remove_children(&context.client, &context.caches, ephemeron, &observed).await?;
            Ok(Action::await_change())
        }
    }
}

/// What does not change during one look.
struct Frame<'a> {
    ephemeron: &'a Ephemeron,
    end: Option<DateTime<Utc>>,
    held: Option<&'a str>,
    routing: &'a Routing,
}

impl<'a> Frame<'a> {
    fn situation(&self, context: &Context, outcome: Result<Outcome<'a>, &'a Invalid>) -> Situation<'a> {
        let &Self { ephemeron, end, held, routing } = self;
        Situation { ephemeron, end, held, notice: context.settings.notice, routing, outcome }
    }
}

/// Makes the children of a valid spec what they should be and writes the status; returns when to
/// look again if nothing happens before.
async fn bring_about(
    context: &Context,
    frame: &Frame<'_>,
    valid: &Valid<'_>,
    observed: &Observed,
) -> Result<Option<TimeDelta>, Error> {
    let Context { settings, client, caches, .. } = context;
    let Frame { ephemeron, routing, .. } = *frame;
    let now = (context.now)();
    let begun = moving::begun(ephemeron, observed, routing);
    let mut wanted = desired(valid, routing, begun.as_ref(), settings);
    let host_holder = caches.holder_of(&valid.host, ephemeron).filter(|_| !has_route(observed, routing));
    if host_holder.is_some() {
        wanted.route = None;
    }
    let applied = apply::apply(client, caches, &context.mending, ephemeron, wanted, observed, now).await?;
    let (pod, pod_again) = pod_ready(context, ephemeron, &applied, now).await;

    let outcome = Outcome {
        valid,
        applied: &applied,
        pod: &pod,
        endpoint_ready: observed.endpoint_ready,
        host_holder: host_holder.as_deref(),
        reachability: None,
        moving: begun.as_ref(),
    };
    let reachability = reachability(context, frame, &outcome);
    let served_in = begun.as_ref().filter(|_| status::blocker(&outcome, routing).is_none());
    let served_in = served_in.and_then(|_| moving::served_in(&applied, routing, reachability.as_ref(), now));
    let moving = begun.as_ref().filter(|_| served_in != Some(TimeDelta::zero()));
    let outcome = Outcome { reachability: reachability.as_ref(), moving, ..outcome };

    let (status, again) = status(&frame.situation(context, Ok(outcome)), now);
    let is_available = conditions::is_true(&status.conditions, AVAILABLE);
    let told_in = tell(context, ephemeron, status, now).await?;
    if is_available && !was_ever_available(ephemeron) {
        let created = ephemeron.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
        let created = created.and_then(|created| DateTime::from_timestamp(created, 0));
        context
            .metrics
            .available(created.and_then(|created| (now - created).to_std().ok()).unwrap_or_default());
    }
    if applied.replaced {
        context.metrics.pod_replaced();
    }
    if is_available && moving.is_none() {
        apply::prune(client, caches, ephemeron, routing, observed).await?;
    }
    let applied_again = applied.again.map(|next| next - now);
    // What a move leaves behind is seen to at once.
    let moved = (begun.is_some() && moving.is_none()).then_some(TimeDelta::zero());
    let waits =
        [again, told_in, moved, pod_again, applied_again, served_in.filter(|left| *left > TimeDelta::zero())];
    let again = waits.into_iter().flatten();
    if applied.is_whole() {
        context.succeeded(ephemeron.name());
        return Ok(again.min());
    }
    // What stands in the way may go without an event that we see.
    let retry = TimeDelta::from_std(context.failed(ephemeron.name())).ok();
    Ok(again.chain(retry).min())
}

/// The annotation stays for the whole life once it was available.
fn was_ever_available(ephemeron: &Ephemeron) -> bool {
    ephemeron.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(HOST_ANNOTATION))
}

/// Writes the status, unless it can wait; returns when to ask again then.
async fn tell(
    context: &Context,
    ephemeron: &Ephemeron,
    status: EphemeronStatus,
    now: DateTime<Utc>,
) -> Result<Option<TimeDelta>, Error> {
    let before = ephemeron.status.as_ref();
    if before != Some(&status)
        && let Err(left) = context.pacing.ask(ephemeron.name(), before, &status, now)
    {
        return Ok(Some(left));
    }
    write(context, ephemeron, status, now).await
}

/// Writes the status and the host annotation, if they are not there already. What somebody else has
/// changed is set right, but not at full speed; returns when to ask again then.
async fn write(
    context: &Context,
    ephemeron: &Ephemeron,
    status: EphemeronStatus,
    now: DateTime<Utc>,
) -> Result<Option<TimeDelta>, Error> {
    let Context { client, caches, teller, pacing, mending, .. } = context;
    let name = ephemeron.name();
    let is_repair = pacing.was_said(name, &status) && publish::is_needed(ephemeron, &status);
    if is_repair && let Err(next) = mending.ask(ephemeron.uid(), now) {
        return Ok(Some(next - now));
    }
    publish(client, caches, teller, ephemeron, status.clone()).await?;
    pacing.said(name, &status);
    Ok(None)
}

/// What the preset says is to be run, with the Ephemeron as it is then, and when to ask again.
async fn ask_preset(
    context: &Context,
    ephemeron: Arc<Ephemeron>,
    living: Option<Living>,
) -> Result<(Arc<Ephemeron>, Result<Option<Rendering>, Invalid>, Option<TimeDelta>), Error> {
    let Context { client, caches, settings, presets, metrics, teller, .. } = context;
    let is_asked = living.is_none() && ephemeron.status.as_ref().is_none_or(|status| status.preset.is_none());
    let said = presets.said(client, caches, settings, &ephemeron, living).await?;
    if is_asked && matches!(said, Said::Run(..) | Said::RunLastGood(..)) {
        metrics.asked(Asked::Rendered);
    }
    Ok(match said {
        Said::Run(ephemeron, rendering) => (ephemeron, Ok(Some(rendering)), None),
        Said::RunLastGood(ephemeron, rendering, trouble) => {
            let (reason, note) = presets::of_the_new_file(&rendering.rendered, &trouble);
            teller.warn(&ephemeron, reason.as_str(), &note).await;
            (ephemeron, Ok(Some(rendering)), None)
        }
        Said::Nothing(finding, again) => {
            metrics.asked(Asked::without(finding.reason));
            let again = (again == Again::Later).then(|| context.failed(ephemeron.name()));
            let again = again.and_then(|pause| TimeDelta::from_std(pause).ok());
            (ephemeron, Err(Invalid::Preset(finding)), again)
        }
    })
}

/// The port of this Ephemeron's Service.
fn service_port(ephemeron: &Ephemeron, observed: &Observed) -> Option<u16> {
    let service = observed.service.as_ref().filter(|one| whose(one.as_ref(), ephemeron) == Whose::Ours)?;
    let port = service.spec.as_ref()?.ports.iter().flatten().next()?;
    u16::try_from(port.port).ok().filter(|port| *port > 0)
}

/// Whether a Pod of this Ephemeron lives.
fn has_pod(ephemeron: &Ephemeron, observed: &Observed, now: DateTime<Utc>) -> bool {
    let ours = observed.pods.iter().filter(|pod| whose(pod.as_ref(), ephemeron) == Whose::Ours);
    let ours: Vec<_> = ours.cloned().collect();
    matches!(attempts::pick(&ours, now), attempts::Pick::Live(_))
}

/// The Ingress annotations that the policy has let through.
fn standing_annotations<'a>(
    ephemeron: &'a Ephemeron,
    observed: &'a Observed,
    routing: &Routing,
    pod: bool,
) -> Option<&'a BTreeMap<String, String>> {
    let ingress = observed.ingress.as_ref().filter(|one| whose(one.as_ref(), ephemeron) == Whose::Ours);
    match ingress {
        Some(ingress) => ingress.metadata.annotations.as_ref(),
        // On a Gateway they are only words, and are judged when there is to be an Ingress.
        None if pod && matches!(routing, Routing::Gateway(_)) => ephemeron.spec.ingress_annotations(),
        None => None,
    }
}

/// Whether the route of the kind in use is there already: whoever comes later to its host is the
/// intruder.
fn has_route(observed: &Observed, routing: &Routing) -> bool {
    match routing {
        Routing::Gateway(_) => observed.http_route.is_some(),
        Routing::Ingress { .. } => observed.ingress.is_some(),
        Routing::Unavailable(_) => false,
    }
}

/// Whether the Pod is ready, and why not; of one that runs and takes too long the kubelet is asked.
async fn pod_ready(
    context: &Context,
    ephemeron: &Ephemeron,
    applied: &Applied,
    now: DateTime<Utc>,
) -> (Finding, Option<TimeDelta>) {
    let live = match &applied.pod {
        Child::Ours(live) => live,
        other => {
            let finding = status::child(other, "Pod");
            return (finding.unwrap_or_else(|| Finding::no(conditions::Reason::PodNotReady, "")), None);
        }
    };
    let view = pod::View { ready_within: context.settings.ready_within, complaint: None, now };
    if !pod::is_late(live, &view) {
        return pod::judge(live, &view);
    }
    let complaint = context.complaints.of(&context.client, ephemeron.name(), live).await;
    pod::judge(live, &pod::View { complaint: complaint.as_deref(), ..view })
}

/// What is known of the public URL; None where it need not be asked: there is no readiness probe,
/// something else is missing, or it has answered before. Only watches take availability away: a
/// service that is available causes no requests, unless it is being moved.
fn reachability(context: &Context, frame: &Frame<'_>, outcome: &Outcome<'_>) -> Option<Reachability> {
    let name = frame.ephemeron.name();
    let previous = frame.ephemeron.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let is_known = conditions::is_true(previous, AVAILABLE) && outcome.moving.is_none();
    let target = if is_known || status::blocker(outcome, frame.routing).is_some() {
        None
    } else {
        target(&context.settings.probe, outcome.valid, outcome.applied, frame.routing)
    };
    let Some(target) = target else {
        context.prober.forget(name);
        return None;
    };
    Some(context.prober.ask(name, target))
}
