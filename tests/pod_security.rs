//! Our checks of the Pod Security Standards against the cases that Kubernetes publishes for its own.

#![expect(clippy::expect_used, reason = "a test may fail loudly")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ephemeron::policy::{
    Policy, Rules,
    security::{Level, check},
};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use serde_json::Value;

/// The cases that lack what the level asks for, and are given it.
const MENDED: &[&str] = &[
    "allowprivilegeescalation2.yaml",
    "allowprivilegeescalation3.yaml",
    "capabilities_restricted0.yaml",
    "capabilities_restricted1.yaml",
    "runasnonroot0.yaml",
    "seccompprofile_restricted0.yaml",
    "seccompprofile_restricted2.yaml",
    "seccompprofile_restricted3.yaml",
];

/// Where Go keeps the module with the cases: the test cluster is built with it.
fn module() -> PathBuf {
    let node = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/node");
    let go = |arguments: &[&str]| {
        let once =
            || Command::new("go").args(arguments).current_dir(&node).output().expect("Go is installed");
        let output = once();
        // What it fetches may not have come.
        let output = if output.status.success() { output } else { once() };
        assert!(output.status.success(), "go {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let name = "k8s.io/pod-security-admission";
    go(&["mod", "download", name]);
    go(&["list", "-m", "-f", "{{.Dir}}", name]).into()
}

/// `v1.35` as (1, 35).
fn version(name: &str) -> Option<(u32, u32)> {
    let (major, minor) = name.strip_prefix('v')?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the module has its cases");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

/// The cases of the latest version that have this verdict, by their names.
fn cases(module: &Path, level: &str, verdict: &str) -> Vec<(String, String)> {
    let versions = names(&module.join(level));
    let latest = versions.iter().max_by_key(|name| version(name)).expect("a version");
    let folder = module.join(level).join(latest).join(verdict);
    let cases = names(&folder);
    assert!(cases.len() >= 10, "only {} cases in {}", cases.len(), folder.display());
    let read = |case: String| {
        let text = fs::read_to_string(folder.join(&case)).expect("a case");
        (format!("{level}/{latest}/{verdict}/{case}"), text)
    };
    cases.into_iter().map(read).collect()
}

#[test]
fn the_published_cases_pass_and_fail_as_they_should() {
    let module = module().join("test/testdata");
    for (level, name) in [(Level::Baseline, "baseline"), (Level::Restricted, "restricted")] {
        let mut wrong = Vec::new();
        for (verdict, should_pass) in [("pass", true), ("fail", false)] {
            for (case, text) in cases(&module, name, verdict) {
                let Pod { metadata, spec, .. } = serde_saphyr::from_str(&text).expect("a Pod");
                let outcome = check(level, &PodTemplateSpec { metadata: Some(metadata), spec });
                if outcome.is_ok() != should_pass {
                    wrong.push(format!("{case}: {outcome:?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

/// A case as a preset would render it: a Pod has a name, a template has none.
fn rendered(text: &str) -> Value {
    let mut pod: Value = serde_saphyr::from_str(text).expect("a Pod");
    let mut template = serde_json::json!({ "spec": pod["spec"].take() });
    let mut metadata = pod["metadata"].take();
    metadata.as_object_mut().expect("metadata").remove("name");
    template["metadata"] = metadata;
    template
}

#[test]
fn a_preset_cannot_render_what_the_published_cases_forbid() {
    let module = module().join("test/testdata");
    for (level, name) in [(Level::Baseline, "baseline"), (Level::Restricted, "restricted")] {
        let policy = Policy::new(Rules { level, ..Rules::default() }).expect("rules");
        let (mut wrong, mut mended) = (Vec::new(), Vec::new());
        for (case, text) in cases(&module, name, "fail") {
            let template = rendered(&text);
            match policy.admit_rendered(template.as_object().expect("an object")) {
                Err(violation) => {
                    let said = violation.to_string();
                    let names_it = said.starts_with("spec.") || said.starts_with("metadata.annotations");
                    if !names_it {
                        wrong.push(format!("{case}: {said}"));
                    }
                }
                // What fails only by what it leaves out gets that from the safe defaults.
                Ok(pod) if check(level, &pod).is_ok() => mended.push(case),
                Ok(_) => wrong.push(case),
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        let file = |case: &String| case.rsplit('/').next().unwrap_or_default().to_owned();
        let mut mended: Vec<String> = mended.iter().map(file).collect();
        mended.sort();
        assert_eq!(mended, if level == Level::Baseline { &[][..] } else { MENDED });
    }
}

#[test]
fn a_preset_can_render_a_plain_case() {
    let module = module().join("test/testdata");
    for (level, name) in [(Level::Baseline, "baseline"), (Level::Restricted, "restricted")] {
        let policy = Policy::new(Rules { level, ..Rules::default() }).expect("rules");
        for (case, text) in cases(&module, name, "pass") {
            let plain = ["base.yaml", "privileged0.yaml", "hostports0.yaml", "sysctls1.yaml"];
            if plain.iter().any(|plain| case.ends_with(plain)) {
                let outcome = policy.admit_rendered(rendered(&text).as_object().expect("an object"));
                assert!(outcome.is_ok(), "{case}: {outcome:?}");
            }
        }
    }
}
