//! What a backend itself does with many services at once.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use http::StatusCode;
use poem_openapi::{Object, types::Example};

use super::{
    Api,
    caller::{Caller, of_app, of_group, of_user},
    deleting::delete,
    extending,
    problem::Problem,
    view::preset_of,
};
use crate::resource::Ephemeron;

/// Requests to the API server at once.
const AT_ONCE: usize = 16;
/// After so many failures in a row the others are not tried.
const GIVES_UP: usize = 64;
/// When to try again while another one is under way.
const PAUSE: Duration = Duration::from_secs(2);
/// Failures that are told one by one.
const TOLD: usize = 100;

/// What became of many services.
#[derive(Debug, Default, Object)]
#[oai(example)]
pub struct Outcome {
    /// How many were meant.
    pub matched: u32,
    /// With how many it was done. Those that were gone, or going, already do not count.
    pub done: u32,
    /// With how many it failed: do it again.
    pub failed: u32,
    /// The first hundred of those.
    pub failures: Vec<Failure>,
}

/// A service with which it was not done.
#[derive(Debug, Object)]
pub struct Failure {
    /// The service.
    pub id: String,
    /// Why.
    pub message: String,
}

impl Example for Outcome {
    fn example() -> Self {
        Self { matched: 2, done: 2, failed: 0, failures: Vec::new() }
    }
}

/// The topic that a list or a bulk operation is about.
///
/// # Errors
///
/// A user asks for others' services.
pub fn topic(caller: &Caller, user: Option<&str>, group: Option<&str>) -> Result<String, Problem> {
    if user.is_some() || group.is_some() {
        caller.is_app()?;
    }
    let app = &caller.app.name;
    let full = |name: &str| if name.contains('.') { name.to_owned() } else { format!("{name}.{app}") };
    match (user, group) {
        (Some(_), Some(_)) => Err(Problem::bad_request("give either user or group")),
        (Some(user), None) => Ok(of_user(&full(user))),
        (None, Some(group)) => Ok(of_group(&full(group))),
        (None, None) if caller.user.is_none() => Ok(of_app(app)),
        (None, None) => Ok(caller.topic()),
    }
}

/// Which services are meant.
#[derive(Debug)]
pub struct Meant {
    /// Those of a user.
    pub user: Option<String>,
    /// Those of a group.
    pub group: Option<String>,
    /// Those of a preset.
    pub preset: Option<String>,
    /// All of the app.
    pub all: Option<bool>,
}

/// The services that are meant.
///
/// # Errors
///
/// The caller is no backend itself, or does not say which.
pub fn meant(api: &Api, caller: &Caller, meant: &Meant) -> Result<Vec<Arc<Ephemeron>>, Problem> {
    caller.is_app()?;
    api.directory.is_complete()?;
    let Meant { user, group, preset, all } = meant;
    if user.is_none() && group.is_none() && preset.is_none() && *all != Some(true) {
        return Err(Problem::bad_request("say which: user, group, preset, or all=true"));
    }
    let topic = topic(caller, user.as_deref(), group.as_deref())?;
    let mut found = api.directory.of(&topic);
    found.retain(|one| caller.owns(one) && preset.as_deref().is_none_or(|name| preset_of(one) == Some(name)));
    Ok(found)
}

/// Which apps have an operation on many services under way: each may have one.
#[derive(Clone, Debug, Default)]
pub struct Busy(Arc<Mutex<HashSet<String>>>);

/// The one of an app, until it is dropped.
struct Turn(Busy, String);

impl Busy {
    fn all(&self) -> MutexGuard<'_, HashSet<String>> {
        // Every critical section leaves the set whole, whatever happens to its thread.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, app: &str) -> Result<Turn, Problem> {
        let why = "another operation on many services of this app is under way";
        let is_free = self.all().insert(app.to_owned());
        if is_free { Ok(Turn(self.clone(), app.to_owned())) } else { Err(Problem::too_many(why, PAUSE)) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.all().remove(&self.1);
    }
}

/// Deletes each, or sets its end. It goes on when the caller goes away: half of it is of use to nobody.
///
/// # Errors
///
/// Another one is under way, or the API server is away.
pub async fn each(
    api: &Arc<Api>,
    caller: &Caller,
    meant: Vec<Arc<Ephemeron>>,
    end: Option<DateTime<Utc>>,
) -> Result<Outcome, Problem> {
    let turn = api.bulk.take(&caller.app.name)?;
    let api = Arc::clone(api);
    let writing = Arc::clone(&api.writing).read_owned().await;
    let all = tokio::spawn(async move {
        let _held = (turn, writing);
        let matched = u32::try_from(meant.len()).unwrap_or(u32::MAX);
        let one = |seen: Arc<Ephemeron>| {
            let api = &api;
            async move {
                let id = seen.name().to_owned();
                let done = match end {
                    Some(end) => extending::extend(api, seen, end).await.map(drop),
                    None => delete(api, &seen).await,
                };
                done.map_err(|problem| (id, problem))
            }
        };
        let mut outcome = Outcome { matched, ..Outcome::default() };
        let (mut results, mut in_a_row) = (stream::iter(meant).map(one).buffer_unordered(AT_ONCE), 0);
        while let Some(done) = results.next().await {
            in_a_row = if outcome.add(done) { 0 } else { in_a_row + 1 };
            if in_a_row >= GIVES_UP {
                let left = matched - outcome.done;
                return Err(Problem::unavailable(format!(
                    "the cluster is away: it was done with {} of {matched}, and {left} are left",
                    outcome.done
                )));
            }
        }
        Ok(outcome)
    });
    all.await.map_err(|_| Problem::internal())?
}

impl Outcome {
    /// Adds what came of one; returns whether it was, or need not be, done.
    fn add(&mut self, done: Result<(), (String, Problem)>) -> bool {
        match done {
            Ok(()) => self.done += 1,
            // It is gone, or going: nothing is left to do.
            Err((_, problem)) if matches!(problem.status, StatusCode::NOT_FOUND | StatusCode::CONFLICT) => {}
            Err((id, problem)) => {
                self.failed += 1;
                if self.failures.len() < TOLD {
                    self.failures.push(Failure { id, message: problem.message });
                }
                return false;
            }
        }
        true
    }
}
