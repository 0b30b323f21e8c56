//! `preset list`: which presets there are in a folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Args;
use ephemeron_preset_host::inspect::Inspection;

use crate::{
    Outcome, Usage,
    workshop::{Setting, Workshop},
};

/// List the presets of folders, and what is wrong with those that would not be served
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folders
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    #[command(flatten)]
    setting: Setting,
}

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let workshop = Workshop::new(&arguments.setting)?;
    let mut fine = true;
    for folder in &arguments.folders {
        for file in files(folder)? {
            let inspection = workshop.inspect(&file)?;
            println!("{}", line(&file, &inspection));
            fine &= inspection.trouble().is_none();
        }
    }
    Ok(Outcome::fine_if(fine))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Err(Usage(format!("{} is not a folder", folder.display())).into());
    }
    let entries = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.is_file() && file.extension().is_some_and(|extension| extension == "wasm"));
    files.sort();
    Ok(files)
}

fn line(file: &Path, inspection: &Inspection) -> String {
    let digest = inspection.digest.to_string();
    // As images are listed: enough to tell files apart.
    let digest = digest.get(..19).unwrap_or(&digest);
    match (inspection.trouble(), &inspection.preset) {
        (None, Some(preset)) => {
            let described = &preset.description.document;
            format!("{:<20} {:<10} {digest}  {}", described.name, described.version, described.title)
        }
        (Some(trouble), _) => {
            let why = trouble.outcome.as_ref().err().map(String::as_str).unwrap_or_default();
            format!("{}: not served: {}: {why}", file.display(), trouble.check)
        }
        (None, None) => format!("{}: not served", file.display()),
    }
}
