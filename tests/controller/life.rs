//! From creation to expiry: on time, extended, and across restarts of the controller.

use chrono::{DateTime, Utc};
use gateway_api::httproutes::HttpRoute;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    Cases,
    cluster::{Cluster, until},
    controllers::Controller,
};

/// A readiness probe. On a machine that is busy there is time to answer it.
pub const PROBE: &str = "readinessProbe: {path: /ready, timeoutSeconds: 10}";

/// The manifest of a service that answers with its name.
pub fn manifest(name: &str, lifetime: &str, more: &str) -> String {
    manifest_for(name, "", &format!("lifetime: {lifetime}"), more)
}

/// The same with labels, and with the end as one line of the spec.
pub fn manifest_for(name: &str, labels: &str, end: &str, more: &str) -> String {
    format!(
        r"
apiVersion: qualified.io/v1alpha1
kind: Ephemeron
metadata: {{name: {name}, labels: {{{labels}}}}}
spec:
  {end}
  service:
    image: local/server:1
    imagePullPolicy: IfNotPresent
    port: 8080
    env: [{{name: MESSAGE, value: this is {name}}}]
    {more}
"
    )
}

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("life::expires_on_time", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("expires");
        cluster.apply(&manifest(&name, "1h", PROBE)).await.expect("it is accepted");
        cluster.available(&name).await;
        let end = cluster.ends_in(&name, 3).await;
        cluster.gone(&cluster.ephemerons(), &name).await;
        assert!(Utc::now() >= end, "not before its time");
        all_gone(cluster, &name).await;
        cluster.answers(&format!("http://{name}.localhost/"), None, 404).await;
    });

    cases.add("life::an_end_in_the_past_means_at_once", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("past");
        let spec = manifest_for(&name, "", "expirationTime: \"2001-01-01T00:00:00Z\"", "");
        cluster.apply(&spec).await.expect("it is accepted");
        all_gone(cluster, &name).await;
    });

    cases.add("life::a_lifetime_counts_from_creation", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("lifetime");
        cluster.apply(&manifest(&name, "1h30m", "")).await.expect("it is accepted");
        let one = cluster.reaches(&name, "has an end", |one| end(one).is_some()).await;
        let created = one.metadata.creation_timestamp.as_ref().expect("a time").0.as_second();
        assert_eq!(end(&one).map(|end| end.timestamp()), Some(created + 5_400));
        cluster.delete(&name).await;
    });

    cases.add("life::an_extension_at_the_last_moment_wins", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("extended");
        cluster.apply(&manifest(&name, "1h", PROBE)).await.expect("it is accepted");
        cluster.available(&name).await;
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), "default");
        let before = pods.get(&name).await.expect("the Pod");
        let first = cluster.ends_in(&name, 3).await;
        until("the last moment comes", || async {
            (Utc::now() > first - chrono::TimeDelta::milliseconds(400)).then_some(())
        })
        .await;
        let later = Utc::now() + chrono::TimeDelta::hours(1);
        let patch = Patch::Merge(json!({"spec": {"expirationTime": later.to_rfc3339()}}));
        let extended = cluster.ephemerons().patch(&name, &PatchParams::default(), &patch).await;
        let extended = match extended {
            // Whoever was first wins: on a slow machine that may be the end.
            Err(kube::Error::Api(status)) if status.code == 404 && Utc::now() >= first => {
                return all_gone(cluster, &name).await;
            }
            extended => extended.expect("the extension is accepted"),
        };
        let one = cluster.reaches(&name, "has its new end", |one| end(one) == Some(later)).await;
        assert_eq!(one.metadata.uid, extended.metadata.uid);
        until("the first end is well past", || async {
            (Utc::now() > first + chrono::TimeDelta::seconds(2)).then_some(())
        })
        .await;
        let after = pods.get(&name).await.expect("the Pod");
        assert_eq!(after.metadata.uid, before.metadata.uid, "the same Pod lives on");
        assert_eq!(after.metadata.deletion_timestamp, None);
        assert_eq!(cluster.get(&format!("http://{name}.localhost/"), None).await.0, 200);
        cluster.delete(&name).await;
    });

    cases.add("life::an_extension_of_a_lifetime_works_by_expiration_time", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("both");
        cluster.apply(&manifest(&name, "30m", "")).await.expect("it is accepted");
        let later = Utc::now() + chrono::TimeDelta::hours(3);
        let patch = Patch::Merge(json!({"spec": {"expirationTime": later.to_rfc3339()}}));
        cluster.ephemerons().patch(&name, &PatchParams::default(), &patch).await.expect("the extension");
        cluster.reaches(&name, "has its new end", |one| end(one) == Some(later)).await;
        cluster.delete(&name).await;
    });

    cases.add("life::the_controller_may_die_in_the_middle", |world| async move {
        let cluster = &world.cluster;
        let env = [("EPHEMERON_SELECTOR", "controller=restart")];
        let first = Controller::start(cluster, "localhost", &env);
        first.says("\"ready\"").await;
        let (lives, ends) = (cluster.name("restart"), cluster.name("restart-ends"));
        let label = "controller: restart";
        cluster.apply(&manifest_for(&lives, label, "lifetime: 30m", PROBE)).await.expect("ok");
        cluster.apply(&manifest_for(&ends, label, "lifetime: 1h", "")).await.expect("ok");
        cluster.reaches(&ends, "is seen", |one| end(one).is_some()).await;
        first.kill().await;

        let second = Controller::start(cluster, "localhost", &env);
        cluster.available(&lives).await;
        cluster.available(&ends).await;
        second.kill().await;
        let due = cluster.ends_in(&ends, 1).await;
        until("its time is over while nobody looks", || async { (Utc::now() > due).then_some(()) }).await;

        let before = cluster.ephemeron(&lives).await.expect("it lives");
        let third = Controller::start(cluster, "localhost", &env);
        all_gone(cluster, &ends).await;
        let after = cluster.ephemeron(&lives).await.expect("it lives");
        assert_eq!(
            before.metadata.resource_version, after.metadata.resource_version,
            "a restart writes nothing to what is as it should be"
        );
        cluster.delete(&lives).await;
        assert_eq!(third.stop().await, Some(0), "SIGTERM ends it in good order");
    });
}

/// The end that the status tells.
fn end(one: &ephemeron::resource::Ephemeron) -> Option<DateTime<Utc>> {
    one.status.as_ref()?.expiration_time
}

/// Waits until the Ephemeron and all of its children are gone.
pub async fn all_gone(cluster: &Cluster, name: &str) {
    let client = || cluster.client.clone();
    cluster.gone(&cluster.ephemerons(), name).await;
    cluster.gone(&Api::<HttpRoute>::namespaced(client(), "default"), name).await;
    cluster.gone(&Api::<Pod>::namespaced(client(), "default"), name).await;
    cluster.gone(&Api::<Service>::namespaced(client(), "default"), name).await;
}
