//! Several controllers, of which one leads: who takes over when, and what the others leave alone.

use std::{path::PathBuf, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use ephemeron::resource::Ephemeron;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Api;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    Cases, World,
    cluster::{Cluster, until},
    controllers::Controller,
    life::{all_gone, manifest_for},
};

/// A lease that its holder does not lose to a machine that is merely busy.
const SLOW: &str = "30s";

/// Two controllers that share a Lease and look after the same Ephemerons.
struct Replicas {
    world: Arc<World>,
    lease: String,
    duration: &'static str,
}

impl Replicas {
    fn new(world: &Arc<World>, duration: &'static str) -> Self {
        Self { world: Arc::clone(world), lease: world.cluster.name("replicas"), duration }
    }

    fn cluster(&self) -> &Cluster {
        &self.world.cluster
    }

    fn start(&self, env: &[(&str, &str)]) -> Controller {
        let (lease, selector) = (format!("default/{}", self.lease), format!("controller={}", self.lease));
        let mut all = vec![
            ("EPHEMERON_LEASE", lease.as_str()),
            ("EPHEMERON_LEASE_DURATION", self.duration),
            ("EPHEMERON_SELECTOR", &selector),
        ];
        all.extend(env);
        Controller::start(self.cluster(), "localhost", &all)
    }

    /// The first leads, and the second follows.
    async fn both(&self) -> (Controller, Controller) {
        let first = self.start(&[]);
        first.says("\"leading\"").await;
        let second = self.start(&[]);
        second.says("\"following\"").await;
        (first, second)
    }

    async fn spec(&self) -> Option<LeaseSpec> {
        let leases = Api::<Lease>::namespaced(self.cluster().client.clone(), "default");
        leases.get_opt(&self.lease).await.expect("the API server answers").and_then(|lease| lease.spec)
    }

    async fn holder(&self) -> Option<String> {
        self.spec().await?.holder_identity
    }

    /// An Ephemeron of these controllers.
    async fn create(&self, lifetime: &str) -> String {
        let name = self.cluster().name("replicated");
        let labels = format!("controller: {}", self.lease);
        let manifest = manifest_for(&name, &labels, &format!("lifetime: {lifetime}"), "");
        self.cluster().apply(&manifest).await.expect("it is accepted");
        name
    }

    async fn end(&self) {
        self.cluster().kubectl(&format!("-n default delete lease {}", self.lease)).await;
    }
}

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("replicas::one_that_ends_hands_over", |world| async move {
        // Whoever leads within the time that a case has does not owe it to the lease's end.
        let replicas = Replicas::new(&world, "10m");
        let cluster = replicas.cluster();
        let (first, second) = replicas.both().await;
        let name = replicas.create("1h").await;
        cluster.available(&name).await;
        let ready = second.answer(cluster, "/readyz").await;
        assert!(ready.contains("lease: following") && ready.ends_with("200"), "{ready}");
        let metrics = until("the second's caches have it, too", || async {
            let metrics = second.answer(cluster, "/metrics").await;
            metrics.contains("\nephemeron_ephemerons{phase=\"Available\"} 1\n").then_some(metrics)
        })
        .await;
        assert!(metrics.contains("\nephemeron_leader 0\n"), "{metrics}");
        assert!(metrics.contains("\nephemeron_reconciles_total{result=\"success\"} 0\n"), "{metrics}");

        assert_eq!(first.stop().await, Some(0));
        first.says("the lease is released").await;
        second.says("\"leading\"").await;
        until("its metrics say so, too", || async {
            second.answer(cluster, "/metrics").await.contains("\nephemeron_leader 1\n").then_some(())
        })
        .await;
        assert_eq!(replicas.spec().await.and_then(|spec| spec.lease_transitions), Some(1));
        cluster.ends_in(&name, 3).await;
        all_gone(cluster, &name).await;
        second.stop().await;
        replicas.end().await;
    });

    cases.add("replicas::one_that_is_killed_is_succeeded", |world| async move {
        let replicas = Replicas::new(&world, SLOW);
        let cluster = replicas.cluster();
        let (first, second) = replicas.both().await;
        let name = replicas.create("1h").await;
        cluster.available(&name).await;
        let before = replicas.holder().await;
        cluster.ends_in(&name, 1).await;
        first.kill().await;
        second.says("\"leading\"").await;
        assert_ne!(replicas.holder().await, before);
        all_gone(cluster, &name).await;
        second.stop().await;
        replicas.end().await;
    });

    cases.add("replicas::one_that_was_stopped_writes_nothing_when_it_goes_on", |world| async move {
        let replicas = Replicas::new(&world, SLOW);
        let cluster = replicas.cluster();
        let user = User::new(cluster).await;
        let kubeconfig = user.kubeconfig.display().to_string();
        let first = replicas.start(&[("KUBECONFIG", &kubeconfig)]);
        first.says("\"leading\"").await;
        let second = replicas.start(&[]);
        second.says("\"following\"").await;
        let mut names = Vec::new();
        for _ in 0..8 {
            names.push(replicas.create("1h").await);
        }
        for name in &names {
            cluster.available(name).await;
        }
        assert!(!user.writes(cluster, DateTime::UNIX_EPOCH).await.is_empty(), "its writes can be told");

        // It has much to do as soon as it goes on: all of these are over by then.
        for name in &names {
            cluster.ends_in(name, 60).await;
        }
        for name in &names {
            let is_known = |one: &Ephemeron| {
                let end = one.status.as_ref().and_then(|status| status.expiration_time);
                end.is_some_and(|end| end < Utc::now() + TimeDelta::minutes(2))
            };
            cluster.reaches(name, "has its new end", is_known).await;
        }
        let id = first.id().expect("it runs").to_string();
        signal("STOP", &id).await;
        second.says("\"leading\"").await;
        for name in &names {
            all_gone(cluster, name).await;
        }
        let since = Utc::now();
        signal("CONT", &id).await;
        first.says("lost the lease").await;
        first.says("\"following\"").await;
        let metrics = first.answer(cluster, "/metrics").await;
        assert!(metrics.contains("\nephemeron_leader 0\n"), "{metrics}");
        // What the second does is its own: nobody comes in its way.
        let after = replicas.create("1h").await;
        cluster.available(&after).await;
        let writes = user.writes(cluster, since).await;
        assert!(writes.is_empty(), "{writes:#?}");
        cluster.delete(&after).await;
        all_gone(cluster, &after).await;
        first.stop().await;
        second.stop().await;
        user.end(cluster).await;
        replicas.end().await;
    });

    cases.add("replicas::a_lease_that_is_deleted_by_hand_stays_its_holder_s", |world| async move {
        let replicas = Replicas::new(&world, "10m");
        let cluster = replicas.cluster();
        let (first, second) = replicas.both().await;
        let before = replicas.holder().await;
        assert!(before.is_some());
        replicas.end().await;
        let after = until("the Lease is there again", || replicas.holder()).await;
        assert_eq!(Some(after), before);
        let name = replicas.create("1h").await;
        cluster.available(&name).await;
        cluster.ends_in(&name, 1).await;
        all_gone(cluster, &name).await;
        assert!(!first.said().contains("lost the lease"), "{}", first.said());
        assert!(!second.said().contains("\"leading\""), "{}", second.said());
        second.stop().await;
        first.stop().await;
        replicas.end().await;
    });

    cases.add("replicas::check_says_who_leads", |world| async move {
        let replicas = Replicas::new(&world, "10m");
        let lease = format!("default/{}", replicas.lease);
        let env = [("EPHEMERON_LEASE", lease.as_str())];
        crate::programs::checks(&world.cluster, &env, &["is held by nobody"]).await;
        let first = replicas.start(&[]);
        first.says("\"leading\"").await;
        let holder = replicas.holder().await.expect("a holder");
        crate::programs::checks(&world.cluster, &env, &[&format!("is held by {holder}")]).await;
        first.stop().await;
        replicas.end().await;
    });
}

