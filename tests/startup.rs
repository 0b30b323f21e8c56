//! What the controller says where its settings cannot work: one line that names the variable.

#![expect(clippy::expect_used, reason = "a test may fail loudly")]

use std::process::{Command, Output};

fn run(env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_run"))
        .env_remove("EPHEMERON_DOMAIN")
        .env("KUBECONFIG", "/nonexistent/kubeconfig")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .envs(env.iter().copied())
        .output()
        .expect("it runs")
}

#[test]
fn a_wrong_setting_is_named_in_one_line() {
    let long = "a".repeat(190);
    let domain = ("EPHEMERON_DOMAIN", "example.com");
    let rows: &[(&[(&str, &str)], &str)] = &[
        (&[], "EPHEMERON_DOMAIN (or --domain) is not set"),
        (&[("EPHEMERON_DOMAIN", "")], "EPHEMERON_DOMAIN (or --domain) cannot be \"\""),
        (&[("EPHEMERON_DOMAIN", "not_a_domain")], "\"not_a_domain\" is not a DNS label"),
        (&[("EPHEMERON_DOMAIN", &long)], "it has 190 characters; at most 189"),
        (&[("EPHEMERON_DOMAIN", "192.0.2.1")], "it looks like an address"),
        (&[domain, ("EPHEMERON_GATEWAY", "one")], "EPHEMERON_GATEWAY (or --gateway) cannot be \"one\""),
        (&[domain, ("EPHEMERON_PROBE_ADDRESS", "http://a")], "EPHEMERON_PROBE_ADDRESS"),
        (&[domain, ("EPHEMERON_GRACE_PERIOD", "soon")], "EPHEMERON_GRACE_PERIOD"),
        (&[domain, ("EPHEMERON_REQUEST_TIMEOUT", "soon")], "EPHEMERON_REQUEST_TIMEOUT"),
        (
            &[domain, ("EPHEMERON_POD_SECURITY", "privileged")],
            "EPHEMERON_POD_SECURITY (or --pod-security) cannot be",
        ),
        (
            &[domain, ("EPHEMERON_IMAGES", "a,*b")],
            "EPHEMERON_IMAGES (or --images) cannot be \"a,*b\": \"*b\" is neither",
        ),
        (&[domain, ("EPHEMERON_IMAGES", "")], "EPHEMERON_IMAGES"),
        (&[domain, ("EPHEMERON_INGRESS_ANNOTATIONS", "a*")], "EPHEMERON_INGRESS_ANNOTATIONS"),
        (&[domain, ("EPHEMERON_MAX_RESOURCES", "cpu=much")], "EPHEMERON_MAX_RESOURCES"),
        (&[domain, ("EPHEMERON_MAX_RESOURCES", "")], "EPHEMERON_MAX_RESOURCES"),
        (&[domain, ("EPHEMERON_MAX_LIFETIME", "1 day")], "EPHEMERON_MAX_LIFETIME"),
        (&[domain, ("EPHEMERON_MAX_LIFETIME", "0s")], "write more than 0"),
        (
            &[domain, ("EPHEMERON_POD_TEMPLATE", "/nonexistent/pod.yaml")],
            "EPHEMERON_POD_TEMPLATE (or --pod-template) cannot be \"/nonexistent/pod.yaml\": it cannot be read",
        ),
    ];
    for (env, wanted) in rows {
        let output = run(env);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{env:?}: {said}");
        assert!(said.contains(wanted), "{env:?}: {said}");
        assert_eq!(said.trim().lines().count(), 1, "{env:?}: {said}");
    }
}

#[test]
fn a_wrong_pod_template_is_named_in_one_line() {
    type Row = (&'static str, &'static [(&'static str, &'static str)], &'static str);
    let rows: &[Row] = &[
        ("", &[], "it is empty"),
        ("spec: [", &[], "it is not YAML"),
        ("spec: {nodeSelektor: {a: b}}", &[], "spec.nodeSelektor is not a field of a pod template"),
        ("spec: {hostNetwork: 1}", &[], "it is not a pod template"),
        ("metadata: {labels: {ephemerons.qualified.io/name: a}}", &[], "is reserved"),
        ("spec: {hostNetwork: true}", &[], "spec.hostNetwork must not be true"),
        (
            "spec: {securityContext: {runAsNonRoot: false}}",
            &[("EPHEMERON_POD_SECURITY", "restricted")],
            "spec.securityContext.runAsNonRoot must be true at the Pod Security level restricted",
        ),
        (
            "spec: {containers: [{name: proxy, image: proxy}]}",
            &[("EPHEMERON_IMAGES", "nginx")],
            "docker.io/library/proxy:latest is not allowed here",
        ),
        (
            "spec: {containers: [{name: '*', resources: {limits: {cpu: 2}}}]}",
            &[("EPHEMERON_MAX_RESOURCES", "cpu=1")],
            "2 is more than the 1",
        ),
    ];
    for (index, (template, env, wanted)) in rows.iter().enumerate() {
        let file = format!("{}/pod-template-{index}.yaml", env!("CARGO_TARGET_TMPDIR"));
        std::fs::write(&file, template).expect("it is written");
        let mut all = vec![("EPHEMERON_DOMAIN", "example.com"), ("EPHEMERON_POD_TEMPLATE", file.as_str())];
        all.extend_from_slice(env);
        let output = run(&all);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{template}: {said}");
        let named = format!("EPHEMERON_POD_TEMPLATE (or --pod-template) cannot be {file:?}: ");
        assert!(said.starts_with(&named) && said.contains(wanted), "{template}: {said}");
        assert_eq!(said.trim().lines().count(), 1, "{template}: {said}");
    }
}

#[test]
fn a_missing_kubeconfig_is_named_in_one_line() {
    let output = run(&[("EPHEMERON_DOMAIN", "example.com")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/nonexistent/kubeconfig") && said.contains("set KUBECONFIG"), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
}
