//! Our checks of the Pod Security Standards against the cases that Kubernetes publishes for its own.

#![expect(clippy::expect_used, reason = "a test may fail loudly")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ephemeron::policy::security::{Level, check};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};

/// Where Go keeps the module with the cases: the test cluster is built with it.
fn module() -> PathBuf {
    let node = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/node");
    let go = |arguments: &[&str]| {
        let output = Command::new("go").args(arguments).current_dir(&node).output().expect("Go is installed");
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

#[test]
fn the_published_cases_pass_and_fail_as_they_should() {
    let module = module().join("test/testdata");
    for (level, name) in [(Level::Baseline, "baseline"), (Level::Restricted, "restricted")] {
        let versions = names(&module.join(name));
        let latest = versions.iter().max_by_key(|name| version(name)).expect("a version");
        let mut wrong = Vec::new();
        for (verdict, should_pass) in [("pass", true), ("fail", false)] {
            let folder = module.join(name).join(latest).join(verdict);
            let cases = names(&folder);
            assert!(cases.len() >= 10, "only {} cases in {}", cases.len(), folder.display());
            for case in cases {
                let text = fs::read_to_string(folder.join(&case)).expect("a case");
                let Pod { metadata, spec, .. } = serde_saphyr::from_str(&text).expect("a Pod");
                let outcome = check(level, &PodTemplateSpec { metadata: Some(metadata), spec });
                if outcome.is_ok() != should_pass {
                    wrong.push(format!("{name}/{latest}/{verdict}/{case}: {outcome:?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
