//! All services of a caller: a new one, a list of them, and what a backend itself does with many.

use std::sync::Arc;

use chrono::Utc;
use poem::{Request, web::Data};
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Header, Query},
    payload::Json,
    types::Example,
};
use serde_json::Value;

use super::{Tag, services::NewEnd};
use crate::api::{
    Api,
    body::Body,
    bulk::{self, Meant, Outcome, topic},
    caller::Authorized,
    creating::{self, Wanted, words},
    json::{Fields, Text},
    lifetime,
    problem::{AWAY, BAD, BODY, CONFLICT, FORBIDDEN, MANY, MISSING, PARAMETERS, Problem, Refused, UNKNOWN},
    time::Time,
    view::{Phase, Service, end_of, preset_of},
};

/// The operations.
pub struct Collection;

/// The header by which a request is known when it comes again.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Services in one page of a list.
const PAGE: u16 = 100;

/// What is asked for.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", deny_unknown_fields, skip_serializing_if_is_none, example)]
pub struct NewService {
    /// The preset's name.
    pub preset: Text,
    /// How long it lives from now on. Either this or `expirationTime`.
    #[oai(nullable, validator(minimum(value = "1")))]
    pub lifetime_minutes: Option<u32>,
    /// When it ends. Either this or `lifetimeMinutes`.
    #[oai(nullable)]
    pub expiration_time: Option<Time>,
    /// The preset's parameters, as `GET /presets/{name}` describes them.
    #[oai(nullable)]
    pub parameters: Option<Fields>,
}

impl Example for NewService {
    fn example() -> Self {
        Self { preset: "nginx".into(), lifetime_minutes: Some(30), expiration_time: None, parameters: None }
    }
}

/// A service that was created.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub struct CreatedService {
    /// Its id.
    pub id: String,
    /// When everything of it is deleted.
    pub expiration_time: Time,
}

impl Example for CreatedService {
    fn example() -> Self {
        let Service { id, expiration_time, .. } = Service::example();
        Self { id, expiration_time }
    }
}

#[derive(ApiResponse)]
enum Created {
    /// It was created, and becomes available soon: see `GET /{id}`.
    #[oai(status = 202)]
    Accepted(
        Json<CreatedService>,
        /// Where it is.
        #[oai(header = "Location")]
        String,
    ),
}

/// A page of services.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none, example)]
pub struct Page {
    /// The services, in the order of their ids.
    pub services: Vec<Service>,
    /// Where the next page begins; not there on the last one.
    pub next: Option<String>,
}

impl Example for Page {
    fn example() -> Self {
        Self { services: vec![Service::example()], next: None }
    }
}

#[derive(ApiResponse)]
enum Listed {
    /// A page of services.
    #[oai(status = 200)]
    Ok(Json<Page>),
}

#[derive(ApiResponse)]
enum Done {
    /// What became of them.
    #[oai(status = 200)]
    Ok(Json<Outcome>),
}

#[expect(clippy::unused_async, reason = "operations are asynchronous")]
#[OpenApi]
impl Collection {
    /// Create a service
    ///
    /// It answers before the service runs: wait for it by `GET /{id}?wait=60`, or follow `GET /{id}/events`.
    ///
    /// With the header `Idempotency-Key` a request that is sent again has the same answer, and no second
    /// service is created, for as long as the service lives.
    #[oai(path = "/", method = "post", operation_id = "createService", tag = "Tag::Services")]
    async fn create(
        &self,
        api: Data<&Arc<Api>>,
        caller: Authorized,
        /// Any text that the caller does not use for another service: at most 255 visible characters of ASCII.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        request: &Request,
        body: Body<NewService>,
    ) -> Result<
        Created,
        Refused<{ BODY | UNKNOWN | FORBIDDEN | MISSING | CONFLICT | PARAMETERS | MANY | AWAY }>,
    > {
        let Body(NewService { preset, lifetime_minutes, expiration_time, parameters }) = body;
        let caller = caller.0;
        // One that cannot be read is not the same as none.
        if request.headers().get_all(IDEMPOTENCY_KEY).iter().count() != usize::from(key.0.is_some())
            || key.0.as_deref().is_some_and(|key| !is_key(key))
        {
            let why = "Idempotency-Key must have 1 to 255 visible characters of ASCII";
            return Err(Problem::bad_request(why).into());
        }
        let wanted = Wanted {
            preset: preset.0,
            parameters: parameters.map(|Fields(parameters)| Value::Object(parameters)),
            end: lifetime::end(&caller.app, lifetime_minutes, expiration_time, Utc::now())?,
            words: words(lifetime_minutes, expiration_time.map(|Time(time)| time)),
            idempotency_key: key.0,
        };
        // On a task of its own: a caller that goes away must not keep what is one too many from being
        // withdrawn.
        let creating = {
            let api = Arc::clone(&api);
            let writing = Arc::clone(&api.writing).read_owned().await;
            tokio::spawn(async move {
                let _writing = writing;
                creating::create(&api, &caller, wanted).await
            })
        };
        let created = creating.await.map_err(|_| Problem::internal())??;
        let expiration_time = Time(end_of(&created).unwrap_or_default());
        let location = format!("/{}", created.name());
        Ok(Created::Accepted(Json(CreatedService { id: created.name().into(), expiration_time }), location))
    }

