//! The demo's scripts: whose controller they find, stop and leave alone. A `sleep` plays the controller.

#![expect(clippy::expect_used, reason = "a test may fail loudly")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A folder for one test, with checkouts of the demo's scripts in it, and a folder for a cluster.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("demo-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("cluster")).expect("a folder");
        let place = Self(folder);
        for checkout in ["one", "two"] {
            place.shell(&format!(
                "mkdir -p {checkout}/tests && cp -r '{0}/k8s' {checkout}/ && cp '{0}/tests/all' {checkout}/tests/
                 printf '#!/bin/sh\\nexit 7\\n' >{checkout}/k8s/demo/check-machine
                 mkdir -p {checkout}/.demo {checkout}/target/debug elsewhere/debug
                 printf '#!/bin/sh\\nexec sleep 600\\n' >{checkout}/target/debug/run
                 chmod +x {checkout}/target/debug/run
                 cp {checkout}/target/debug/run elsewhere/debug/run",
                env!("CARGO_MANIFEST_DIR")
            ));
        }
        place
    }

    /// Runs a script in the folder.
    fn run(&self, script: &str) -> Output {
        Command::new("bash")
            .args(["-c", script])
            .current_dir(&self.0)
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("CONTEXT")
            .env("EPHEMERON_CLUSTER_DIR", self.0.join("cluster"))
            .output()
            .expect("bash runs")
    }

    /// Runs a script that must succeed; returns what it said.
    fn shell(&self, script: &str) -> String {
        let output = self.run(script);
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a line with the scripts' functions, in a checkout, with `before` ahead of it.
    fn within(&self, checkout: &str, before: &str, line: &str) -> String {
        self.shell(&format!("{before} . {checkout}/k8s/demo/common.sh; set -euo pipefail; {line}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.run(". one/k8s/demo/common.sh; stop_controller");
    }
}

#[test]
fn a_controller_is_found_whatever_the_target_folder_is_now() {
    let place = Place::new("found");
    place.within("one", "CARGO_TARGET_DIR=$PWD/elsewhere;", "start_controller");
    let pid = place.within("one", "", "controller_pid");
    assert!(Path::new("/proc").join(&pid).exists(), "{pid} runs");
    assert_eq!(place.within("two", "", "controller_pid"), pid, "from another checkout, too");
    let said = place.within("two", "", "stop_controller");
    assert!(said.contains(&format!("pid {pid}")) && said.ends_with("/one"), "{said}");
    place.within("one", "", &format!("! started {pid}"));
    place.within("one", "", "! controller_pid");
}

#[test]
fn a_pid_that_is_another_process_by_now_is_left_alone() {
    let place = Place::new("stale");
    let said = place.shell(
        "sleep 600 >/dev/null 2>&1 & pid=$!
         echo \"$pid 1 $PWD/one\" >cluster/demo
         (. one/k8s/demo/common.sh; stop_controller; ! controller_pid) && kill $pid && echo lived",
    );
    assert_eq!(said, "lived");
}

#[test]
fn tests_and_demo_stop_where_a_demo_of_another_checkout_runs() {
    let place = Place::new("shared");
    place.within("one", "", "start_controller");
    for script in ["two/tests/all", "two/k8s/demo/up", "two/k8s/demo/dev", "one/tests/all"] {
        let output = place.run(script);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{script}: {said}");
        assert!(said.contains("/one runs on") && said.contains("make demo-down"), "{script}: {said}");
    }
    // Its own demo may be started again: it goes on to look at the machine, which here is its end.
    assert_eq!(place.run("one/k8s/demo/up").status.code(), Some(7));
    // On another cluster there is nothing in the way.
    assert_eq!(place.run("EPHEMERON_CLUSTER_DIR=$PWD/other two/k8s/demo/up").status.code(), Some(7));
}

#[test]
fn a_demo_that_is_installed_is_in_the_way_of_other_checkouts_until_its_cluster_goes() {
    let place = Place::new("installed");
    place.shell("mkdir -p cluster/run && echo \"$PWD/one\" >cluster/run/demo");
    for script in ["two/tests/all", "two/k8s/demo/up", "two/k8s/demo/dev", "one/tests/all"] {
        let output = place.run(script);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{script}: {said}");
        assert!(said.contains("/one runs on") && said.contains("make demo-down"), "{script}: {said}");
    }
    for script in ["one/k8s/demo/up", "one/k8s/demo/dev", "rm -r cluster/run; two/k8s/demo/up"] {
        assert_eq!(place.run(script).status.code(), Some(7), "{script}");
    }
}

#[test]
fn an_installation_has_the_settings_that_were_named_once() {
    let place = Place::new("settings");
    place.within("one", "", "write_installation .demo/install ingress a.example/c:1 a.example:5000/a:2 EPHEMERON_DOMAIN=d.example NEW=1");
    let settings = place.shell("cat one/.demo/install/settings/settings.env");
    let domains: Vec<_> = settings.lines().filter(|line| line.starts_with("EPHEMERON_DOMAIN=")).collect();
    assert_eq!(domains, ["EPHEMERON_DOMAIN=d.example"]);
    assert!(settings.lines().any(|line| line == "NEW=1"), "{settings}");
    let written = place.shell("cat one/.demo/install/kustomization.yaml");
    for wanted in [
        "../../k8s/routes/ingress",
        "newName: a.example/c, newTag: \"1\"",
        "newName: a.example:5000/a, newTag: \"2\"",
    ] {
        assert!(written.contains(wanted), "{wanted}: {written}");
    }
}

#[test]
fn a_cluster_without_a_demo_is_not_taken_down() {
    let place = Place::new("none");
    // Instead of the tool that takes it down.
    place.shell(
        "mkdir -p one/tests/cluster
         printf '#!/bin/sh\\necho \"$@\" >>called\\n' >one/tests/cluster/cluster
         chmod +x one/tests/cluster/cluster",
    );
    let said = place.shell("one/k8s/demo/down");
    assert!(said.contains("there is no demo"), "{said}");
    assert!(!place.0.join("one/called").exists(), "{said}");
}
