//! Whatever JSON comes back from a preset, the policy lets no forbidden field through.

#![expect(clippy::expect_used, reason = "a test may fail loudly")]

#[path = "../fuzz/src/checks.rs"]
mod checks;
#[path = "../fuzz/src/oracle.rs"]
mod oracle;

use std::{cell::Cell, collections::BTreeSet, fs, path::Path};

use ephemeron_preset_host::policy::{Policy, Rules, fields, security::Level};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};
use serde_json::{Map, Value, json};

/// From the template to a field: names, and the first item of a list.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    First,
}

/// Every field that Kubernetes' PodTemplateSpec has, with the type that its schema gives it.
fn fields_of_kubernetes() -> Vec<(Vec<Step>, String)> {
    fn collect(root: &Value, schema: &Value, path: &mut Vec<Step>, found: &mut Vec<(Vec<Step>, String)>) {
        if let Some(reference) = schema["$ref"].as_str() {
            let definition = root.pointer(reference.trim_start_matches('#')).expect("a definition");
            return collect(root, definition, path, found);
        }
        for schema in schema["allOf"].as_array().into_iter().flatten() {
            collect(root, schema, path, found);
        }
        let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or_default();
        if !path.is_empty() {
            found.push((path.clone(), kind.to_owned()));
        }
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            path.push(Step::Field(name.clone()));
            collect(root, schema, path, found);
            path.pop();
        }
        if schema["items"].is_object() {
            path.push(Step::First);
            collect(root, &schema["items"], path, found);
            path.pop();
        }
    }
    let schema = schemars::schema_for!(PodTemplateSpec).to_value();
    let mut found = Vec::new();
    collect(&schema, &schema, &mut Vec::new(), &mut found);
    found
}

/// Puts a value at a place, and what leads there where it is missing.
fn put(whole: &mut Value, path: &[Step], value: Value) {
    let Some((step, rest)) = path.split_first() else {
        *whole = value;
        return;
    };
    let inner = match step {
        Step::Field(name) => {
            if !whole.is_object() {
                *whole = json!({});
            }
            whole.as_object_mut().expect("an object").entry(name.as_str()).or_insert(Value::Null)
        }
        Step::First => {
            if whole.as_array().is_none_or(Vec::is_empty) {
                *whole = json!([null]);
            }
            &mut whole[0]
        }
    };
    put(inner, rest, value);
}

fn at<'a>(whole: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(whole, |value, step| match step {
        Step::Field(name) => value.get(name),
        Step::First => value.get(0),
    })
}

/// Templates that are let through.
fn good() -> Vec<Value> {
    vec![
        json!({"spec": {"containers": [{"name": "web", "image": "nginx"}]}}),
        json!({
            "metadata": {"labels": {"app": "web"}, "annotations": {"note": "x"}},
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "image": "registry.example.com/web:1",
                        "command": ["/bin/web"],
                        "env": [
                            {"name": "FLAG", "valueFrom": {"secretKeyRef": {"name": "ephemeron-secrets", "key": "flag"}}},
                            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                            {"name": "A", "value": "b"},
                        ],
                        "ports": [{"containerPort": 8080, "name": "http"}],
                        "resources": {"limits": {"cpu": 1, "memory": "64Mi"}, "requests": {"cpu": "10m"}},
                        "volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": "a"}],
                        "securityContext": {"runAsUser": 1000, "capabilities": {"drop": ["ALL"]}},
                        "readinessProbe": {"httpGet": {"port": "http", "path": "/"}},
                        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "1"]}}},
                    },
                    {"name": "other", "image": "nginx", "volumeMounts": [{"name": "conf", "mountPath": "/conf"}]},
                ],
                "initContainers": [
                    {"name": "sidecar", "image": "a", "restartPolicy": "Always", "livenessProbe": {"tcpSocket": {"port": 1}}},
                ],
                "volumes": [
                    {"name": "data", "emptyDir": {"sizeLimit": "1Gi"}},
                    {"name": "conf", "configMap": {"name": "conf", "items": [{"key": "a", "path": "a"}]}},
                ],
                "securityContext": {"runAsNonRoot": true, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
                "terminationGracePeriodSeconds": 5,
            },
        }),
    ]
}

/// Values that a field of the type may have, and ones that it may not.
fn values(kind: &str) -> Vec<Value> {
    let texts =
        ["", "a", "/", "Always", "Bidirectional", "Default", "Localhost", "RuntimeDefault", "1", "v1", "TCP"];
    match kind {
        "boolean" => vec![json!(true), json!(false)],
        "integer" => vec![json!(0), json!(1), json!(80), json!(-1), json!(i64::MAX)],
        "string" => texts.into_iter().map(Value::from).collect(),
        "array" => vec![json!([]), json!([{}]), json!(["a"]), json!([{"name": "a"}])],
        "object" => vec![json!({}), json!({"a": "b"}), json!({"name": "a"})],
        _ => vec![json!(80), json!("a"), json!({}), json!(null)],
    }
}