async fn signal(name: &str, id: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), id]).status().await.expect("kill runs");
    assert!(sent.success());
}

/// A user of its own, by whom the audit log tells what one controller does.
struct User {
    name: String,
    kubeconfig: PathBuf,
}

impl User {
    async fn new(cluster: &Cluster) -> Self {
        let name = cluster.name("user");
        let binding = format!("create clusterrolebinding {name} --clusterrole=cluster-admin --user={name}");
        cluster.kubectl(&binding).await;
        let config = cluster.kubectl("config view --raw --minify -o json").await;
        let mut config: Value = serde_json::from_str(&config).expect("JSON");
        config["users"][0]["user"]["as"] = json!(name);
        let kubeconfig = std::env::temp_dir().join(&name);
        std::fs::write(&kubeconfig, config.to_string()).expect("a file");
        Self { name, kubeconfig }
    }

    /// What the user has written since then: verbs and paths, of all that the API server was asked before
    /// now.
    async fn writes(&self, cluster: &Cluster, since: DateTime<Utc>) -> Vec<String> {
        // The log is written in batches.
        let mark = cluster.name("mark");
        cluster.shell(&format!("kubectl get configmap {mark} --ignore-not-found")).await;
        let lines = until("the audit log is written", || async {
            let log = std::fs::read_to_string(cluster.env("AUDIT_LOG")).expect("the audit log");
            log.contains(&mark).then_some(log)
        })
        .await;
        let events = lines.lines().filter(|line| line.contains(&self.name));
        let events = events.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_user = events.filter(|event| event["impersonatedUser"]["username"] == self.name.as_str());
        let writes = of_user.filter(|event| {
            let when = event["requestReceivedTimestamp"].as_str().and_then(|when| when.parse().ok());
            let is_read = ["get", "list", "watch"].iter().any(|verb| event["verb"] == *verb);
            // The renewal that was on its way when it was stopped.
            let is_late =
                event["objectRef"]["resource"] == "leases" && event["responseStatus"]["code"] == 409;
            !is_read && !is_late && when.is_none_or(|when: DateTime<Utc>| when >= since)
        });
        writes.map(|event| format!("{} {}", event["verb"], event["requestURI"])).collect()
    }

    async fn end(self, cluster: &Cluster) {
        cluster.kubectl(&format!("delete clusterrolebinding {}", self.name)).await;
        let _ = std::fs::remove_file(self.kubeconfig);
    }
}
