//! `preset new`: a preset to begin with, which builds and passes its test.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{Outcome, Usage};

/// Write a preset in Rust to begin with
#[derive(Debug, Args)]
pub struct Arguments {
    /// The name by which it is asked for, and of the folder that is made
    name: String,
    /// The folder of the crate ephemeron-preset [default: `presets/sdk` of the checkout that this program or
    /// the current folder is in]
    #[arg(long, value_name = "FOLDER")]
    sdk: Option<PathBuf>,
}

/// What is written, and where.
const FILES: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("scaffold/Cargo.toml.txt")),
    ("src/lib.rs", include_str!("scaffold/lib.rs.txt")),
    ("tests/least.in.json", include_str!("scaffold/least.in.json")),
    ("tests/least.pod.yaml", include_str!("scaffold/least.pod.yaml")),
    (".gitignore", "/target\n"),
];

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let name = &arguments.name;
    if !is_name(name) {
        let rule = "a name has 1 to 63 of the characters a-z, 0-9 and -, begins with a letter and does not end with -";
        return Err(Usage(format!("{name:?} cannot be a preset's name: {rule}")).into());
    }
    let folder = Path::new(name);
    if folder.exists() {
        return Err(Usage(format!("there is a {name} already")).into());
    }
    let sdk = match &arguments.sdk {
        Some(sdk) => sdk.clone(),
        None => nearby().ok_or_else(|| {
            Usage("the crate ephemeron-preset is not near: --sdk CHECKOUT/presets/sdk".into())
        })?,
    };
    let sdk = sdk.canonicalize().ok().filter(|sdk| sdk.join("Cargo.toml").is_file());
    let sdk = sdk.ok_or_else(|| Usage("--sdk: there is no crate in this folder".into()))?;
    for (file, text) in FILES {
        let file = folder.join(file);
        let text = filled(text, name, &sdk);
        let parent = file.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&file, text))
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    println!("{name}: a preset to begin with. What it does is in {name}/src/lib.rs");
    println!("  preset test {name}    builds it, and compares what comes of tests/*.in.json");
    println!("  preset dev {name}     does so whenever a file is saved");
    Ok(Outcome::Fine)
}

fn filled(text: &str, name: &str, sdk: &Path) -> String {
    // A string of TOML is written as one of JSON, as far as paths go.
    let sdk = serde_json::Value::from(sdk.display().to_string()).to_string();
    text.replace("@NAME@", name).replace("@SDK@", &sdk)
}

/// Cargo wants a letter first; all else is the rule of a DNS label.
fn is_name(name: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inside)
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
}

/// The crate in the checkout that the current folder, or this program, is in.
fn nearby() -> Option<PathBuf> {
    let places = [env::current_dir().ok(), env::current_exe().ok()];
    places
        .iter()
        .flatten()
        .flat_map(|place| place.ancestors())
        .map(|place| place.join("presets/sdk"))
        .find(|sdk| sdk.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_presets_and_crates() {
        for name in ["a", "web", "web-2", &"a".repeat(63)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-a", "a-", "2a", "A", "a_b", "a/b", "..", &"a".repeat(64)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn every_place_is_filled() {
        for (file, text) in FILES {
            let text = filled(text, "own", Path::new("/a \"b\""));
            assert!(!text.contains("@NAME@") && !text.contains("@SDK@"), "{file}");
        }
        let manifest = filled(FILES[0].1, "own", Path::new("/a \"b\""));
        assert!(manifest.contains(r#"path = "/a \"b\"""#), "{manifest}");
    }
}
