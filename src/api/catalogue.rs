//! What can be asked for: the services of EPHEMERON_CONFIG and the modules of the folders, under one set of
//! names. In a clash the configuration wins.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ephemeron_preset_host::{
    catalogue::{self, Absent, Entry, OnChange, OpenError, RenderError, State},
    document::{Context, Seed},
    error::{CallError, Issue, Refusal},
    labels::is_dns_label,
    policy::{Policy, fields},
};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value, json};

use super::problem::{Fault, Problem};
use crate::{
    health::Readiness,
    presets,
    resource::{self, Ephemeron, EphemeronSpec, parameters::Parameters},
    template::template,
};

/// All presets.
pub struct Catalogue {
    services: BTreeMap<String, resource::Service>,
    modules: Option<catalogue::Catalogue>,
    policy: Policy,
    seed: Vec<u8>,
    values: Map<String, Value>,
    longest: usize,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Preset {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Its own version, where it has one.
    pub version: Option<String>,
    /// The JSON Schema of its parameters.
    pub parameters: Value,
    /// Parameters that render.
    pub examples: Vec<Value>,
}

/// What a preset makes of parameters.
#[derive(Debug)]
pub struct Rendered {
    /// A PodTemplateSpec, as the policy lets it through.
    pub template: Value,
    /// The port that is routed to.
    pub port: u16,
    /// What the preset wants to be known.
    pub warnings: Vec<String>,
    /// The names of secret values.
    pub secrets: Vec<String>,
}

/// For whom a preset is asked.
pub struct Asking<'a> {
    /// The name that the service will have.
    pub id: &'a str,
    /// The namespace of its Pod.
    pub namespace: &'a str,
    /// Its user.
    pub owner: Option<&'a str>,
    /// Its group.
    pub group: Option<&'a str>,
    /// How long it will live.
    pub lifetime: Option<Duration>,
}

impl Catalogue {
    /// Serves the services, and the modules of the settings' folders.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(
        services: BTreeMap<String, resource::Service>,
        settings: &presets::Settings,
        policy: Policy,
        readiness: &Readiness,
    ) -> Result<Self, OpenError> {
        let named = Arc::new(services.keys().cloned().collect::<Vec<_>>());
        let hears = || -> OnChange {
            let (named, readiness) = (Arc::clone(&named), readiness.clone());
            Box::new(move |change| {
                presets::tell(change, &readiness);
                if let catalogue::Change::Served { name, .. } = change
                    && named.contains(name)
                {
                    tracing::warn!(
                        "the module {name} is not used: EPHEMERON_CONFIG has a preset of this name"
                    );
                }
            })
        };
        let mut modules = None;
        if !settings.folders.is_empty() {
            let (opened, no_cache) = presets::open(settings, &policy, &settings.limits, hears)?;
            if let Some(error) = no_cache {
                tracing::warn!("EPHEMERON_PRESET_CACHE: {error}; presets are compiled anew at each start");
            }
            modules = Some(opened);
        }
        Ok(Self {
            services,
            modules,
            policy,
            seed: settings.seed.clone(),
            values: settings.values.clone(),
            longest: settings.limits.input,
        })
    }

    /// Whether all modules were looked at once.
    pub fn settled(&self) -> bool {
        self.modules.as_ref().is_none_or(catalogue::Catalogue::settled)
    }

    /// All that can be asked for, by name.
    pub fn list(&self) -> Vec<Preset> {
        let modules = self.modules.as_ref().map(catalogue::Catalogue::list).unwrap_or_default();
        let served =
            |entry: &Entry| entry.state == State::Serving && !self.services.contains_key(&entry.name);
        let modules = modules.into_iter().filter(served).filter_map(|entry| self.get(&entry.name).ok());
        let mut all: Vec<_> = self.services.keys().map(|name| plain(name)).chain(modules).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// The preset of this name.
    ///
    /// # Errors
    ///
    /// There is none, or it does not work.
    pub fn get(&self, name: &str) -> Result<Preset, Problem> {
        if self.services.contains_key(name) {
            return Ok(plain(name));
        }
        // What cannot be a name need not be waited for.
        let modules = self.modules.as_ref().filter(|_| is_dns_label(name)).ok_or_else(|| no_such(name))?;
        let found = modules.get(name).map_err(|absent| without(name, &absent))?;
        let says = &found.description;
        Ok(Preset {
            name: name.into(),
            title: says.title.clone(),
            version: Some(says.version.clone()),
            parameters: Value::Object(says.parameters.clone()),
            examples: says.examples.iter().cloned().map(Value::Object).collect(),
        })
    }

    /// What the preset makes of parameters, as the policy lets it through.
    ///
    /// # Errors
    ///
    /// There is no such preset, it does not take the parameters, or what it makes of them is not allowed.
    pub async fn render(
        &self,
        name: &str,
        parameters: Option<&Value>,
        asking: &Asking<'_>,
    ) -> Result<Rendered, Problem> {
        if let Some(service) = self.services.get(name) {
            return self.expand(name, service, parameters);
        }
        let modules = self.modules.as_ref().filter(|_| is_dns_label(name)).ok_or_else(|| no_such(name))?;
        let none = Value::Null;
        let parameters = parameters.unwrap_or(&none);
        let context = Context {
            name: asking.id.into(),
            namespace: asking.namespace.into(),
            owner: asking.owner.map(Into::into),
            group: asking.group.map(Into::into),
            seed: Seed::of(&self.seed, asking.id),
            created: Some(chrono::Utc::now().format("%FT%TZ").to_string()),
            lifetime: asking.lifetime.map(|lifetime| lifetime.as_secs()),
            values: self.values.clone(),
        };
        let answer =
            modules.render(name, parameters, &context).await.map_err(|error| refused(name, &error))?;
        let template = self.policy.admit_rendered(&answer.template).map_err(|violation| {
            let why = format!("the preset {name} asks for what is not allowed here: {violation}");
            Problem::unprocessable(why, Vec::new())
        })?;
        let keys = answer.secrets.keys().map(String::as_str);
        let agrees =
            fields::template(&answer.template).and_then(|said| fields::agree(&said, answer.port, keys));
        agrees.map_err(|violation| broken(name, &violation.to_string()))?;
        Ok(Rendered {
            template: json(&template),
            port: answer.port,
            warnings: answer.warnings,
            secrets: answer.secrets.into_keys().collect(),
        })
    }

    fn expand(
        &self,
        name: &str,
        service: &resource::Service,
        parameters: Option<&Value>,
    ) -> Result<Rendered, Problem> {
        if parameters.and_then(Value::as_object).is_some_and(|given| !given.is_empty()) {
            let keys = parameters.and_then(Value::as_object).into_iter().flat_map(Map::keys);
            let fault = |key: &String| Fault {
                pointer: format!("/{}", key.replace('~', "~0").replace('/', "~1")),
                code: "unknown".into(),
                message: "there is no such parameter".into(),
            };
            let faults = keys.take(32).map(fault).collect();
            return Err(Problem::unprocessable(format!("the preset {name} has no parameters"), faults));
        }
        let admitted = self.policy.admit(template(service)).map_err(|violation| {
            tracing::warn!("the preset {name} of EPHEMERON_CONFIG is not allowed here: {violation}");
            Problem::unprocessable(format!("the preset {name} is not allowed here: {violation}"), Vec::new())
        })?;
        Ok(Rendered {
            template: json(&admitted),
            port: service.port,
            warnings: Vec::new(),
            secrets: Vec::new(),
        })
    }

    /// What an Ephemeron says to have this preset.
    ///
    /// # Errors
    ///
    /// The parameters are longer than they may be.
    pub fn spec(&self, name: &str, parameters: Option<&Value>) -> Result<EphemeronSpec, Problem> {
        if let Some(service) = self.services.get(name) {
            return Ok(spec(Some(service.clone()), None));
        }
        let text = parameters.map(Value::to_string);
        if text.as_ref().is_some_and(|text| text.len() > self.longest) {
            let why = format!("the parameters have more than the {} bytes that they may have", self.longest);
            return Err(Problem::unprocessable(why, Vec::new()));
        }
        let parameters = text.and_then(|text| serde_json::from_str::<Parameters>(&text).ok());
        let preset = resource::Preset { name: name.into(), parameters, ..resource::Preset::default() };
        Ok(spec(None, Some(preset)))
    }

    /// Whether the preset is one of EPHEMERON_CONFIG.
    #[must_use]
    pub fn is_service(&self, name: &str) -> bool {
        self.services.contains_key(name)
    }
}

