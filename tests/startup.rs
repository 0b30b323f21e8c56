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
fn a_missing_kubeconfig_is_named_in_one_line() {
    let output = run(&[("EPHEMERON_DOMAIN", "example.com")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/nonexistent/kubeconfig") && said.contains("set KUBECONFIG"), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
}
