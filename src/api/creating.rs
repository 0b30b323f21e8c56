//! Creates a service: asks the preset, keeps to the quotas, and answers a request that comes again as the
//! first time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use ephemeron_preset_host::secret;
use http::StatusCode;
use kube::{ResourceExt as _, api::ObjectMeta};
use serde_json::{Value, json};
use tokio::time;

use super::{
    Api,
    caller::{Caller, owner},
    catalogue::{Asking, no_such},
    id,
    problem::Problem,
    quota,
    requests::{Ephemerons, RequestError, away},
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

/// When a service that is going away is gone.
const GOING_PAUSE: Duration = Duration::from_secs(2);
/// How often it is tried where two processes at once have created one too many.
const ATTEMPTS: u32 = 3;

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
        // What is known here may be old; and where it is counted, its first request may not be through.
        let is_decided = !quota::counts(caller) || quota::is_accepted(&known);
        return match same(caller, known, fingerprint) {
            Ok(known) if is_decided => Ok(known),
            _ => again(api, caller, &id, fingerprint).await,
        };
    }
    // Whether there is such a preset is said only to those who may use it.
    if !caller.app.may_use(&preset) {
        return Err(Problem::forbidden("this app may not use a preset of this name"));
    }
    api.catalogue.get(&preset)?;
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
    // Of one user, or group, one after the other: else of two that come at once each would see one too many.
    let _turn = api.turns.take(caller).await?;
    let mut place = Some(api.under_way.begin(caller));
    if end <= Utc::now() {
        return Err(Problem::bad_request("the end has come before it was the request's turn"));
    }
    for attempt in 1..=ATTEMPTS {
        place.get_or_insert_with(|| api.under_way.begin(caller));
        if let Err(problem) = quota::within(api, caller) {
            // The one that is asked for may be among those that there are, created by another process.
            return match &fingerprint {
                Some(fingerprint) => again(api, caller, &id, fingerprint).await.or(Err(problem)),
                None => Err(problem),
            };
        }
        let created = match (made(&api.ephemerons, &ephemeron, fingerprint.is_some()).await, &fingerprint) {
            (Ok(created), _) => api.directory.cache.wrote(created),
            (Err(error), Some(fingerprint)) if error.is_conflict() => {
                return again(api, caller, &id, fingerprint).await;
            }
            (Err(error), Some(fingerprint)) if error.is_unclear() => {
                let away = away("create the service", &error);
                return again(api, caller, &id, fingerprint).await.map_err(|_| away);
            }
            (Err(error), _) => return Err(away("create the service", &error)),
        };
        // It is counted among those that there are from here on.
        place = None;
        let problem = match quota::over(api, caller).await {
            Ok(None) => return Ok(created),
            Ok(Some(problem)) => problem,
            Err(error) => away("count the services", &error),
        };
        if let Some(accepted) = quota::withdraw(api, &created).await {
            return Ok(accepted);
        }
        if attempt == ATTEMPTS || problem.status != StatusCode::TOO_MANY_REQUESTS {
            return Err(problem);
        }
        // Another process was creating one, too, and may have withdrawn it: not at the same time again.
        let jitter = u64::from(secret::random().unwrap_or_default().first().copied().unwrap_or_default());
        time::sleep(Duration::from_millis(50 + jitter)).await;
    }
    Err(Problem::internal())
}

/// Creates it; without a key, also finds it where the answer was lost: nobody else can have its id.
async fn made(
    ephemerons: &Ephemerons,
    ephemeron: &Ephemeron,
    has_key: bool,
) -> Result<Ephemeron, RequestError> {
    let error = match ephemerons.create(ephemeron).await {
        Err(error) if !has_key && (error.is_conflict() || error.is_unclear()) => error,
        outcome => return outcome,
    };
    match ephemerons.get(ephemeron.name()).await {
        Ok(Some(found)) if owner(&found) == owner(ephemeron) => Ok(found),
        _ => Err(error),
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

/// Of a request that came before, or at the same time, to another process.
async fn again(api: &Api, caller: &Caller, id: &str, fingerprint: &str) -> Result<Arc<Ephemeron>, Problem> {
    let found = api.ephemerons.get(id).await.map_err(|error| away("read the service", &error))?;
    let found = same(caller, Arc::new(found.ok_or_else(going)?), fingerprint)?;
    if !quota::counts(caller) || quota::is_accepted(&found) {
        return Ok(api.directory.cache.wrote((*found).clone()));
    }
    // Who has created it may be about to withdraw it: what this request answers must hold.
    if let Some(problem) =
        quota::over(api, caller).await.map_err(|error| away("count the services", &error))?
    {
        return Err(problem);
    }
    quota::accept(api, &found).await
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

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use http::{Method, Request, Response};
    use kube::{Client, client::Body};

    use super::*;

    /// An API server that loses the answer to a creation; `there` is what is found then. Returns whether that is
    /// taken for what was asked for, and how many requests it took.
    async fn lost(there: Option<&str>, has_key: bool) -> (bool, usize) {
        let owned_by = |user: &str| {
            let metadata = json!({"name": "id", "annotations": {CREATED_BY_ANNOTATION: user}});
            json!({"metadata": metadata, "spec": {"service": {"image": "a", "port": 80}}})
        };
        let found = there.map(owned_by);
        let (count, asked) = (Arc::new(AtomicUsize::new(0)), owned_by("kim.shop"));
        let counted = Arc::clone(&count);
        let server = tower::service_fn(move |request: Request<Body>| {
            counted.fetch_add(1, Ordering::Relaxed);
            let answer = match (request.method(), &found) {
                (&Method::GET, Some(found)) => Ok((200, found.to_string())),
                (&Method::GET, None) => {
                    Ok((404, json!({"kind": "Status", "code": 404, "reason": "NotFound"}).to_string()))
                }
                _ => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
            };
            std::future::ready(answer.map(|(status, text)| {
                Response::builder().status(status).body(Body::from(text.into_bytes())).expect("an answer")
            }))
        });
        let ephemerons = Ephemerons::new(Client::new(server, "default"), "default".into());
        let asked = serde_json::from_value(asked).expect("an Ephemeron");
        (made(&ephemerons, &asked, has_key).await.is_ok(), count.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_creation_whose_answer_is_lost_is_found() {
        assert_eq!(lost(Some("kim.shop"), false).await, (true, 2));
        assert_eq!(lost(Some("lee.shop"), false).await, (false, 2));
        assert_eq!(lost(None, false).await, (false, 2));
        // By a key the request can come again.
        assert_eq!(lost(Some("kim.shop"), true).await, (false, 1));
    }
}