fn spec(service: Option<resource::Service>, preset: Option<resource::Preset>) -> EphemeronSpec {
    EphemeronSpec { expiration_time: None, lifetime: None, service, preset }
}

/// A preset of the configuration.
fn plain(name: &str) -> Preset {
    Preset {
        name: name.into(),
        title: String::new(),
        version: None,
        parameters: json!({"type": "object", "properties": {}, "additionalProperties": false}),
        examples: vec![json!({})],
    }
}

fn json(template: &PodTemplateSpec) -> Value {
    // A template came as JSON, and can be written as such.
    serde_json::to_value(template).unwrap_or_default()
}

/// There is no preset of this name.
#[must_use]
pub fn no_such(name: &str) -> Problem {
    let shown: String = name.chars().take(63).filter(|char| !char.is_control()).collect();
    Problem::not_found(format!("there is no preset {shown}: GET /presets says which there are"))
}

fn broken(name: &str, why: &str) -> Problem {
    tracing::warn!("the preset {name} does not work: {why}");
    Problem::unavailable(format!("the preset {name} does not work at the moment"))
}

fn without(name: &str, absent: &Absent) -> Problem {
    match absent {
        Absent::NotFound { .. } => no_such(name),
        Absent::NotYet(_) => Problem::unavailable(absent.to_string()),
        Absent::Incompatible { reason, .. } | Absent::Unhealthy { reason, .. } => broken(name, reason),
    }
}

fn refused(name: &str, error: &RenderError) -> Problem {
    let error = match error {
        RenderError::Absent(absent) => return without(name, absent),
        RenderError::Call(error) => error,
    };
    let fault = |issue: &Issue| Fault {
        pointer: issue.pointer.clone(),
        code: issue.code.clone(),
        message: issue.message.clone(),
    };
    let faults = match error {
        CallError::Refused(Refusal::InvalidParameters(issues)) => issues.iter().map(fault).collect(),
        CallError::Refused(Refusal::Rejected(issue)) => vec![fault(issue)],
        CallError::Busy | CallError::Lost | CallError::TimedOut(_) => {
            return Problem::unavailable(format!("the preset {name}: {error}"));
        }
        CallError::Malformed { .. } | CallError::Broken(_) | CallError::NotRepeatable(_) => {
            return broken(name, &error.to_string());
        }
        _ => Vec::new(),
    };
    Problem::unprocessable(format!("the preset {name}: {error}"), faults)
}

/// The Secret of a service, where its preset has said that something is secret.
#[must_use]
pub fn secret_name(ephemeron: &Ephemeron) -> Option<&str> {
    ephemeron.status.as_ref()?.preset.as_ref()?.secret_name.as_deref()
}
