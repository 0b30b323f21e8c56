//! The conditions of an Ephemeron, and every reason that they can have.

use chrono::{DateTime, SubsecRound as _, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One aspect of the state, in the form of Kubernetes' API conventions.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `PodReady` or `Available`.
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When the status last changed from one to the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

/// The Pod is ready (not necessarily serving).
pub const POD_READY: &str = "PodReady";
/// The service can be reached at its host.
pub const AVAILABLE: &str = "Available";

/// Why a condition has its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The Pod is ready.
    PodReady,
    /// The Pod is not ready yet, or not any more.
    PodNotReady,
    /// An object that must make room, such as the Pod of a predecessor, is still being deleted.
    WaitingForDeletion,
    /// An object that is not ours has the name of a child.
    NameTaken,
    /// The API server refused a child: by quota, admission or validation.
    Refused,
    /// The spec cannot be carried out.
    InvalidSpec,
    /// The installation's policy does not allow what the spec asks for.
    RefusedByPolicy,
    /// The Pod is ready, but its Service has no ready endpoint yet.
    EndpointsNotReady,
    /// No Gateway or ingress class can serve the host.
    NoGateway,
    /// More than one Gateway could serve the host, and none was chosen.
    AmbiguousGateway,
    /// The Gateway's controller has not accepted the HTTPRoute.
    RouteNotAccepted,
    /// The address at which the URL is probed does not accept connections.
    ProbeAddressUnreachable,
    /// The public URL does not answer as the readiness probe asks.
    URLNotAnswering,
    /// The service can be reached.
    Available,
}

impl Reason {
    /// The reason as the condition says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PodReady => "PodReady",
            Self::PodNotReady => "PodNotReady",
            Self::WaitingForDeletion => "WaitingForDeletion",
            Self::NameTaken => "NameTaken",
            Self::Refused => "Refused",
            Self::InvalidSpec => "InvalidSpec",
            Self::RefusedByPolicy => "RefusedByPolicy",
            Self::EndpointsNotReady => "EndpointsNotReady",
            Self::NoGateway => "NoGateway",
            Self::AmbiguousGateway => "AmbiguousGateway",
            Self::RouteNotAccepted => "RouteNotAccepted",
            Self::ProbeAddressUnreachable => "ProbeAddressUnreachable",
            Self::URLNotAnswering => "URLNotAnswering",
            Self::Available => "Available",
        }
    }
}

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
        Self { status: true, reason, message: message.into() }
    }

    /// The condition is false.
    pub fn no(reason: Reason, message: impl Into<String>) -> Self {
        Self { status: false, reason, message: message.into() }
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
