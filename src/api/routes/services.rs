//! Services, one at a time.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use poem::web::Data;
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Header, Path, Query},
    payload::{Json, Response},
    types::{Any, Example},
};
use serde_json::Value;
use tokio::time;

use super::Tag;
use crate::{
    api::{
        Api,
        body::Body,
        caller::{Authorized, Caller, of_app, of_group, of_service, of_user},
        creating::{self, Wanted, words},
        directory::missing,
        extending, lifetime,
        problem::{AWAY, BAD, BODY, CONFLICT, FORBIDDEN, MANY, MISSING, PARAMETERS, Problem, Refused, UNKNOWN},
        requests::away,
        time::Time,
        view::{Phase, Service, end_of, preset_of},
    },
    resource::Ephemeron,
};

/// The operations.
pub struct Services;

/// The longest that a caller may wait, in seconds.
const LONGEST_WAIT: u32 = 300;
/// Services in one page of a list.
const PAGE: u16 = 100;

/// What is asked for.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", deny_unknown_fields, example)]
pub struct NewService {
    /// The preset's name.
    pub preset: String,
    /// How long it lives from now on. Either this or `expirationTime`.
    #[oai(validator(minimum(value = "1")))]
    pub lifetime_minutes: Option<u32>,
    /// When it ends. Either this or `lifetimeMinutes`.
    pub expiration_time: Option<Time>,
    /// The preset's parameters, as `GET /presets/{name}` describes them.
    pub parameters: Option<Any<Parameters>>,
}

/// A JSON object.
pub type Parameters = serde_json::Map<String, Value>;

impl Example for NewService {
    fn example() -> Self {
        Self {
            preset: "nginx".into(),
            lifetime_minutes: Some(30),
            expiration_time: None,
            parameters: None,
        }
    }
}

/// When a service ends instead.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", deny_unknown_fields, example)]
pub struct NewEnd {
    /// How long it lives from now on. Either this or `expirationTime`.
    #[oai(validator(minimum(value = "1")))]
    pub lifetime_minutes: Option<u32>,
    /// When it ends. Either this or `lifetimeMinutes`.
    pub expiration_time: Option<Time>,
}

