//! Asks presets what to run: once for each Ephemeron, and what they say is recorded in its status before
//! anything is made of it.

mod changes;
mod record;
#[cfg(test)]
mod tests;
mod turns;

use std::sync::{Arc, OnceLock, Weak};

use chrono::{DateTime, Utc};
use ephemeron_preset_host::{
    catalogue::{Absent, Catalogue, OpenError, RenderError, Rendering as Answer, Trouble},
    document,
    error::{CallError, Refusal},
};
use kube::{Client, ResourceExt as _};
use serde_json::{Map, Value};

use changes::{count, heard};
pub use record::PresetError;
use record::{keep_secret, recall, record};
use turns::Turns;

use super::{
    caches::{Caches, Listeners},
    rendering::{self, Rendering},
    settings::Settings,
};
use crate::{
    policy::{Policy, fields},
    presets,
    resource::{
        CREATED_BY_ANNOTATION, Ephemeron, GROUP_LABEL, Preset, Rendered,
        conditions::{Finding, Reason},
        parameters::Parameters,
    },
};

/// The presets of an installation.
#[derive(Default)]
pub struct Presets {
    /// None where no folder is configured.
    catalogue: Option<Arc<Catalogue>>,
    /// What the seeds of Ephemerons come of.
    seed: Vec<u8>,
    /// What the installation tells all presets.
    values: Map<String, Value>,
    /// The longest parameters, in bytes.
    longest: usize,
    turns: Turns,
}

/// What came of asking.
pub enum Said {
    /// This is to be run; with the Ephemeron as it is now.
    Run(Arc<Ephemeron>, Rendering),
    /// As [`Said::Run`], asked just now; but the preset's file has been replaced by one that is not served,
    /// and this is its last good version.
    RunLastGood(Arc<Ephemeron>, Rendering, Trouble),
    /// Nothing is; why, and whether asking again may help without anything changing.
    Nothing(Finding, Again),
}

/// What lives of an Ephemeron.
#[derive(Clone, Copy, Debug)]
pub struct Living {
    /// The port of its Service, if it has one.
    pub port: Option<u16>,
}

/// Whether to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Only when the preset or the Ephemeron changes.
    WhenItChanges,
    /// After a pause.
    Later,
}

