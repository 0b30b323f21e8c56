//! `preset build`: from a crate to a component.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Deserialize;
use wit_component::ComponentEncoder;

use crate::{Outcome, Usage, show, toolchain::Toolchain};

/// Compile a preset in Rust, and make a component of it
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder of the crate
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where NAME.wasm is put [default: `presets` in cargo's target folder]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Take the versions of the lockfile, or fail
    #[arg(long)]
    locked: bool,
}

/// A preset that was built.
#[derive(Debug)]
pub struct Built {
    /// The component.
    pub file: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let built = build(&arguments.folder, arguments.out.as_deref(), arguments.locked)?;
    println!("{}: {} bytes", built.file.display(), show::number(built.bytes.len() as u64));
    Ok(Outcome::Fine)
}

/// Compiles the crate in this folder. What the compiler has to say goes to standard error.
pub fn build(folder: &Path, out: Option<&Path>, locked: bool) -> Result<Built> {
    let manifest = folder.join("Cargo.toml");
    let Ok(manifest) = manifest.canonicalize() else {
        return Err(Usage(format!("there is no {}: name the folder of a crate", manifest.display())).into());
    };
    let folder = manifest.parent().unwrap_or(folder);
    let toolchain = Toolchain::find(folder)?;
    let workspace = Workspace::of(folder, &manifest)?;
    let name = workspace.name(&manifest)?;
    let mut cargo = toolchain.cargo(&workspace.root);
    if locked {
        cargo.arg("--locked");
    }
    cargo
        .args(["--message-format", "json-render-diagnostics", "--manifest-path"])
        .arg(&manifest)
        .current_dir(&workspace.root)
        .stderr(Stdio::inherit());
    let output = cargo.output().context("cargo cannot be run")?;
    if !output.status.success() {
        bail!("{name} was not built: cargo's messages above say why");
    }
    let core = artifact(&String::from_utf8_lossy(&output.stdout), &manifest).with_context(|| {
        format!("{name} makes no module: its Cargo.toml needs [lib] crate-type = [\"cdylib\"]")
    })?;
    let core = fs::read(&core).with_context(|| format!("{} cannot be read", core.display()))?;
    let bytes = component(&core).with_context(|| format!("no component can be made of {name}"))?;
    let out = out.map_or_else(|| workspace.target_directory.join("presets"), Path::to_owned);
    let file = out.join(format!("{name}.wasm"));
    write(&file, &bytes).with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(Built { file, bytes })
}

/// The component of a core module, which says itself what of the interface it has.
fn component(core: &[u8]) -> Result<Vec<u8>> {
    ComponentEncoder::default().validate(true).module(core)?.encode()
}

/// Writes it beside and puts it in its place: a folder may be watched.
fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = file.with_extension("wasm.new");
    fs::write(&beside, bytes)?;
    fs::rename(&beside, file)?;
    Ok(())
}

/// What cargo knows of the crate (`cargo metadata`).
#[derive(Debug, Deserialize)]
struct Workspace {
    #[serde(rename = "workspace_root")]
    root: PathBuf,
    target_directory: PathBuf,
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
}

impl Workspace {
    fn of(folder: &Path, manifest: &Path) -> Result<Self> {
        let output = std::process::Command::new("cargo")
            .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
            .arg(manifest)
            .current_dir(folder)
            .stderr(Stdio::inherit())
            .output()
            .context("cargo cannot be run")?;
        if !output.status.success() {
            bail!("cargo does not understand {}, see above", manifest.display());
        }
        serde_json::from_slice(&output.stdout).context("cargo metadata says something else than it should")
    }

    fn name(&self, manifest: &Path) -> Result<&str> {
        let package = self.packages.iter().find(|package| package.manifest_path == manifest);
        let package = package.with_context(|| format!("{} is no package", manifest.display()))?;
        Ok(&package.name)
    }
}

/// A line of what cargo says while it builds.
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// The module among what was built of this crate.
fn artifact(messages: &str, manifest: &Path) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages
        .filter(|message| message.reason == "compiler-artifact")
        .filter(|message| message.manifest_path.as_deref() == Some(manifest))
        .flat_map(|message| message.filenames)
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_found_among_what_cargo_says() {
        let messages = r#"{"reason":"compiler-artifact","manifest_path":"/other/Cargo.toml","filenames":["/t/other.wasm"]}
no JSON
{"reason":"compiler-artifact","manifest_path":"/a/Cargo.toml","filenames":["/t/liba.rlib","/t/a.wasm"]}
{"reason":"build-finished","success":true}"#;
        assert_eq!(artifact(messages, Path::new("/a/Cargo.toml")), Some("/t/a.wasm".into()));
        assert_eq!(artifact(messages, Path::new("/b/Cargo.toml")), None);
    }

    #[test]
    fn what_is_no_module_is_no_component() {
        assert!(component(b"no wasm").is_err());
    }
}
