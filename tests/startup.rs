//! How the programs start and end without a cluster: what they say where their settings cannot work, and
//! how they answer for themselves.

#![expect(clippy::expect_used, reason = "a test may fail loudly")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    sync::LazyLock,
};

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
        (&[domain, ("EPHEMERON_NAMESPACE", "")], "EPHEMERON_NAMESPACE (or --namespace) cannot be \"\""),
        (&[domain, ("EPHEMERON_NAMESPACE", "A b")], "EPHEMERON_NAMESPACE"),
        (&[domain, ("EPHEMERON_INGRESS_CLASS", "")], "EPHEMERON_INGRESS_CLASS"),
        (&[domain, ("EPHEMERON_GRACE_PERIOD", "soon")], "EPHEMERON_GRACE_PERIOD"),
        (&[domain, ("EPHEMERON_REQUEST_TIMEOUT", "soon")], "EPHEMERON_REQUEST_TIMEOUT"),
        (
            &[domain, ("EPHEMERON_SELECTOR", "a in b")],
            "EPHEMERON_SELECTOR (or --selector) cannot be \"a in b\"",
        ),
        (&[domain, ("EPHEMERON_LISTEN", ":8081")], "write ADDRESS:PORT, such as 127.0.0.1:8081"),
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

/// A kubeconfig whose API server does not answer: nothing listens at port 1.
static KUBECONFIG: LazyLock<String> = LazyLock::new(|| {
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/unreachable.kubeconfig");
    let text = "{apiVersion: v1, kind: Config, current-context: a, \
                clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}], \
                contexts: [{name: a, context: {cluster: a, user: a}}], users: [{name: a, user: {}}]}";
    std::fs::write(file, text).expect("a file");
    file.into()
});

/// The controller, or another program, until the test is over.
struct Controller(Child);

impl Controller {
    fn start(env: &[(&str, &str)]) -> (Self, impl Iterator<Item = String> + use<>) {
        let domain = ("EPHEMERON_DOMAIN", "example.com");
        Self::program(env!("CARGO_BIN_EXE_run"), &[&[domain], env].concat())
    }

    /// A program with the settings of a Pod.
    fn in_pod(program: &str, env: &[(&str, &str)]) -> (Self, impl Iterator<Item = String> + use<>) {
        let pod = [("KUBERNETES_SERVICE_HOST", "127.0.0.1"), ("EPHEMERON_LISTEN", "127.0.0.1:0")];
        Self::program(program, &[&pod, env].concat())
    }