impl Presets {
    /// Serves the presets of these settings. Ephemerons that wait for one are looked at when it changes.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(
        settings: &presets::Settings,
        policy: &Policy,
        caches: &Arc<Caches>,
        listeners: &Listeners,
    ) -> Result<Self, OpenError> {
        let this = Arc::new(OnceLock::<Weak<Catalogue>>::new());
        if settings.folders.is_empty() {
            return Ok(Self { catalogue: None, ..Self::of(settings) });
        }
        let hears = || heard(Arc::clone(caches), listeners.clone(), Arc::clone(&this));
        let (catalogue, no_cache) = presets::open(settings, policy, &settings.limits, hears)?;
        if let Some(error) = no_cache {
            tracing::warn!("EPHEMERON_PRESET_CACHE: {error}; presets are compiled anew at each start");
        }
        let catalogue = Arc::new(catalogue);
        // It is set once, here.
        let _ = this.set(Arc::downgrade(&catalogue));
        count(&listeners.metrics, &catalogue);
        Ok(Self { catalogue: Some(catalogue), ..Self::of(settings) })
    }

    fn of(settings: &presets::Settings) -> Self {
        Self {
            catalogue: None,
            seed: settings.seed.clone(),
            values: settings.values.clone(),
            longest: settings.limits.input,
            turns: Turns::default(),
        }
    }

    /// What this Ephemeron's preset says: what it has said before, or else now. Where a Pod lives, the
    /// template is not needed, and is not fetched; and where the record is lost, nobody is asked: the port
    /// would be another file's, or other parameters'.
    ///
    /// # Errors
    ///
    /// A request to the API server.
    pub async fn said(
        &self,
        client: &Client,
        caches: &Caches,
        settings: &Settings,
        ephemeron: &Arc<Ephemeron>,
        living: Option<Living>,
    ) -> Result<Said, PresetError> {
        let Some(preset) = &ephemeron.spec.preset else { return Ok(nothing()) };
        let recorded = ephemeron.status.as_ref().and_then(|status| status.preset.clone());
        let recorded = recorded.filter(|rendered| rendered.port > 0);
        let rendered = match (recorded, living) {
            (Some(rendered), _) => rendered,
            (None, None) => return self.ask(client, caches, settings, ephemeron, preset, None).await,
            (None, Some(Living { port: Some(port) })) => Rendered { port, ..Rendered::default() },
            (None, Some(Living { port: None })) => {
                let text = "neither the status nor a Service tells the port of what runs: delete this Ephemeron and create another";
                return Ok(Said::Nothing(Finding::no(Reason::PresetRecordLost, text), Again::Later));
            }
        };
        if living.is_some() {
            return Ok(Said::Run(Arc::clone(ephemeron), Rendering { rendered, template: None }));
        }
        match recall(client, ephemeron).await? {
            Some(template) => {
                Ok(Said::Run(Arc::clone(ephemeron), Rendering { rendered, template: Some(template) }))
            }
            None => self.ask(client, caches, settings, ephemeron, preset, Some(&rendered)).await,
        }
    }

    /// Asks the preset, and records what it says. With `known`, only that very file may answer, with the
    /// parameters that it was asked with.
    async fn ask(
        &self,
        client: &Client,
        caches: &Caches,
        settings: &Settings,
        ephemeron: &Arc<Ephemeron>,
        preset: &Preset,
        known: Option<&Rendered>,
    ) -> Result<Said, PresetError> {
        let answer = match self.answer(settings, ephemeron, preset).await {
            Ok(answer) => answer,
            Err((finding, again)) => return Ok(Said::Nothing(finding, again)),
        };
        let found = answer.digest.to_string();
        let asked_with = Parameters::digest(preset.parameters.as_ref());
        let is_other = |known: &Rendered| known.digest != found || !known.was_asked_with(&asked_with);
        if known.is_some_and(is_other) {
            return Ok(never(
                Reason::PresetRecordLost,
                "what the preset has said is not in the status any more, and the preset, or spec.preset.parameters, has changed since: delete this Ephemeron and create another",
            ));
        }
        let admitted = match settings.policy.admit_rendered(&answer.template) {
            Ok(admitted) => admitted,
            Err(violation) => {
                let text =
                    format!("the preset {} asks for what is not allowed here: {violation}", preset.name);
                return Ok(never(Reason::RefusedByPolicy, text));
            }
        };
        let keys = answer.secrets.keys().map(String::as_str);
        let agrees =
            fields::template(&answer.template).and_then(|said| fields::agree(&said, answer.port, keys));
        if let Err(violation) = agrees {
            let text = format!(
                "what the preset {} has said does not go together: {violation}; tell its author",
                preset.name
            );
            return Ok(never(Reason::PresetUnhealthy, text));
        }
        let probe_path = rendering::probe_path(&admitted, answer.port);
        let text = Value::Object(answer.template.clone()).to_string();
        if text.len() > fields::LARGEST {
            let text = format!(
                "the preset's template has {} bytes, more than the {} that can be kept",
                text.len(),
                fields::LARGEST
            );
            return Ok(never(Reason::PresetUnhealthy, text));
        }
        // First the Secret: with a record, and without its values, no Pod could be made again.
        let secret_name = (!answer.secrets.is_empty()).then(|| rendering::secret_name(ephemeron));
        if let Some(name) = &secret_name {
            match keep_secret(client, settings, ephemeron, name, &answer.secrets).await {
                Ok(()) => {}
                Err(error) => return error.told("Secret"),
            }
        }
        let Answer { version, port, template, warnings, .. } = answer;
        let rendered = Rendered {
            version,
            digest: found,
            parameters_digest: asked_with,
            port,
            probe_path,
            secret_name,
            warnings,
        };
        let ephemeron = match record(client, caches, ephemeron, &rendered, text).await {
            Ok(Some(ephemeron)) => ephemeron,
            Ok(None) => return Ok(nothing()),
            Err(error) => return error.told("record in the status"),
        };
        let rendering = Rendering { rendered, template: Some(template) };
        Ok(match self.catalogue.as_ref().and_then(|catalogue| catalogue.trouble(&preset.name)) {
            Some(trouble) => Said::RunLastGood(ephemeron, rendering, trouble),
            None => Said::Run(ephemeron, rendering),
        })
    }

    async fn answer(
        &self,
        settings: &Settings,
        ephemeron: &Ephemeron,
        preset: &Preset,
    ) -> Result<Answer, (Finding, Again)> {
        let Some(catalogue) = &self.catalogue else {
            let text = "this installation has no presets: EPHEMERON_PRESETS names no folder";
            return Err((Finding::no(Reason::PresetNotFound, text), Again::WhenItChanges));
        };
        let text = preset.parameters.as_ref().map_or("{}", Parameters::text);
        let never = |text: String| (Finding::no(Reason::InvalidParameters, text), Again::WhenItChanges);
        if text.len() > self.longest {
            let text = format!(
                "spec.preset.parameters have {} bytes, more than the {} that they may have",
                text.len(),
                self.longest
            );
            return Err(never(text));
        }
        let Some(_place) = self.turns.take(&preset.name) else {
            let text = format!("many ask the preset {} at this moment: it is asked again soon", preset.name);
            return Err((Finding::no(Reason::PresetStarting, text), Again::Later));
        };
        let parameters: Value = serde_json::from_str(text)
            .map_err(|error| never(format!("spec.preset.parameters cannot be read: {error}")))?;
        let call = catalogue.render(&preset.name, &parameters, &self.context(settings, ephemeron));
        // As a tree they take many times the room of their text, and the call may have to wait.
        drop(parameters);
        call.await.map_err(|error| finding(&preset.name, &error))
    }

    /// What the preset is told of its Ephemeron.
    fn context(&self, settings: &Settings, ephemeron: &Ephemeron) -> document::Context {
        let created = ephemeron.metadata.creation_timestamp.as_ref();
        let created = created.and_then(|time| DateTime::<Utc>::from_timestamp(time.0.as_second(), 0));
        let lifetime = settings.end_of(ephemeron).zip(created).map(|(end, created)| end - created);
        document::Context {
            name: ephemeron.name().to_owned(),
            namespace: settings.namespace.clone(),
            owner: ephemeron.annotations().get(CREATED_BY_ANNOTATION).cloned(),
            group: ephemeron.spec.pod_labels().and_then(|labels| labels.get(GROUP_LABEL)).cloned(),
            seed: document::Seed::of(&self.seed, ephemeron.name()),
            created: created.map(|created| created.format("%FT%TZ").to_string()),
            lifetime: lifetime.and_then(|lifetime| u64::try_from(lifetime.num_seconds()).ok()),
            values: self.values.clone(),
        }
    }
}

