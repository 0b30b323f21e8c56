//! Lets no write through that does not come from the leader: checked right before a request goes out, by
//! a clock that goes on while the process is stopped or the machine asleep. Whoever was stopped and goes on finds it closed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::future::{self, Either, Ready};
use http::{Method, Request};
use rustix::time::{ClockId, clock_gettime};
use tower::{BoxError, Layer, Service};

/// Whether this process holds the lease at this moment.
#[derive(Debug)]
pub struct Hold {
    started: Duration,
    /// In nanoseconds after the start.
    until: AtomicU64,
}

impl Default for Hold {
    /// It does not.
    fn default() -> Self {
        Self { started: clock(), until: AtomicU64::new(0) }
    }
}

impl Hold {
    /// There is no lease: whoever runs, leads.
    #[must_use]
    pub fn for_ever() -> Self {
        Self { until: AtomicU64::new(u64::MAX), ..Self::default() }
    }

    /// The time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        clock().saturating_sub(self.started)
    }

    /// Whether it is held now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        u64::try_from(self.now().as_nanos()).unwrap_or(u64::MAX) < self.until.load(Ordering::SeqCst)
    }

    /// It is held until then, by this clock; None for not at all.
    pub fn set(&self, until: Option<Duration>) {
        let until = until.map_or(0, |until| u64::try_from(until.as_nanos()).unwrap_or(u64::MAX));
        self.until.store(until, Ordering::SeqCst);
    }
}

/// The time by a clock that nobody sets, and that also counts while the machine is suspended
/// (`clock_gettime(2)`, `CLOCK_BOOTTIME`).
fn clock() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

/// The request would change something, and this process does not lead.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this process does not hold the lease: it writes nothing, and whoever holds it does")]
pub struct NotTheLeader;

/// Puts the gate before a client.
#[derive(Clone)]
pub struct Gate(pub Arc<Hold>);

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, hold: Arc::clone(&self.0) }
    }
}

/// A client's service behind the gate.
#[derive(Clone)]
pub struct Gated<S> {
    inner: S,
    hold: Arc<Hold>,
}

impl<S, B> Service<Request<B>> for Gated<S>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future =
        Either<future::MapErr<S::Future, fn(S::Error) -> BoxError>, Ready<Result<S::Response, BoxError>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if !is_read && !self.hold.is_held() {
            return Either::Right(future::ready(Err(NotTheLeader.into())));
        }
        let into: fn(S::Error) -> BoxError = Into::into;
        Either::Left(future::TryFutureExt::map_err(self.inner.call(request), into))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::service_fn;

    use super::*;

    async fn gets_through(hold: &Arc<Hold>, method: Method) -> bool {
        let inner = service_fn(|_: Request<()>| future::ready(Ok::<_, Infallible>(())));
        let request = Request::builder().method(method).body(()).expect("a request");
        Gate(Arc::clone(hold)).layer(inner).call(request).await.is_ok()
    }

    #[tokio::test]
    async fn only_the_leader_s_writes_get_through() {
        let hold = Arc::new(Hold::default());
        let (writes, reads) = ([Method::POST, Method::PUT, Method::PATCH, Method::DELETE], [Method::GET]);
        for (until, wanted) in [
            (None, false),
            (Some(hold.now() + Duration::from_hours(1)), true),
            // Nobody has to close it: its time is over.
            (Some(hold.now()), false),
            (None, false),
        ] {
            hold.set(until);
            for method in &writes {
                assert_eq!(gets_through(&hold, method.clone()).await, wanted, "{until:?} {method}");
            }
            for method in &reads {
                assert!(gets_through(&hold, method.clone()).await, "{until:?} {method}");
            }
        }
        assert!(gets_through(&Arc::new(Hold::for_ever()), Method::DELETE).await);
    }
}
