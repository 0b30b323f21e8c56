//! The list by examples: what is not on it, and what is said of that.

use serde_json::json;

use super::{having, outcome, refusal, with};
use crate::{labels, policy::SECRETS};

#[test]
fn fields_of_a_pod_that_a_preset_does_not_set_are_refused_with_the_reason() {
    let rows = [
        ("serviceAccountName", json!("admin"), "a service gets no credentials"),
        ("serviceAccount", json!("admin"), "a service gets no credentials"),
        ("automountServiceAccountToken", json!(true), "a service gets no credentials"),
        ("imagePullSecrets", json!([{"name": "a"}]), "a service gets no credentials"),
        ("nodeName", json!("node"), "where a Pod runs"),
        ("nodeSelector", json!({"a": "b"}), "where a Pod runs"),
        ("affinity", json!({}), "where a Pod runs"),
        ("tolerations", json!([{"operator": "Exists"}]), "where a Pod runs"),
        ("topologySpreadConstraints", json!([]), "where a Pod runs"),
        ("schedulerName", json!("mine"), "where a Pod runs"),
        ("schedulingGates", json!([]), "where a Pod runs"),
        ("readinessGates", json!([]), "where a Pod runs"),
        ("priority", json!(1_000_000_000), "where a Pod runs"),
        ("priorityClassName", json!("system-node-critical"), "where a Pod runs"),
        ("preemptionPolicy", json!("Never"), "where a Pod runs"),
        ("runtimeClassName", json!("mine"), "where a Pod runs"),
        ("overhead", json!({}), "where a Pod runs"),
        ("os", json!({"name": "windows"}), "where a Pod runs"),
        ("resourceClaims", json!([]), "where a Pod runs"),
        ("resources", json!({}), "where a Pod runs"),
        ("hostNetwork", json!(true), "a service stays within namespaces of its own"),
        ("hostPID", json!(false), "a service stays within namespaces of its own"),
        ("hostIPC", json!(true), "a service stays within namespaces of its own"),
        ("hostUsers", json!(false), "a service stays within namespaces of its own"),
        ("shareProcessNamespace", json!(true), "its containers would look into"),
        ("ephemeralContainers", json!([]), "these are for people"),
        ("hostname", json!("a"), "a Pod's name"),
        ("subdomain", json!("a"), "a Pod's name"),
        ("setHostnameAsFQDN", json!(true), "a Pod's name"),
        ("hostAliases", json!([]), "a Pod's name"),
        ("dnsPolicy", json!("Default"), "a Pod's name"),
        ("dnsConfig", json!({}), "a Pod's name"),
        ("enableServiceLinks", json!(true), "a Pod's name"),
        ("activeDeadlineSeconds", json!(1), "the end is the Ephemeron's"),
    ];
    for (name, value, why) in rows {
        let said = refusal(&with(&json!({ name: value })));
        let wanted = format!("spec.{name} cannot be set by a preset: {why}");
        assert!(said.starts_with(&wanted), "{said}");
        // Nor where it has no value.
        assert!(refusal(&with(&json!({ name: null }))).starts_with(&wanted));
    }
    for name in ["name", "namespace", "generateName", "ownerReferences", "finalizers", "uid", "managedFields"]
    {
        let mut rendered = with(&json!({}));
        rendered["metadata"] = json!({ name: "a" });
        let wanted = format!("metadata.{name} cannot be set by a preset: whose a Pod is");
        assert!(refusal(&rendered).starts_with(&wanted));
    }
}

