//! Creates a service: asks the preset, keeps to the quotas, and answers a request that comes again as the
//! first time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use kube::{ResourceExt as _, api::ObjectMeta};
use serde_json::{Value, json};

use super::{
    Api,
    caller::{Caller, of_app, of_group, of_user},
    catalogue::{Asking, no_such},
    id,
    problem::Problem,
    requests::{RequestError, away},
    view::end_of,
};
use crate::resource::{
    APP_LABEL, CREATED_BY_ANNOTATION, Ephemeron, EphemeronSpec, GROUP_LABEL, PRESET_ANNOTATION,
    REQUEST_ANNOTATION, USER_LABEL,
};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The preset's name.
    pub preset: String,
    /// Its parameters.
    pub parameters: Option<Value>,
    /// When the service ends.
    pub end: DateTime<Utc>,
    /// The request's own words on that, by which it is known when it comes again.
    pub words: String,
    /// The key that makes a repeated request the same.
    pub idempotency_key: Option<String>,
}

/// When somebody who has too many may try again.
const QUOTA_PAUSE: Duration = Duration::from_secs(10);
/// When a service that is going away is gone.
const GOING_PAUSE: Duration = Duration::from_secs(2);
/// How often one that is too many is withdrawn before it is left to its end.
const WITHDRAWALS: u32 = 5;

/// Creates it, or finds that it was created by the same request before.
///
/// # Errors
///
/// Why there is none.
pub async fn create(api: &Api, caller: &Caller, wanted: Wanted) -> Result<Arc<Ephemeron>, Problem> {
    let user = caller.user.as_ref().ok_or_else(|| {
        Problem::forbidden("a service belongs to a user: take a token of POST /auth, not of POST /auth/app")
    })?;
    let Wanted { preset, parameters, end, words, idempotency_key } = wanted;
    // Whether there is such a preset is said only to those who may use it.
    api.catalogue.get(&preset)?;
    if !caller.app.may_use(&preset) {
        return Err(Problem::forbidden(format!("this app may not use the preset {preset}")));
    }
    let id = match &idempotency_key {
        Some(key) => id::derived(&api.settings.id_secret, &user.name, key),
        None => id::random().map_err(|error| {
            tracing::error!(%error, "there are no random bytes for an id");
            Problem::internal()
        })?,
    };
    let request = json!([preset, parameters, words, user.group]).to_string();
    let fingerprint = idempotency_key.map(|_| id::fingerprint(&api.settings.id_secret, &request));
    if let Some(fingerprint) = &fingerprint
        && let Some(known) = api.directory.cache.get(&id)
    {
        return same(caller, known, fingerprint);
    }
    if let Err(problem) = within_quotas(api, caller) {
        // The one that is asked for may be among those that there are, created by another process.
        return match &fingerprint {
            Some(fingerprint) => again(api, caller, &id, fingerprint).await.or(Err(problem)),
            None => Err(problem),
        };
    }
    let asking = Asking {
        id: &id,
        namespace: &api.settings.namespace,
        owner: Some(&user.name),
        group: user.group.as_deref(),
        lifetime: (end - Utc::now()).to_std().ok(),
    };
    api.catalogue.render(&preset, parameters.as_ref(), &asking).await?;
    let mut spec = api.catalogue.spec(&preset, parameters.as_ref())?;
    spec.expiration_time = Some(end);
    let group = user.group.as_deref();
    put_group(&mut spec, group);
    let mut labels = BTreeMap::from([
        (APP_LABEL.to_owned(), caller.app.name.clone()),
        (USER_LABEL.to_owned(), user.name.clone()),
    ]);
    labels.extend(group.map(|group| (GROUP_LABEL.to_owned(), group.to_owned())));
    let mut annotations = BTreeMap::from([(CREATED_BY_ANNOTATION.to_owned(), user.name.clone())]);
    if api.catalogue.is_service(&preset) {
        annotations.insert(PRESET_ANNOTATION.into(), preset);
    }
    annotations.extend(fingerprint.clone().map(|print| (REQUEST_ANNOTATION.to_owned(), print)));
    let metadata = ObjectMeta {
        name: Some(id.clone()),
        labels: Some(labels),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    };
    let ephemeron = Ephemeron { metadata, spec, status: None };
    let created = match (api.ephemerons.create(&ephemeron).await, &fingerprint) {
        (Ok(created), _) => created,
        (Err(error), Some(fingerprint)) if error.is_conflict() => {
            return again(api, caller, &id, fingerprint).await;
        }
        (Err(error), _) => return Err(away("create the service", &error)),
    };
    let created = api.directory.cache.wrote(created);
    match over(api, caller).await {
        Ok(None) => Ok(created),
        Ok(Some(problem)) => {
            withdraw(api, &created).await;
            Err(problem)
        }
        Err(error) => {
            withdraw(api, &created).await;
            Err(away("count the services", &error))
        }
    }
}

