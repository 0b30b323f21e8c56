//! What a backend itself does with many services at once.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
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
/// Failures that are told one by one.
const TOLD: usize = 100;

/// What became of many services.
#[derive(Debug, Default, Object)]
#[oai(example)]
pub struct Outcome {
    /// How many were meant.
    pub matched: u32,
    /// With how many it was done. Those that were gone already do not count.
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
    let Meant { user, group, preset, all } = meant;
    if user.is_none() && group.is_none() && preset.is_none() && *all != Some(true) {
        return Err(Problem::bad_request("say which: user, group, preset, or all=true"));
    }
    let topic = topic(caller, user.as_deref(), group.as_deref())?;
    let mut found = api.directory.of(&topic);
    found.retain(|one| caller.owns(one) && preset.as_deref().is_none_or(|name| preset_of(one) == Some(name)));
    Ok(found)
}

/// Deletes each, or sets its end. It goes on when the caller goes away: half of it is of use to nobody.
///
/// # Errors
///
/// A defect.
pub async fn each(
    api: &Arc<Api>,
    meant: Vec<Arc<Ephemeron>>,
    end: Option<DateTime<Utc>>,
) -> Result<Outcome, Problem> {
    let api = Arc::clone(api);
    let all = tokio::spawn(async move {
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
        let start = Outcome { matched, ..Outcome::default() };
        stream::iter(meant)
            .map(one)
            .buffer_unordered(AT_ONCE)
            .fold(start, |outcome, done| async { outcome.with(done) })
            .await
    });
    all.await.map_err(|_| Problem::internal())
}

impl Outcome {
    fn with(mut self, done: Result<(), (String, Problem)>) -> Self {
        match done {
            Ok(()) => self.done += 1,
            Err((_, problem)) if problem.status == http::StatusCode::NOT_FOUND => {}
            Err((id, problem)) => {
                self.failed += 1;
                if self.failures.len() < TOLD {
                    self.failures.push(Failure { id, message: problem.message });
                }
            }
        }
        self
    }
}
