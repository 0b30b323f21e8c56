//! A service as the API shows it.

use chrono::{DateTime, Utc};
use kube::ResourceExt as _;
use poem_openapi::{Enum, Object, types::Example};

use super::{
    caller::{group, owner},
    json::Fields,
    time::Time,
};
use crate::resource::{
    Ephemeron, HOST_ANNOTATION, PRESET_ANNOTATION,
    conditions::{self, Condition},
    phase,
    reasons::{Description, Reason},
};

/// Where a service is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum Phase {
    /// It is on its way.
    Pending,
    /// It can be reached.
    Available,
    /// It cannot be reached until somebody does something; `reason` and `message` say what.
    Failing,
    /// Its time is over, or it is being deleted.
    Expiring,
}

impl From<phase::Phase> for Phase {
    fn from(phase: phase::Phase) -> Self {
        match phase {
            phase::Phase::Pending => Self::Pending,
            phase::Phase::Available => Self::Available,
            phase::Phase::Failing => Self::Failing,
            phase::Phase::Expiring => Self::Expiring,
        }
    }
}

/// A service that lives for a while.
#[derive(Clone, Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub struct Service {
    /// Its id, which is the first label of its host.
    pub id: String,
    /// Where it answers, once it has been available.
    #[oai(nullable)]
    pub host: Option<String>,
    /// When everything of it is deleted.
    pub expiration_time: Time,
    /// Whether it is asked for over HTTPS.
    pub tls: bool,
    /// Where to open it, once it has been available.
    #[oai(skip_serializing_if_is_none)]
    pub url: Option<String>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Why it is or is not available, in one word for programs.
    #[oai(skip_serializing_if_is_none)]
    pub reason: Option<String>,
    /// The same, in a sentence for people.
    #[oai(skip_serializing_if_is_none)]
    pub message: Option<String>,
    /// The preset that it was asked for by.
    #[oai(skip_serializing_if_is_none)]
    pub preset: Option<String>,
    /// The preset's parameters.
    #[oai(skip_serializing_if_is_none)]
    pub parameters: Option<Fields>,
    /// What the preset wants to be known.
    #[oai(skip_serializing_if_is_none)]
    pub warnings: Option<Vec<String>>,
    /// When it was created.
    pub created: Time,
    /// The user that it was created for: `{uid}.{app}`. Only a backend itself is told.
    #[oai(skip_serializing_if_is_none)]
    pub user: Option<String>,
    /// The group that it was created for: `{gid}.{app}`. Only a backend itself is told.
    #[oai(skip_serializing_if_is_none)]
    pub group: Option<String>,
}

impl Example for Service {
    fn example() -> Self {
        let time = |text: &str| Time(text.parse().unwrap_or_default());
        Self {
            id: "ekoo6mcbxpzt3wd5g2qjhvrla".into(),
            host: Some("ekoo6mcbxpzt3wd5g2qjhvrla.example.com".into()),
            expiration_time: time("2030-01-31T12:30:00Z"),
            tls: false,
            url: Some("http://ekoo6mcbxpzt3wd5g2qjhvrla.example.com".into()),
            phase: Phase::Available,
            reason: Some("Available".into()),
            message: Some("the service can be reached".into()),
            preset: Some("nginx".into()),
            parameters: serde_json::from_str(r#"{"content": "Hello"}"#).ok().map(Fields),
            warnings: None,
            created: time("2030-01-31T12:00:00Z"),
            user: None,
            group: None,
        }
    }
}

/// Reasons whose messages are about what the user has asked for. Of the others, which have words of the
/// cluster, a user is told what they mean.
const OWN: [Reason; 8] = [
    Reason::InvalidParameters,
    Reason::RefusedByPreset,
    Reason::PresetTrapped,
    Reason::PresetOutOfFuel,
    Reason::PresetOutOfMemory,
    Reason::PresetTimedOut,
    Reason::ContainerCrashed,
    Reason::Available,
];

impl Service {
    /// As a caller sees it at a time: `is_app` where it is the backend itself.
    #[must_use]
    pub fn of(ephemeron: &Ephemeron, is_app: bool, now: DateTime<Utc>) -> Self {
        let status = ephemeron.status.as_ref();
        let end = end_of(ephemeron);
        let url = status.and_then(|status| status.url.clone());
        let asked = ephemeron.spec.preset.as_ref();
        let parameters = asked.and_then(|preset| preset.parameters.as_ref());
        let told = deciding(ephemeron);
        let for_app = |text: Option<&str>| text.filter(|_| is_app).map(Into::into);
        Self {
            id: ephemeron.name().into(),
            host: ephemeron.annotations().get(HOST_ANNOTATION).cloned(),
            expiration_time: Time(end.unwrap_or(DateTime::UNIX_EPOCH)),
            tls: url
                .as_ref()
                .map_or_else(|| ephemeron.spec.tls_secret_name().is_some(), |url| url.starts_with("https:")),
            url,
            phase: phase::Phase::of(ephemeron, end, now).into(),
            reason: told.and_then(|condition| condition.reason.clone()),
            message: told.and_then(|condition| message(condition, is_app)),
            preset: preset_of(ephemeron).map(Into::into),
            parameters: parameters.and_then(|text| serde_json::from_str(text.text()).ok()).map(Fields),
            warnings: status
                .and_then(|status| status.preset.as_ref())
                .map(|rendered| rendered.warnings.clone())
                .filter(|warnings| !warnings.is_empty()),
            created: Time(created(ephemeron)),
            user: for_app(owner(ephemeron)),
            group: for_app(group(ephemeron)),
        }
    }
}

/// The condition that says how it is: whether the service can be reached, and where a preset has said
/// nothing, why not.
fn deciding(ephemeron: &Ephemeron) -> Option<&Condition> {
    let conditions = ephemeron.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let preset = conditions::find(conditions, conditions::PRESET_READY);
    preset.filter(|one| one.status != "True").or_else(|| phase::deciding(ephemeron))
}

fn message(condition: &Condition, is_app: bool) -> Option<String> {
    if is_app {
        return condition.message.clone();
    }
    // A reason that is not known here says nothing to a user.
    let has = |one: &&Description| Some(one.reason.as_str()) == condition.reason.as_deref();
    let known = Reason::ALL.iter().find(has)?;
    if OWN.contains(&known.reason) { condition.message.clone() } else { Some(known.meaning.into()) }
}

/// When it ends: as its spec says, unless the controller has said, of this very spec, that it is sooner.
#[must_use]
pub fn end_of(ephemeron: &Ephemeron) -> Option<DateTime<Utc>> {
    let status = ephemeron.status.as_ref();
    let observed = status.filter(|status| status.observed_generation == ephemeron.metadata.generation);
    observed.and_then(|status| status.expiration_time).or_else(|| ephemeron.expiration_time())
}

/// When it was created.
#[must_use]
pub fn created(ephemeron: &Ephemeron) -> DateTime<Utc> {
    let time = ephemeron.metadata.creation_timestamp.as_ref();
    time.and_then(|time| DateTime::from_timestamp(time.0.as_second(), 0)).unwrap_or_default()
}

/// The preset that it was asked for by.
#[must_use]
pub fn preset_of(ephemeron: &Ephemeron) -> Option<&str> {
    let named = || ephemeron.annotations().get(PRESET_ANNOTATION).map(String::as_str);
    ephemeron.spec.preset.as_ref().map(|preset| preset.name.as_str()).or_else(named)
}