/// What to tell one who has got a preset's last good version, because of the trouble with its new file.
pub fn of_the_new_file(rendered: &Rendered, trouble: &Trouble) -> (Reason, String) {
    let reason = if trouble.incompatible { Reason::PresetIncompatible } else { Reason::PresetUnhealthy };
    let (version, digest) = (&rendered.version, rendered.digest.get(..12).unwrap_or_default());
    let why = &trouble.reason;
    (
        reason,
        format!(
            "version {version} ({digest}) of the preset was asked: its present file is not served: {why}"
        ),
    )
}

fn never(reason: Reason, text: impl Into<String>) -> Said {
    Said::Nothing(Finding::no(reason, text), Again::WhenItChanges)
}

/// The Ephemeron is gone, or has changed into what has no preset: its event follows.
fn nothing() -> Said {
    never(Reason::InvalidSpec, "nothing says what to run")
}

/// What a failed call means to the user.
fn finding(name: &str, error: &RenderError) -> (Finding, Again) {
    use Again::{Later, WhenItChanges};
    let (reason, again) = match error {
        RenderError::Absent(Absent::NotFound { .. }) => (Reason::PresetNotFound, WhenItChanges),
        RenderError::Absent(Absent::NotYet(_)) => (Reason::PresetStarting, Later),
        RenderError::Absent(Absent::Incompatible { .. }) => (Reason::PresetIncompatible, WhenItChanges),
        RenderError::Absent(Absent::Unhealthy { .. }) => (Reason::PresetUnhealthy, WhenItChanges),
        RenderError::Call(error) => match error {
            CallError::Refused(Refusal::InvalidParameters(_))
            | CallError::TooMuchInput { .. }
            | CallError::TooDeep(_) => (Reason::InvalidParameters, WhenItChanges),
            CallError::Refused(_) => (Reason::RefusedByPreset, WhenItChanges),
            CallError::Trapped(_) => (Reason::PresetTrapped, WhenItChanges),
            CallError::OutOfFuel { .. } => (Reason::PresetOutOfFuel, WhenItChanges),
            CallError::OutOfMemory { .. } => (Reason::PresetOutOfMemory, WhenItChanges),
            CallError::TimedOut(_) => (Reason::PresetTimedOut, Later),
            CallError::Busy | CallError::Lost => (Reason::PresetStarting, Later),
            _ => (Reason::PresetUnhealthy, WhenItChanges),
        },
    };
    let text = match error {
        RenderError::Absent(absent) => absent.to_string(),
        RenderError::Call(error) => format!("the preset {name}: {error}"),
    };
    (Finding::whole(reason, text), again)
}
