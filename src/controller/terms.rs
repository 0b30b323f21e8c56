//! The times in which this process leads, one after the other: only in them is anything brought about. The
//! caches are kept up to date all the time.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time};

use super::{Context, caches::Listeners, work::work};
use crate::lease::candidate::Candidate;

/// How long reconciles may go on once this process is to stop: whoever takes over waits for them.
const LAST: Duration = Duration::from_millis(500);

/// Works whenever the candidate leads, or all the time where there is no lease, until `stop` resolves and
/// every reconcile that is under way has ended; with a lease, those that take longer are cut off. Then the
/// lease is released.
pub(super) async fn lead(
    context: &Arc<Context>,
    candidate: Option<Candidate>,
    queue: &mut mpsc::UnboundedReceiver<String>,
    listeners: &Listeners,
    stop: impl Future<Output = ()> + Clone + Send + 'static,
) {
    let Some(mut candidate) = candidate else {
        context.metrics.leads(true);
        return work(Arc::clone(context), queue, stop).await;
    };
    loop {
        tokio::select! {
            biased;
            () = stop.clone() => break,
            () = candidate.follow() => {}
            // What changes meanwhile is looked at with everything else, by whoever leads.
            () = async { while queue.recv().await.is_some() {} } => break,
        }
        context.metrics.leads(true);
        context.caches.ephemerons.names().into_iter().for_each(|name| listeners.name(name));
        let lost = tokio::select! {
            lost = candidate.lead() => Some(lost),
            () = work(Arc::clone(context), queue, stop.clone()) => None,
            () = async { stop.clone().await; time::sleep(LAST).await } => None,
        };
        context.metrics.leads(false);
        // Nothing of this term goes on in the next one, or in that of somebody else.
        drop(context.under_way.write().await);
        let Some(lost) = lost else { break };
        tracing::warn!(
            "lost the lease: {lost}. Nothing is written any more, and what was under way is cut off; whoever \
             leads goes on with it. Where this comes again and again, look at this machine's load and at the \
             way to the API server, or set a longer EPHEMERON_LEASE_DURATION"
        );
        context.prober.forget_all();
    }
    candidate.release().await;
}
