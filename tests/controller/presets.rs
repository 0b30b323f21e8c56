//! Services that presets describe: what users of presets see, good and hostile ones.

mod delivered;
mod hostile;
mod lives;
mod records;

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::{Cases, World, cluster::Cluster, controllers::Controller, guest::Guest};

/// The cases. Those that wait for others' clocks come first.
pub fn cases(cases: &mut Cases) {
    delivered::cases(cases);
    hostile::cases(cases);
    lives::cases(cases);
    records::cases(cases);
}

/// How long a preset may take where this is not what a case is about: the machine may be slow.
pub const PATIENT: [(&str, &str); 2] =
    [("EPHEMERON_PRESET_TIME", "1m"), ("EPHEMERON_PRESET_COMPILE_TIME", "10m")];

/// A folder of presets, and Ephemerons for the controller that has it.
struct Shelf<'a> {
    cluster: &'a Cluster,
    label: &'static str,
    folder: PathBuf,
}

impl<'a> Shelf<'a> {
    fn new(world: &'a World, label: &'static str) -> Self {
        let folder = std::env::temp_dir().join(world.cluster.name(&format!("presets-{label}")));
        fs::create_dir_all(&folder).expect("a folder");
        Self { cluster: &world.cluster, label, folder }
    }

    fn controller(&self, env: &[(&str, &str)]) -> Controller {
        let selector = format!("controller={}", self.label);
        let folder = self.folder.display().to_string();
        let mut all = vec![("EPHEMERON_SELECTOR", selector.as_str()), ("EPHEMERON_PRESETS", folder.as_str())];
        all.extend(PATIENT);
        all.extend(env);
        Controller::start(self.cluster, "localhost", &all)
    }

    /// Puts a file in, as a whole.
    fn put(&self, name: &str, bytes: &[u8]) {
        let new = self.folder.join(format!("{name}.new"));
        fs::write(&new, bytes).expect("a file");
        fs::rename(&new, self.folder.join(format!("{name}.wasm"))).expect("a file");
    }

    fn take(&self, name: &str) {
        fs::remove_file(self.folder.join(format!("{name}.wasm"))).expect("the file is gone");
    }

    /// Asks for a preset with these parameters.
    async fn apply(&self, preset: &str, parameters: &str) -> String {
        let (name, label) = (self.cluster.name("preset"), self.label);
        let manifest = format!(
            "apiVersion: qualified.io/v1alpha1\nkind: Ephemeron\n\
             metadata: {{name: {name}, labels: {{controller: {label}}}}}\n\
             spec: {{lifetime: 30m, preset: {{name: {preset}, parameters: {parameters}}}}}"
        );
        self.cluster.apply(&manifest).await.expect("it is accepted");
        name
    }
}

impl Drop for Shelf<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What a preset renders: one container of the tests' server that says `message`.
fn template(name: &str, message: &str) -> Value {
    json!({
        "apiVersion": "preset.ephemeron/v1", "port": 8080,
        "template": {"metadata": {"labels": {"made-by": name}}, "spec": {"containers": [{
            "name": "server", "image": "local/server:1", "imagePullPolicy": "IfNotPresent",
            "ports": [{"containerPort": 8080}],
            "env": [{"name": "MESSAGE", "value": message}],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 10},
        }]}},
    })
}

fn greeting(name: &str, version: &str, message: &str) -> Vec<u8> {
    guest(name, version, &template(name, message))
}

fn guest(name: &str, version: &str, rendered: &Value) -> Vec<u8> {
    let text = rendered.to_string();
    Guest { description: description(name, version), ..Guest::rendering(&text) }.bytes()
}

fn description(name: &str, version: &str) -> String {
    json!({"apiVersion": "preset.ephemeron/v1", "name": name, "version": version, "parameters": {"type": "object"}})
        .to_string()
}
