//! What a run creates, as documents.

use chrono::SecondsFormat;
use ephemeron::resource::Ephemeron;
use serde_json::{Value, json};

use super::history::Time;

/// The label of all Ephemerons of a run; its value says which installation looks after it.
pub const LABEL: &str = "controller";
/// The label of everything that is no controller's business.
pub const FOREIGN_LABEL: &str = "test";
/// Its value.
pub const FOREIGN: &str = "foreign";

/// kwok's own key and value: the fake nodes' label, annotation and taint (tests/cluster/kwok.go).
const MARK: &str = "kwok.x-k8s.io/node";
const FAKE: &str = "fake";

/// What is laid under every Pod of an installation on fake nodes.
pub fn on_fake_nodes() -> Value {
    json!({ "spec": {
        "nodeSelector": { MARK: FAKE },
        "tolerations": [{ "key": MARK, "value": FAKE, "effect": "NoSchedule" }],
    } })
}

/// What runs in an Ephemeron.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// The tests' server; nobody asks whether it answers.
    Image,
    /// What a preset of this repository makes of its parameters, with a probe through the public URL.
    Preset,
}

/// How a spec says when it is over.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// By a time.
    At(Time),
    /// By so many seconds.
    Seconds(i64),
}

/// An Ephemeron for this installation.
pub fn ephemeron(name: &str, whose: &str, runs: Runs, until: Until) -> Ephemeron {
    let mut spec = match runs {
        Runs::Image => json!({ "service": {
            "image": "local/server:1", "imagePullPolicy": "IfNotPresent", "port": 8080,
        } }),
        Runs::Preset => json!({ "preset": {
            "name": "web", "parameters": { "image": "local/server:1", "port": 8080 },
        } }),
    };
    match until {
        Until::At(end) => spec["expirationTime"] = text(end).into(),
        Until::Seconds(seconds) => spec["lifetime"] = format!("{seconds}s").into(),
    }
    let object = json!({
        "apiVersion": "qualified.io/v1alpha1", "kind": "Ephemeron",
        "metadata": { "name": name, "labels": { LABEL: whose } }, "spec": spec,
    });
    serde_json::from_value(object).expect("an Ephemeron")
}

/// The change that gives the one of this UID, and no other, another end.
pub fn end(uid: &str, end: Time) -> Value {
    json!({ "metadata": { "uid": uid }, "spec": { "expirationTime": text(end) } })
}

fn text(time: Time) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Objects of somebody else under a name that an Ephemeron may have, too.
pub fn foreign(name: &str, kind: &str) -> Value {
    let metadata = json!({ "name": name, "labels": { FOREIGN_LABEL: FOREIGN } });
    let port = json!({ "number": 80 });
    let backend = json!({ "service": { "name": "nobody", "port": port } });
    let rule = json!({
        "host": format!("foreign-{name}.localhost"),
        "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] },
    });
    match kind {
        "Pod" => json!({
            "apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": {
                // It is never scheduled, and so costs nothing.
                "nodeSelector": { "nobody": "has" },
                "containers": [{ "name": "server", "image": "local/server:1" }],
            },
        }),
        "Service" => json!({
            "apiVersion": "v1", "kind": kind, "metadata": metadata,
            "spec": { "selector": { "app": "foreign" }, "clusterIP": "None", "ports": [{ "port": 80 }] },
        }),
        "Ingress" => json!({
            "apiVersion": "networking.k8s.io/v1", "kind": kind, "metadata": metadata,
            "spec": { "ingressClassName": "nobodys", "rules": [rule] },
        }),
        _ => json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": metadata,
            "spec": {
                "hostnames": [format!("foreign-{name}.localhost")],
                "parentRefs": [{ "name": "nobodys" }],
            },
        }),
    }
}
