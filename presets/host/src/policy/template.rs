//! An installation's partial pod template, as its file has it.

use std::str::FromStr;

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use serde_json::Value;

use super::{CONTAINER, merge::EVERY};
use crate::labels;

/// A partial pod template that can be merged into any Pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(PodTemplateSpec);

/// The text is not a partial pod template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotATemplate {
    /// It is not YAML.
    #[error("it is not YAML: {0}")]
    Yaml(String),
    /// It has nothing in it.
    #[error("it is empty: write a part of a pod template, with metadata and spec")]
    Empty,
    /// A field has a value of another type.
    #[error("it is not a pod template: {0}")]
    Type(String),
    /// A field that Kubernetes does not have.
    #[error("{0} is not a field of a pod template: is it misspelt, or not at its place?")]
    Unknown(String),
    /// A field is there without a value.
    #[error("{0} has no value: write one, or take it out")]
    NoValue(String),
    /// A field that a template cannot set.
    #[error("{0} cannot be set here: take it out")]
    NotHere(String),
    /// A label that is none.
    #[error("metadata.labels: {0:?}: {1:?} is not a label: {rule}", rule = labels::RULE)]
    NotALabel(String, String),
    /// A key that only we set.
    #[error("{0}: the key {1:?} is reserved: take it out")]
    Reserved(&'static str, String),
    /// A container that cannot be told from others.
    #[error("{0} has no name: write one, or \"*\" for what concerns every container")]
    NoName(String),
    /// A container of its own that runs nothing.
    #[error(
        "{0} has no image: a further container needs one; \"*\" is for every container, \"{CONTAINER}\" is the service's"
    )]
    NoImage(String),
}

/// Metadata that a template may have: the rest of it is of one Pod.
const METADATA: &[&str] = &["labels", "annotations"];

impl FromStr for Template {
    type Err = NotATemplate;

    fn from_str(text: &str) -> Result<Self, NotATemplate> {
        let mut document: Value =
            serde_saphyr::from_str(text).map_err(|error| NotATemplate::Yaml(one_line(&error.to_string())))?;
        if document.is_null() {
            return Err(NotATemplate::Empty);
        }
        all_said(&document, "")?;
        amounts_as_text(&mut document);
        let template: PodTemplateSpec = serde_json::from_value(document.clone())
            .map_err(|error| NotATemplate::Type(one_line(&error.to_string())))?;
        let understood = serde_json::to_value(&template)
            .map_err(|error| NotATemplate::Type(one_line(&error.to_string())))?;
        all_understood(&document, &understood, "")?;
        if let Some(metadata) = document.get("metadata").and_then(Value::as_object)
            && let Some(key) = metadata.keys().find(|key| !METADATA.contains(&key.as_str()))
        {
            return Err(NotATemplate::NotHere(format!("metadata.{key}")));
        }
        metadata(&template)?;
        containers(&template)?;
        Ok(Self(template))
    }
}

impl Template {
    /// The part of a pod template that it is.
    pub(super) fn part(&self) -> &PodTemplateSpec {
        &self.0
    }
}

/// A YAML error has the lines around it below its first one.
fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// Amounts may be written as numbers, as Kubernetes lets one (`cpu: 1`).
fn amounts_as_text(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(amounts_as_text),
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), &mut *value) {
                    ("limits" | "requests" | "overhead", Value::Object(amounts)) => {
                        amounts.values_mut().for_each(number_as_text);
                    }
                    ("sizeLimit" | "divisor", amount) => number_as_text(amount),
                    // Keys of labels and annotations are not fields.
                    ("metadata", _) => {}
                    (_, value) => amounts_as_text(value),
                }
            }
        }
        _ => {}
    }
}

fn number_as_text(value: &mut Value) {
    if let Value::Number(number) = value {
        *value = Value::String(number.to_string());
    }
}

/// A field, or an item of a list, with the place that it has in the document.
fn parts<'a>(value: &'a Value, field: &str) -> Vec<(Key<'a>, String, &'a Value)> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| {
                let dot = if field.is_empty() { "" } else { "." };
                (Key::Field(key), format!("{field}{dot}{key}"), value)
            })
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, value)| (Key::Item(index), format!("{field}[{index}]"), value))
            .collect(),
        _ => Vec::new(),
    }
}

/// What leads from a value to a part of it.
enum Key<'a> {
    Field(&'a str),
    Item(usize),
}

/// Fails at the first field without a value: it would be read as if it were not there.
fn all_said(written: &Value, field: &str) -> Result<(), NotATemplate> {
    parts(written, field).into_iter().try_for_each(|(_, field, value)| {
        if value.is_null() { Err(NotATemplate::NoValue(field)) } else { all_said(value, &field) }
    })
}

/// Fails at the first field that is lost on the way into the type and back: reading drops unknown ones.
fn all_understood(written: &Value, understood: &Value, field: &str) -> Result<(), NotATemplate> {
    parts(written, field).into_iter().try_for_each(|(key, field, value)| {
        let understood = match key {
            Key::Field(key) => understood.get(key),
            Key::Item(index) => understood.get(index),
        };
        match understood {
            Some(understood) => all_understood(value, understood, &field),
            None => Err(NotATemplate::Unknown(field)),
        }
    })
}

