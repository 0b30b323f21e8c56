//! A folder with a preset, and Ephemerons that ask for it: the same service as the other Ephemerons of the
//! benchmark, with a value in a Secret besides.

use std::{fs, path::PathBuf};

use ephemeron::resource::{Ephemeron, Preset};
use serde_json::{Value, json};

use crate::{cluster::Cluster, guest::Guest, lives};

const NAME: &str = "server";

/// The folder; it goes with this.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one.
    pub fn new(cluster: &Cluster) -> Self {
        let folder = std::env::temp_dir().join(cluster.name("bench-presets"));
        fs::create_dir_all(&folder).expect("a folder");
        let description = json!({
            "apiVersion": "preset.ephemeron/v1", "name": NAME, "version": "1", "parameters": {"type": "object"},
        });
        let guest =
            Guest { description: description.to_string(), ..Guest::rendering(&rendered().to_string()) };
        fs::write(folder.join(NAME).with_extension("wasm"), guest.bytes()).expect("a file");
        Self(folder)
    }

    /// What `EPHEMERON_PRESETS` is set to.
    pub fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// As [`lives::ephemeron`], by the preset.
pub fn ephemeron(name: &str, lifetime: &str) -> Ephemeron {
    let mut one = lives::ephemeron(name, lifetime);
    one.spec.service = None;
    one.spec.preset = Some(Preset { name: NAME.into(), ..Preset::default() });
    one
}

fn rendered() -> Value {
    let key = json!({"name": "ephemeron-secrets", "key": "flag"});
    json!({
        "apiVersion": "preset.ephemeron/v1", "port": 8080, "secrets": {"flag": "flag{only-here}"},
        "template": {"spec": {"containers": [{
            "name": "server", "image": "local/server:1", "imagePullPolicy": "IfNotPresent",
            "ports": [{"containerPort": 8080}],
            "env": [{"name": "FLAG", "valueFrom": {"secretKeyRef": key}}],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1},
        }]}},
    })
}