#[test]
fn fields_of_containers_and_volumes_that_a_preset_does_not_set_are_refused() {
    let secret = |name: &str| json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": name, "key": "a"}}}]});
    let rows = [
        (json!({"envFrom": []}), "envFrom cannot be set by a preset"),
        (json!({"stdin": true}), "stdin cannot be set"),
        (json!({"tty": true}), "tty cannot be set"),
        (json!({"volumeDevices": []}), "volumeDevices cannot be set"),
        (json!({"terminationMessagePath": "/a"}), "terminationMessagePath cannot be set"),
        (json!({"restartPolicy": "Always"}), "restartPolicy cannot be set"),
        (json!({"ports": [{"containerPort": 80, "hostPort": 80}]}), "ports[0].hostPort cannot be set"),
        (json!({"ports": [{"containerPort": 80, "hostIP": "0.0.0.0"}]}), "ports[0].hostIP cannot be set"),
        (json!({"resources": {"claims": []}}), "resources.claims cannot be set"),
        (
            json!({"resources": {"limits": {"nvidia.com/gpu": 1}}}),
            "resources.limits.nvidia.com/gpu is not a field that a preset can set: here it can set cpu, memory, \
             ephemeral-storage",
        ),
        (
            json!({"volumeMounts": [{"name": "a", "mountPath": "/a", "mountPropagation": "Bidirectional"}]}),
            "volumeMounts[0].mountPropagation cannot be set",
        ),
        (
            json!({"volumeMounts": [{"name": "a", "mountPath": "/a", "subPathExpr": "$(A)"}]}),
            "volumeMounts[0].subPathExpr cannot be set",
        ),
        (
            json!({"volumeMounts": [{"name": "a", "mountPath": "/a", "subPath": "b/../.."}]}),
            "volumeMounts[0].subPath must be a relative path without ..",
        ),
        (
            json!({"volumeMounts": [{"name": "token", "mountPath": "/a"}]}),
            "volumeMounts[0].name names the volume token, which is not among spec.volumes",
        ),
        (
            json!({"readinessProbe": {"httpGet": {"port": 80, "host": "a"}}}),
            "readinessProbe.httpGet.host cannot",
        ),
        (
            json!({"livenessProbe": {"tcpSocket": {"port": 80, "host": ""}}}),
            "livenessProbe.tcpSocket.host cannot",
        ),
        (
            json!({"lifecycle": {"preStop": {"httpGet": {"port": 80}}}}),
            "lifecycle.preStop.httpGet cannot be set",
        ),
        (json!({"lifecycle": {"postStart": {"sleep": {"seconds": 1}}}}), "lifecycle.postStart.sleep cannot"),
        (
            json!({"securityContext": {"privileged": true}}),
            "securityContext.privileged must not be true at the Pod Security level baseline",
        ),
        (
            json!({"securityContext": {"procMount": "Unmasked"}}),
            "securityContext.procMount must be Default at the Pod Security level baseline",
        ),
        (
            json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}),
            "securityContext.capabilities.add must only have capabilities that containers have anyway",
        ),
        (json!({"securityContext": {"seLinuxOptions": {}}}), "securityContext.seLinuxOptions cannot be set"),
        (json!({"securityContext": {"windowsOptions": {}}}), "securityContext.windowsOptions cannot be set"),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
            "securityContext.seccompProfile.type must be RuntimeDefault, and is \"Unconfined\"",
        ),
        (
            json!({"securityContext": {"appArmorProfile": {"type": "Localhost", "localhostProfile": "a"}}}),
            "securityContext.appArmorProfile.localhostProfile cannot be set",
        ),
        (
            secret("other"),
            "env[0].valueFrom.secretKeyRef.name must be ephemeron-secrets: a preset reads no Secret",
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}}]}),
            "env[0].valueFrom.configMapKeyRef cannot be set by a preset: mount the ConfigMap",
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]}),
            "env[0].valueFrom.fieldRef.fieldPath must be one of metadata.name, ",
        ),
        (json!({"image": "Nginx"}), "image: \"Nginx\" is not an image reference"),
    ];
    for (container, wanted) in rows {
        let said = refusal(&having(&container));
        assert!(said.starts_with(&format!("spec.containers[0].{wanted}")), "{said}");
    }
    assert!(outcome(&having(&secret(SECRETS))).is_ok());
    let sources =
        ["secret", "projected", "downwardAPI", "hostPath", "image", "persistentVolumeClaim", "csi", "nfs"];
    for source in sources {
        let said = refusal(&with(&json!({"volumes": [{"name": "a", source: {}}]})));
        assert!(said.starts_with(&format!("spec.volumes[0].{source} cannot be set by a preset: ")), "{said}");
    }
}

