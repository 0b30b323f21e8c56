//! What a backend itself does with many services at once.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use poem::web::Data;
use poem_openapi::{ApiResponse, Object, OpenApi, param::Query, payload::Json, types::Example};

use super::{
    Tag,
    services::{NewEnd, delete, topic},
};
use crate::{
    api::{
        Api,
        body::Body,
        caller::{Authorized, Caller},
        extending, lifetime,
        problem::{BAD, BODY, FORBIDDEN, Problem, Refused, UNKNOWN},
        view::preset_of,
    },
    resource::Ephemeron,
};

/// The operations.
pub struct Bulk;

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

#[derive(ApiResponse)]
enum Done {
    /// What became of them.
    #[oai(status = 200)]
    Ok(Json<Outcome>),
}

#[OpenApi(tag = "Tag::Backend")]
impl Bulk {
    /// Delete many services
    ///
    /// Of a user, of a group, of a preset, or with `all=true` all of the app. Only for a backend itself.
    #[oai(path = "/", method = "delete", operation_id = "deleteServices")]
    async fn delete_many(
        &self,
        api: Data<&Arc<Api>>,
        caller: Authorized,
        /// Those of this user, as `{uid}` or `{uid}.{app}`.
        user: Query<Option<String>>,
        /// Those of this group, as `{gid}` or `{gid}.{app}`.
        group: Query<Option<String>>,
        /// Those of this preset.
        preset: Query<Option<String>>,
        /// All of the app.
        all: Query<Option<bool>>,
    ) -> Result<Done, Refused<{ BAD | UNKNOWN | FORBIDDEN }>> {
        let meant = meant(&api, &caller.0, &Meant { user: user.0, group: group.0, preset: preset.0, all: all.0 })?;
        Ok(Done::Ok(Json(each(&api, meant, None).await?)))
    }

    /// Extend many services
    ///
    /// Of a user, of a group, of a preset, or with `all=true` all of the app. Only for a backend itself. Those
    /// whose time is over are not revived.
    #[oai(path = "/", method = "patch", operation_id = "extendServices")]
    #[expect(clippy::too_many_arguments, reason = "one for each parameter of the query")]
    async fn extend_many(
        &self,
        api: Data<&Arc<Api>>,
        caller: Authorized,
        /// Those of this user, as `{uid}` or `{uid}.{app}`.
        user: Query<Option<String>>,
        /// Those of this group, as `{gid}` or `{gid}.{app}`.
        group: Query<Option<String>>,
        /// Those of this preset.
        preset: Query<Option<String>>,
        /// All of the app.
        all: Query<Option<bool>>,
        body: Body<NewEnd>,
    ) -> Result<Done, Refused<{ BODY | UNKNOWN | FORBIDDEN }>> {
        let Body(NewEnd { lifetime_minutes, expiration_time }) = body;
        let meant = meant(&api, &caller.0, &Meant { user: user.0, group: group.0, preset: preset.0, all: all.0 })?;
        let end = lifetime::end(&caller.0.app, lifetime_minutes, expiration_time, Utc::now())?;
        Ok(Done::Ok(Json(each(&api, meant, Some(end)).await?)))
    }
}

struct Meant {
    user: Option<String>,
    group: Option<String>,
    preset: Option<String>,
    all: Option<bool>,
}

fn meant(api: &Api, caller: &Caller, meant: &Meant) -> Result<Vec<Arc<Ephemeron>>, Problem> {
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
async fn each(
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
        stream::iter(meant).map(one).buffer_unordered(AT_ONCE).fold(start, |outcome, done| async { outcome.with(done) }).await
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