impl Example for NewEnd {
    fn example() -> Self {
        Self { lifetime_minutes: Some(60), expiration_time: None }
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

/// The end of a service.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub struct End {
    /// When everything of it is deleted.
    pub expiration_time: Time,
}

impl Example for End {
    fn example() -> Self {
        Self { expiration_time: Service::example().expiration_time }
    }
}

#[derive(ApiResponse)]
enum Extended {
    /// Its end was put off.
    #[oai(status = 200)]
    Ok(Json<End>),
}

#[derive(ApiResponse)]
enum Deleted {
    /// It was deleted, and all that belongs to it goes, too.
    #[oai(status = 204)]
    Gone,
}

#[derive(ApiResponse)]
enum Found {
    /// The service as it is now.
    #[oai(status = 200)]
    Ok(
        Json<Service>,
        /// After a wait that was ended early: when to wait again, in seconds.
        #[oai(header = "Retry-After")]
        Option<u32>,
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

/// What is secret of a service.
#[derive(Debug, Object)]
#[oai(example)]
pub struct Secrets {
    /// The values by their names.
    pub values: std::collections::BTreeMap<String, String>,
}

impl Example for Secrets {
    fn example() -> Self {
        Self { values: [("flag".to_owned(), "flag{0123456789abcdef}".to_owned())].into() }
    }
}

#[derive(ApiResponse)]
enum SecretsFound {
    /// What the preset has said is secret.
    #[oai(status = 200)]
    Ok(Json<Secrets>),
}

#[OpenApi(tag = "Tag::Services")]
impl Services {
    /// Create a service
    ///
    /// It answers before the service runs: wait for it by `GET /{id}?wait=60`, or follow `GET /{id}/events`.
    ///
    /// With the header `Idempotency-Key` a request that is sent again has the same answer, and no second
    /// service is created, for as long as the service lives.
    #[oai(path = "/", method = "post", operation_id = "createService")]
    async fn create(
        &self,
        api: Data<&Arc<Api>>,
        caller: Authorized,
        /// Any text that the caller does not use for another service: at most 255 visible characters of ASCII.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        body: Body<NewService>,
    ) -> Result<
        Created,
        Refused<{ BODY | UNKNOWN | FORBIDDEN | MISSING | CONFLICT | PARAMETERS | MANY | AWAY }>,
    > {
        let Body(NewService { preset, lifetime_minutes, expiration_time, parameters }) = body;
        let caller = caller.0;
        if let Some(key) = &key.0 {
            let is_fit = (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
            if !is_fit {
                let why = "Idempotency-Key must have 1 to 255 visible characters of ASCII";
                return Err(Problem::bad_request(why).into());
            }
        }
        let wanted = Wanted {
            preset,
            parameters: parameters.map(|Any(parameters)| Value::Object(parameters)),
            end: lifetime::end(&caller.app, lifetime_minutes, expiration_time, Utc::now())?,
            words: words(lifetime_minutes, expiration_time.map(|Time(time)| time)),
            idempotency_key: key.0,
        };
        // On a task of its own: a caller that goes away must not keep what is one too many from being
        // withdrawn.
        let creating = {
            let api = Arc::clone(&api);
            tokio::spawn(async move { creating::create(&api, &caller, wanted).await })
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
    #[oai(path = "/", method = "get", operation_id = "listServices")]
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
    ) -> Result<Listed, Refused<{ BAD | UNKNOWN | FORBIDDEN }>> {
        let caller = caller.0;
        let topic = topic(&caller, user.0.as_deref(), group.0.as_deref())?;
        let (now, most) = (Utc::now(), usize::from(limit.0.unwrap_or(PAGE)));
        let mut page = Page { services: Vec::new(), next: None };
        let members = api.directory.cache.members(&topic);
        let rest = members.iter().filter(|id| after.0.as_ref().is_none_or(|after| *id > after));
        for id in rest {
            let Some(found) = api.directory.cache.get(id).filter(|found| caller.owns(found)) else { continue };
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

    /// Read a service
    ///
    /// With `wait` it is answered as soon as the service is available, failing or going away, or when the
    /// seconds are over. A service that is gone is a 404.
    #[oai(path = "/:id", method = "get", operation_id = "readService")]
    async fn read(
        &self,
        api: Data<&Arc<Api>>,
        caller: Authorized,
        /// The service.
        id: Path<String>,
        /// Seconds to wait for what becomes of it.
        #[oai(validator(maximum(value = "300")))]
        wait: Query<Option<u32>>,
    ) -> Result<Response<Found>, Refused<{ BAD | UNKNOWN | FORBIDDEN | MISSING | MANY | AWAY }>> {
        let (caller, is_app) = (&caller.0, caller.0.user.is_none());
        let seconds = wait.0.unwrap_or(0).min(LONGEST_WAIT);
        if seconds == 0 {
            let found = api.directory.get(&api.ephemerons, caller, &id).await?;
            return Ok(Response::new(Found::Ok(Json(Service::of(&found, is_app, Utc::now())), None)));
        }
        let (found, retry) = waited(&api, caller, &id, Duration::from_secs(seconds.into())).await?;
        Ok(Response::new(Found::Ok(Json(Service::of(&found, is_app, Utc::now())), retry)))
    }

    /// Extend a service
    ///
    /// Its end is counted from now, and may also be sooner than it was. A service whose time is over already
    /// is not revived: 409.
    #[oai(path = "/:id", method = "patch", operation_id = "extendService")]
    async fn extend(
        &self,
        api: Data<&Arc<Api>>,
        caller: Authorized,
        /// The service.
        id: Path<String>,
        body: Body<NewEnd>,
    ) -> Result<Extended, Refused<{ BODY | UNKNOWN | FORBIDDEN | MISSING | CONFLICT | MANY | AWAY }>> {
        let Body(NewEnd { lifetime_minutes, expiration_time }) = body;
        let end = lifetime::end(&caller.0.app, lifetime_minutes, expiration_time, Utc::now())?;
        let seen = api.directory.get(&api.ephemerons, &caller.0, &id).await?;
        let extended = extending::extend(&api, seen, end).await?;
        let expiration_time = Time(extended.expiration_time().unwrap_or(end));
        Ok(Extended::Ok(Json(End { expiration_time })))
    }

    /// Delete a service
    ///
    /// It is gone at once, and what it owns goes with it.
    #[oai(path = "/:id", method = "delete", operation_id = "deleteService")]
    async fn delete(
        &self,
        api: Data<&Arc<Api>>,
        caller: Authorized,
        /// The service.
        id: Path<String>,
    ) -> Result<Deleted, Refused<{ UNKNOWN | FORBIDDEN | MISSING | MANY | AWAY }>> {
        let seen = api.directory.get(&api.ephemerons, &caller.0, &id).await?;
        delete(&api, &seen).await?;
        Ok(Deleted::Gone)
    }

    /// Read what is secret of a service
    ///
    /// The values that its preset has said are secret, such as a flag or a password. Only for a backend itself.
    #[oai(path = "/:id/secrets", method = "get", operation_id = "readSecrets")]
    async fn secrets(
        &self,
        api: Data<&Arc<Api>>,
        caller: Authorized,
        /// The service.
        id: Path<String>,
    ) -> Result<SecretsFound, Refused<{ UNKNOWN | FORBIDDEN | MISSING | MANY | AWAY }>> {
        caller.0.is_app()?;
        let found = api.directory.get(&api.ephemerons, &caller.0, &id).await?;
        let none = || Problem::not_found("nothing of this service is secret, or its preset has not been asked yet");
        let name = crate::api::catalogue::secret_name(&found).ok_or_else(none)?;
        let secret =
            api.ephemerons.secret(name).await.map_err(|error| away("read the secret values", &error))?;
        let owned = secret.filter(|secret| {
            let owners = secret.metadata.owner_references.iter().flatten();
            owners.into_iter().any(|owner| Some(&owner.uid) == found.metadata.uid.as_ref())
        });
        let data = owned.ok_or_else(none)?.data.unwrap_or_default();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let values = data.into_iter().map(|(key, value)| (key, text(value.0))).collect();
        Ok(SecretsFound::Ok(Json(Secrets { values })))
    }
}

/// Deletes a service; it is gone here at once, too.
///
/// # Errors
///
/// It is gone already, or the API server does not answer.
pub async fn delete(api: &Api, seen: &Ephemeron) -> Result<(), Problem> {
    let outcome = api.ephemerons.delete(seen).await;
    match outcome {
        Ok(()) => {}
        // Of this name there is another one, or none.
        Err(error) if error.is_missing() || error.is_conflict() => {
            api.directory.cache.missing(seen.name(), seen.metadata.uid.as_deref());
            return Err(missing(seen.name()));
        }
        Err(error) => return Err(away("delete the service", &error)),
    }
    api.directory.cache.missing(seen.name(), seen.metadata.uid.as_deref());
    Ok(())
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

/// Waits for what becomes of a service. With what it is then there is, after an end of this process, when to
/// come back.
async fn waited(
    api: &Api,
    caller: &Caller,
    id: &str,
    time: Duration,
) -> Result<(Arc<Ephemeron>, Option<u32>), Problem> {
    let end = time::Instant::now() + time;
    let _open = api.metrics.stream();
    // First the ear, then the look: nothing falls between.
    let subscription = api.directory.subscribe(of_service(id));
    let mut stopping = api.stopping.clone();
    loop {
        let found = api.directory.get(&api.ephemerons, caller, id).await?;
        let phase = Service::of(&found, false, Utc::now()).phase;
        if phase != Phase::Pending || time::Instant::now() >= end {
            return Ok((found, None));
        }
        tokio::select! {
            _ = api.directory.changed(&subscription, end) => {}
            // An error means that this process ends, too.
            _ = stopping.wait_for(|stopping| *stopping) => return Ok((found, Some(1))),
        }
    }
}
