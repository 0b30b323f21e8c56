//! Who leads, as far as one candidate can know: what it has seen of the Lease, and what it does next.
//!
//! The rules are client-go's. What another machine's clock has written is never compared with ours:
//! a holder's time begins when a change of the Lease is seen here, by the monotonic clock, and our own
//! when the request that was granted went out.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::core::ObjectMeta;

use super::Place;

/// A holder that asks for more than this is believed to ask for this.
const LONGEST: Duration = Duration::from_hours(1);

/// The times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How long others wait for the holder after they have seen its last renewal.
    pub duration: Duration,
    /// How long after its last renewal the holder stops by itself, well before others take over.
    pub deadline: Duration,
    /// Between two renewals, and after a failure.
    pub retry: Duration,
}

impl Times {
    /// The times for a lease of so many seconds, in client-go's proportions: of 15 s the holder has
    /// 10 s, and renews every 2 s.
    #[must_use]
    pub fn of(duration: Duration) -> Self {
        Self { duration, deadline: duration * 2 / 3, retry: duration * 2 / 15 }
    }
}

/// What to do next. Times are those since the clock's start, as everywhere here.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing, until then or until the watch shows something.
    Wait(Duration),
    /// Read the Lease.
    Look,
    /// Write this one: it is new where it has no resource version.
    Write(Box<Lease>),
    /// Nothing more as the leader.
    Stop(Lost),
}

/// Why a leader does not lead any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Its time has run out.
    #[error(
        "it was not renewed within {0} s: the API server did not answer, or this process was stopped or got no processor"
    )]
    Deadline(u64),
    /// Somebody else has it.
    #[error("{0} has taken it: this process was cut off or stopped for longer than the lease lasts")]
    Taken(String),
    /// Somebody has emptied it.
    #[error("its holder was taken out by hand")]
    Emptied,
}

/// Why a request about the Lease has come to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It is another one by now: somebody else was first.
    Conflict,
    /// It is not there any more.
    Missing,
    /// Anything else.
    Other,
}

/// One candidate's view.
#[derive(Debug)]
pub struct Election {
    me: String,
    place: Place,
    times: Times,
    /// The Lease as it was seen last; None where there is none.
    lease: Option<Lease>,
    is_known: bool,
    /// Who else may still hold it, and until when. It outlives a Lease that was deleted.
    claim: Option<Claim>,
    is_watched: bool,
    /// Until when we hold it.
    held: Option<Duration>,
    /// When it was last read.
    looked: Option<Duration>,
    /// Nothing is written before.
    write_at: Duration,
    /// Nothing is read before.
    look_at: Duration,
    /// What is known is out of date.
    must_look: bool,
    lost: Option<Lost>,
}

#[derive(Clone, Debug)]
struct Claim {
    holder: String,
    until: Duration,
}

impl Election {
    /// For the candidate of this name. The first thing that it does, if the watch does not show the Lease
    /// before, is to look, a retry after `now`.
    #[must_use]
    pub fn new(me: String, place: Place, times: Times, now: Duration) -> Self {
        Self {
            me,
            place,
            times,
            lease: None,
            is_known: false,
            claim: None,
            is_watched: false,
            held: None,
            looked: None,
            write_at: now,
            look_at: now + times.retry,
            must_look: false,
            lost: None,
        }
    }

    /// Until when this candidate leads; None while it does not.
    #[must_use]
    pub fn held(&self) -> Option<Duration> {
        self.held
    }

    /// Who else has it, as far as is known.
    #[must_use]
    pub fn other(&self) -> Option<&str> {
        self.claim.as_ref().map(|claim| claim.holder.as_str())
    }

    /// How often it has gone from one holder to another.
    #[must_use]
    pub fn transitions(&self) -> i32 {
        self.spec().and_then(|spec| spec.lease_transitions).unwrap_or_default()
    }

    /// The watch tells of every change, or it does not.
    pub fn watched(&mut self, is_watched: bool) {
        self.is_watched = is_watched;
    }

    /// The watch has shown the Lease. It may be behind what an answer has told.
    pub fn shown(&mut self, now: Duration, lease: Lease) {
        if !self.is_older(&lease) {
            self.see(now, Some(lease));
        }
    }

    /// The watch has shown that this Lease is gone.
    pub fn gone(&mut self, now: Duration, lease: &Lease) {
        if !self.is_older(lease) {
            self.see(now, None);
        }
    }

    /// It was read.
    pub fn read(&mut self, now: Duration, lease: Option<Lease>) {
        self.looked = Some(now);
        self.look_at = now + self.times.retry;
        self.must_look = false;
        self.see(now, lease);
    }

    /// What was written is in force; the request went out at `sent`.
    pub fn wrote(&mut self, sent: Duration, now: Duration, lease: Lease) {
        self.see(now, Some(lease));
        self.write_at = sent + self.times.retry;
        let until = sent + self.times.deadline;
        // An answer that comes too late makes nobody a leader, nor does one that was changed on its way.
        if self.is_mine() && (now < until || self.held.is_some()) {
            self.held = Some(until);
        }
    }

