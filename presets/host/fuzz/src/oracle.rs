//! Looks at a Pod that was let through, and knows nothing of the table by which it was.

use std::collections::BTreeSet;

use ephemeron_preset_host::policy::security::{Level, check};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

/// Fields that are nowhere in a preset's Pod.
const NOWHERE: &[&str] = &[
    "activeDeadlineSeconds",
    "affinity",
    "claims",
    "configMapKeyRef",
    "csi",
    "deletionTimestamp",
    "dnsConfig",
    "dnsPolicy",
    "downwardAPI",
    "envFrom",
    "ephemeral",
    "ephemeralContainers",
    "finalizers",
    "generateName",
    "host",
    "hostAliases",
    "hostIP",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostPath",
    "hostPort",
    "hostUsers",
    "hostname",
    "imagePullSecrets",
    "localhostProfile",
    "managedFields",
    "mountPropagation",
    "namespace",
    "nfs",
    "nodeName",
    "nodeSelector",
    "os",
    "overhead",
    "ownerReferences",
    "persistentVolumeClaim",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "projected",
    "readinessGates",
    "resourceClaims",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "seLinuxOptions",
    "secret",
    "serviceAccount",
    "serviceAccountName",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "sleep",
    "stdin",
    "stdinOnce",
    "subPathExpr",
    "subdomain",
    "tolerations",
    "topologySpreadConstraints",
    "tty",
    "uid",
    "volumeDevices",
    "windowsOptions",
];

/// What is wrong with a Pod that comes of a preset at this level, where the installation adds nothing.
///
/// # Errors
///
/// The field that should not be there.
pub fn judge(level: Level, pod: &PodTemplateSpec) -> Result<(), String> {
    check(level, pod).map_err(|excess| format!("{}: {}", excess.field, excess.rule))?;
    let pod = serde_json::to_value(pod).map_err(|error| error.to_string())?;
    metadata(&pod["metadata"])?;
    walk(&pod["spec"], "spec")?;
    let spec = &pod["spec"];
    must(spec["automountServiceAccountToken"] == false, "the token of a ServiceAccount")?;
    must(spec["enableServiceLinks"] == false, "links to Services")?;
    must(spec["resources"].is_null(), "resources of the whole Pod")?;
    must(spec["restartPolicy"].is_null() || spec["restartPolicy"] == "Always", "a Pod that ends")?;
    must(spec["terminationGracePeriodSeconds"].as_i64().is_none_or(|grace| grace <= 300), "a long end")?;
    let volumes: BTreeSet<&str> =
        items(&spec["volumes"]).filter_map(|volume| volume["name"].as_str()).collect();
    for volume in items(&spec["volumes"]) {
        let known = volume.as_object().is_some_and(|volume| {
            volume.len() == 2 && (volume.contains_key("emptyDir") || volume.contains_key("configMap"))
        });
        must(known, "a volume that is neither emptyDir nor configMap")?;
    }
    must(volumes.len() == items(&spec["volumes"]).count() && volumes.len() <= 20, "volumes")?;
    let all = || items(&spec["containers"]).chain(items(&spec["initContainers"]));
    let names: BTreeSet<&str> = all().filter_map(|container| container["name"].as_str()).collect();
    must(names.len() == all().count() && !names.contains("*"), "names of containers")?;
    must((1..=10).contains(&items(&spec["containers"]).count()), "containers")?;
    must(items(&spec["initContainers"]).count() <= 10, "init containers")?;
    for container in all() {
        must(container["image"].as_str().is_some_and(|image| !image.is_empty()), "no image")?;
        must(items(&container["env"]).count() <= 256, "variables")?;
        for variable in items(&container["env"]) {
            let source = &variable["valueFrom"];
            let secret = &source["secretKeyRef"]["name"];
            must(secret.is_null() || secret == "ephemeron-secrets", "somebody else's Secret")?;
            let path = source["fieldRef"]["fieldPath"].as_str().unwrap_or_default();
            must(!path.starts_with("spec.") && !path.contains("host"), "a field of the node")?;
        }
        for mount in items(&container["volumeMounts"]) {
            must(
                mount["name"].as_str().is_some_and(|name| volumes.contains(name)),
                "somebody else's volume",
            )?;
            let path = mount["subPath"].as_str().unwrap_or_default();
            must(
                !path.starts_with('/') && !path.split('/').any(|part| part == ".."),
                "a way out of a volume",
            )?;
        }
        let resources = &container["resources"];
        for name in [&resources["limits"], &resources["requests"]].into_iter().flat_map(keys) {
            must(["cpu", "memory", "ephemeral-storage"].contains(&name), "a resource of another sort")?;
        }
        must(container["securityContext"]["privileged"] != true, "privileged")?;
    }
    Ok(())
}

fn metadata(metadata: &Value) -> Result<(), String> {
    must(keys(metadata).all(|name| ["labels", "annotations"].contains(&name)), "metadata")?;
    for key in keys(&metadata["labels"]).chain(keys(&metadata["annotations"])) {
        must(!key.starts_with("ephemerons.qualified.io/"), "a key of ours")?;
        must(key != "app.kubernetes.io/managed-by", "a key of ours")?;
        let domain = key.split_once('/').map_or("", |(domain, _)| domain);
        must(["", "app.kubernetes.io", "preset.ephemeron"].contains(&domain), "a key of other software")?;
    }
    Ok(())
}

fn walk(value: &Value, place: &str) -> Result<(), String> {
    match value {
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            let place = format!("{place}.{name}");
            must(!NOWHERE.contains(&name.as_str()), &place)?;
            walk(value, &place)
        }),
        Value::Array(items) => items.iter().try_for_each(|item| walk(item, place)),
        Value::String(text) => must(!text.contains('\0'), &format!("{place} with a NUL")),
        _ => Ok(()),
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn keys(value: &Value) -> impl Iterator<Item = &str> {
    value.as_object().into_iter().flat_map(|fields| fields.keys().map(String::as_str))
}

fn must(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("it was let through: {what}")) }
}
