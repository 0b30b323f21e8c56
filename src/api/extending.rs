//! Puts off the end of a service, on condition that it still lives.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Api, directory::missing, problem::Problem, requests::away, view::end_of};
use crate::resource::Ephemeron;

/// How often what has changed meanwhile is read again.
const ATTEMPTS: u32 = 8;

/// Sets the end of a service. What is going away already is not revived: the write holds only for the very
/// version that was seen to live.
///
/// # Errors
///
/// It is gone, or its time is over, or the API server does not answer.
pub async fn extend(api: &Api, seen: Arc<Ephemeron>, end: DateTime<Utc>) -> Result<Arc<Ephemeron>, Problem> {
    let id = seen.name().to_owned();
    let mut seen = seen;
    for attempt in 0..ATTEMPTS {
        let is_over = end_of(&seen).is_none_or(|end| end <= Utc::now());
        let is_going = is_over || seen.metadata.deletion_timestamp.is_some();
        if is_going && attempt > 0 {
            return Err(Problem::conflict("the service's time is over: it is going away"));
        }
        // What is known here may be old: another process may have put its end off.
        let outcome = if is_going { Ok(None) } else { api.ephemerons.extend(&seen, end).await.map(Some) };
        match outcome {
            Ok(Some(written)) => return Ok(api.directory.cache.wrote(written)),
            Err(error) if error.is_missing() => {
                api.directory.gone(&seen);
                return Err(missing(&id));
            }
            Ok(None) => {}
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(away("extend the service", &error)),
        }
        let now = api.ephemerons.get(&id).await.map_err(|error| away("read the service", &error))?;
        let now = now.filter(|now| now.metadata.uid == seen.metadata.uid).ok_or_else(|| missing(&id))?;
        api.directory.cache.wrote(now.clone());
        seen = Arc::new(now);
    }
    Err(Problem::unavailable("the service changes too often at the moment: try again"))
}