#[test]
fn what_is_no_template_is_refused_by_the_field() {
    let deep = (0..100).fold(json!({}), |inner, _| json!({ "a": inner }));
    let rows = [
        (json!({}), "spec is missing"),
        (json!({"spec": null}), "spec has no value: write one, or leave it out"),
        (json!({"spec": []}), "spec must be an object, and is a list"),
        (json!({"spec": {}}), "spec.containers is missing"),
        (json!({"spec": {"containers": []}}), "spec.containers must have at least 1"),
        (json!({"spec": {"containers": {}}}), "spec.containers must be a list, and is an object"),
        (json!({"spec": {"containers": [{"image": "a"}]}}), "spec.containers[0].name is missing"),
        (json!({"spec": {"containers": [{"name": "a"}]}}), "spec.containers[0].image is missing"),
        (
            json!({"spec": {"containers": [{"name": "*", "image": "a"}]}}),
            "spec.containers[0].name must be a name of",
        ),
        (
            json!({"kind": "Pod", "spec": {}}),
            "kind cannot be set by a preset: a template has metadata and spec",
        ),
        (
            with(&json!({"contaners": []})),
            "spec.contaners is not a field that a preset can set: did you mean containers?",
        ),
        (
            with(&json!({"init_containers": []})),
            "spec.init_containers is not a field that a preset can set: did you mean initContainers?",
        ),
        (
            with(&json!({"zzz": []})),
            "spec.zzz is not a field that a preset can set: here it can set containers, ",
        ),
        (
            having(&json!({"Image": "a"})),
            "spec.containers[0].Image is not a field that a preset can set: did you mean image?",
        ),
        (
            having(&json!({"comand": []})),
            "spec.containers[0].comand is not a field that a preset can set: did you mean command?",
        ),
        (
            having(&json!({"a\u{202e}\n": 1})),
            "spec.containers[0].a\\u{202e}\\n is not a field that a preset can set",
        ),
        (
            having(&json!({ "a".repeat(999): 1 })),
            &format!("spec.containers[0].{}… is not a field", "a".repeat(80)),
        ),
        (having(&json!({"args": deep})), "spec.containers[0].args must be a list, and is an object"),
        (having(&json!({"args": [1]})), "spec.containers[0].args[0] must be text, and is a number"),
        (
            having(&json!({"args": ["a\u{0}"]})),
            "spec.containers[0].args[0] must be text of at most 32 KiB without NUL",
        ),
    ];
    for (rendered, wanted) in rows {
        let said = refusal(&rendered);
        assert!(said.starts_with(wanted), "{said}");
    }
}

