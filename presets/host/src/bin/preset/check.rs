//! `preset check`: everything that is checked before a file is served.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use ephemeron_preset_host::inspect::{Finding, Inspection};

use crate::{
    Outcome, show,
    workshop::{Setting, Workshop},
};

/// Check all that the operator checks before it serves a preset: a line for each finding
#[derive(Debug, Args)]
pub struct Arguments {
    /// The presets: NAME.wasm
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    setting: Setting,
}

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let workshop = Workshop::new(&arguments.setting)?;
    let mut fine = true;
    for file in &arguments.files {
        let inspection = workshop.inspect(file)?;
        print!("{}", lines(&file.display().to_string(), &inspection));
        fine &= inspection.trouble().is_none();
    }
    Ok(Outcome::fine_if(fine))
}

fn lines(file: &str, inspection: &Inspection) -> String {
    let line = |finding: &Finding| {
        let (mark, text) = match &finding.outcome {
            Ok(text) => ("ok", text),
            Err(text) => ("WRONG", text),
        };
        let fuel = finding.fuel.map(|fuel| format!(" ({} fuel)", show::number(fuel))).unwrap_or_default();
        format!("{mark:<5} {file}: {}: {text}{fuel}\n", finding.check)
    };
    inspection.findings.iter().map(line).collect()
}
