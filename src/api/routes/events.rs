//! Streams of what becomes of services (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::{collections::VecDeque, convert::Infallible, io, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use chrono::Utc;
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use http::header;
use kube::ResourceExt as _;
use poem::{
    Body, IntoResponse, Response,
    web::{Data, sse},
};
use poem_openapi::{
    ApiResponse, Enum, Object, OpenApi,
    param::Path,
    payload::{EventStream, Payload},
    registry::{MetaSchemaRef, Registry},
    types::{Example, ToJSON as _},
};
use tokio::{sync::watch, time};

use super::{Tag, an_id};
use crate::api::{
    Api,
    caller::{Authorized, Caller, of_service},
    changes::Subscription,
    metrics::Open,
    problem::{AWAY, BAD, FORBIDDEN, MANY, MISSING, Refused, UNKNOWN},
    view::Service,
};

/// The operations.
pub struct Events;

/// Between two signs of life.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// What an event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub enum Kind {
    /// A service as it is now: at first each, then those that have changed.
    Service,
    /// All services were told as they were at the beginning.
    Ready,
    /// A service is gone.
    Gone,
    /// The stream ends: connect again, with another token where this one is over.
    End,
}

/// One event.
#[derive(Clone, Debug, Object)]
#[oai(skip_serializing_if_is_none, example)]
pub struct Event {
    /// What it tells; `event` of the stream, too.
    pub kind: Kind,
    /// The service that it is about.
    pub id: Option<String>,
    /// The service as it is now.
    pub service: Option<Service>,
    /// Why the stream ends.
    pub reason: Option<String>,
    #[oai(skip)]
    version: Option<String>,
}

impl Example for Event {
    fn example() -> Self {
        let service = Service::example();
        Self::of(Kind::Service, Some(service.id.clone()), Some(service))
    }
}

impl Event {
    fn of(kind: Kind, id: Option<String>, service: Option<Service>) -> Self {
        Self { kind, id, service, reason: None, version: None }
    }

    fn end(reason: &str) -> Self {
        Self { reason: Some(reason.into()), ..Self::of(Kind::End, None, None) }
    }
}

#[derive(ApiResponse)]
enum Streamed {
    /// Events for as long as the token is valid. Each has its data as JSON.
    #[oai(status = 200)]
    Ok(Stream),
}

