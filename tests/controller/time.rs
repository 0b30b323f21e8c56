//! Time that is told, held back, or wrong.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    Cases,
    cluster::{condition, until},
    controllers::Controller,
    life::{PROBE, all_gone, manifest_for},
};

/// Debian's package `faketime`: a library that shows a program another time.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("time::the_end_is_told_before_it_comes", |world| async move {
        let cluster = &world.cluster;
        let env = [
            ("EPHEMERON_SELECTOR", "controller=notice"),
            ("EPHEMERON_EXPIRING_SOON", "5s"),
            ("EPHEMERON_LISTEN", "127.0.0.1:0"),
        ];
        let controller = Controller::start(cluster, "localhost", &env);
        let name = cluster.name("notice");
        cluster
            .apply(&manifest_for(&name, "controller: notice", "lifetime: 1h", ""))
            .await
            .expect("it is accepted");
        cluster.available(&name).await;
        cluster.ends_in(&name, 60).await;
        all_gone(cluster, &name).await;
        let of_this = ListParams::default().fields(&format!("involvedObject.name={name}"));
        let events =
            Api::<Event>::namespaced(cluster.client.clone(), "default").list(&of_this).await.expect("events");
        assert!(
            events.items.iter().any(|event| event.reason.as_deref() == Some("ExpiringSoon")),
            "{:?}",
            events.items
        );
        // One line tells the whole life, and so do the metrics.
        controller.says("\"reason\":\"expired\"").await;
        let said = controller.said();
        let line = said.lines().find(|line| line.contains("\"ended\"")).expect("it is told");
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!((&line["ephemeron"], &line["extensions"]), (&json!(name), &json!(0)));
        assert!(line["late_ms"].as_i64().is_some_and(|late| late >= 0), "{line}");
        let served = said.lines().find(|line| line.contains("/metrics are served")).expect("it is told");
        let served: serde_json::Value = serde_json::from_str(served).expect("JSON");
        let address = served["address"].as_str().expect("an address");
        let metrics = cluster.shell(&format!("command curl -sf http://{address}/metrics")).await.stdout;
        let metrics = String::from_utf8_lossy(&metrics);
        for wanted in [
            "ephemeron_ended_total{reason=\"expired\"} 1",
            "ephemeron_expiry_lateness_seconds_count 1",
            "ephemeron_time_to_available_seconds_count 1",
            "ephemeron_ephemerons{phase=\"Available\"} 0",
        ] {
            assert!(metrics.lines().any(|line| line == wanted), "{wanted}: {metrics}");
        }
        controller.stop().await;
    });

    cases.add("time::expiry_can_be_held", |world| async move {
        let cluster = &world.cluster;
        let env = [("EPHEMERON_SELECTOR", "controller=hold"), ("EPHEMERON_EXPIRY", "hold")];
        let holding = Controller::start(cluster, "localhost", &env);
        let name = cluster.name("hold");
        cluster
            .apply(&manifest_for(&name, "controller: hold", "lifetime: 1s", ""))
            .await
            .expect("it is accepted");
        cluster.reaches(&name, "is held", |one| condition(one, "Expiring") == ("True", "ExpiryHeld")).await;
        cluster.available(&name).await;
        holding.says("EPHEMERON_EXPIRY=hold").await;
        // Put off, it is held no more.
        let later = (chrono::Utc::now() + chrono::TimeDelta::hours(1)).to_rfc3339();
        let patch = Patch::Merge(json!({"spec": {"expirationTime": later}}));
        cluster.ephemerons().patch(&name, &PatchParams::default(), &patch).await.expect("it is accepted");
        let one = cluster.reaches(&name, "is not held", |one| condition(one, "Expiring").0.is_empty()).await;
        assert_eq!(one.status.and_then(|status| status.extensions), Some(1));
        let patch = Patch::Merge(json!({"spec": {"expirationTime": null}}));
        cluster.ephemerons().patch(&name, &PatchParams::default(), &patch).await.expect("it is accepted");
        cluster.reaches(&name, "is held again", |one| condition(one, "Expiring").1 == "ExpiryHeld").await;
        holding.stop().await;
        let deleting = Controller::start(cluster, "localhost", &env[..1]);
        all_gone(cluster, &name).await;
        deleting.stop().await;
    });

    cases.add("time::a_clock_that_is_wrong_deletes_nobody", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("clock");
        let file = Offset::new(&name);
        file.set("+0");
        let path = file.0.display().to_string();
        let env = [
            ("EPHEMERON_SELECTOR", "controller=clock"),
            ("LD_PRELOAD", FAKETIME),
            ("FAKETIME_TIMESTAMP_FILE", &path),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        assert!(
            std::path::Path::new(FAKETIME).exists(),
            "install Debian's package faketime, as tests/all does"
        );
        let controller = Controller::start(cluster, "localhost", &env);
        let manifest = manifest_for(&name, "controller: clock", "lifetime: 1h", PROBE);
        cluster.apply(&manifest).await.expect("it is accepted");
        cluster.available(&name).await;
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), "default");
        let pod = pods.get(&name).await.expect("the Pod");

        // Set while it runs: its timers do not know.
        file.set("+7200");
        cluster.reaches(&name, "is held", |one| condition(one, "Expiring") == ("True", "ExpiryHeld")).await;
        controller.says("ahead of the API server's").await;
        file.set("+0");
        cluster.reaches(&name, "is not held", |one| condition(one, "Expiring").0.is_empty()).await;
        let sooner = Patch::Merge(json!({"spec": {"lifetime": "1s"}}));
        let after = pods.get(&name).await.expect("the Pod");
        assert_eq!(pod.metadata.uid, after.metadata.uid);

        // Behind: what is over is over only once the clocks agree.
        file.set("-600");
        controller.says("behind the API server's").await;
        cluster.ephemerons().patch(&name, &PatchParams::default(), &sooner).await.expect("it is accepted");
        cluster
            .reaches(&name, "has its new end", |one| {
                let created = one.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
                let end = one.status.as_ref().and_then(|status| status.expiration_time);
                end.map(|end| end.timestamp() - 1) == created
            })
            .await;
        file.set("+0");
        all_gone(cluster, &name).await;
        controller.stop().await;
    });

    cases.add("time::one_that_is_kept_by_a_finalizer_ends_all_the_same", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("kept");
        let manifest = manifest_for(&name, "", "lifetime: 1h", "");
        let manifest = manifest.replace("metadata: {", "metadata: {finalizers: [example.com/keep], ");
        cluster.apply(&manifest).await.expect("it is accepted");
        cluster.available(&name).await;
        cluster.ends_in(&name, 5).await;
        cluster.delete(&name).await;
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), "default");
        cluster.gone(&pods, &name).await;
        assert!(cluster.ephemeron(&name).await.is_some_and(|one| one.metadata.deletion_timestamp.is_some()));
        let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        cluster.ephemerons().patch(&name, &PatchParams::default(), &free).await.expect("it is accepted");
        until("it is gone", || async { cluster.ephemeron(&name).await.is_none().then_some(()) }).await;
    });
}

/// The file that tells a controller how far its clock is off.
struct Offset(PathBuf);

impl Offset {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("{name}-offset")))
    }

    fn set(&self, seconds: &str) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("{seconds}\n")).expect("a file");
        std::fs::rename(new, &self.0).expect("a file");
    }
}

impl Drop for Offset {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
