//! How it is used, command by command, as users of the earlier implementation do.

use k8s_openapi::api::{
    core::v1::{Pod, Service},
    networking::v1::Ingress,
};
use kube::{Api, api::ListParams};

use crate::{Cases, cluster::until};

/// The cases that run beside others.
pub fn cases(cases: &mut Cases) {
    cases.add("contract::command_by_command", |world| async move {
        let script = r#"
            kubectl apply -f k8s/ephemerons.yaml
            kubectl wait --for=condition=Established --timeout=300s crd/ephemerons.qualified.io
            export EXPIRES=$(date -d "+1 days" -Iseconds --utc)
            envsubst < k8s/example.yaml | kubectl apply -f -
            kubectl wait --for=condition=Available ephemeron/example --timeout=300s
            host=$(kubectl get eph example -o jsonpath='{.metadata.annotations.host}')
            [ "$host" = example.localhost ]
            curl -s $host | grep "<h1>Welcome to nginx!</h1>"
            kubectl get ephs
            kubectl delete eph example
        "#;
        let output = world.cluster.shell(script).await;
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        let header = said.lines().find(|line| line.starts_with("NAME")).expect("a table");
        for column in ["HOST", "AVAILABLE", "REASON", "EXPIRES", "AGE"] {
            assert!(header.contains(column), "{header}");
        }
        let row = said.lines().find(|line| line.starts_with("example ")).expect("a row");
        assert!(row.contains("example.localhost") && row.contains("True"), "{row}");
    });
}

/// The case that ends all Ephemerons.
pub fn alone(cases: &mut Cases) {
    cases.add("contract::delete_all_leaves_nothing", |world| async move {
        let cluster = &world.cluster;
        let names: Vec<String> = (0..5).map(|_| cluster.name("all")).collect();
        for name in &names {
            cluster.apply(&crate::life::manifest(name, "30m", "")).await.expect("it is accepted");
        }
        for name in &names {
            cluster.available(name).await;
        }
        cluster.kubectl("delete ephs --all --timeout=300s").await;
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=ephemeron");
        until("no child is left", || async {
            let client = || cluster.client.clone();
            let pods = Api::<Pod>::all(client()).list(&ours).await.expect("pods").items.len();
            let services = Api::<Service>::all(client()).list(&ours).await.expect("services").items.len();
            let routes = Api::<gateway_api::httproutes::HttpRoute>::all(client()).list(&ours).await;
            let ingresses = Api::<Ingress>::all(client()).list(&ours).await.expect("ingresses").items.len();
            let left = pods + services + routes.expect("routes").items.len() + ingresses;
            (left == 0).then_some(())
        })
        .await;
    });
}