/// Events as the document has them. Each is a piece of the body by itself: the library's own answer copies
/// them through a buffer of 4 KiB, one for every stream.
struct Stream(BoxStream<'static, sse::Event>);

/// What the document says of it.
type Documented = EventStream<BoxStream<'static, Event>>;

impl Payload for Stream {
    const CONTENT_TYPE: &'static str = Documented::CONTENT_TYPE;

    fn schema_ref() -> MetaSchemaRef {
        Documented::schema_ref()
    }

    fn register(registry: &mut Registry) {
        <Documented as Payload>::register(registry);
    }
}

impl IntoResponse for Stream {
    fn into_response(self) -> Response {
        let mut events = self.0;
        let mut silence = time::interval_at(time::Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        let pieces = stream::poll_fn(move |context| {
            if let Poll::Ready(event) = events.poll_next_unpin(context) {
                return Poll::Ready(event.map(|event| Ok::<_, Infallible>(Bytes::from(event.to_string()))));
            }
            silence.poll_tick(context).map(|_| Some(Ok(Bytes::from_static(b":\n\n"))))
        });
        let pieces = pieces.map_err(|never| match never {});
        Response::builder()
            .content_type(Self::CONTENT_TYPE)
            // Proxies that collect an answer before they pass it on, such as nginx, do not do so here.
            .header("X-Accel-Buffering", "no")
            .header(header::CACHE_CONTROL, "no-cache")
            .body(Body::from_bytes_stream::<_, Bytes, io::Error>(pieces))
    }
}

#[expect(clippy::unused_async, reason = "operations are asynchronous")]
#[OpenApi(tag = "Tag::Services")]
impl Events {
    /// Follow a service
    ///
    /// Server-sent events: at first the service as it is, then whenever it has changed. Nothing is replayed:
    /// whoever connects again begins anew. After `gone` the stream ends, and the service is a 404.
    #[oai(path = "/:id/events", method = "get", operation_id = "followService")]
    async fn one(
        &self,
        api: Data<&Arc<Api>>,
        caller: Authorized,
        /// The service.
        #[oai(example = "an_id")]
        id: Path<String>,
    ) -> Result<Streamed, Refused<{ BAD | UNKNOWN | FORBIDDEN | MISSING | MANY | AWAY }>> {
        let subscription = api.directory.subscribe(of_service(&id));
        api.directory.get(&api.ephemerons, &caller.0, &id).await?;
        let first = VecDeque::from([id.0]);
        Ok(Streamed::Ok(stream_of(Follower::new(&api, caller.0, subscription, first, true))))
    }

    /// Follow all services
    ///
    /// Server-sent events of the user's services, or with a token of the backend itself of all its users'. At
    /// first each as it is, then `ready`, then whenever one has changed or is gone.
    #[oai(path = "/events", method = "get", operation_id = "followServices")]
    async fn all(
        &self,
        api: Data<&Arc<Api>>,
        caller: Authorized,
    ) -> Result<Streamed, Refused<{ UNKNOWN | AWAY }>> {
        api.directory.is_complete()?;
        let topic = caller.0.topic();
        let subscription = api.directory.subscribe(topic.clone());
        let first = api.directory.cache.members(&topic).into();
        Ok(Streamed::Ok(stream_of(Follower::new(&api, caller.0, subscription, first, false))))
    }
}

/// One who follows.
struct Follower {
    api: Arc<Api>,
    caller: Caller,
    subscription: Subscription,
    stopping: watch::Receiver<bool>,
    /// When the token is over.
    end: time::Instant,
    /// Services to tell of.
    due: VecDeque<String>,
    state: State,
    /// Whether it follows one service, with whose end it ends.
    is_one: bool,
    _open: Open,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Beginning,
    Following,
    Over,
}

/// Why a stream ends before what it follows.
const STOPS: &str = "this process stops: connect again";

impl Follower {
    fn new(
        api: &Arc<Api>,
        caller: Caller,
        subscription: Subscription,
        due: VecDeque<String>,
        is_one: bool,
    ) -> Self {
        let left = (caller.expires - Utc::now()).to_std().unwrap_or_default();
        Self {
            stopping: api.stopping.clone(),
            end: time::Instant::now() + left,
            state: if is_one { State::Following } else { State::Beginning },
            _open: api.metrics.stream(),
            api: Arc::clone(api),
            caller,
            subscription,
            due,
            is_one,
        }
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.state == State::Over {
                return None;
            }
            // Also for a reader that is never done with what there is to tell.
            if *self.stopping.borrow() {
                return Some(self.over(STOPS));
            }
            if time::Instant::now() >= self.end {
                return Some(self.over("the token is over: connect again with another one"));
            }
            while let Some(id) = self.due.pop_front() {
                if let Some(event) = self.event(id) {
                    return Some(event);
                }
            }
            if self.state == State::Beginning {
                self.state = State::Following;
                return Some(Event::of(Kind::Ready, None, None));
            }
            tokio::select! {
                changed = self.subscription.changed() => self.due.extend(changed),
                // An error means that this process ends, too.
                _ = self.stopping.wait_for(|stopping| *stopping) => {
                    self.state = State::Over;
                    return Some(Event::end(STOPS));
                }
                () = time::sleep_until(self.end) => {}
            }
        }
    }

    fn over(&mut self, why: &str) -> Event {
        self.state = State::Over;
        Event::end(why)
    }

    fn event(&mut self, id: String) -> Option<Event> {
        let found = self.api.directory.cache.get(&id);
        match found.filter(|found| self.caller.owns(found)) {
            Some(found) => {
                let service = Service::of(&found, self.caller.user.is_none(), Utc::now());
                let version = found.resource_version();
                Some(Event { version, ..Event::of(Kind::Service, Some(id), Some(service)) })
            }
            // At the beginning, what has gone since the look at the names was never told of.
            None if self.state == State::Beginning => None,
            None => {
                if self.is_one {
                    self.state = State::Over;
                }
                Some(Event::of(Kind::Gone, Some(id), None))
            }
        }
    }
}

fn stream_of(follower: Follower) -> Stream {
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((event, follower))
    });
    let events = events.map(|event: Event| {
        let name = match event.kind {
            Kind::Service => "service",
            Kind::Ready => "ready",
            Kind::Gone => "gone",
            Kind::End => "end",
        };
        let message = sse::Event::message(event.to_json_string()).event_type(name);
        match event.version {
            Some(version) => message.id(version),
            None => message,
        }
    });
    Stream(events.boxed())
}