fn metadata(template: &PodTemplateSpec) -> Result<(), NotATemplate> {
    let Some(metadata) = &template.metadata else { return Ok(()) };
    let reserved = |key: &String| labels::is_reserved(key);
    for (field, map) in
        [("metadata.labels", &metadata.labels), ("metadata.annotations", &metadata.annotations)]
    {
        if let Some(key) = map.iter().flat_map(|map| map.keys()).find(|key| reserved(key)) {
            return Err(NotATemplate::Reserved(field, key.clone()));
        }
    }
    match metadata.labels.iter().flatten().find(|(key, value)| !labels::is_label(key, value)) {
        Some((key, value)) => Err(NotATemplate::NotALabel(key.clone(), value.clone())),
        None => Ok(()),
    }
}

fn containers(template: &PodTemplateSpec) -> Result<(), NotATemplate> {
    let Some(spec) = &template.spec else { return Ok(()) };
    if spec.ephemeral_containers.is_some() {
        return Err(NotATemplate::NotHere("spec.ephemeralContainers".into()));
    }
    let merged: &[&str] = &[EVERY, CONTAINER];
    let lists: [(&str, &[Container], &[&str]); 2] = [
        ("spec.initContainers", spec.init_containers.as_deref().unwrap_or_default(), &[EVERY]),
        ("spec.containers", &spec.containers, merged),
    ];
    for (field, containers, merged) in lists {
        for (index, container) in containers.iter().enumerate() {
            let field = format!("{field}[{index}]");
            if container.name.is_empty() {
                return Err(NotATemplate::NoName(field));
            }
            if container.image.is_none() && !merged.contains(&container.name.as_str()) {
                return Err(NotATemplate::NoImage(field));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_template_is_refused_by_the_field() {
        let rows = [
            ("", "it is empty"),
            ("# nothing\n", "it is empty"),
            ("spec: [", "it is not YAML"),
            ("spec: {}\n---\nspec: {}", "it is not YAML"),
            ("spec: {a: 1, a: 2}", "it is not YAML"),
            ("words", "it is not a pod template"),
            ("[]", "it is not a pod template"),
            ("spec: {containers: {}}", "it is not a pod template"),
            ("spec: {hostNetwork: maybe}", "it is not a pod template"),
            ("kind: Pod", "kind is not a field"),
            ("spec: {nodeSelektor: {a: b}}", "spec.nodeSelektor is not a field"),
            (
                "spec: {containers: [{name: '*', recources: {}}]}",
                "spec.containers[0].recources is not a field",
            ),
            ("spec: {tolerations: [{key: a}, {keys: b}]}", "spec.tolerations[1].keys is not a field"),
            ("spec:", "spec has no value"),
            ("spec: {nodeSelector: }", "spec.nodeSelector has no value"),
            ("spec: {containers: [~]}", "spec.containers[0] has no value"),
            ("metadata: {name: a}", "metadata.name cannot be set here"),
            ("metadata: {namespace: a}", "metadata.namespace cannot be set here"),
            ("metadata: {ownerReferences: []}", "metadata.ownerReferences cannot be set here"),
            ("metadata: {labels: {app.kubernetes.io/managed-by: me}}", "is reserved"),
            ("metadata: {labels: {ephemerons.qualified.io/name: a}}", "is reserved"),
            ("metadata: {annotations: {ephemerons.qualified.io/created-by: a}}", "is reserved"),
            ("metadata: {labels: {a b: c}}", "is not a label"),
            ("spec: {ephemeralContainers: []}", "spec.ephemeralContainers cannot be set here"),
            ("spec: {containers: [{image: a}]}", "spec.containers[0] has no name"),
            ("spec: {containers: [{name: proxy}]}", "spec.containers[0] has no image"),
            ("spec: {initContainers: [{name: service}]}", "spec.initContainers[0] has no image"),
        ];
        for (text, wanted) in rows {
            let said = text.parse::<Template>().expect_err(text).to_string();
            assert!(said.contains(wanted), "{text}: {said}");
            assert_eq!(said.lines().count(), 1, "{text}: {said}");
        }
    }

    #[test]
    fn what_a_pod_can_have_is_read() {
        let texts = [
            "spec: {}",
            "metadata: {labels: {team: blue}, annotations: {limits: x}}",
            "spec: {imagePullSecrets: [{name: a}], nodeSelector: {a: b}, runtimeClassName: gvisor}",
            "spec: {tolerations: [{key: a, operator: Exists, effect: NoSchedule, tolerationSeconds: 5}]}",
            "spec: {containers: [{name: '*', resources: {limits: {cpu: 1, memory: 64Mi}}}]}",
            "spec: {containers: [{name: service, env: [{name: A, value: ''}]}, {name: proxy, image: a}]}",
            "spec: {volumes: [{name: a, emptyDir: {sizeLimit: 100}}], containers: []}",
            "spec: {affinity: {nodeAffinity: {}}, dnsConfig: {options: [{name: ndots, value: '1'}]}}",
        ];
        for text in texts {
            assert_eq!(text.parse::<Template>().map(drop), Ok(()), "{text}");
        }
    }
}
