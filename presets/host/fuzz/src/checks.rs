//! What is held against any bytes: they are refused in one line, or what comes of them is harmless.

use std::sync::OnceLock;

use ephemeron_preset_host::{
    document,
    policy::{Policy, Rules, fields, security::Level},
};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use serde_json::{Map, Value, json};

use crate::oracle;

/// How deep documents are nested at most.
const DEPTH: usize = 64;

/// What an installation puts beside a service.
const BESIDE: &str = "
spec:
  containers:
    - {name: '*', imagePullPolicy: Always}
    - {name: proxy, image: proxy, env: [{name: KEY, valueFrom: {secretKeyRef: {name: proxy, key: key}}}]}
  volumes: [{name: certificates, secret: {secretName: proxy}}]
";

/// A policy, and what is known of it.
struct Installation {
    policy: Policy,
    level: Level,
    /// The containers and volumes that it puts beside those of a preset.
    beside: PodSpec,
}

fn installations() -> &'static [Installation] {
    static ALL: OnceLock<Vec<Installation>> = OnceLock::new();
    ALL.get_or_init(|| {
        let installation = |level, beside: Option<&str>, caps: Option<&str>| {
            let policy = Policy::new(Rules {
                level,
                template: beside.map(|beside| beside.parse().expect("a template")),
                caps: caps.map(|caps| caps.parse().expect("caps")).unwrap_or_default(),
                ..Rules::default()
            });
            let policy = policy.expect("rules");
            // All but the preset's own is the installation's.
            let alone = json!({"spec": {"containers": [{"name": "web", "image": "a"}]}});
            let alone = policy.admit_rendered(alone.as_object().expect("an object")).expect("it is admitted");
            let mut beside = alone.spec.expect("a spec");
            beside.containers.retain(|container| container.name != "web");
            Installation { policy, level, beside }
        };
        vec![
            installation(Level::Baseline, None, None),
            installation(Level::Restricted, None, Some("cpu=2,memory=1Gi,ephemeral-storage=1Gi")),
            installation(Level::Baseline, Some(BESIDE), None),
        ]
    })
}

/// Any bytes as a pod template.
pub fn policy(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).ok();
    if let Some(Ok(Value::Object(template))) = text.map(|text| document::parse(text, DEPTH)) {
        is_admitted(&template);
    }
}

/// Any bytes as the documents of a preset.
pub fn document(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match document::description(text, DEPTH) {
        Ok(description) => {
            assert!((1..=63).contains(&description.name.len()) && description.examples.len() <= 16);
        }
        Err(fault) => is_one_line(&format!("{}: {}", fault.at, fault.reason)),
    }
    match document::rendered(text, DEPTH) {
        Ok(rendered) => {
            assert!(rendered.port > 0 && rendered.warnings.len() <= 16);
            rendered.warnings.iter().for_each(|warning| assert!(!warning.contains(char::is_control)));
            if is_admitted(&rendered.template) {
                let template = fields::template(&rendered.template).expect("what is admitted is read");
                let secrets = rendered.secrets.keys().map(String::as_str);
                if let Err(violation) = fields::agree(&template, rendered.port, secrets) {
                    is_one_line(&violation.to_string());
                }
            }
        }
        Err(fault) => is_one_line(&format!("{}: {}", fault.at, fault.reason)),
    }
}

/// Whether an installation with nothing but defaults admits the template. None admits what it should not.
pub fn is_admitted(template: &Map<String, Value>) -> bool {
    let read = fields::template(template);
    if let Ok(read) = &read {
        // It is recorded so, and judged again whenever the Pod is made.
        let recorded = serde_json::to_value(read).expect("JSON");
        let again = fields::template(recorded.as_object().expect("an object"));
        assert_eq!(again.as_ref(), Ok(read));
    }
    let mut by_defaults = None;
    for installation in installations() {
        let outcome = installation.policy.admit_rendered(template);
        assert!(read.is_ok() || outcome.is_err());
        by_defaults.get_or_insert(outcome.is_ok());
        match outcome {
            Ok(pod) => is_harmless(installation, pod, template),
            Err(violation) => is_one_line(&violation.to_string()),
        }
    }
    by_defaults == Some(true)
}

fn is_harmless(installation: &Installation, mut pod: PodTemplateSpec, template: &Map<String, Value>) {
    let spec = pod.spec.as_mut().expect("a spec");
    // What the installation puts there is as it is without the preset, and is left out below.
    for container in &installation.beside.containers {
        assert!(spec.containers.contains(container), "{template:?}");
        spec.containers.retain(|one| one != container);
    }
    for volume in installation.beside.volumes.iter().flatten() {
        assert!(spec.volumes.iter().flatten().any(|one| one == volume), "{template:?}");
        spec.volumes.iter_mut().for_each(|volumes| volumes.retain(|one| one != volume));
    }
    assert_eq!(oracle::judge(installation.level, &pod), Ok(()), "{template:?}");
}

fn is_one_line(said: &str) {
    assert!(!said.is_empty() && said.len() <= 16 << 10, "{} bytes: {said}", said.len());
    assert!(!said.contains(char::is_control), "{said}");
}
