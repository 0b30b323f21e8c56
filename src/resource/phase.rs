//! The state of an Ephemeron in one word.

use chrono::{DateTime, Utc};

use super::{
    Ephemeron,
    conditions::{self, Condition},
    reasons::Reason,
};

/// Where an Ephemeron is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Its service is on its way.
    Pending,
    /// Its service can be reached.
    Available,
    /// Its service cannot become available until somebody does something.
    Failing,
    /// Its time is over, or it is being deleted.
    Expiring,
}

impl Phase {
    /// The phase that an Ephemeron is in at a time, as its status has it; `end` is when its time is over.
    #[must_use]
    pub fn of(ephemeron: &Ephemeron, end: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        let is_over = end.is_some_and(|end| end <= now);
        if is_over || ephemeron.metadata.deletion_timestamp.is_some() {
            return Self::Expiring;
        }
        match deciding(ephemeron) {
            Some(condition) if condition.r#type == conditions::AVAILABLE && condition.status == "True" => {
                Self::Available
            }
            Some(condition) if is_trouble(condition) => Self::Failing,
            _ => Self::Pending,
        }
    }
}

/// The condition that says how it is with the service: why it is, or is not, available.
#[must_use]
pub fn deciding(ephemeron: &Ephemeron) -> Option<&Condition> {
    let conditions = ephemeron.status.as_ref().map_or(&[][..], |status| &status.conditions);
    conditions::find(conditions, conditions::AVAILABLE)
}

fn is_trouble(condition: &Condition) -> bool {
    let reason = condition.reason.as_deref();
    Reason::ALL.iter().any(|one| one.is_trouble && Some(one.reason.as_str()) == reason)
}
