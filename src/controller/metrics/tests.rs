//! The metrics as they are encoded, against the format's rules and the page that documents them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use prometheus_client::encoding::text;
use serde_json::json;

use super::*;
use crate::{
    controller::fixtures::{MINIMAL, ephemeron},
    resource::Ephemeron,
};

fn encoded(registry: &Registry) -> String {
    let mut encoded = String::new();
    text::encode(&mut encoded, registry).expect("it is encoded");
    encoded
}

/// The metrics after something of everything has happened.
fn used() -> String {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    metrics.reconciled(Duration::from_millis(3));
    metrics.reconcile_failed(Failure::Timeout, Duration::from_secs(30));
    metrics.expired(Duration::from_millis(7));
    metrics.deleted();
    metrics.available(Duration::from_millis(700));
    metrics.expiry_held(Held::Clock, true);
    metrics.clock_skew(-40.5);
    metrics.watch_failed("Pod");
    metrics.unreadable("HTTPRoute");
    metrics.unreadable("Secret");
    metrics.pod_replaced();
    metrics.leads(true);
    metrics.count_phases(|| [Phase::Available, Phase::Pending, Phase::Available]);
    // A release must not change the snapshot.
    encoded(&registry).replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

/// A metric as the text has it.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    unit: Option<String>,
    labels: BTreeMap<String, BTreeSet<String>>,
    samples: Vec<String>,
}

/// Reads the text as strictly as OpenMetrics 1.0 has it, as far as these metrics use it.
fn families(text: &str) -> Vec<(String, Family)> {
    let mut families: Vec<(String, Family)> = Vec::new();
    let body = text.strip_suffix("# EOF\n").expect("it ends with EOF");
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut parts = comment.splitn(3, ' ');
            let (what, name, rest) = (parts.next(), parts.next().expect("a name"), parts.next().expect(line));
            match what {
                Some("HELP") => {
                    assert!(families.iter().all(|(other, _)| other != name), "twice: {name}");
                    families.push((name.into(), Family { help: rest.into(), ..Family::default() }));
                }
                Some("TYPE") => {
                    let (of, family) = families.last_mut().expect("HELP comes first");
                    assert!(of == name && family.kind.is_empty() && family.samples.is_empty(), "{line}");
                    assert!(["counter", "gauge", "histogram"].contains(&rest), "{line}");
                    family.kind = rest.into();
                }
                Some("UNIT") => {
                    let (of, family) = families.last_mut().expect("HELP comes first");
                    assert!(of == name && family.samples.is_empty(), "{line}");
                    assert!(name.ends_with(&format!("_{rest}")), "the name ends with its unit: {line}");
                    family.unit = Some(rest.into());
                }
                _ => panic!("{line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect("a closed brace")),
            None => (series, ""),
        };
        let (of, family) = families.last_mut().expect("HELP comes first");
        let suffixes: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        let suffix = name.strip_prefix(of.as_str()).unwrap_or_else(|| panic!("{line} is in {of}"));
        assert!(suffixes.contains(&suffix), "{line}");
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (key, value) = label.split_once('=').expect("a label");
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).expect("quotes");
            assert!(!value.contains(['"', '\\', '\n']), "{line}");
            family.labels.entry(key.into()).or_default().insert(value.into());
        }
        assert!(!family.samples.iter().any(|sample| sample == series), "twice: {series}");
        family.samples.push(series.into());
    }
    families
}

#[test]
fn the_text_is_as_it_was() {
    let used = used();
    let mut lines: Vec<&str> = used.lines().collect();
    // The series of a family come in any order; those of a histogram do not.
    for series in lines.chunk_by_mut(|one, next| !one.starts_with('#') && !next.starts_with('#')) {
        if !series.iter().any(|sample| sample.contains("_bucket{")) {
            series.sort_unstable();
        }
    }
    insta::assert_snapshot!("metrics", lines.join("\n"));
}

#[test]
fn the_text_keeps_to_the_format_and_to_the_naming_practices() {
    for (name, family) in families(&used()) {
        assert!(name.starts_with("ephemeron_"), "{name}");
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(name.bytes().all(is_plain), "{name}");
        assert!(!name.ends_with("_total") && !name.ends_with("_count"), "{name}: the format adds it");
        assert!(family.help.ends_with('.') && !family.kind.is_empty(), "{name}");
        assert!(!family.samples.is_empty(), "{name} has no series before something happens");
        if family.kind == "histogram" {
            let last = family.samples.iter().rfind(|sample| sample.contains("_bucket{"));
            assert!(last.is_some_and(|last| last.contains("le=\"+Inf\"")), "{name}");
            assert_eq!(family.unit.as_deref(), Some("seconds"), "{name}");
        }
    }
}

#[test]
fn nothing_but_values_depends_on_what_has_happened() {
    let mut registry = Registry::default();
    let _metrics = Metrics::register(&mut registry);
    let series = |text: &str| -> BTreeSet<String> {
        families(text).into_iter().flat_map(|(_, family)| family.samples).collect()
    };
    let fresh = encoded(&registry).replace(env!("CARGO_PKG_VERSION"), "VERSION");
    assert_eq!(series(&fresh), series(&used()));
}

#[test]
fn the_page_has_every_metric_as_it_is() {
    let page = include_str!("../../../docs/reference/metrics.md");
    let mut table = String::from("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n");
    for (name, family) in families(&used()) {
        let suffix = if family.kind == "counter" { "_total" } else { "" };
        let labels = family.labels.iter().filter(|(key, _)| *key != "le").map(|(key, values)| {
            let values = values.iter().filter(|value| *value != "VERSION");
            let values: Vec<String> = values.map(|value| format!("`{value}`")).collect();
            let end = if values.is_empty() { String::new() } else { format!(": {}", values.join(", ")) };
            format!("`{key}`{end}")
        });
        let labels: Vec<String> = labels.collect();
        let (kind, labels, help) = (family.kind, labels.join("; "), family.help);
        writeln!(table, "| `{name}{suffix}` | {kind} | {labels} | {help} |").expect("a String");
    }
    assert!(page.contains(&table), "docs/reference/metrics.md must have this table:\n{table}");
}

#[test]
fn phases_are_what_the_status_says() {
    let with = |available: Option<(&str, &str)>, deletion: bool| -> Ephemeron {
        let mut value = serde_json::to_value(ephemeron(MINIMAL)).expect("JSON");
        if let Some((status, reason)) = available {
            let condition = json!({"type": "Available", "status": status, "reason": reason});
            value["status"] = json!({"conditions": [condition]});
        }
        if deletion {
            value["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:01:00Z");
        }
        serde_json::from_value(value).expect("an Ephemeron")
    };
    let early = "2030-01-01T00:10:00Z".parse().expect("a time");
    let over = "2030-01-01T00:30:00Z".parse().expect("a time");
    let available = Some(("True", "Available"));
    for (ephemeron, now, phase) in [
        (with(None, false), early, Phase::Pending),
        (with(Some(("False", "PodNotReady")), false), early, Phase::Pending),
        (with(Some(("False", "NameTaken")), false), early, Phase::Failing),
        (with(available, false), early, Phase::Available),
        (with(available, false), over, Phase::Expiring),
        (with(available, true), early, Phase::Expiring),
    ] {
        assert_eq!(Phase::of(&ephemeron, ephemeron.expiration_time(), now), phase, "{:?}", ephemeron.status);
    }
}
