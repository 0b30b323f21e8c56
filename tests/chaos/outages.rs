//! When the controller could not have done its work, and why: by faults, and by what a probe measures.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{TimeDelta, Utc};
use ephemeron::resource::Ephemeron;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use tokio::{task::AbortHandle, time};

use super::history::{Time, short};

/// How often the API server is asked, and how long its answer may take.
const EVERY: Duration = Duration::from_millis(200);
const PROMPT: TimeDelta = TimeDelta::milliseconds(300);
const TIMEOUT: Duration = Duration::from_secs(5);

/// A time in which an installation could not do its work.
#[derive(Clone, Debug)]
pub struct Outage {
    /// Of which installation; None: of all.
    pub whose: Option<String>,
    /// By what.
    pub what: String,
    /// When it began.
    pub from: Time,
    /// When it ended; None: it goes on.
    pub until: Option<Time>,
}

impl std::fmt::Display for Outage {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whose, until) = (self.whose.as_deref().unwrap_or("all"), self.until.map(short));
        write!(to, "{} to {} {whose}: {}", short(self.from), until.unwrap_or_default(), self.what)
    }
}

/// How much of the time between two moments lies outside of all outages of this installation.
pub fn uncovered(outages: &[Outage], whose: &str, from: Time, until: Time) -> TimeDelta {
    let concerns = |one: &&Outage| one.whose.as_deref().is_none_or(|name| name == whose);
    let mut parts: Vec<_> = outages
        .iter()
        .filter(concerns)
        .map(|one| (one.from.max(from), one.until.unwrap_or(until).min(until)))
        .filter(|(from, until)| from < until)
        .collect();
    parts.sort();
    let (mut at, mut open) = (from, TimeDelta::zero());
    for (begin, end) in parts {
        open += (begin - at).max(TimeDelta::zero());
        at = at.max(end);
    }
    open + (until - at).max(TimeDelta::zero())
}

/// The outages of a run.
#[derive(Clone, Default)]
pub struct Outages(Arc<Mutex<Vec<Outage>>>);

impl Outages {
    fn list(&self) -> MutexGuard<'_, Vec<Outage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One begins; it is ended by its number.
    pub fn begin(&self, whose: Option<&str>, what: impl Into<String>) -> usize {
        let mut list = self.list();
        let whose = whose.map(str::to_owned);
        list.push(Outage { whose, what: what.into(), from: Utc::now(), until: None });
        list.len() - 1
    }

    /// The one of this number ends.
    pub fn end(&self, number: usize) {
        self.list()[number].until = Some(Utc::now());
    }

    /// All so far.
    pub fn all(&self) -> Vec<Outage> {
        self.list().clone()
    }

    /// Measures from here on when the API server does not answer promptly, or this machine stands still.
    pub fn probe(&self, client: Client) -> AbortHandle {
        let outages = self.clone();
        let probing = async move {
            let (ephemerons, mut open) = (Api::<Ephemeron>::all(client), None);
            let mut due = Utc::now();
            loop {
                let answer = time::timeout(TIMEOUT, ephemerons.get_opt("chaos-probe")).await;
                let now = Utc::now();
                let is_well = matches!(answer, Ok(Ok(_)));
                if !is_well || now - due > PROMPT {
                    let number = open.get_or_insert_with(|| {
                        let number = outages.begin(None, "the API server, as measured");
                        outages.list()[number].from = due;
                        number
                    });
                    outages.end(*number);
                }
                if is_well {
                    open = None;
                }
                due = Utc::now() + EVERY;
                time::sleep(EVERY).await;
            }
        };
        tokio::spawn(probing).abort_handle()
    }

    /// Measures from here on when nobody leads: when the Lease of this installation is not renewed.
    pub fn probe_lease(&self, client: Client, name: &str, silent: TimeDelta) -> AbortHandle {
        let (outages, name) = (self.clone(), name.to_owned());
        let probing = async move {
            let leases = Api::<Lease>::namespaced(client, "default");
            let mut open = None;
            loop {
                // While the API server is away, the other probe tells.
                if let Ok(Ok(lease)) = time::timeout(TIMEOUT, leases.get_opt(&name)).await {
                    let spec = lease.and_then(|lease| lease.spec);
                    let renewed = spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
                    let renewed = renewed.and_then(|at| Time::from_timestamp_micros(at.0.as_microsecond()));
                    let is_held =
                        spec.and_then(|spec| spec.holder_identity).is_some_and(|who| !who.is_empty());
                    let now = Utc::now();
                    let leads = is_held && renewed.is_some_and(|renewed| now - renewed < silent);
                    if leads {
                        open = None;
                    } else {
                        let number = *open.get_or_insert_with(|| {
                            let number = outages.begin(Some(&name), "nobody leads, as measured");
                            outages.list()[number].from = renewed.unwrap_or(now).min(now);
                            number
                        });
                        outages.end(number);
                    }
                }
                time::sleep(EVERY).await;
            }
        };
        tokio::spawn(probing).abort_handle()
    }
}
