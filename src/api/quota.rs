//! How many services there may be at once. A service is created, then counted among what there is, and
//! withdrawn if it is one too many: what was answered with 202 never exceeds a quota, whoever asks at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use kube::ResourceExt as _;
use tokio::sync::OwnedMutexGuard;

use super::{
    Api,
    caller::{Caller, of_app, of_group, of_user},
    problem::Problem,
    requests::{RequestError, away},
};
use crate::resource::{ACCEPTED_ANNOTATION, Ephemeron, GROUP_LABEL, USER_LABEL};

/// When somebody who has too many may try again.
const PAUSE: Duration = Duration::from_secs(10);
/// How often one that is too many is withdrawn before it is left to its end.
const WITHDRAWALS: u32 = 6;

/// How long one waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// Turns of those who are counted together, in this process.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

/// How many creations of each app are under way in this process.
#[derive(Debug, Default)]
pub struct UnderWay(Mutex<HashMap<String, usize>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Place<'a> {
    all: &'a UnderWay,
    app: String,
}

impl UnderWay {
    fn all(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        // Every critical section leaves the map whole, whatever happens to its thread.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for one more.
    pub fn begin(&self, caller: &Caller) -> Place<'_> {
        let app = caller.app.name.clone();
        *self.all().entry(app.clone()).or_default() += 1;
        Place { all: self, app }
    }

    fn count(&self, app: &str) -> usize {
        self.all().get(app).copied().unwrap_or_default()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.all.all().get_mut(&self.app) {
            *count = count.saturating_sub(1);
        }
    }
}

impl Turns {
    /// Waits for the caller's turn; None for one who is not counted.
    ///
    /// # Errors
    ///
    /// Too many are before it.
    pub async fn take(&self, caller: &Caller) -> Result<Option<OwnedMutexGuard<()>>, Problem> {
        let Some(name) = Self::name(caller) else { return Ok(None) };
        let turn = tokio::time::timeout(TURN, self.of(name).lock_owned()).await;
        turn.map(Some)
            .map_err(|_| Problem::unavailable("many are asking for services at this moment: try again"))
    }

    fn name(caller: &Caller) -> Option<String> {
        let user = caller.user.as_ref()?;
        let quotas = caller.app.quotas;
        match (quotas.group, &user.group, quotas.user) {
            (Some(_), Some(group), _) => Some(of_group(group)),
            (_, _, Some(_)) => Some(of_user(&user.name)),
            _ => None,
        }
    }

    fn of(&self, name: String) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = all.get(&name).and_then(Weak::upgrade) {
            return turn;
        }
        // Nobody waits for the others any more.
        all.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        all.insert(name, Arc::downgrade(&turn));
        turn
    }
}

fn too_many(whose: &str, most: usize) -> Problem {
    Problem::too_many(format!("{whose} has {most} services, and may not have more at once"), PAUSE)
}

/// Whether the caller's services are counted after they were created.
#[must_use]
pub fn counts(caller: &Caller) -> bool {
    let (quotas, user) = (caller.app.quotas, caller.user.as_ref());
    quotas.user.is_some() || (quotas.group.is_some() && user.is_some_and(|user| user.group.is_some()))
}

/// Whether there is room for one more, whose place is taken, as far as is known here without a request. The
/// quota of an app is looked at here alone: it is exact for one process, and several may exceed it by what the
/// others have created within the watch's delay.
///
/// # Errors
///
/// There is none.
pub fn within(api: &Api, caller: &Caller) -> Result<(), Problem> {
    let quotas = caller.app.quotas;
    let user = caller.user.as_ref();
    let of = |whose, quota: Option<usize>, topic: Option<String>| match (quota, topic) {
        (Some(most), Some(topic)) if api.directory.count(&topic) >= most => Err(too_many(whose, most)),
        _ => Ok(()),
    };
    if let Some(most) = quotas.app {
        api.directory.is_complete()?;
        let app = &caller.app.name;
        // One's own place is among those under way.
        if api.directory.count(&of_app(app)) + api.under_way.count(app) > most {
            return Err(too_many("the app", most));
        }
    }
    of("the user", quotas.user, user.map(|user| of_user(&user.name)))?;
    of("the group", quotas.group, user.and_then(|user| user.group.as_deref()).map(of_group))
}

/// Whether there are too many of the user's or group's at this moment, and what to tell then.
///
/// # Errors
///
/// The request.
pub async fn over(api: &Api, caller: &Caller) -> Result<Option<Problem>, RequestError> {
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

/// Whether another request of the same key was told that it is there.
#[must_use]
pub fn is_accepted(ephemeron: &Ephemeron) -> bool {
    ephemeron.annotations().contains_key(ACCEPTED_ANNOTATION)
}

/// Has it stay, although another process may be about to withdraw it.
///
/// # Errors
///
/// It was withdrawn first, or the API server does not answer.
pub async fn accept(api: &Api, found: &Ephemeron) -> Result<Arc<Ephemeron>, Problem> {
    match api.ephemerons.accept(found).await {
        Ok(accepted) => Ok(api.directory.cache.wrote(accepted)),
        Err(error) if error.is_missing() || error.is_conflict() => Err(too_many_at_once(found.name())),
        Err(error) => Err(away("keep the service", &error)),
    }
}

fn too_many_at_once(id: &str) -> Problem {
    tracing::debug!(id, "it was withdrawn as one too many");
    Problem::too_many("too many services were asked for at once", Duration::from_secs(1))
}

/// Takes back what was created; returns it where it was accepted by another request of the same key.
pub async fn withdraw(api: &Api, created: &Arc<Ephemeron>) -> Option<Arc<Ephemeron>> {
    let mut seen = Arc::clone(created);
    for attempt in 1..=WITHDRAWALS {
        match api.ephemerons.delete_unchanged(&seen).await {
            Ok(()) => break,
            Err(error) if error.is_missing() => break,
            Err(error) if attempt == WITHDRAWALS => {
                tracing::warn!(%error, id = created.name(), "one service too many lives until its end");
                return None;
            }
            // The controller has written its status, or another request has accepted it.
            Err(error) if error.is_conflict() => match api.ephemerons.get(created.name()).await {
                Ok(Some(now)) if now.metadata.uid != created.metadata.uid => break,
                Ok(Some(now)) if is_accepted(&now) => return Some(api.directory.cache.wrote(now)),
                Ok(Some(now)) => seen = Arc::new(now),
                Ok(None) => break,
                Err(_) => tokio::time::sleep(Duration::from_millis(200) * attempt).await,
            },
            Err(_) => tokio::time::sleep(Duration::from_millis(200) * attempt).await,
        }
    }
    api.directory.gone(created);
    None
}