    /// A request has failed.
    pub fn failed(&mut self, now: Duration, failure: Failure) {
        self.write_at = now + self.times.retry;
        self.look_at = self.write_at;
        match failure {
            Failure::Conflict => self.doubt(now),
            Failure::Missing => self.see(now, None),
            Failure::Other => {}
        }
    }

    /// What is known may be wrong: it is looked at anew.
    pub fn doubt(&mut self, now: Duration) {
        self.must_look = true;
        self.look_at = now;
    }

    /// What to do at this time; `wall` is what the Lease will say of it, for people who read it.
    pub fn next(&mut self, now: Duration, wall: &MicroTime) -> Step {
        if let Some(until) = self.held {
            let lost = self.lost.take();
            let late = (now >= until).then_some(Lost::Deadline(self.times.deadline.as_secs()));
            if let Some(lost) = lost.or(late) {
                self.held = None;
                // Whoever was stopped knows nothing of the meantime.
                self.doubt(now);
                return Step::Stop(lost);
            }
        }
        self.lost = None;
        let look = if self.look_at > now { Step::Wait(self.look_at) } else { Step::Look };
        let write = if self.write_at > now { Step::Wait(self.write_at) } else { self.write(wall) };
        let step = match &self.claim {
            _ if self.must_look => look,
            _ if self.held.is_some() => write,
            _ if !self.is_known => look,
            Some(claim) if now < claim.until => match look {
                _ if self.is_watched => Step::Wait(claim.until),
                Step::Wait(at) => Step::Wait(at.min(claim.until)),
                look => look,
            },
            // The watch may be behind, or this process was stopped: nobody is put down unseen.
            Some(claim) if self.looked.is_none_or(|looked| looked < claim.until) => look,
            _ => write,
        };
        match (step, self.held) {
            (Step::Wait(at), Some(until)) => Step::Wait(at.min(until)),
            (step, _) => step,
        }
    }

    /// The Lease without its holder, if it is ours: whoever sees it can take it at once.
    #[must_use]
    pub fn release(&self, wall: &MicroTime) -> Option<Lease> {
        self.released(self.lease.clone()?, wall)
    }

    /// The same of this Lease, which may be newer than what is known.
    #[must_use]
    pub fn released(&self, mut lease: Lease, wall: &MicroTime) -> Option<Lease> {
        lease.spec.as_ref().filter(|spec| spec.holder_identity.as_ref() == Some(&self.me))?;
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(wall.clone());
        Some(lease)
    }

    fn spec(&self) -> Option<&LeaseSpec> {
        self.lease.as_ref()?.spec.as_ref()
    }

    fn is_mine(&self) -> bool {
        self.spec().and_then(|spec| spec.holder_identity.as_ref()) == Some(&self.me)
    }

    /// Resource versions of one kind can be compared as numbers (KEP-5504).
    fn is_older(&self, lease: &Lease) -> bool {
        let version = |lease: &Lease| lease.metadata.resource_version.as_ref()?.parse::<u64>().ok();
        self.lease.as_ref().and_then(version).zip(version(lease)).is_some_and(|(known, new)| new < known)
    }

    fn see(&mut self, now: Duration, lease: Option<Lease>) {
        let is_news = !self.is_known || self.spec() != lease.as_ref().and_then(|lease| lease.spec.as_ref());
        self.is_known = true;
        self.lease = lease;
        if self.lease.is_none() {
            // Its holder may not know yet: others wait as long as it would have held it. The holder makes
            // it anew at once.
            if self.held.is_some() {
                self.write_at = now;
            }
            return;
        }
        if !is_news {
            return;
        }
        let asked = self.spec().and_then(|spec| spec.lease_duration_seconds);
        let asked = asked.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        let until = now + asked.unwrap_or(self.times.duration).min(LONGEST);
        let holder = self.spec().and_then(|spec| spec.holder_identity.clone()).filter(|one| !one.is_empty());
        if self.held.is_some() && holder.as_ref() != Some(&self.me) {
            self.lost = Some(holder.clone().map_or(Lost::Emptied, Lost::Taken));
        }
        self.claim = holder.filter(|holder| *holder != self.me).map(|holder| Claim { holder, until });
    }

    fn write(&self, wall: &MicroTime) -> Step {
        let mut lease = self.lease.clone().unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(self.place.name.clone()),
                namespace: Some(self.place.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        let is_mine = self.is_mine();
        let is_new = self.lease.is_none();
        let spec = lease.spec.get_or_insert_default();
        if !is_mine {
            let before = spec.lease_transitions.unwrap_or_default();
            spec.lease_transitions = Some(if is_new { 0 } else { before.saturating_add(1).max(1) });
            spec.acquire_time = Some(wall.clone());
            spec.holder_identity = Some(self.me.clone());
        }
        spec.lease_duration_seconds = i32::try_from(self.times.duration.as_secs()).ok();
        spec.renew_time = Some(wall.clone());
        Step::Write(Box::new(lease))
    }
}

#[cfg(test)]
mod tests;
