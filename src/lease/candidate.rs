//! A candidate at work: watches the Lease, reads and writes it as the election says, and tells of it.

use std::{fs, io, sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use ephemeron_preset_host::secret;
use futures::{StreamExt as _, stream::BoxStream};
use k8s_openapi::{
    api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::PostParams,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use tokio::time;

use super::{
    Place,
    election::{Election, Failure, Lost, Step, Times},
    gate::Hold,
};
use crate::{client::root_cause, health::Readiness};

/// What `/readyz` calls it.
const SUBJECT: &str = "lease";
/// The longest that one request may take: one that hangs leaves time for others.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A renewal that hangs leaves time for so many more, by this part of the time that the lease is held.
const RENEWALS: u32 = 3;
/// How often the Lease is given up, should it change meanwhile.
const RELEASES: u32 = 3;

/// A name for this process that no other has: that of its machine or Pod, and something random.
///
/// # Errors
///
/// The system has no random bytes.
pub fn identity() -> io::Result<String> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let random = secret::random()?;
    let random = HEXLOWER.encode(random.get(..4).unwrap_or_default());
    Ok(format!("{}_{random}", if host.is_empty() { "controller" } else { host }))
}

/// One who holds the Lease, or waits for it.
pub struct Candidate {
    place: Place,
    api: Api<Lease>,
    events: BoxStream<'static, watcher::Result<Event<Lease>>>,
    /// Whether a list that is under way has had it.
    listed: bool,
    election: Election,
    times: Times,
    /// Whether a write has begun whose outcome is not known.
    is_writing: bool,
    hold: Arc<Hold>,
    readiness: Readiness,
    /// Whom it was told that it follows.
    followed: Option<String>,
    /// The trouble that was told.
    trouble: Option<String>,
}

impl Candidate {
    /// One that `hold` tells of. The Lease is watched with one client and written with another, whose
    /// requests nothing else holds up.
    #[must_use]
    pub fn new(
        identity: String,
        place: Place,
        times: Times,
        (watching, writing): (Client, Client),
        hold: Arc<Hold>,
        readiness: Readiness,
    ) -> Self {
        let this = watcher::Config::default().fields(&format!("metadata.name={}", place.name));
        let events = watcher(Api::namespaced(watching, &place.namespace), this).default_backoff().boxed();
        Self {
            api: Api::namespaced(writing, &place.namespace),
            events,
            listed: false,
            election: Election::new(identity, place.clone(), times, hold.now()),
            times,
            is_writing: false,
            place,
            hold,
            readiness,
            followed: None,
            trouble: None,
        }
    }

    /// Waits until it leads.
    pub async fn follow(&mut self) {
        while self.election.held().is_none_or(|until| until <= self.hold.now()) {
            // Nothing is lost that was not held.
            let _ = self.step().await;
            self.tell_of_other();
        }
        self.followed = None;
        self.readiness.says(SUBJECT, "leading");
        tracing::info!(lease = %self.place, transitions = self.election.transitions(), "leading");
    }

    /// Renews the lease until it is lost; returns why.
    pub async fn lead(&mut self) -> Lost {
        loop {
            if let Some(lost) = self.step().await {
                self.hold.set(None);
                self.readiness.says(SUBJECT, "following");
                return lost;
            }
        }
    }

    /// Gives the lease up, so that another takes it at once.
    pub async fn release(self) {
        self.hold.set(None);
        match time::timeout(TIMEOUT, self.give_up()).await {
            Ok(Ok(true)) => tracing::info!(lease = %self.place, "the lease is released"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                tracing::warn!(
                    "the lease could not be released: {}; it runs out by itself",
                    root_cause(&error)
                );
            }
            Err(_) => tracing::warn!("the lease could not be released in time; it runs out by itself"),
        }
    }

    /// Returns whether there was something to give up.
    async fn give_up(&self) -> kube::Result<bool> {
        let mut lease = self.election.release(&wall());
        for _ in 0..RELEASES {
            if let Some(lease) = &lease {
                match self.api.replace(&self.place.name, &PostParams::default(), lease).await {
                    Ok(_) => return Ok(true),
                    Err(kube::Error::Api(status)) if status.code == 409 => {}
                    Err(error) => return Err(error),
                }
            } else if !self.is_writing {
                break;
            }
            // A write that the end has cut off may be done all the same: what is there counts.
            let found = self.api.get_opt(&self.place.name).await?;
            lease = found.and_then(|found| self.election.released(found, &wall()));
            if lease.is_none() {
                break;
            }
        }
        Ok(false)
    }

    /// One wait or one request.
    async fn step(&mut self) -> Option<Lost> {
        match self.election.next(self.hold.now(), &wall()) {
            Step::Stop(lost) => return Some(lost),
            Step::Wait(until) => {
                let wait = until.saturating_sub(self.hold.now());
                tokio::select! {
                    event = self.events.next() => self.take(event),
                    () = time::sleep(wait) => {}
                }
            }
            Step::Look => {
                let found = time::timeout(self.limit(), self.api.get_opt(&self.place.name)).await;
                match found {
                    Ok(Ok(lease)) => {
                        self.election.read(self.hold.now(), lease);
                        self.well();
                    }
                    Ok(Err(error)) => self.fail("read", Some(&error), Failure::Other),
                    Err(_) => self.fail("read", None, Failure::Other),
                }
            }
            Step::Write(lease) => self.write(&lease).await,
        }
        None
    }

    async fn write(&mut self, lease: &Lease) {
        let is_new = lease.metadata.resource_version.is_none();
        let (sent, by_default) = (self.hold.now(), PostParams::default());
        let (api, name) = (self.api.clone(), self.place.name.clone());
        let written = async {
            if is_new {
                api.create(&by_default, lease).await
            } else {
                api.replace(&name, &by_default, lease).await
            }
        };
        self.is_writing = true;
        let outcome = time::timeout(self.limit(), written).await;
        self.is_writing = false;
        match outcome {
            Ok(Ok(lease)) => {
                self.election.wrote(sent, self.hold.now(), lease);
                self.hold.set(self.election.held());
                self.well();
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => {
                self.election.failed(self.hold.now(), Failure::Conflict);
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 404 && !is_new => {
                self.election.failed(self.hold.now(), Failure::Missing);
            }
            Ok(Err(error)) => self.fail("written", Some(&error), Failure::Other),
            Err(_) => self.fail("written", None, Failure::Other),
        }
    }

    /// No request outlasts what is held.
    fn limit(&self) -> Duration {
        let most = TIMEOUT.min(self.times.deadline / RENEWALS);
        self.election.held().map_or(TIMEOUT, |until| until.saturating_sub(self.hold.now()).min(most))
    }

    fn take(&mut self, event: Option<watcher::Result<Event<Lease>>>) {
        let now = self.hold.now();
        match event {
            Some(Ok(Event::Init)) => self.listed = false,
            Some(Ok(Event::InitApply(lease))) => {
                self.listed = true;
                self.show(now, lease);
            }
            Some(Ok(Event::InitDone)) => {
                self.election.watched(true);
                // Only a look tells for certain that there is none: lists may be older than what is known.
                if !self.listed {
                    self.election.doubt(now);
                }
            }
            // A watch that has failed may go on where it was, without a list.
            Some(Ok(Event::Apply(lease))) => {
                self.election.watched(true);
                self.show(now, lease);
            }
            Some(Ok(Event::Delete(lease))) => {
                self.election.watched(true);
                self.election.gone(now, &lease);
            }
            Some(Err(error)) => {
                self.election.watched(false);
                tracing::debug!(lease = %self.place, %error, "the watch of the Lease has failed");
            }
            // It never ends; if it did, the Lease would be read instead.
            None => self.election.watched(false),
        }
    }

    fn show(&mut self, now: Duration, lease: Lease) {
        self.election.shown(now, lease);
        // Who follows may not ask again for long: what is seen is well.
        if self.election.held().is_none() {
            self.well();
        }
    }

    fn tell_of_other(&mut self) {
        let other = self.election.other().map(ToOwned::to_owned);
        if other.is_some() && other != self.followed {
            let holder = other.as_deref().unwrap_or_default();
            self.readiness.says(SUBJECT, format!("following {holder}"));
            tracing::info!(lease = %self.place, holder, "following");
            self.followed = other;
        }
    }

    fn well(&mut self) {
        if self.trouble.take().is_some() {
            self.readiness.has(SUBJECT);
            tracing::info!(lease = %self.place, "the Lease is seen and written again");
        }
    }

    fn fail(&mut self, what: &str, error: Option<&kube::Error>, failure: Failure) {
        self.election.failed(self.hold.now(), failure);
        let place = &self.place;
        let why = match error {
            Some(kube::Error::Api(status)) if status.code == 403 => {
                format!(
                    "{}; apply k8s/controller/sa.yaml, whose Role for leases is in that namespace",
                    status.message
                )
            }
            Some(kube::Error::Api(status)) if status.code == 404 => {
                format!("{}; create the namespace, or set EPHEMERON_LEASE to another", status.message)
            }
            Some(kube::Error::Api(status)) => {
                format!("the API server answered {}: {}", status.code, status.message)
            }
            Some(error) => format!("no connection to the API server: {}", root_cause(error)),
            None => "the API server does not answer in time".into(),
        };
        let trouble = format!("the Lease {place} cannot be {what}: {why}");
        if self.trouble.as_ref() != Some(&trouble) {
            self.readiness.lacks(SUBJECT, trouble.as_str());
            tracing::warn!("{trouble}; trying again");
            self.trouble = Some(trouble);
        }
    }
}

/// What the Lease says of the time, for people: nobody decides by it.
fn wall() -> MicroTime {
    MicroTime(Timestamp::now())
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use http::{Method, Request, Response};
    use http_body_util::BodyExt as _;
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    type Stored = Arc<Mutex<Option<Lease>>>;

    fn stored(lease: &Stored) -> Option<Lease> {
        lease.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An API server with one Lease; it does what it is asked to, and answers writes only when `answers` says so.
    fn server(lease: &Stored, answers: impl Fn() -> bool + Clone + Send + Sync + 'static) -> Client {
        let lease = Arc::clone(lease);
        let service = tower::service_fn(move |request: Request<Body>| {
            let (lease, answers) = (Arc::clone(&lease), answers.clone());
            async move {
                let method = request.method().clone();
                let body = request.into_body().collect().await.expect("a body").to_bytes();
                let version = |lease: &Lease| lease.metadata.resource_version.clone();
                let refused = |code: u16| (code, json!({"kind": "Status", "code": code}).to_string());
                let known = stored(&lease);
                let (status, text) = match (method == Method::GET, known) {
                    (true, Some(known)) => (200, serde_json::to_string(&known).expect("JSON")),
                    (true, None) => refused(404),
                    (false, known) => {
                        let mut new: Lease = serde_json::from_slice(&body).expect("a Lease");
                        if known.as_ref().and_then(version) == version(&new) {
                            let next = version(&new).and_then(|old| old.parse::<u64>().ok()).unwrap_or(0) + 1;
                            new.metadata.resource_version = Some(next.to_string());
                            *lease.lock().unwrap_or_else(PoisonError::into_inner) = Some(new.clone());
                            (200, serde_json::to_string(&new).expect("JSON"))
                        } else {
                            refused(409)
                        }
                    }
                };
                if method != Method::GET && !answers() {
                    std::future::pending::<()>().await;
                }
                let answer = Response::builder().status(status).body(Body::from(text.into_bytes()));
                Ok::<_, io::Error>(answer.expect("an answer"))
            }
        });
        Client::new(service, "default")
    }

    /// Somebody who stops while a write is under way that is done, but not answered.
    async fn stops_in_a_write(is_leading: bool) -> Option<String> {
        let (lease, answered) = (Stored::default(), Arc::new(Mutex::new(is_leading)));
        let answers = Arc::clone(&answered);
        let client = server(&lease, move || *answers.lock().unwrap_or_else(PoisonError::into_inner));
        let (place, times) = ("a/b".parse().expect("a place"), Times::of(Duration::from_secs(15)));
        let hold = Arc::new(Hold::default());
        let clients = (client.clone(), client);
        let mut one =
            Candidate::new("one".into(), place, times, clients, hold, Readiness::starting("a test"));
        let (found, now) = (stored(&lease), one.hold.now());
        one.election.read(now, found);
        if is_leading {
            one.follow().await;
            *answered.lock().unwrap_or_else(PoisonError::into_inner) = false;
        }
        let Step::Write(next) = one.election.next(now + Duration::from_secs(3), &wall()) else {
            panic!("it is time to write")
        };
        let before = stored(&lease).and_then(|lease| lease.metadata.resource_version);
        {
            let mut write = std::pin::pin!(one.write(&next));
            while stored(&lease).and_then(|lease| lease.metadata.resource_version) == before {
                assert!(futures::poll!(&mut write).is_pending(), "its answer never comes");
                tokio::task::yield_now().await;
            }
        }
        *answered.lock().unwrap_or_else(PoisonError::into_inner) = true;
        one.release().await;
        stored(&lease)?.spec?.holder_identity
    }

    #[tokio::test]
    async fn a_write_that_the_end_cuts_off_leaves_no_holder() {
        assert_eq!(stops_in_a_write(true).await, None, "of one who led");
        assert_eq!(stops_in_a_write(false).await, None, "of one who was about to");
    }
}
