//! The shape of the crate: who imports whom, and what the pure modules must not know.

#![expect(clippy::expect_used, reason = "a test may fail loudly")]

use std::{fs, path::Path};

/// A room, and what it may import of the crate.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("api", &["api", "cache", "client", "health", "policy", "presets", "resource", "template"]),
    ("cache", &["client", "health"]),
    ("client", &[]),
    (
        "config",
        &["api::settings", "controller::settings", "health", "lease", "policy", "presets", "resource"],
    ),
    (
        "controller",
        &["cache", "client", "controller", "health", "lease", "policy", "presets", "resource", "template"],
    ),
    ("health", &[]),
    ("keys", &["client", "telemetry"]),
    ("lease", &["client", "health"]),
    ("../presets/host/src/policy", &["labels", "policy"]),
    ("presets", &["health", "policy"]),
    ("resource", &["resource"]),
    ("start", &["client", "config", "health", "telemetry"]),
    ("template", &["policy", "resource"]),
    ("telemetry", &[]),
];

/// Modules that turn data into data.
const PURE: &[&str] = &[
    "controller/attempts",
    "controller/desired",
    "controller/drift",
    "controller/moving",
    "controller/ownership",
    "controller/rendering",
    "controller/routing",
    "controller/settings",
    "controller/status",
    "controller/target",
    "controller/validate",
    "lease/election",
    "../presets/host/src/policy",
    "resource",
    "template",
];

/// Names of what acts: a client, a runtime, a clock.
const ACTING: &[&str] = &["Client", "Api<", "tokio", "Utc::now", "SystemTime", "Instant"];

/// The Rust files at this place below `src`: a file of the name, and a folder of it.
fn files(place: &str) -> Vec<(String, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![source.join(place)];
    let file = source.join(format!("{place}.rs"));
    if file.exists() {
        found.push(file);
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let read =
        |path: &std::path::PathBuf| (path.display().to_string(), fs::read_to_string(path).expect("a file"));
    found.iter().map(read).collect()
}

/// The code without its tests and its comments.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The items of a list of imports, whose own lists stay whole: `a::B,c::{D,E}};…` is `a::B` and `c::{D,E}`.
fn items(list: &str) -> Vec<String> {
    let (mut items, mut depth) = (vec![String::new()], 0);
    for char in list.chars() {
        match char {
            '}' if depth == 0 => break,
            ',' if depth == 0 => items.push(String::new()),
            char => {
                depth += i32::from(char == '{') - i32::from(char == '}');
                items.iter_mut().last().expect("an item").push(char);
            }
        }
    }
    items
}

#[test]
fn rooms_import_only_what_they_may() {
    for (room, may) in MAY_IMPORT {
        let files = files(room);
        assert!(!files.is_empty(), "there is no room {room}");
        for (name, text) in files {
            // One import may span lines: fold it into one, and its braces with it.
            let folded = code(&text).split_whitespace().collect::<String>();
            for import in folded.split("crate::").skip(1) {
                let imports = import.strip_prefix('{').map_or_else(|| vec![import.to_owned()], items);
                let top = |import: &String| {
                    import.chars().next().is_some_and(char::is_lowercase) && import.contains("::")
                };
                for import in imports.iter().filter(|import| top(import)) {
                    let allowed = may.iter().any(|may| import.starts_with(may));
                    assert!(allowed, "{name} imports {}", import.chars().take(60).collect::<String>());
                }
            }
        }
    }
}

#[test]
fn pure_modules_do_not_act() {
    for place in PURE {
        let files = files(place);
        assert!(!files.is_empty(), "there is no {place}");
        for (name, text) in files {
            let code = code(&text);
            for acting in ACTING {
                assert!(!code.contains(acting), "{name} names {acting}");
            }
        }
    }
}

#[test]
fn every_file_says_what_lives_in_it() {
    for (name, text) in files("").into_iter().chain(files("../tests")).chain(files("../benches")) {
        assert!(text.starts_with("//! "), "{name} does not begin with a sentence on what lives in it");
    }
}
