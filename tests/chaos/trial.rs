//! One trial: lives in a cluster from a moment on, and everything that is looked at when they are over.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use chrono::{TimeDelta, Utc};
use kube::api::{Patch, PatchParams};
use tokio::{
    task::AbortHandle,
    time::{self, Instant},
};

use super::{
    audit::{AuditLog, Place, Request},
    checker::{self, Deletion, Evidence, Verdict},
    foreign::Foreign,
    history::{History, Time},
    manifests::LABEL,
    outages::Outages,
    survey, watching,
};
use crate::cluster::Cluster;

/// How long what is true in the end may take: the garbage collector removes about 20 objects a second.
const PATIENCE: Duration = Duration::from_mins(5);
const LOOK: Duration = Duration::from_millis(500);
/// How long nothing may be asked for in the end.
const QUIET: Duration = Duration::from_secs(15);

/// A trial that goes on.
pub struct Trial<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// What happens.
    pub history: Arc<History>,
    /// What is in the way.
    pub foreign: Arc<Foreign>,
    /// When controllers cannot work.
    pub outages: Outages,
    whose: Vec<&'a str>,
    audit: AuditLog,
    place: Place,
    watches: Vec<AbortHandle>,
}

/// What has come of it.
pub struct Outcome {
    /// How many lives there were.
    pub lives: usize,
    /// What has become of them.
    pub verdict: Verdict,
    /// What else must not be, each in words: orphans, statuses that are not so, words too much.
    pub problems: Vec<String>,
}

