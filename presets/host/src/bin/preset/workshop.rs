//! What the operator would do with a preset: load it, render, and look at what comes of it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use ephemeron_preset_host::{
    document::{Description, Rendered},
    engine::Engine,
    error::{CallError, Refusal},
    limits::Limits,
    module::{Answer as Called, Module},
    policy::{Policy, Rules, security::Level},
};
use serde_json::{Map, Value, json};

use crate::{case::Case, show};

/// What an installation would set.
#[derive(Debug, Args)]
pub struct Setting {
    /// The Pod Security level that the Pods have to keep to
    #[arg(long, value_enum, default_value_t = PodSecurity::Baseline)]
    pod_security: PodSecurity,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PodSecurity {
    Baseline,
    Restricted,
}

/// The operator's engine and policy.
pub struct Workshop {
    engine: Engine,
    policy: Policy,
}

/// What was found of a file.
#[derive(Debug, Default)]
pub struct Inspection {
    /// What was checked, in this order.
    pub findings: Vec<Finding>,
    /// What the preset says of itself.
    pub description: Option<Description>,
}

/// One thing that was checked.
#[derive(Debug)]
pub struct Finding {
    /// What was checked.
    pub check: String,
    /// What was found, or what is wrong.
    pub outcome: Result<String, String>,
    /// The fuel of the call.
    pub fuel: Option<u64>,
}

impl Inspection {
    /// The first thing that is wrong.
    pub fn trouble(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.outcome.is_err())
    }

    fn note(&mut self, check: &str, outcome: Result<String, String>) {
        self.findings.push(Finding { check: check.to_owned(), outcome, fuel: None });
    }

    fn called<T>(
        &mut self,
        check: &str,
        answer: Result<Called<T>, CallError>,
        found: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let fuel = answer.as_ref().ok().map(|answer| answer.fuel);
        let outcome = answer.as_ref().map(|answer| found(&answer.document)).map_err(ToString::to_string);
        self.findings.push(Finding { check: check.to_owned(), outcome, fuel });
        answer.ok().map(|answer| answer.document)
    }
}

/// What has come of a call, and what it took.
pub enum Answer {
    /// A template that the policy lets through.
    Rendered(Box<Rendered>, u64),
    /// The preset says no.
    Refused(Refusal),
    /// The preset, or what it renders, is not as it should be.
    Wrong(String),
}

impl Workshop {
    pub fn new(setting: &Setting) -> Result<Self> {
        let level = match setting.pod_security {
            PodSecurity::Baseline => Level::Baseline,
            PodSecurity::Restricted => Level::Restricted,
        };
        let policy = Policy::new(Rules { level, ..Rules::default() })?;
        Ok(Self { engine: Engine::new(Limits::default())?, policy })
    }

    pub fn load(&self, file: &Path) -> Result<Module> {
        let bytes = read(file)?;
        Module::new(&self.engine, &bytes).with_context(|| format!("{} is not a preset", file.display()))
    }

    /// Everything that is checked before a file is served.
    pub fn inspect(&self, file: &Path) -> Result<Inspection> {
        let bytes = read(file)?;
        let mut inspection = Inspection::default();
        let module = match Module::new(&self.engine, &bytes) {
            Ok(module) => module,
            Err(error) => {
                inspection.note("component", Err(error.to_string()));
                return Ok(inspection);
            }
        };
        inspection.note("component", Ok(format!("{} bytes", show::number(bytes.len() as u64))));
        let described = inspection.called("describe", module.describe_twice(), |description| {
            format!("{} {}", description.name, description.version)
        });
        let Some(description) = described else { return Ok(inspection) };
        let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        inspection.note(
            "name",
            if name == description.name {
                Ok(name.to_owned())
            } else {
                Err(format!(
                    "it calls itself {}, and its file is {name}.wasm: give both the same name",
                    description.name
                ))
            },
        );
        let context = Case::default().context();
        for (number, example) in description.examples.iter().enumerate() {
            let answer = module.render_twice(&json!(example).to_string(), &context);
            let rendered = inspection.called(&format!("example {number}"), answer, |_| "it renders".into());
            if let Some(rendered) = rendered {
                let allowed = self.accepts(&rendered.template);
                inspection
                    .note(&format!("policy, example {number}"), allowed.map(|()| "it is allowed".into()));
            }
        }
        inspection.description = Some(description);
        Ok(inspection)
    }

    /// Renders twice, as it is done when a preset is loaded, and asks the policy.
    pub fn render(&self, module: &Module, parameters: &str, context: &str) -> Answer {
        match module.render_twice(parameters, context) {
            Ok(answer) => match self.accepts(&answer.document.template) {
                Ok(()) => Answer::Rendered(Box::new(answer.document), answer.fuel),
                Err(why) => Answer::Wrong(format!("the policy refuses it: {why}")),
            },
            Err(CallError::Refused(refusal)) => Answer::Refused(refusal),
            Err(error) => Answer::Wrong(error.to_string()),
        }
    }

    fn accepts(&self, template: &Map<String, Value>) -> Result<(), String> {
        let template = serde_json::from_value(template.clone().into()).map_err(|error| error.to_string())?;
        self.policy.admit(template).map(drop).map_err(|violation| violation.to_string())
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
}
