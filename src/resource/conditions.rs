//! The conditions of an Ephemeron.

use chrono::{DateTime, SubsecRound as _, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::reasons::Reason;

/// One aspect of the state, in the form of Kubernetes' API conventions.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `PresetReady`, `PodReady`, `Available` or `Expiring`.
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When the status last changed from one to the other.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::schema::time_or_none"
    )]
    #[schemars(schema_with = "super::schema::plain_string")]
    pub last_transition_time: Option<DateTime<Utc>>,
    /// Why, in one word for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, in a sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The `metadata.generation` that it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The preset has said what to run. Only there where one is asked for.
pub const PRESET_READY: &str = "PresetReady";
/// The Pod is ready (not necessarily serving).
pub const POD_READY: &str = "PodReady";
/// The service can be reached at its host.
pub const AVAILABLE: &str = "Available";

/// The life nears its end, or is over while deletions are held. Only there while that is so.
pub const EXPIRING: &str = "Expiring";

/// How many conditions a status can have.
pub const MOST: usize = 16;

/// How long a message may be; what is quoted from elsewhere can be of any length.
const MAX_MESSAGE: usize = 1000;
/// How long one may be that has many things to tell, in characters: Kubernetes' own conditions have at most
/// 32,768 (apimachinery, `Condition.message`).
const MAX_WHOLE: usize = 32_000;

/// What a condition says, before it is dated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether the condition is true.
    pub status: bool,
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
}

impl Finding {
    /// The condition is true.
    pub fn yes(reason: Reason, message: impl Into<String>) -> Self {
        Self { status: true, reason, message: printable(&message.into(), MAX_MESSAGE) }
    }

    /// The condition is false.
    pub fn no(reason: Reason, message: impl Into<String>) -> Self {
        Self { status: false, reason, message: printable(&message.into(), MAX_MESSAGE) }
    }

    /// The condition is false, and the message is told as a whole, as far as a condition can hold it.
    pub fn whole(reason: Reason, message: impl Into<String>) -> Self {
        Self { status: false, reason, message: printable(&message.into(), MAX_WHOLE) }
    }

    /// The condition with its date: kept from `previous` unless the status flipped. Whole seconds,
    /// as the API serialises them, so that what is written equals what is read.
    #[must_use]
    pub fn condition(
        self,
        r#type: &str,
        previous: Option<&Condition>,
        generation: Option<i64>,
        now: DateTime<Utc>,
    ) -> Condition {
        let status = if self.status { "True" } else { "False" };
        let since = previous.filter(|condition| condition.status == status);
        Condition {
            r#type: r#type.into(),
            status: status.into(),
            last_transition_time: since
                .and_then(|condition| condition.last_transition_time)
                .or_else(|| Some(now.trunc_subsecs(0))),
            reason: Some(self.reason.as_str().into()),
            message: Some(self.message),
            observed_generation: generation,
        }
    }
}

/// The text as one line that a terminal can show, cut to a length that status and Events can hold:
/// it may quote what a stranger's container has written.
fn printable(text: &str, most: usize) -> String {
    let words = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect::<String>();
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        None => line,
        Some((end, _)) => format!("{} …", &line[..end]),
    }
}

/// The condition of this type, if there is one.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], r#type: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.r#type == r#type)
}

/// Whether the condition of this type is there and true.
#[must_use]
pub fn is_true(conditions: &[Condition], r#type: &str) -> bool {
    find(conditions, r#type).is_some_and(|condition| condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_lines_that_can_be_shown() {
        let message = |text: &str| Finding::no(Reason::ContainerCrashed, text).message;
        assert_eq!(message("a\n\tb\u{1b}[31m"), "a b [31m");
        assert_eq!(message(&"ü".repeat(5000)).chars().count(), MAX_MESSAGE + 2);
        let whole = Finding::whole(Reason::InvalidParameters, "a ".repeat(20_000)).message;
        assert_eq!(whole.chars().count(), MAX_WHOLE + 2);
    }
}