    /// List services
    ///
    /// A user's own, or with a token of the backend itself those of all its users. They are read from memory: a
    /// service that another process has created a moment ago may be missing.
    #[oai(path = "/", method = "get", operation_id = "listServices", tag = "Tag::Services")]
    #[expect(clippy::too_many_arguments, reason = "one for each parameter of the query")]
    async fn list(
        &self,
        api: Data<&Arc<Api>>,
        caller: Authorized,
        /// Only those of this preset.
        preset: Query<Option<String>>,
        /// Only those in this phase.
        phase: Query<Option<Phase>>,
        /// Only those of this user, as `{uid}` or `{uid}.{app}`. Only for a backend itself.
        user: Query<Option<String>>,
        /// Only those of this group, as `{gid}` or `{gid}.{app}`. Only for a backend itself.
        group: Query<Option<String>>,
        /// At most so many.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u16>>,
        /// The `next` of the page before.
        #[oai(validator(max_length = 63))]
        after: Query<Option<String>>,
    ) -> Result<Listed, Refused<{ BAD | UNKNOWN | FORBIDDEN | AWAY }>> {
        let caller = caller.0;
        let topic = topic(&caller, user.0.as_deref(), group.0.as_deref())?;
        api.directory.is_complete()?;
        let (now, most) = (Utc::now(), usize::from(limit.0.unwrap_or(PAGE)));
        let mut page = Page { services: Vec::new(), next: None };
        let members = api.directory.cache.members(&topic);
        let rest = members.iter().filter(|id| after.0.as_ref().is_none_or(|after| *id > after));
        for id in rest {
            let Some(found) = api.directory.cache.get(id).filter(|found| caller.owns(found)) else {
                continue;
            };
            if preset.0.as_deref().is_some_and(|preset| preset_of(&found) != Some(preset)) {
                continue;
            }
            let service = Service::of(&found, caller.user.is_none(), now);
            if phase.0.is_some_and(|phase| service.phase != phase) {
                continue;
            }
            if page.services.len() == most {
                page.next = page.services.last().map(|last| last.id.clone());
                break;
            }
            page.services.push(service);
        }
        Ok(Listed::Ok(Json(page)))
    }

    /// Delete many services
    ///
    /// Of a user, of a group, of a preset, or with `all=true` all of the app. Only for a backend itself.
    #[oai(path = "/", method = "delete", operation_id = "deleteServices", tag = "Tag::Backend")]
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
    ) -> Result<Done, Refused<{ BAD | UNKNOWN | FORBIDDEN | MANY | AWAY }>> {
        let meant = bulk::meant(
            &api,
            &caller.0,
            &Meant { user: user.0, group: group.0, preset: preset.0, all: all.0 },
        )?;
        Ok(Done::Ok(Json(bulk::each(&api, &caller.0, meant, None).await?)))
    }

    /// Extend many services
    ///
    /// Of a user, of a group, of a preset, or with `all=true` all of the app. Only for a backend itself. Those
    /// whose time is over are not revived.
    #[oai(path = "/", method = "patch", operation_id = "extendServices", tag = "Tag::Backend")]
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
    ) -> Result<Done, Refused<{ BODY | UNKNOWN | FORBIDDEN | MANY | AWAY }>> {
        let Body(NewEnd { lifetime_minutes, expiration_time }) = body;
        let meant = bulk::meant(
            &api,
            &caller.0,
            &Meant { user: user.0, group: group.0, preset: preset.0, all: all.0 },
        )?;
        let end = lifetime::end(&caller.0.app, lifetime_minutes, expiration_time, Utc::now())?;
        Ok(Done::Ok(Json(bulk::each(&api, &caller.0, meant, Some(end)).await?)))
    }
}

fn is_key(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
