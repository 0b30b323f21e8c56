//! Deletes a service.

use kube::ResourceExt as _;

use super::{Api, directory::missing, problem::Problem, requests::away};
use crate::resource::{CREATED_BY_ANNOTATION, Ephemeron};

/// Deletes a service; it is gone here at once, too.
///
/// # Errors
///
/// It is gone already, or the API server does not answer.
pub async fn delete(api: &Api, seen: &Ephemeron) -> Result<(), Problem> {
    let error = match once(api, seen).await? {
        Outcome::Done => return Ok(()),
        Outcome::Missing => return Err(missing(seen.name())),
        Outcome::Another => missing(seen.name()),
    };
    // It has gone, and its user has created another one with the same Idempotency-Key: that one is meant.
    let id = seen.name();
    let now = api.ephemerons.get(id).await.map_err(|error| away("read the service", &error))?.ok_or(error)?;
    let owner = |one: &Ephemeron| one.annotations().get(CREATED_BY_ANNOTATION).cloned();
    if owner(&now) != owner(seen) {
        return Err(missing(id));
    }
    match once(api, &now).await? {
        Outcome::Done => Ok(()),
        Outcome::Missing | Outcome::Another => Err(missing(id)),
    }
}

enum Outcome {
    Done,
    Missing,
    Another,
}

async fn once(api: &Api, seen: &Ephemeron) -> Result<Outcome, Problem> {
    let outcome = match api.ephemerons.delete(seen).await {
        Ok(None) => Outcome::Done,
        Ok(Some(going)) => {
            api.directory.cache.wrote(going);
            return Ok(Outcome::Done);
        }
        Err(error) if error.is_missing() => Outcome::Missing,
        Err(error) if error.is_conflict() => Outcome::Another,
        Err(error) => return Err(away("delete the service", &error)),
    };
    api.directory.gone(seen);
    Ok(outcome)
}
