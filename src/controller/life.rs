//! The last line on each life: one log entry that tells all of it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::metrics::Metrics;
use crate::resource::{
    CREATED_BY_ANNOTATION, Ephemeron,
    conditions::{self, AVAILABLE},
};

/// Why a life has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its time was over; so long after it its deletion was asked for.
    Expired(TimeDelta),
    /// Somebody deleted it.
    Deleted,
}

/// For so long it is known whose end was told: the answer to a deletion and the event that shows it
/// come in either order.
const KNOWN_FOR: TimeDelta = TimeDelta::minutes(10);

/// The lives whose end was told of late, by UID.
pub struct Lives {
    told: Mutex<HashMap<String, DateTime<Utc>>>,
    metrics: Arc<Metrics>,
}

impl Lives {
    /// None yet; ends are counted in these metrics.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { told: Mutex::default(), metrics }
    }

    /// This process has deleted an Ephemeron whose time was over at `end`.
    pub fn ended(&self, ephemeron: &Ephemeron, end: DateTime<Utc>, now: DateTime<Utc>) {
        if self.is_first(ephemeron, now) {
            self.tell(ephemeron, End::Expired(now - end));
        }
    }

    /// An Ephemeron was seen to be gone; returns why, unless that was told before.
    pub fn gone(&self, ephemeron: &Ephemeron, end: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<End> {
        if !self.is_first(ephemeron, now) {
            return None;
        }
        let end = match end.map(|end| now - end) {
            Some(late) if late >= TimeDelta::zero() => End::Expired(late),
            _ => End::Deleted,
        };
        self.tell(ephemeron, end);
        Some(end)
    }

    fn is_first(&self, ephemeron: &Ephemeron, now: DateTime<Utc>) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, when| (now - *when).abs() < KNOWN_FOR);
        told.insert(ephemeron.uid().into(), now).is_none()
    }

    fn tell(&self, ephemeron: &Ephemeron, end: End) {
        log(ephemeron, end);
        match end {
            End::Expired(late) => self.metrics.expired(late.to_std().unwrap_or_default()),
            End::Deleted => self.metrics.deleted(),
        }
    }
}

fn log(ephemeron: &Ephemeron, end: End) {
    let status = ephemeron.status.as_ref();
    let text = |time: Option<DateTime<Utc>>| {
        time.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)).unwrap_or_default()
    };
    let created = ephemeron.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string());
    let owner = ephemeron.metadata.annotations.as_ref().and_then(|all| all.get(CREATED_BY_ANNOTATION));
    let available = status
        .and_then(|status| conditions::find(&status.conditions, AVAILABLE))
        .filter(|condition| condition.status == "True")
        .and_then(|condition| condition.last_transition_time);
    let (reason, late_ms) = match end {
        End::Expired(late) => ("expired", Some(late.num_milliseconds())),
        End::Deleted => ("deleted", None),
    };
    tracing::info!(
        ephemeron = ephemeron.name(),
        uid = ephemeron.uid(),
        owner = owner.map(String::as_str).unwrap_or_default(),
        created = created.unwrap_or_default(),
        available = text(available),
        due = text(status.and_then(|status| status.expiration_time)),
        extensions = status.and_then(|status| status.extensions).unwrap_or(0),
        reason,
        late_ms,
        "ended"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixtures;

    #[test]
    fn each_end_is_told_once() {
        let (lives, ephemeron) = (fixtures::lives(), fixtures::ephemeron(fixtures::MINIMAL));
        let end = DateTime::from_timestamp(1_900_000_000, 0).expect("a time");
        let named = |uid: &str| {
            let mut other = ephemeron.clone();
            other.metadata.uid = Some(uid.into());
            other
        };
        lives.ended(&named("a"), end, end);
        assert_eq!(lives.gone(&named("a"), Some(end), end), None, "it was told when it was deleted");
        let (before, after) = (end - TimeDelta::seconds(5), end + TimeDelta::seconds(5));
        assert_eq!(lives.gone(&named("b"), Some(end), before), Some(End::Deleted));
        let late = End::Expired(TimeDelta::seconds(5));
        assert_eq!(lives.gone(&named("c"), Some(end), after), Some(late), "by another process");
        assert_eq!(lives.gone(&named("c"), Some(end), after), None, "once");
        lives.ended(&named("c"), end, after);
        assert_eq!(lives.gone(&named("d"), None, after + KNOWN_FOR), Some(End::Deleted));
        assert_eq!(lives.told.lock().expect("no holder panics").len(), 1, "nothing is kept for ever");
    }
}