#[test]
fn each_field_of_kubernetes_is_kept_or_refused() {
    let fields_of_kubernetes = fields_of_kubernetes();
    assert!(fields_of_kubernetes.len() > 1_000, "only {} fields", fields_of_kubernetes.len());
    let policy = Policy::new(Rules::default()).expect("rules");
    let (mut admitted, mut refused) = (BTreeSet::new(), 0);
    for (path, kind) in &fields_of_kubernetes {
        for (mut template, value) in good()
            .into_iter()
            .flat_map(|good| values(kind).into_iter().map(move |value| (good.clone(), value)))
        {
            put(&mut template, path, value.clone());
            let template = template.as_object().expect("an object");
            let Ok(pod) = policy.admit_rendered(template) else {
                refused += 1;
                continue;
            };
            assert_eq!(oracle::judge(Level::default(), &pod), Ok(()), "{path:?} {value}");
            let read = serde_json::to_value(fields::template(template).expect("it is read")).expect("JSON");
            let kept = at(&read, path);
            let as_text = Value::String(value.to_string());
            assert!(kept == Some(&value) || kept == Some(&as_text), "{path:?} {value} became {kept:?}");
            admitted.insert(format!("{path:?}"));
        }
    }
    assert!(admitted.len() > 100, "only {} fields may be set", admitted.len());
    assert!(refused > 5_000, "only {refused} were refused");
}

/// A word of the interface's, or what a hostile preset may write.
fn words() -> impl Strategy<Value = String> {
    let mut words: Vec<String> = fields_of_kubernetes()
        .into_iter()
        .filter_map(|(path, _)| match path.last() {
            Some(Step::Field(name)) => Some(name.clone()),
            _ => None,
        })
        .collect();
    words.sort();
    words.dedup();
    let hostile = [
        "",
        "*",
        "service",
        "proxy",
        "certificates",
        "ephemeron-secrets",
        "ephemerons.qualified.io/name",
        "/",
        "..",
        "Always",
        "Bidirectional",
        "Unmasked",
        "ALL",
        "SYS_ADMIN",
        "Localhost",
        "Unconfined",
        "spec.nodeName",
        "status.hostIP",
        "data",
        "web",
        "1e99",
        "-1",
        "\u{202e}",
        "a\0b",
        "nginx@sha256:0",
    ];
    prop_oneof![
        3 => select(words),
        3 => select(hostile.map(str::to_owned).to_vec()),
        1 => vec(any::<char>(), 0..12).prop_map(String::from_iter),
    ]
}

/// Any JSON, made of such words.
fn noise() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        words().prop_map(Value::String),
        any::<bool>().prop_map(Value::Bool),
        (-2..3_i64).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            vec((words(), inner), 0..4).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

/// A good template with something put anywhere into it, or something that is no template at all.
fn templates() -> impl Strategy<Value = Map<String, Value>> {
    let paths: Vec<_> = fields_of_kubernetes().into_iter().collect();
    let typed = |(place, choice): (Index, Index), paths: &[(Vec<Step>, String)]| {
        let (path, kind) = place.get(paths);
        (path.clone(), choice.get(&values(kind)).clone())
    };
    let edit = prop_oneof![
        3 => any::<(Index, Index)>().prop_map({
            let paths = paths.clone();
            move |picked| typed(picked, &paths)
        }),
        2 => (any::<Index>(), noise()).prop_map(move |(place, value)| (place.get(&paths).0.clone(), value)),
    ];
    let edited = (select(good()), vec(edit, 0..4)).prop_map(|(mut whole, edits)| {
        for (path, value) in edits {
            put(&mut whole, &path, value);
        }
        whole
    });
    prop_oneof![
        8 => edited,
        1 => noise(),
    ]
    .prop_filter_map("an object", |value| match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    })
}

#[test]
fn nothing_forbidden_comes_through_whatever_comes_back() {
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    let (admitted, refused) = (Cell::new(0), Cell::new(0));
    let outcome = TestRunner::new(config).run(&templates(), |template| {
        let count = if checks::is_admitted(&template) { &admitted } else { &refused };
        count.set(count.get() + 1);
        Ok(())
    });
    assert_eq!(outcome.map_err(|error| error.to_string()), Ok(()));
    assert!(
        admitted.get() > 50 && refused.get() > 50,
        "{} admitted, {} refused",
        admitted.get(),
        refused.get()
    );
}

#[test]
fn the_kept_corpus_of_the_fuzzer_is_harmless() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let files = |target: &str| {
        let files: Vec<_> = fs::read_dir(corpus.join(target)).expect("a folder").collect();
        assert!(files.len() >= 12, "only {} files for {target}", files.len());
        files.into_iter().map(|file| fs::read(file.expect("a file").path()).expect("its bytes"))
    };
    files("policy").for_each(|bytes| checks::policy(&bytes));
    files("document").for_each(|bytes| checks::document(&bytes));
}