fn put_group(spec: &mut EphemeronSpec, group: Option<&str>) {
    let Some(group) = group else { return };
    let labels = match (&mut spec.service, &mut spec.preset) {
        (Some(service), _) => &mut service.pod_labels,
        (None, Some(preset)) => &mut preset.pod_labels,
        (None, None) => return,
    };
    labels.get_or_insert_default().insert(GROUP_LABEL.into(), group.into());
}

fn too_many(whose: &str, most: usize) -> Problem {
    Problem::too_many(format!("{whose} has {most} services, and may not have more at once"), QUOTA_PAUSE)
}

/// What is known already needs no request.
fn within_quotas(api: &Api, caller: &Caller) -> Result<(), Problem> {
    let quotas = caller.app.quotas;
    let user = caller.user.as_ref();
    let of = |whose, quota: Option<usize>, topic: Option<String>| match (quota, topic) {
        (Some(most), Some(topic)) if api.directory.count(&topic) >= most => Err(too_many(whose, most)),
        _ => Ok(()),
    };
    of("the app", quotas.app, Some(of_app(&caller.app.name)))?;
    of("the user", quotas.user, user.map(|user| of_user(&user.name)))?;
    of("the group", quotas.group, user.and_then(|user| user.group.as_deref()).map(of_group))
}

/// Whether the service that was just created is one too many. It counts what there is now: of two that
/// come at once, both may be refused, but never too many stay.
async fn over(api: &Api, caller: &Caller) -> Result<Option<Problem>, RequestError> {
    let Some(user) = &caller.user else { return Ok(None) };
    let quotas = caller.app.quotas;
    let checks = [
        ("the user", quotas.user, USER_LABEL, Some(user.name.as_str())),
        ("the group", quotas.group, GROUP_LABEL, user.group.as_deref()),
    ];
    for (whose, quota, label, value) in checks {
        if let (Some(most), Some(value)) = (quota, value)
            && api.ephemerons.count(label, value).await? > most
        {
            return Ok(Some(too_many(whose, most)));
        }
    }
    Ok(None)
}

async fn withdraw(api: &Api, created: &Ephemeron) {
    for attempt in 1..=WITHDRAWALS {
        match api.ephemerons.delete(created).await {
            Ok(()) => break,
            Err(error) if error.is_missing() || error.is_conflict() => break,
            Err(error) if attempt == WITHDRAWALS => {
                tracing::warn!(%error, id = created.name(), "one service too many lives until its end");
                return;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200) * attempt).await,
        }
    }
    api.directory.cache.missing(created.name(), created.metadata.uid.as_deref());
}

/// Of a request that came before, or at the same time, to another process.
async fn again(api: &Api, caller: &Caller, id: &str, fingerprint: &str) -> Result<Arc<Ephemeron>, Problem> {
    let found = api.ephemerons.get(id).await.map_err(|error| away("read the service", &error))?;
    let found = found.ok_or_else(going)?;
    same(caller, api.directory.cache.wrote(found), fingerprint)
}

fn same(caller: &Caller, known: Arc<Ephemeron>, fingerprint: &str) -> Result<Arc<Ephemeron>, Problem> {
    if !caller.owns(&known) {
        return Err(no_such(known.name()));
    }
    let is_over = end_of(&known).is_none_or(|end| end <= Utc::now());
    if known.metadata.deletion_timestamp.is_some() || is_over {
        return Err(going());
    }
    if known.annotations().get(REQUEST_ANNOTATION).is_some_and(|print| print == fingerprint) {
        return Ok(known);
    }
    Err(Problem::conflict("this Idempotency-Key was used with another body: take another key"))
}

fn going() -> Problem {
    let why = "the service of this Idempotency-Key is going away: try again, or take another key";
    Problem::conflict(why).after(GOING_PAUSE)
}

/// The request's words on its end, as they are compared.
#[must_use]
pub fn words(minutes: Option<u32>, time: Option<DateTime<Utc>>) -> String {
    let time = time.map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true));
    format!("{minutes:?} {time:?}")
}
