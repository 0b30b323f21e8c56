//! The queue at work: one task for each reconcile, retries, and what counts as a failure.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, PoisonError},
    task,
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _, stream};
use kube::{
    core::{PartialObjectMeta, PartialObjectMetaExt as _},
    runtime::{
        applier,
        controller::{self, Action},
        reflector::{ObjectRef, store::Writer},
        watcher::Event,
    },
};
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinHandle},
    time,
};

use super::{
    Context, FIRST_RETRY, TIMEOUT, apply, expire, metrics::Failure, presets, publish, reconcile::reconcile,
};
use crate::resource::Ephemeron;

/// Reconciles that run at once; each is bounded by [`TIMEOUT`].
const CONCURRENCY: u16 = 100;
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest pause after failures.
const LONGEST_RETRY: Duration = Duration::from_mins(1);
/// The longest pause between two attempts to delete what has expired, and where the API server has said
/// that it will not, such as for an admission webhook's sake, again and again.
const LONGEST_LATE_RETRY: Duration = Duration::from_secs(1);
const LONGEST_REFUSED_RETRY: Duration = Duration::from_secs(10);

/// What the queue holds: an Ephemeron's name. The Ephemeron itself is in the caches.
type Key = PartialObjectMeta<Ephemeron>;

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Apply(#[from] apply::ApplyError),
    #[error(transparent)]
    Publish(#[from] publish::PublishError),
    #[error(transparent)]
    Preset(#[from] presets::PresetError),
    #[error(transparent)]
    Expire(#[from] expire::ExpireError),
    #[error("the API server did not answer within {0} s")]
    Timeout(u64),
    #[error("a defect of the controller: please report it with the lines before")]
    Defect(#[source] JoinError),
}

impl Error {
    /// The longest pause before the next attempt to delete what has expired.
    fn longest_late_retry(&self) -> Duration {
        match self {
            Self::Expire(error) if error.is_refusal() => LONGEST_REFUSED_RETRY,
            _ => LONGEST_LATE_RETRY,
        }
    }

    fn failure(&self) -> Failure {
        match self {
            Self::Apply(_) => Failure::Apply,
            Self::Preset(_) => Failure::Preset,
            Self::Publish(_) => Failure::Publish,
            Self::Expire(_) => Failure::Expire,
            Self::Timeout(_) => Failure::Timeout,
            Self::Defect(_) => Failure::Defect,
        }
    }
}

/// Takes names from the queue and reconciles what bears them, until the shutdown, and then until every
/// reconcile that is under way has ended. Where this future is dropped, they are cut off.
pub(super) async fn work(
    context: Arc<Context>,
    queue: &mut mpsc::UnboundedReceiver<String>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let mut known = Writer::<Key>::new(());
    // The applier waits for a complete list; the caches have theirs already.
    known.apply_watcher_event(&Event::Init);
    known.apply_watcher_event(&Event::InitDone);
    let store = known.as_reader();
    let caches = Arc::clone(&context.caches);
    let queue = stream::unfold(queue, |queue| async { Some((queue.recv().await?, queue)) })
        .map(move |name| {
            let key = key(&name);
            let reference = ObjectRef::from_obj(&key);
            known.apply_watcher_event(&match caches.ephemerons.uid(&name) {
                Some(_) => Event::Apply(key),
                None => Event::Delete(key),
            });
            Ok::<_, std::convert::Infallible>(controller::ReconcileRequest::from(reference))
        })
        .take_until(shutdown);
    let config = controller::Config::default().concurrency(CONCURRENCY);
    applier(bounded, retry, Arc::clone(&context), store, queue.boxed(), config)
        .for_each(|end| {
            if let Err(controller::Error::ObjectNotFound(gone)) = end {
                context.forget(&gone.name);
            }
            std::future::ready(())
        })
        .await;
}

fn key(name: &str) -> Key {
    kube::core::ObjectMeta { name: Some(name.into()), ..Default::default() }.into_response_partial()
}

/// A reconcile on a task of its own, so that all cores are used and a panic stays within, and with
/// a limit to its time.
#[expect(clippy::needless_pass_by_value, reason = "the signature is the applier's")]
fn bounded(
    key: Arc<Key>,
    context: Arc<Context>,
) -> impl Future<Output = Result<Action, Error>> + Send + Unpin + 'static {
    let name = key.metadata.name.clone().unwrap_or_default();
    let (began, metrics) = (time::Instant::now(), Arc::clone(&context.metrics));
    Cut(tokio::spawn(async move {
        let _under_way = Arc::clone(&context.under_way).read_owned().await;
        let limit = context.time_for(&name);
        let action = time::timeout(limit, Box::pin(reconcile(&name, &context)))
            .await
            .map_err(|_| Error::Timeout(limit.as_secs()))??;
        Ok(action)
    }))
    .map(move |end| {
        let end = end.map_err(Error::Defect).flatten();
        match &end {
            Ok(_) => metrics.reconciled(began.elapsed()),
            Err(error) => metrics.reconcile_failed(error.failure(), began.elapsed()),
        }
        end
    })
}

/// A task that does not outlive who waits for it.
struct Cut<T>(JoinHandle<T>);

impl<T> Future for Cut<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> task::Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for Cut<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What happens after a failure: the next attempt comes later each time, but never after the
/// Ephemeron's end.
#[expect(clippy::needless_pass_by_value, reason = "the signature is the applier's")]
fn retry(key: Arc<Key>, error: &Error, context: Arc<Context>) -> Action {
    let name = key.metadata.name.as_deref().unwrap_or_default();
    let pause = context.failed(name);
    tracing::warn!(ephemeron = name, error = %chain(error), retry_in = ?pause, "reconcile failed");
    let Some(ephemeron) = context.caches.ephemerons.get(name) else { return Action::requeue(pause) };
    let left = context.settings.end_of(&ephemeron).map(|end| (end - (context.now)()).to_std());
    Action::requeue(match left {
        None => pause,
        Some(Ok(left)) => pause.min(round_up(left)),
        Some(Err(_)) => pause.min(error.longest_late_retry()),
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

impl Context {
    /// The time for one reconcile: what hangs before an Ephemeron's end does not outlast it.
    fn time_for(&self, name: &str) -> Duration {
        let end = self.caches.ephemerons.get(name).and_then(|one| self.settings.end_of(&one));
        let left = end.and_then(|end| (end - (self.now)()).to_std().ok());
        left.map_or(TIMEOUT, |left| round_up(left).clamp(SHORTEST_TIMEOUT, TIMEOUT))
    }

    /// Counts a failure; returns how long to wait.
    pub(super) fn failed(&self, name: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(name.into()).or_default();
        let pause = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(*count)).min(LONGEST_RETRY);
        *count = count.saturating_add(1);
        pause
    }

    pub(super) fn succeeded(&self, name: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Drops what is remembered of an Ephemeron that is gone.
    fn forget(&self, name: &str) {
        self.succeeded(name);
        self.prober.forget(name);
        self.complaints.forget(name);
        self.pacing.forget(name);
    }
}

/// Whole milliseconds, rounded up: a timer that fires early would find nothing to do.
pub(super) fn round_up(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_under_way_is_cut_off_with_who_waits_for_it() {
        let (kept, dropped) = oneshot::channel::<()>();
        let cut = Cut(tokio::spawn(async move {
            let _kept = kept;
            std::future::pending::<()>().await;
        }));
        drop(cut);
        assert!(time::timeout(TIMEOUT, dropped).await.expect("it does not go on").is_err());
    }
}
