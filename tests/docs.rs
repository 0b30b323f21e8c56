//! The pages that are written by hand name only what there is: alerts, metrics, reasons, tests.

#![expect(clippy::expect_used, reason = "a test may fail loudly")]

use std::{collections::BTreeSet, fs, path::Path};

use ephemeron::resource::conditions::Reason;
use serde_json::Value;

const ALERTS: &str = include_str!("../k8s/monitoring/alerts.yaml");
const RUNBOOK: &str = include_str!("../docs/runbook.md");
const METRICS: &str = include_str!("../docs/reference/metrics.md");
const SECURITY: &str = include_str!("../SECURITY.md");

fn rules() -> Vec<Value> {
    let alerts: Value = serde_saphyr::from_str(ALERTS).expect("YAML");
    let groups = alerts["groups"].as_array().expect("groups");
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn each_alert_is_in_the_runbook() {
    let alerts: BTreeSet<String> =
        rules().iter().map(|rule| rule["alert"].as_str().expect("a name").to_owned()).collect();
    let headings: BTreeSet<String> =
        RUNBOOK.lines().filter_map(|line| line.strip_prefix("### ")).map(ToOwned::to_owned).collect();
    assert_eq!(alerts, headings);
    for rule in rules() {
        let name = rule["alert"].as_str().expect("a name").to_lowercase();
        assert_eq!(rule["annotations"]["runbook"], format!("docs/runbook.md#{name}"));
        let section = RUNBOOK.split("### ").find(|section| section.to_lowercase().starts_with(&name));
        let severity = rule["labels"]["severity"].as_str().expect("a severity");
        let begins = section.expect("a section").lines().nth(1).expect("a line").to_lowercase();
        assert!(begins.starts_with(&format!("{severity}.")), "{name}: {severity}, and not: {begins}");
    }
}

#[test]
fn alerts_are_on_metrics_that_there_are() {
    let known: Vec<&str> =
        METRICS.lines().filter_map(|line| line.strip_prefix("| `ephemeron_")?.split('`').next()).collect();
    assert!(known.len() > 10, "{known:?}");
    for rule in rules() {
        let expression = rule["expr"].as_str().expect("an expression");
        for word in expression.split(|char: char| !char.is_ascii_alphanumeric() && char != '_') {
            let Some(name) = word.strip_prefix("ephemeron_") else { continue };
            let name = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(known.contains(&name), "{}: there is no ephemeron_{name}", rule["alert"]);
        }
    }
}

#[test]
fn each_reason_is_somebody_s_turn_in_the_runbook() {
    let table = RUNBOOK.split("## Reasons, and whose turn it is").nth(1).expect("the table");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).flat_map(quoted).collect();
    let known: BTreeSet<&str> = Reason::ALL.iter().map(|one| one.reason.as_str()).collect();
    assert_eq!(rows.iter().copied().collect::<BTreeSet<_>>(), known);
    assert_eq!(rows.len(), known.len(), "each once");
}

#[test]
fn the_tests_that_the_table_of_attacks_names_are_there() {
    let mut sources = String::new();
    for folder in ["src", "tests", "presets/host/src", "presets/host/tests"] {
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut sources);
    }
    let mut named = 0;
    for line in SECURITY.lines().filter(|line| line.starts_with("| ")) {
        let Some(tests) = line.split('|').nth(4) else { continue };
        for name in quoted(tests) {
            let is_there = if name.contains("::") {
                sources.contains(&format!("\"{name}\""))
            } else {
                sources.contains(&format!("fn {name}("))
            };
            assert!(is_there, "there is no test {name}");
            named += 1;
        }
    }
    assert!(named > 40, "{named} tests are named");
}

/// All Rust of a folder and those in it.
fn read(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(&path).expect("a text"));
        }
    }
}