    fn program(program: &str, env: &[(&str, &str)]) -> (Self, impl Iterator<Item = String> + use<>) {
        let mut child = Command::new(program)
            .env("KUBECONFIG", &*KUBECONFIG)
            .envs(env.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stderr.take().expect("standard error")).lines();
        (Self(child), lines.map(|line| line.expect("a line")))
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn it_answers_for_itself_from_the_start_until_it_ends() {
    let (mut controller, mut lines) = Controller::start(&[("EPHEMERON_LISTEN", "127.0.0.1:0")]);
    let line = lines.find(|line| line.contains("/healthz")).expect("it says where it listens");
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON where there is no terminal");
    let address = line["address"].as_str().expect("an address");
    assert!(lines.any(|line| line.contains("cannot reach the API server")));

    assert!(get(address, "/healthz").starts_with("HTTP/1.1 200"));
    let ready = get(address, "/readyz");
    let named = ready.contains("API server: it cannot be reached");
    assert!(ready.starts_with("HTTP/1.1 503") && named, "{ready}");
    assert!(get(address, "/metrics").contains("\nephemeron_ephemerons{phase=\"Available\"} 0\n"));

    let id = controller.0.id().to_string();
    assert!(Command::new("kill").arg(&id).status().expect("kill runs").success());
    assert_eq!(controller.0.wait().expect("it ends").code(), Some(0));
    assert!(lines.any(|line| line.contains("stopping")));
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn a_port_that_is_taken_is_named_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = run(&[
        ("EPHEMERON_DOMAIN", "example.com"),
        ("KUBECONFIG", &KUBECONFIG),
        ("EPHEMERON_LISTEN", &address),
    ]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("set EPHEMERON_LISTEN"), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
}

#[test]
fn logs_are_as_they_are_asked_for_and_what_cannot_be_read_of_it_is_said() {
    let off = ("EPHEMERON_LISTEN", "off");
    let rows = [
        (("EPHEMERON_LOG_FORMAT", "json"), "{", "cannot reach the API server"),
        (("EPHEMERON_LOG_FORMAT", "text"), "2", " WARN cannot reach the API server"),
        (("EPHEMERON_LOG_FORMAT", "xml"), "{", "write auto, text or json"),
        (("EPHEMERON_LOG", "a=b=c"), "{", "is not a filter"),
    ];
    for (variable, start, wanted) in rows {
        let (_controller, mut lines) = Controller::start(&[off, variable]);
        let line = lines.find(|line| line.contains(wanted)).expect(wanted);
        assert!(line.starts_with(start) && !line.contains('\u{1b}'), "{line}");
    }
}

const RUN: &str = env!("CARGO_BIN_EXE_run");
const API: &str = env!("CARGO_BIN_EXE_api");
const SECRET: (&str, &str) = ("JWT_SECRET", "a secret of the tests, long enough");

/// A file with this in it.
fn file(name: &str, text: &str) -> String {
    let path = format!("{}/{name}", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&path, text).expect("it is written");
    path
}

/// Where a program answers for itself, as its log says.
fn address(lines: &mut impl Iterator<Item = String>) -> String {
    let line = lines.find(|line| line.contains("/metrics are served")).expect("it says where it listens");
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON where there is no terminal");
    line["address"].as_str().expect("an address").into()
}

#[test]
fn in_a_pod_what_is_wrong_is_said_until_somebody_ends_it() {
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], i32, &'a str);
    let good = file("good.yaml", "apps: {shop: a-key-of-its-own}");
    let keyless = file("keyless.yaml", "apps: {shop: {keyFile: /nonexistent/key}}");
    let template = file("wrong-template.yaml", "spec: {hostNetwork: true}");
    let domain = ("EPHEMERON_DOMAIN", "example.com");
    let rows: &[Row] = &[
        (RUN, &[], 2, "EPHEMERON_DOMAIN (or --domain) is not set"),
        (RUN, &[domain, ("EPHEMERON_LEASE", "none")], 2, "EPHEMERON_LEASE (or --lease) cannot be"),
        (RUN, &[domain, ("EPHEMERON_LEASE_DURATION", "1s")], 2, "write 3s to 10m"),
        (RUN, &[domain, ("EPHEMERON_POD_TEMPLATE", &template)], 2, "spec.hostNetwork must not be true"),
        (
            RUN,
            &[domain, ("EPHEMERON_PRESET_SEED", "/nonexistent/seed")],
            2,
            "\"/nonexistent/seed\": it cannot be",
        ),
        (RUN, &[domain, ("KUBECONFIG", "/nonexistent")], 1, "no way to the API server"),
        (API, &[SECRET, ("EPHEMERON_CONFIG", "/nonexistent")], 2, "\"/nonexistent\": it cannot be read"),
        (API, &[SECRET, ("EPHEMERON_CONFIG", &keyless)], 2, "apps.shop: keyFile \"/nonexistent/key\""),
        (API, &[("EPHEMERON_CONFIG", &good)], 2, "JWT_SECRET (or --jwt-secret) is not set"),
        (API, &[("EPHEMERON_CONFIG", &good), ("JWT_SECRET", "a,secret")], 2, "cannot be that of the example"),
        (
            API,
            &[SECRET, ("EPHEMERON_CONFIG", "k8s/api/config.yaml")],
            2,
            "apps.example cannot have the key of the example",
        ),
    ];
    for (program, env, code, wanted) in rows {
        let (mut program, mut lines) = Controller::in_pod(program, env);
        let first = lines.next().expect("a line");
        let said: serde_json::Value = serde_json::from_str(&first).expect("JSON");
        assert!(said["message"].as_str().is_some_and(|message| message.contains(wanted)), "{env:?}: {first}");
        let address = address(&mut lines);
        assert!(get(&address, "/healthz").starts_with("HTTP/1.1 200"), "{env:?}");
        let ready = get(&address, "/readyz");
        assert!(ready.starts_with("HTTP/1.1 503") && ready.contains(wanted), "{env:?}: {ready}");
        let id = program.0.id().to_string();
        assert!(Command::new("kill").arg(&id).status().expect("kill runs").success());
        assert_eq!(program.0.wait().expect("it ends").code(), Some(*code), "{env:?}");
    }
}

#[test]
fn in_a_pod_a_file_that_comes_late_is_not_too_late() {
    let template = file("late-template.yaml", "spec: {hostNetwork: true}");
    let env = [("EPHEMERON_DOMAIN", "example.com"), ("EPHEMERON_POD_TEMPLATE", template.as_str())];
    let (_controller, mut lines) = Controller::in_pod(RUN, &env);
    assert!(lines.any(|line| line.contains("spec.hostNetwork must not be true")));
    file("late-template.yaml", "spec: {nodeSelector: {a: b}}");
    assert!(lines.any(|line| line.contains("the settings can work now")));
    assert!(lines.any(|line| line.contains("cannot reach the API server")));
}

#[test]
fn in_a_pod_who_cannot_be_asked_ends() {
    let pod = ("KUBERNETES_SERVICE_HOST", "127.0.0.1");
    for (listen, code) in [(":8081", 2), ("off", 2)] {
        let output = run(&[pod, ("EPHEMERON_LISTEN", listen)]);
        assert_eq!(output.status.code(), Some(code), "{listen}");
    }
    // So does who is asked once.
    let output = Command::new(RUN).arg("--check").env_remove("EPHEMERON_DOMAIN").envs([pod]).output();
    assert_eq!(output.expect("it runs").status.code(), Some(2));
}

#[test]
fn a_folder_of_presets_that_is_missing_is_named() {
    let config = file("presets.yaml", "apps: {shop: a-key-of-its-own}");
    let (_api, mut lines) = Controller::in_pod(
        API,
        &[
            SECRET,
            ("EPHEMERON_CONFIG", &config),
            ("EPHEMERON_API_LISTEN", "127.0.0.1:0"),
            ("EPHEMERON_PRESETS", "/nonexistent/presets"),
        ],
    );
    let address = address(&mut lines);
    assert!(lines.any(|line| line.contains("/nonexistent/presets")));
    let ready = get(&address, "/readyz");
    assert!(ready.contains("\npresets of /nonexistent/presets: "), "{ready}");
}
