//! Deletes a service.

use super::{Api, directory::missing, problem::Problem, requests::away};
use crate::resource::Ephemeron;

/// Deletes a service; it is gone here at once, too.
///
/// # Errors
///
/// It is gone already, or the API server does not answer.
pub async fn delete(api: &Api, seen: &Ephemeron) -> Result<(), Problem> {
    match api.ephemerons.delete(seen).await {
        Ok(None) => api.directory.cache.missing(seen.name(), seen.metadata.uid.as_deref()),
        Ok(Some(going)) => drop(api.directory.cache.wrote(going)),
        // Of this name there is another one, or none.
        Err(error) if error.is_missing() || error.is_conflict() => {
            api.directory.cache.missing(seen.name(), seen.metadata.uid.as_deref());
            return Err(missing(seen.name()));
        }
        Err(error) => return Err(away("delete the service", &error)),
    }
    Ok(())
}
