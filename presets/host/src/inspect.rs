//! Everything that is checked of a file before it is served: the same for the catalogue and for an author.

use std::fmt;

use serde_json::{Map, Value};

use crate::{
    compile::CompileError,
    digest::{Digest, Print},
    document::{Context, Description},
    error::{CallError, printable},
    loader::Loader,
    module::{Answer, Module},
    schema,
};

/// Says what in a rendered template is against the policy.
pub type Accepts<'a> = dyn Fn(&Map<String, Value>) -> Result<(), String> + 'a;

/// What a file is checked against.
#[derive(Clone, Copy)]
pub struct Checks<'a> {
    /// The name that the preset should have: what its file is called, without `.wasm`.
    pub name: Option<&'a str>,
    /// What its examples are rendered with.
    pub context: &'a Context,
    /// Says what in a rendered template is against the policy.
    pub accepts: &'a Accepts<'a>,
}

/// One thing that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Is it a component that can be compiled within the limits, with the right imports and exports?
    Component,
    /// Does it say what it is, twice the same?
    Describe,
    /// Is its name that of the file?
    Name,
    /// Is the schema of the parameters one that others can use?
    Schema,
    /// Does the example with this number render, twice the same? They are numbered from 0.
    Example(usize),
    /// Is what comes of that example allowed?
    Policy(usize),
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Component => f.write_str("component"),
            Self::Describe => f.write_str("describe"),
            Self::Name => f.write_str("name"),
            Self::Schema => f.write_str("schema"),
            Self::Example(number) => write!(f, "example {number}"),
            Self::Policy(number) => write!(f, "policy, example {number}"),
        }
    }
}

/// What has come of a check. The texts are fit for a terminal and a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was checked.
    pub check: Check,
    /// What was found, or what is wrong.
    pub outcome: Result<String, String>,
    /// The fuel that the call has used.
    pub fuel: Option<u64>,
    /// Whether what is wrong may be of this moment: a machine that is too busy.
    pub may_pass: bool,
}

/// A preset that can be called.
#[derive(Clone)]
pub struct Sound {
    /// It.
    pub module: Module,
    /// What it says of itself.
    pub description: Answer<Description>,
}

/// All that was found of a file.
pub struct Inspection {
    /// The file's bytes.
    pub size: usize,
    /// Which file it is.
    pub digest: Digest,
    /// What was checked, in this order. Where a check fails on which others rest, these are left out.
    pub findings: Vec<Finding>,
    /// The preset, where it can at least be loaded and described; see [`Inspection::trouble`] for whether it
    /// may be served.
    pub preset: Option<Sound>,
}

impl Inspection {
    /// The first thing that is wrong: such a file is not served.
    pub fn trouble(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.outcome.is_err())
    }

    fn note(&mut self, check: Check, outcome: Result<String, String>) {
        self.findings.push(Finding { check, outcome, fuel: None, may_pass: false });
    }

    fn called<T>(
        &mut self,
        check: Check,
        answer: Result<Answer<T>, CallError>,
        found: impl FnOnce(&Answer<T>) -> String,
    ) -> Option<Answer<T>> {
        let (outcome, fuel, may_pass) = match &answer {
            Ok(answer) => (Ok(found(answer)), Some(answer.fuel), false),
            Err(error) => (Err(error.to_string()), None, error.may_pass()),
        };
        self.findings.push(Finding { check, outcome, fuel, may_pass });
        answer.ok()
    }
}

/// Loads a file and checks it.
pub fn file(loader: &Loader, bytes: &[u8], checks: &Checks<'_>) -> Inspection {
    let print = Print::of(bytes);
    loaded(&print, loader.load_as(bytes, &print), checks)
}

/// Checks a file that was loaded, or could not be.
pub(crate) fn loaded(print: &Print, module: Result<Module, CompileError>, checks: &Checks<'_>) -> Inspection {
    let Print { digest, size, .. } = *print;
    let mut inspection = Inspection { size, digest, findings: Vec::new(), preset: None };
    let module = match module {
        Ok(module) => module,
        Err(error) => {
            let may_pass = error.may_pass();
            let text = with_source(&error);
            let finding = Finding { check: Check::Component, outcome: Err(text), fuel: None, may_pass };
            inspection.findings.push(finding);
            return inspection;
        }
    };
    inspection.note(Check::Component, Ok(format!("{size} bytes, {digest}")));
    let described = inspection.called(Check::Describe, module.describe_twice(), |answer| {
        format!("{} {}", answer.document.name, answer.document.version)
    });
    let Some(description) = described else { return inspection };
    let document = &description.document;
    if let Some(name) = checks.name {
        inspection.note(Check::Name, named(&document.name, name));
    }
    let schema = schema::check(&document.parameters);
    let schema =
        schema.map_err(|fault| format!("the schema of the parameters, {}: {}", fault.at, fault.reason));
    inspection.note(Check::Schema, schema.map(|()| "it can be used".into()));
    for (number, example) in document.examples.iter().enumerate() {
        try_example(&mut inspection, &module, number, example, checks);
    }
    inspection.preset = Some(Sound { module, description });
    inspection
}

fn named(name: &str, file: &str) -> Result<String, String> {
    if name == file {
        return Ok(name.into());
    }
    Err(format!("it calls itself {name}, and its file is {}.wasm: give both the same name", printable(file)))
}

fn try_example(
    inspection: &mut Inspection,
    module: &Module,
    number: usize,
    example: &Map<String, Value>,
    checks: &Checks<'_>,
) {
    let parameters = Value::from(example.clone()).to_string();
    let answer = module.render_twice(&parameters, &checks.context.text());
    let rendered = inspection
        .called(Check::Example(number), answer, |answer| format!("it renders, {} bytes", answer.text.len()));
    if let Some(rendered) = rendered {
        let allowed = (checks.accepts)(&rendered.document.template).map_err(|why| printable(&why));
        inspection.note(Check::Policy(number), allowed.map(|()| "it is allowed".into()));
    }
}

/// The error with what has caused it, in one line.
fn with_source(error: &CompileError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
