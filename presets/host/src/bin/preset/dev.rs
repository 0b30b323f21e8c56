//! `preset dev`: builds whenever a file is saved, and shows what differs in what comes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use anyhow::Result;
use clap::Args;

use crate::{
    Outcome, build, golden, show,
    workshop::{Setting, Workshop},
};

/// How often the files are looked at.
const PAUSE: Duration = Duration::from_millis(300);

/// Build whenever a file is saved, render each tests/NAME.in.json and show what has become different
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder of the crate
    #[arg(default_value = ".")]
    folder: PathBuf,
    #[command(flatten)]
    setting: Setting,
}

/// What came of each case the last time; `None` before the first.
type Texts = BTreeMap<String, String>;

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let workshop = Workshop::new(&arguments.setting)?;
    let mut before: Option<Texts> = None;
    loop {
        let saved = saved(&arguments.folder);
        match tried(&workshop, &arguments.folder) {
            Ok(now) => {
                print!("{}", changes(before.as_ref(), &now));
                before = Some(now);
            }
            Err(error) => println!("{error:#}"),
        }
        println!("waiting for a change in {} (Ctrl-C ends this)", arguments.folder.display());
        while self::saved(&arguments.folder) == saved {
            thread::sleep(PAUSE);
        }
    }
}

fn tried(workshop: &Workshop, folder: &Path) -> Result<Texts> {
    let built = build::build(folder, None, false)?;
    let module = workshop.load(&built.file)?;
    let mut texts = Texts::new();
    for case in golden::cases(folder)? {
        let text = match case.run(workshop, &module).map(|tried| tried.text) {
            Ok(Ok(text)) => text,
            Ok(Err(why)) => format!("{why}\n"),
            Err(error) => format!("{error:#}\n"),
        };
        texts.insert(case.name, text);
    }
    Ok(texts)
}

/// What to show: everything the first time, then what differs.
fn changes(before: Option<&Texts>, now: &Texts) -> String {
    let Some(before) = before else {
        let texts: Vec<_> = now.iter().map(|(name, text)| format!("# {name}\n{text}")).collect();
        return texts.concat();
    };
    let names: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let none = String::new();
    let differ = names.into_iter().map(|name| {
        let (before, now) = (before.get(name).unwrap_or(&none), now.get(name).unwrap_or(&none));
        show::difference(before, now, name, name)
    });
    let differ: String = differ.collect();
    if differ.is_empty() { "nothing has become different\n".into() } else { differ }
}

/// When each file of the sources was saved. Files that cargo writes are no sources.
fn saved(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.join("src"), folder.join("tests")];
    let mut note = |path: PathBuf, metadata: &fs::Metadata| {
        files.insert(path, metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
    };
    let manifest = folder.join("Cargo.toml");
    if let Ok(metadata) = manifest.metadata() {
        note(manifest, &metadata);
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => note(entry.path(), &metadata),
                Err(_) => {}
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pairs: &[(&str, &str)]) -> Texts {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn first_everything_is_shown_then_what_differs() {
        let first = texts(&[("a", "one\n"), ("b", "two\n")]);
        assert_eq!(changes(None, &first), "# a\none\n# b\ntwo\n");
        assert_eq!(changes(Some(&first), &first), "nothing has become different\n");
        let then = changes(Some(&first), &texts(&[("a", "other\n"), ("c", "new\n")]));
        for part in ["-one\n+other\n", "-two\n", "+new\n"] {
            assert!(then.contains(part), "{then}");
        }
    }

    #[test]
    fn a_saved_file_is_noticed() {
        let folder = std::env::temp_dir().join(format!("preset-dev-{}", std::process::id()));
        fs::create_dir_all(folder.join("src/deep")).expect("a folder");
        let before = saved(&folder);
        fs::write(folder.join("src/deep/a.rs"), "").expect("a file");
        let after = saved(&folder);
        fs::remove_dir_all(&folder).expect("the folder is removed");
        assert!(before.is_empty() && after.len() == 1, "{before:?} {after:?}");
    }
}
