//! What a check finds of presets: which are served, which are not and why, and whether their cache and seed
//! are as they should be.

use std::{path::Path, time::Duration};

use ephemeron_preset_host::{
    cache::CacheError,
    catalogue::{Catalogue, Entry, State},
    limits::Limits,
};
use tokio::task;

use super::{Findings, root_cause};
use crate::{
    policy::Policy,
    presets::{self, Settings},
};

const SUBJECT: &str = "presets";
/// So long is waited for those that have to be compiled.
const COMPILED_WITHIN: Duration = Duration::from_mins(1);
/// More files or names are not listed.
const LISTED: usize = 32;

/// Looks at all files as the controller does: whatever is served here is served there.
pub async fn check(settings: &Settings, policy: &Policy, findings: &mut Findings) {
    if settings.folders.is_empty() {
        findings.good(SUBJECT, "there are none: EPHEMERON_PRESETS names no folder");
        return;
    }
    // It may run beside the controller, in the same container: as little memory as can be.
    let limits = Limits { calls: 1, ..settings.limits.clone() };
    let (catalogue, no_cache) = match presets::open(settings, policy, &limits, || Box::new(|_| ())) {
        Ok(opened) => opened,
        Err(error) => {
            findings.bad(SUBJECT, root_cause(&error), "the controller does not start without");
            return;
        }
    };
    match (&settings.cache, no_cache) {
        (None, _) => findings.doubtful(
            "cache",
            "compiled presets are not kept: each start compiles all of them, which takes seconds for some",
            "EPHEMERON_PRESET_CACHE names a private folder for them",
        ),
        (Some(_), Some(error)) => findings.doubtful(
            "cache",
            whole(&error),
            "EPHEMERON_PRESET_CACHE names a folder that only the controller's user may write in (chmod 0700)",
        ),
        (Some(folder), None) => {
            let key = if settings.cache_key.is_some() { "EPHEMERON_PRESET_CACHE_KEY" } else { "a key in it" };
            findings.good("cache", format!("{} can be used, with {key}", folder.display()));
        }
    }
    if settings.is_seed_set {
        findings.good("seed", "EPHEMERON_PRESET_SEED is set");
    } else {
        findings.doubtful(
            "seed",
            "presets' flags and passwords come of another secret at each start: nobody else can compute them",
            "EPHEMERON_PRESET_SEED names a file with a secret, if a backend is to compute the same",
        );
    }
    let looked = task::spawn_blocking(move || {
        let all = catalogue.settled_within(COMPILED_WITHIN);
        (catalogue, all)
    });
    match looked.await {
        Ok((catalogue, _)) => files(settings, &catalogue, findings),
        Err(error) => findings.bad(SUBJECT, error.to_string(), "this is a fault of the program: report it"),
    }
}

/// The error with its cause.
fn whole(error: &CacheError) -> String {
    let (text, cause) = (error.to_string(), root_cause(error));
    if text == cause { text } else { format!("{text}: {cause}") }
}

fn files(settings: &Settings, catalogue: &Catalogue, findings: &mut Findings) {
    let (entries, troubles) = (catalogue.list(), catalogue.troubles());
    for folder in &settings.folders {
        if let Some((_, trouble)) = troubles.iter().find(|(troubled, _)| troubled == folder) {
            let remedy = "correct EPHEMERON_PRESETS, or the folder";
            findings.bad(SUBJECT, format!("{}: {trouble}", folder.display()), remedy);
            continue;
        }
        findings.good(SUBJECT, serving(folder, &entries));
    }
    let (mut told, mut untold) = (0, 0);
    for entry in &entries {
        let Some((text, remedy)) = doubt(entry) else { continue };
        if told == LISTED {
            untold += 1;
            continue;
        }
        told += 1;
        findings.doubtful(SUBJECT, text, remedy);
    }
    if untold > 0 {
        findings.doubtful(SUBJECT, format!("{untold} others are not served, either"), "mend these first");
    }
}

fn serving(folder: &Path, entries: &[Entry]) -> String {
    let served = entries.iter().filter(|entry| entry.folder == folder && entry.state == State::Serving);
    let names: Vec<_> = served
        .map(|entry| match &entry.version {
            Some(version) => format!("{} {version}", entry.name),
            None => entry.name.clone(),
        })
        .collect();
    let shown = names.get(..LISTED).map_or_else(|| names.join(", "), |some| some.join(", ") + " …");
    match names.len() {
        0 => format!("{}: none is served", folder.display()),
        count => format!("{}: {count} served: {shown}", folder.display()),
    }
}

/// Why an entry is not served, and what to do.
fn doubt(entry: &Entry) -> Option<(String, &'static str)> {
    let file = entry.folder.join(format!("{}.wasm", entry.name));
    let file = file.display();
    if let Some(trouble) = &entry.trouble {
        let text = format!("{file} is not served: {}", trouble.reason);
        return Some((text, "`preset check FILE` says the same; build it as it says, and replace the file"));
    }
    match &entry.state {
        State::Serving | State::Failed => None,
        State::Shadowed { by } => {
            let text = format!("{file} is not served: {} comes first and has one, too", by.display());
            Some((text, "take one of the two out"))
        }
        State::Waiting => {
            let text = format!("{file} is not compiled yet, after {} s", COMPILED_WITHIN.as_secs());
            Some((text, "with EPHEMERON_PRESET_CACHE the next start is a fast one"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::{controller::fixtures, policy::Rules};

    async fn told(settings: &Settings) -> String {
        let mut findings = Findings::default();
        check(settings, &fixtures::policy(Rules::default()), &mut findings).await;
        findings.to_string()
    }

    #[tokio::test]
    async fn folders_files_cache_and_seed_are_told() {
        let none = Settings::default();
        assert!(told(&none).await.contains("names no folder"));

        let place = std::env::temp_dir().join(format!("ephemeron-check-{}", std::process::id()));
        let (folder, cache) = (place.join("presets"), place.join("cache"));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("bad.wasm"), "no WebAssembly").expect("a file");
        let missing = folder.join("nowhere");
        let one =
            Settings { folders: vec![folder.clone(), missing.clone()], cache: Some(cache.clone()), ..none };
        let text = told(&one).await;
        for words in [
            "none is served".to_owned(),
            "bad.wasm is not served: ".to_owned(),
            "the file is not WebAssembly".to_owned(),
            format!("FAIL  presets       {}", missing.display()),
            "can be used, with a key in it".to_owned(),
            "look  seed ".to_owned(),
        ] {
            assert!(text.contains(&words), "{words}: {text}");
        }

        fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).expect("a mode");
        let text = told(&Settings { is_seed_set: true, folders: vec![folder.clone()], ..one }).await;
        assert!(text.contains("look  cache ") && text.contains("mode 777"), "{text}");
        assert!(text.contains("ok    seed ") && text.contains("services can work here"), "{text}");
        fs::remove_dir_all(&place).expect("it is gone");
    }
}
