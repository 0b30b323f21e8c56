//! `preset test`: what comes of `tests/NAME.in.json` is what stands in `tests/NAME.pod.yaml`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Args;
use ephemeron_preset_host::module::Module;

use crate::{
    Outcome, Usage, build,
    case::Case,
    show::{self, Extent},
    workshop::{Answer, Setting, Workshop},
};

/// Build a preset, render each tests/NAME.in.json and compare it with tests/NAME.pod.yaml
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder of the preset
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Take this preset instead of building it
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// Write what comes instead of comparing it
    #[arg(long)]
    update: bool,
    /// The most fuel that a case may use
    #[arg(long, value_name = "UNITS")]
    fuel_budget: Option<u64>,
    #[command(flatten)]
    setting: Setting,
}

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let cases = cases(&arguments.folder)?;
    if cases.is_empty() {
        let folder = arguments.folder.join("tests");
        return Err(Usage(format!("there is no NAME.in.json in {}", folder.display())).into());
    }
    let file = match &arguments.module {
        Some(file) => file.clone(),
        None => build::build(&arguments.folder, None, false)?.file,
    };
    let workshop = Workshop::new(&arguments.setting)?;
    let module = workshop.load(&file)?;
    let mut wrong = 0;
    for case in &cases {
        let tried = case.run(&workshop, &module)?;
        let fuel = tried.fuel.map(|fuel| format!("{} fuel", show::number(fuel)));
        let fuel = fuel.unwrap_or_else(|| "refused".into());
        let faults = case.judge(&tried, arguments)?;
        let mark = if faults.is_empty() { "ok" } else { "WRONG" };
        println!("{mark:<5} {}: {fuel}", case.name);
        for fault in &faults {
            println!("{}", fault.trim_end());
        }
        wrong += usize::from(!faults.is_empty());
    }
    println!("{} cases, {wrong} wrong", cases.len());
    if wrong > 0 && !arguments.update {
        println!("if this is what should come: preset test --update");
    }
    Ok(Outcome::fine_if(wrong == 0))
}

/// A pair of files.
#[derive(Debug)]
pub struct Golden {
    /// What both are called.
    pub name: String,
    given: PathBuf,
    wanted: PathBuf,
}

/// What has come of a case.
#[derive(Debug)]
pub struct Tried {
    /// What belongs into the file.
    pub text: Result<String, String>,
    /// The fuel, where there was an answer.
    pub fuel: Option<u64>,
}

/// The cases in this folder's `tests`, by name.
pub fn cases(folder: &Path) -> Result<Vec<Golden>> {
    let tests = folder.join("tests");
    let entries = match fs::read_dir(&tests) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", tests.display())),
    };
    let mut cases = Vec::new();
    for entry in entries {
        let given = entry?.path();
        let name =
            given.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".in.json"));
        if let Some(name) = name.map(str::to_owned) {
            cases.push(Golden { wanted: tests.join(format!("{name}.pod.yaml")), name, given });
        }
    }
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(cases)
}

impl Golden {
    pub fn run(&self, workshop: &Workshop, module: &Module) -> Result<Tried> {
        let case = Case::read(&self.given)?;
        Ok(match workshop.render(module, &case.parameters.to_string(), &case.context()) {
            Answer::Rendered(rendered, fuel) => {
                Tried { text: Ok(show::rendered(&rendered, Extent::Everything)?), fuel: Some(fuel) }
            }
            Answer::Refused(refusal) => Tried { text: Ok(show::refusal(&refusal)?), fuel: None },
            Answer::Wrong(why) => Tried { text: Err(why), fuel: None },
        })
    }

    /// What is wrong with what has come.
    fn judge(&self, tried: &Tried, arguments: &Arguments) -> Result<Vec<String>> {
        let mut faults = Vec::new();
        match &tried.text {
            Err(why) => faults.push(why.clone()),
            Ok(text) if arguments.update => {
                fs::write(&self.wanted, text)
                    .with_context(|| format!("{} cannot be written", self.wanted.display()))?;
            }
            Ok(text) => match fs::read_to_string(&self.wanted) {
                Ok(wanted) if wanted == *text => {}
                Ok(wanted) => {
                    let name = self.wanted.display().to_string();
                    faults.push(show::difference(&wanted, text, &name, "what comes"));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let name = self.wanted.display();
                    faults.push(format!("there is no {name}; this is what comes:\n{text}"));
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("{} cannot be read", self.wanted.display()));
                }
            },
        }
        if let (Some(fuel), Some(budget)) = (tried.fuel, arguments.fuel_budget)
            && fuel > budget
        {
            let (fuel, budget) = (show::number(fuel), show::number(budget));
            faults.push(format!("{fuel} units of fuel are more than the {budget} that it may use"));
        }
        Ok(faults)
    }
}
