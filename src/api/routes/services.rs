//! Services, one at a time.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use poem::{IntoResponse as _, web::Data};
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Path, Query},
    payload::Json,
    types::Example,
};
use tokio::time;

use super::{Tag, an_id};
use crate::{
    api::{
        Api,
        answers::Later,
        body::Body,
        caller::{Authorized, Caller, of_service},
        changes::Subscription,
        deleting::delete,
        directory::missing,
        extending, lifetime,
        problem::{AWAY, BAD, BODY, CONFLICT, FORBIDDEN, MANY, MISSING, Problem, Refused, UNKNOWN},
        requests::away,
        time::Time,
        view::{Phase, Service, end_of},
    },
    resource::Ephemeron,
};

/// The operations.
pub struct Services;

/// The longest that a caller may wait, in seconds.
const LONGEST_WAIT: u32 = 300;

/// When a service ends instead.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", deny_unknown_fields, skip_serializing_if_is_none, example)]
pub struct NewEnd {
    /// How long it lives from now on. Either this or `expirationTime`.
    #[oai(nullable, validator(minimum(value = "1")))]
    pub lifetime_minutes: Option<u32>,
    /// When it ends. Either this or `lifetimeMinutes`.
    #[oai(nullable)]
    pub expiration_time: Option<Time>,
}

impl Example for NewEnd {
    fn example() -> Self {
        Self { lifetime_minutes: Some(60), expiration_time: None }
    }
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

/// Why a service is not shown.
type Unread = Refused<{ BAD | UNKNOWN | FORBIDDEN | MISSING | MANY | AWAY }>;

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
    /// Read a service
    ///
    /// With `wait` it is answered as soon as the service is available, failing or going away, or when the
    /// seconds are over. A service that is gone is a 404.
    #[oai(path = "/:id", method = "get", operation_id = "readService")]
    async fn read(
        &self,
        api: Data<&Arc<Api>>,
        later: Data<&Later>,
        caller: Authorized,
        /// The service.
        #[oai(example = "an_id")]
        id: Path<String>,
        /// Seconds to wait for what becomes of it.
        #[oai(validator(maximum(value = "300")))]
        wait: Query<Option<u32>>,
    ) -> Result<Found, Unread> {
        let seconds = wait.0.unwrap_or(0).min(LONGEST_WAIT);
        // First the ear, then the look: nothing falls between.
        let ear = (seconds > 0).then(|| api.directory.subscribe(of_service(&id)));
        let found = api.directory.get(&api.ephemerons, &caller.0, &id).await?;
        let now = Service::of(&found, caller.0.user.is_none(), Utc::now());
        if let Some(ear) = ear.filter(|_| now.phase == Phase::Pending) {
            // No longer than the token is valid.
            let left = (caller.0.expires - Utc::now()).to_std().unwrap_or_default();
            let end = time::Instant::now() + Duration::from_secs(seconds.into()).min(left);
            let waiting = waited(Arc::clone(&api), caller.0, found, ear, end);
            later.put(async { Ok(waiting.await.map_err(Unread::from)?.into_response()) });
        }
        Ok(Found::Ok(Json(now), None))
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
        #[oai(example = "an_id")]
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
        #[oai(example = "an_id")]
        id: Path<String>,
    ) -> Result<Deleted, Refused<{ BAD | UNKNOWN | FORBIDDEN | MISSING | MANY | AWAY }>> {
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
        #[oai(example = "an_id")]
        id: Path<String>,
    ) -> Result<SecretsFound, Refused<{ BAD | UNKNOWN | FORBIDDEN | MISSING | MANY | AWAY }>> {
        caller.0.is_app()?;
        let found = api.directory.get(&api.ephemerons, &caller.0, &id).await?;
        let none =
            || Problem::not_found("nothing of this service is secret, or its preset has not been asked yet");
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

/// Waits for what becomes of a service that is on its way. An answer after an end of this process says when to
/// come back.
async fn waited(
    api: Arc<Api>,
    caller: Caller,
    mut found: Arc<Ephemeron>,
    ear: Subscription,
    end: time::Instant,
) -> Result<Found, Problem> {
    let _open = api.metrics.stream();
    let mut stopping = api.stopping.clone();
    loop {
        // Its time may be over without a change, where nothing is deleted.
        let left = end_of(&found).map(|end| (end - Utc::now()).to_std().unwrap_or_default());
        let until = left.map_or(end, |left| end.min(time::Instant::now() + left));
        let retry = tokio::select! {
            _ = api.directory.changed(&ear, until) => None,
            // An error means that this process ends, too.
            _ = stopping.wait_for(|stopping| *stopping) => Some(1),
        };
        // It was there: if it is not any more, nobody needs to be asked.
        let now = api.directory.cache.get(found.name()).filter(|now| caller.owns(now));
        found = now.ok_or_else(|| missing(found.name()))?;
        let service = Service::of(&found, caller.user.is_none(), Utc::now());
        if retry.is_some() || service.phase != Phase::Pending || time::Instant::now() >= end {
            return Ok(Found::Ok(Json(service), retry));
        }
    }
}