#[test]
fn values_that_a_field_cannot_have_are_refused() {
    let rows = [
        (
            having(&json!({"env": [{"name": "1A", "value": "a"}]})),
            "spec.containers[0].env[0].name must be a name",
        ),
        (
            having(
                &json!({"env": [{"name": "A", "value": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            ),
            "spec.containers[0].env[0] must have at most one of value, valueFrom, and has 2",
        ),
        (
            having(&json!({"env": [{"name": "A"}, {"name": "A"}]})),
            "spec.containers[0].env[1].name is that of spec.containers[0].env[0], too",
        ),
        (
            having(&json!({"livenessProbe": {}})),
            "spec.containers[0].livenessProbe must have one of httpGet, tcpSocket, exec, grpc, and has 0",
        ),
        (
            having(&json!({"ports": [{"containerPort": 0}]})),
            "spec.containers[0].ports[0].containerPort must be a whole number from 1 to 65535, and is 0",
        ),
        (
            having(&json!({"ports": [{"containerPort": 80.5}]})),
            "spec.containers[0].ports[0].containerPort must be a whole number from 1 to 65535, and is 80.5",
        ),
        (
            having(&json!({"resources": {"limits": {"cpu": "much"}}})),
            "spec.containers[0].resources.limits.cpu: \"much\" is not a quantity",
        ),
        (
            having(&json!({"resources": {"limits": {"cpu": -1}}})),
            "spec.containers[0].resources.limits.cpu must not be negative",
        ),
        (
            having(&json!({"resources": {"limits": {"cpu": true}}})),
            "spec.containers[0].resources.limits.cpu must be a quantity, and is true or false",
        ),
        (
            having(&json!({"imagePullPolicy": "Sometimes"})),
            "spec.containers[0].imagePullPolicy must be one of Always, IfNotPresent, Never, and is \"Sometimes\"",
        ),
        (
            having(&json!({"securityContext": {"runAsUser": -1}})),
            "spec.containers[0].securityContext.runAsUser must be a whole number from 0 to 2147483647",
        ),
        (with(&json!({"restartPolicy": "Never"})), "spec.restartPolicy must be Always, and is \"Never\""),
        (
            with(&json!({"terminationGracePeriodSeconds": 301})),
            "spec.terminationGracePeriodSeconds must be a whole number from 0 to 300, and is 301",
        ),
        (
            with(&json!({"volumes": [{"name": "a"}]})),
            "spec.volumes[0] must have one of emptyDir, configMap, and has 0",
        ),
        (
            with(&json!({"initContainers": [{"name": "web", "image": "a"}]})),
            "spec.containers[0].name is that of spec.initContainers[0], too",
        ),
        (
            with(&json!({"initContainers": [{"name": "a", "image": "a", "lifecycle": {}}]})),
            "spec.initContainers[0].lifecycle is for what runs on",
        ),
    ];
    for (rendered, wanted) in rows {
        let said = refusal(&rendered);
        assert!(said.starts_with(wanted), "{said}");
    }
}

#[test]
fn labels_and_annotations_steer_nothing_else() {
    let rows = [
        ("app", true, true),
        ("preset.ephemeron/tier", true, true),
        ("app.kubernetes.io/name", true, false),
        ("app.kubernetes.io/managed-by", false, false),
        ("ephemerons.qualified.io/name", false, false),
        ("ephemerons.qualified.io/group", false, false),
        ("ephemerons.qualified.io/created-by", false, false),
        ("node-role.kubernetes.io/a", false, false),
        ("kubernetes.io/a", false, false),
        ("sidecar.istio.io/inject", false, false),
        ("container.apparmor.security.beta.kubernetes.io/web", false, false),
        ("cluster-autoscaler.kubernetes.io/safe-to-evict", false, false),
        ("azure.workload.identity/use", false, false),
        ("a b", false, false),
        ("", false, false),
        ("/a", false, false),
        ("preset.ephemeron/", false, false),
        ("preset.ephemeron/a/b", false, false),
    ];
    for (key, as_label, as_annotation) in rows {
        for (map, fits) in [("labels", as_label), ("annotations", as_annotation)] {
            let mut rendered = with(&json!({}));
            rendered["metadata"] = json!({ map: { key: "a" } });
            assert_eq!(outcome(&rendered).is_ok(), fits, "{map} {key}");
            if !fits {
                let said = refusal(&rendered);
                assert!(
                    said.starts_with(&format!("metadata.{map}[{key}] cannot be set by a preset: ")),
                    "{said}"
                );
            }
        }
    }
    let mut rendered = with(&json!({}));
    rendered["metadata"] = json!({"labels": {"a": "b c"}});
    assert!(refusal(&rendered).contains(labels::RULE));
}
