//! The program itself: what it says where it cannot work, and what `--check` finds.

use tokio::process::Command;

use crate::{
    Cases,
    cluster::{Cluster, until},
    controllers::Controller,
};

/// A user without any right.
const STRANGER: &str = r"
apiVersion: v1
kind: ServiceAccount
metadata: {name: stranger, namespace: default}
";

/// The cases that run beside others.
pub fn cases(cases: &mut Cases) {
    cases.add("programs::check_finds_nothing_wrong", |world| async move {
        let wanted = [
            "Kubernetes v1.",
            "ephemerons.qualified.io is installed",
            "are granted",
            "gateways/traefik",
            "accepts connections",
        ];
        assert_eq!(checks(&world.cluster, &[], &wanted).await, Some(0));
    });

    cases.add("programs::check_names_what_is_wrong_and_the_remedy", |world| async move {
        let rows = [
            (("EPHEMERON_GATEWAY", "nowhere/none"), "the Gateway nowhere/none does not exist"),
            (("EPHEMERON_GATEWAY", "gateways/traefik/none"), "has no listener \"none\""),
            (("EPHEMERON_NAMESPACE", "nowhere"), "kubectl create namespace nowhere"),
            (("EPHEMERON_PROBE_ADDRESS", "127.0.0.1:1"), "set EPHEMERON_PROBE_ADDRESS"),
            (("EPHEMERON_DOMAIN", "nowhere.invalid"), "add a record for *.nowhere.invalid"),
        ];
        for (variable, wanted) in rows {
            checks(&world.cluster, &[variable], &[wanted]).await;
        }
    });

    cases.add("programs::missing_permissions_are_named", |world| async move {
        let cluster = &world.cluster;
        cluster.apply(STRANGER).await.expect("it is accepted");
        let token = cluster.kubectl("-n default create token stranger").await;
        let config = cluster.kubectl("config view --raw --minify -o json").await;
        let mut config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
        config["users"][0]["user"] = serde_json::json!({ "token": token.trim() });
        let file = std::env::temp_dir().join(cluster.name("stranger"));
        std::fs::write(&file, config.to_string()).expect("a file");
        let path = file.display().to_string();

        let controller = Controller::start_with(&[("EPHEMERON_DOMAIN", "localhost"), ("KUBECONFIG", &path)]);
        controller.says("no permission to watch Pod").await;
        controller.says("k8s/controller/sa.yaml").await;
        // It is told line by line, as the watches fail.
        until("the Pods are told beside others", || async {
            let ready = controller.answer(cluster, "/readyz").await;
            (ready.contains("\nPod: no permission to watch Pod") && ready.ends_with("503")).then_some(())
        })
        .await;
        assert_eq!(controller.stop().await, Some(0), "it waits, and stops when it is told");

        let wanted = "missing: get ephemerons, list ephemerons";
        assert_eq!(checks(cluster, &[("KUBECONFIG", &path)], &[wanted]).await, Some(1));
        let _ = std::fs::remove_file(file);
    });

    cases.add("programs::a_missing_gateway_is_named_and_waited_for", |world| async move {
        let cluster = &world.cluster;
        let env = [("EPHEMERON_GATEWAY", "default/none"), ("EPHEMERON_SELECTOR", "controller=no-gateway")];
        let controller = Controller::start(cluster, "localhost", &env);
        controller.says("\"ready\"").await;
        let named = "routing: services cannot be routed: the Gateway default/none does not exist";
        until("it is named", || async {
            let ready = controller.answer(cluster, "/readyz").await;
            (ready.starts_with(named) && ready.ends_with("503")).then_some(())
        })
        .await;
        assert_eq!(controller.stop().await, Some(0), "it waits, and stops when it is told");
    });

    cases.add("programs::an_unreachable_cluster_is_waited_for", |world| async move {
        let config = world.cluster.kubectl("config view --raw --minify -o json").await;
        let mut config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
        config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1".into();
        let file = std::env::temp_dir().join(world.cluster.name("unreachable"));
        std::fs::write(&file, config.to_string()).expect("a file");
        let path = file.display().to_string();
        let controller = Controller::start_with(&[("EPHEMERON_DOMAIN", "localhost"), ("KUBECONFIG", &path)]);
        controller.says("cannot reach the API server").await;
        let ready = controller.answer(&world.cluster, "/readyz").await;
        assert!(ready.starts_with("API server: it cannot be reached") && ready.ends_with("503"), "{ready}");
        assert_eq!(controller.stop().await, Some(0), "it waits, and stops when it is told");
        let _ = std::fs::remove_file(file);
    });
}

/// The case that takes the definition away from everybody.
pub fn alone(cases: &mut Cases) {
    cases.add("programs::a_missing_definition_is_named_and_waited_for", |world| async move {
        let cluster = &world.cluster;
        cluster.kubectl("delete crd ephemerons.qualified.io").await;
        let env = [("EPHEMERON_SELECTOR", "controller=late")];
        let controller = Controller::start(cluster, "localhost", &env);
        controller.says("kubectl apply -f k8s/ephemerons.yaml").await;
        let ready = controller.answer(cluster, "/readyz").await;
        assert!(
            ready.starts_with("Ephemeron: the custom resource definition") && ready.ends_with("503"),
            "{ready}"
        );
        cluster.clean().await;
        controller.says("\"ready\"").await;
        let name = cluster.name("late");
        let late = crate::life::manifest_for(&name, "controller: late", "lifetime: 30m", "");
        cluster.apply(&late).await.expect("it is accepted");
        cluster.available(&name).await;
        cluster.delete(&name).await;
        controller.stop().await;
    });
}

/// Runs `run --check` until it says all of this; returns its exit code. Of a cluster that is slow to answer it says
/// just that.
pub async fn checks(cluster: &Cluster, env: &[(&str, &str)], wanted: &[&str]) -> Option<i32> {
    until(&format!("the check says {wanted:?} for {env:?}"), || async {
        let (code, said) = check(cluster, env).await;
        let is_said = wanted.iter().all(|wanted| said.contains(wanted));
        if !is_said {
            println!("{said}");
        }
        is_said.then_some(code)
    })
    .await
}

/// Runs `run --check`; returns its exit code and what it printed.
pub async fn check(cluster: &Cluster, env: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_run"))
        .arg("--check")
        .env("EPHEMERON_DOMAIN", "localhost")
        .env("KUBECONFIG", cluster.controller_kubeconfig())
        .envs(env.iter().copied())
        .output()
        .await
        .expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}
