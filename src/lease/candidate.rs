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
mod tests;