impl<'a> Trial<'a> {
    /// Begins, with the Ephemerons of these installations.
    pub fn begin(cluster: &'a Cluster, whose: &[&'a str]) -> Self {
        let (audit, history, outages) = (AuditLog::of(cluster), Arc::new(History::new()), Outages::default());
        let selector = format!("{LABEL} in ({})", whose.join(","));
        let watch = watching::watch(cluster.client.clone(), &selector, Arc::clone(&history));
        let watches = vec![watch, outages.probe(cluster.client.clone())];
        let (foreign, place) = (Arc::default(), audit.end());
        Self { cluster, history, foreign, outages, whose: whose.into(), audit, place, watches }
    }

    /// Waits until all is at rest, looks at everything, and removes what is left. `kept`: those that were
    /// to live on; `late`: what the checker is told; `alone`: nobody else uses the cluster's controllers.
    pub async fn finish(
        self,
        kept: &HashMap<String, String>,
        late: Option<TimeDelta>,
        alone: bool,
    ) -> Outcome {
        let client = &self.cluster.client;
        let mut problems = Vec::new();
        let ended = || async {
            let living = self.history.living();
            let late: Vec<_> = living.into_iter().filter(|(uid, _)| !kept.contains_key(uid)).collect();
            late.into_iter().map(|(uid, name)| format!("{name} ({uid}) lives on")).collect()
        };
        problems.extend(patiently(ended).await);
        // Some have gone by another way than the watch: whose names these are is known by the history.
        let lives = self.history.all();
        let names: HashSet<String> = lives.values().map(|life| life.name.clone()).collect();
        let untrue = || async {
            let ephemerons = survey::ephemerons(client, &self.whose).await;
            match (ephemerons, survey::children(client, &names).await) {
                (Ok(ephemerons), Ok(children)) => survey::untrue(&ephemerons, &children),
                (Err(error), _) | (_, Err(error)) => vec![error.to_string()],
            }
        };
        problems.extend(patiently(untrue).await);
        let orphans = || async {
            match survey::children(client, &names).await {
                Ok(children) => survey::orphans(&children, &self.history.living()),
                Err(error) => vec![error.to_string()],
            }
        };
        problems.extend(patiently(orphans).await.into_iter().map(|orphan| format!("orphan: {orphan}")));
        let concerns =
            |request: &Request| alone || names.contains(request.name().split('.').next().unwrap_or_default());
        // What the last trouble has left may be asked again at the beginning: then the time after it counts.
        let mut asked = self.asked_in_quiet(concerns).await;
        if !asked.is_empty() {
            asked = self.asked_in_quiet(concerns).await;
        }
        if !asked.is_empty() {
            problems.push(format!("not idle within {} s of quiet: {asked:?}", QUIET.as_secs()));
        }

        // Those that were to live on end now, and must go, too.
        for name in kept.values() {
            let now = serde_json::json!({ "spec": { "expirationTime": Utc::now().to_rfc3339() } });
            let patch = Patch::Merge(now);
            let ended = self.cluster.ephemerons().patch(name, &PatchParams::default(), &patch).await;
            problems.extend(ended.err().map(|error| format!("{name} was to live on: {error}")));
        }
        let left = || async {
            match survey::children(client, &names).await {
                Ok(children) => survey::orphans(&children, &HashMap::new()),
                Err(error) => vec![error.to_string()],
            }
        };
        problems.extend(patiently(left).await.into_iter().map(|child| format!("left: {child}")));
        let foreign = self.foreign.all();
        for kept in &foreign {
            problems.extend(kept.harm(client).await);
        }

        let requests = self.audit.since(self.place).await;
        let requests: Vec<_> = requests.into_iter().filter(concerns).collect();
        let deletions = deletions(&requests);
        let only = only_ends(&self.history, &deletions);
        problems.extend(survey::trespasses(&requests, &foreign, &names, &only));
        let (lives, kept, outages) = (self.history.all(), kept.keys().cloned().collect(), self.outages.all());
        let evidence =
            Evidence { lives: &lives, kept: &kept, outages: &outages, deletions: &deletions, late };
        let verdict = checker::judge(&evidence);
        self.clean().await;
        Outcome { lives: lives.len(), verdict, problems }
    }

    /// What was asked of the API server in a time of quiet.
    async fn asked_in_quiet(&self, concerns: impl Fn(&Request) -> bool) -> BTreeMap<String, usize> {
        let (place, from) = (self.audit.end(), Utc::now());
        time::sleep(QUIET).await;
        let until = Utc::now();
        let requests = self.audit.since(place).await;
        // A fake node that was away leaves its Pods unready, unlike a kubelet: kwok makes them ready once. Of such a Pod
        // the Events are asked for, once in a minute.
        let in_quiet = |request: &&Request| {
            concerns(request) && (from..until).contains(&request.received) && request.what() != "list events"
        };
        survey::asked(requests.iter().filter(in_quiet))
    }

    /// Removes what is foreign, and all that was found to live on.
    async fn clean(&self) {
        self.watches.iter().for_each(AbortHandle::abort);
        let selector = format!("{LABEL} in ({})", self.whose.join(","));
        self.cluster.kubectl(&format!("delete ephs -l '{selector}' --wait=false")).await;
        for kept in self.foreign.all() {
            let delete = format!("-n default delete {} {} --wait=false", kept.kind, kept.name);
            self.cluster.shell(&format!("kubectl {delete} || true")).await;
        }
    }
}

/// Every deletion of an Ephemeron that a controller got through.
fn deletions(requests: &[Request]) -> Vec<Deletion> {
    let of_ephemerons =
        requests.iter().filter(|request| request.is_controllers() && request.what() == "delete ephemerons");
    of_ephemerons.map(|request| Deletion { name: request.name().into(), at: request.received }).collect()
}

/// When those were deleted that had their names for themselves.
fn only_ends(history: &History, deletions: &[Deletion]) -> HashMap<String, Time> {
    let mut counts = HashMap::<String, usize>::new();
    for life in history.all().into_values() {
        *counts.entry(life.name).or_default() += 1;
    }
    let only = |deletion: &&Deletion| counts.get(&deletion.name) == Some(&1);
    deletions.iter().filter(only).map(|deletion| (deletion.name.clone(), deletion.at)).collect()
}

/// Looks again and again until there is nothing to complain of; returns what there is after a long time.
async fn patiently<F: Future<Output = Vec<String>>>(mut look: impl FnMut() -> F) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = look().await;
        if found.is_empty() || Instant::now() > deadline {
            return found;
        }
        time::sleep(LOOK).await;
    }
}
