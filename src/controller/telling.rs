//! Events: each trouble is told once, when it begins. A healthy life has none.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource as _,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use crate::resource::{
    Ephemeron, EphemeronStatus,
    conditions::{AVAILABLE, Condition, EXPIRING, POD_READY, PRESET_READY, find},
    reasons::Reason,
};

/// What Events name as their source.
const CONTROLLER: &str = "ephemeron-controller";
/// The longest note that the API server takes, in bytes (events.k8s.io/v1, `Event.note`: 1 kB).
const MAX_NOTE: usize = 1024;

/// Writes Events.
#[derive(Clone)]
pub struct Teller(Recorder);

impl Teller {
    /// With this client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self(Recorder::new(client, Reporter { controller: CONTROLLER.into(), instance: None }))
    }

    /// Tells what troubles have begun between two statuses. That an Event cannot be written is no
    /// failure: the status has said it already.
    pub async fn tell(&self, ephemeron: &Ephemeron, before: Option<&EphemeronStatus>, now: &EphemeronStatus) {
        for condition in begun(before, now) {
            let (reason, message) = (condition.reason.as_deref(), condition.message.as_deref());
            self.warn(ephemeron, reason.unwrap_or_default(), message.unwrap_or_default()).await;
        }
    }

    /// Tells of something that no condition of the Ephemeron says.
    pub async fn warn(&self, ephemeron: &Ephemeron, reason: &str, message: &str) {
        let reference = ObjectReference {
            // Where Events about objects without a namespace are looked for.
            namespace: Some("default".into()),
            ..ephemeron.object_ref(&())
        };
        let event = Event {
            type_: EventType::Warning,
            reason: reason.into(),
            note: Some(note(message)),
            action: "Reconcile".into(),
            secondary: None,
        };
        if let Err(error) = self.0.publish(&event, &reference).await {
            tracing::debug!(ephemeron = ephemeron.name(), %error, "an Event could not be written");
        }
    }
}

/// The conditions that have come to a reason which is a trouble; each reason once.
fn begun<'a>(before: Option<&EphemeronStatus>, now: &'a EphemeronStatus) -> Vec<&'a Condition> {
    let before = before.map_or(&[][..], |status| &status.conditions);
    let mut told: Vec<&Condition> = Vec::new();
    for r#type in [AVAILABLE, POD_READY, PRESET_READY, EXPIRING] {
        let Some(condition) = find(&now.conditions, r#type) else { continue };
        let is_new = |known: &&Condition| known.reason == condition.reason;
        let is_told = find(before, r#type).as_ref().is_some_and(is_new) || told.iter().any(is_new);
        if is_trouble(condition) && !is_told {
            told.push(condition);
        }
    }
    told
}

fn is_trouble(condition: &Condition) -> bool {
    Reason::ALL
        .iter()
        .any(|known| known.is_trouble && Some(known.reason.as_str()) == condition.reason.as_deref())
}

fn note(message: &str) -> String {
    let end = (0..=MAX_NOTE.min(message.len())).rev().find(|end| message.is_char_boundary(*end));
    message[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::conditions::Finding;

    fn status(findings: &[(&str, Finding)]) -> EphemeronStatus {
        let date = chrono::DateTime::UNIX_EPOCH;
        let conditions = findings
            .iter()
            .map(|(r#type, finding)| finding.clone().condition(r#type, None, None, date))
            .collect();
        EphemeronStatus { conditions, ..EphemeronStatus::default() }
    }

    #[test]
    fn a_trouble_is_told_once_when_it_begins() {
        let pull = |message: &str| {
            let finding = Finding::no(Reason::ImagePullFailed, message);
            status(&[(POD_READY, finding.clone()), (AVAILABLE, finding)])
        };
        let usual = status(&[(AVAILABLE, Finding::no(Reason::PodNotReady, "soon"))]);
        let reasons = |before: Option<&EphemeronStatus>, now: &EphemeronStatus| begun(before, now).len();
        assert_eq!(reasons(None, &usual), 0, "a healthy start");
        assert_eq!(reasons(Some(&usual), &pull("a")), 1, "one Event for both conditions");
        assert_eq!(reasons(Some(&pull("a")), &pull("b")), 0, "other words are no other trouble");
        let good = status(&[(AVAILABLE, Finding::yes(Reason::Available, "yes"))]);
        assert_eq!(reasons(Some(&pull("a")), &good), 0);
        assert_eq!(reasons(Some(&good), &pull("a")), 1, "it has come back");
    }

    #[test]
    fn notes_fit() {
        assert_eq!(note("short"), "short");
        let long = note(&"ü".repeat(2000));
        assert!(long.len() <= MAX_NOTE && long.len() > MAX_NOTE - 2);
    }
}
