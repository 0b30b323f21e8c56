//! Controllers under test: each behind a proxy of its own, with the rights that it is shipped with.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use chrono::TimeDelta;
use kube::{Client, Config, config::KubeConfigOptions, config::Kubeconfig};
use serde_json::json;
use tokio::{process::Command, task::AbortHandle};

use super::{dice::Dice, manifests::LABEL, outages::Outages, proxy::Proxy};
use crate::{
    cluster::{Cluster, until},
    controllers::Controller,
};

/// Debian's package `faketime`: a library that shows a program another time.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
/// How long followers wait for a leader that is silent; it renews its lease every 0.8 s.
const LEASE_DURATION: &str = "6s";
/// Nobody is known to lead when the lease was not renewed for so long.
const SILENT: TimeDelta = TimeDelta::milliseconds(1_500);
/// Cases have Leases of their own names; the shipped account has but one.
pub const LEASES: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: test-leases, namespace: default}
rules: [{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, list, watch, update]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: test-leases, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: test-leases}
subjects: [{kind: ServiceAccount, name: ephemeron-controller, namespace: default}]
";
/// What a controller says when it works.
const READY: &str = "\"ready\"";
/// What it says when its clock is trusted again.
const CLOCK_AGREES: &str = "the clock agrees";

/// The controllers that look after the same Ephemerons.
pub struct Installation {
    /// Its name: the label of its Ephemerons.
    pub name: String,
    /// Its controllers.
    pub replicas: Vec<Replica>,
    outages: Outages,
    /// What measures whether anybody leads.
    probe: Option<AbortHandle>,
}

/// One controller.
pub struct Replica {
    /// What it speaks to.
    pub proxy: Proxy,
    program: Mutex<Arc<Controller>>,
    env: Vec<(String, String)>,
    folder: PathBuf,
    log: Mutex<String>,
}

impl Installation {
    /// Starts so many controllers with these settings, and waits until they work.
    pub async fn start(
        cluster: &Cluster,
        (name, replicas): (&str, usize),
        env: &[(&str, &str)],
        outages: &Outages,
        dice: &mut Dice,
    ) -> Self {
        let upstream = account(cluster).await;
        let mut all = Vec::new();
        for number in 0..replicas {
            let folder = std::env::temp_dir().join(cluster.name(&format!("{name}-{number}")));
            std::fs::create_dir_all(&folder).expect("a folder");
            let proxy = Proxy::start(upstream.clone(), Dice::new(dice.next())).await;
            let kubeconfig = kubeconfig(&folder, &proxy.address);
            let lease = if replicas > 1 { format!("default/{name}") } else { "off".into() };
            let defaults = [
                ("EPHEMERON_LEASE", lease.as_str()),
                ("EPHEMERON_LEASE_DURATION", LEASE_DURATION),
                ("KUBECONFIG", kubeconfig.as_str()),
                ("EPHEMERON_DOMAIN", "localhost"),
                ("EPHEMERON_SELECTOR", &format!("{LABEL}={name}")),
                ("EPHEMERON_LOG_FORMAT", "json"),
            ];
            let env = defaults.iter().chain(env).map(|(name, value)| ((*name).into(), (*value).into()));
            let env: Vec<(String, String)> = env.collect();
            let program = Mutex::new(Arc::new(run(&env)));
            all.push(Replica { proxy, program, env, folder, log: Mutex::default() });
        }
        for replica in &all {
            replica.program().says(READY).await;
        }
        let probe = (replicas > 1).then(|| outages.probe_lease(cluster.client.clone(), name, SILENT));
        Self { name: name.into(), replicas: all, outages: outages.clone(), probe }
    }

    /// This installation cannot do its work from here on.
    pub fn outage(&self, what: impl Into<String>) -> usize {
        self.outages.begin(Some(&self.name), what)
    }

    /// One of its controllers cannot do its work from here on. Where there are others, it is the lease that
    /// tells whether anybody can.
    pub fn loss(&self, what: impl Into<String>) -> Option<usize> {
        (self.replicas.len() == 1).then(|| self.outage(what))
    }

    /// It can again.
    pub fn over(&self, outage: Option<usize>) {
        if let Some(outage) = outage {
            self.outages.end(outage);
        }
    }

    /// Stops all of it; returns what its controllers have said.
    pub async fn stop(&self) -> String {
        let mut said = String::new();
        self.probe.iter().for_each(AbortHandle::abort);
        for replica in &self.replicas {
            replica.program().stop().await;
            said += &replica.said();
            let _ = std::fs::remove_dir_all(&replica.folder);
        }
        said
    }
}

impl Replica {
    /// The process that runs now.
    pub fn program(&self) -> Arc<Controller> {
        Arc::clone(&self.program.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What all its processes have said.
    pub fn said(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone() + &self.program().said()
    }

    /// Kills it, and starts it again at once, with these variables on top of its own.
    pub async fn kill(&self, more: &[(&str, &str)]) {
        self.program().kill().await;
        let more = more.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let env: Vec<(String, String)> = self.env.iter().cloned().chain(more).collect();
        let next = Arc::new(run(&env));
        let before =
            std::mem::replace(&mut *self.program.lock().unwrap_or_else(PoisonError::into_inner), next);
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) += &before.said();
    }

    /// Waits until the process that runs now works.
    pub async fn ready(&self) {
        self.program().says(READY).await;
    }

    /// Sends it a signal, by name.
    pub async fn signal(&self, signal: &str) {
        let Some(id) = self.program().id() else { return };
        let sent = Command::new("kill").args(["-s", signal, &id.to_string()]).status().await;
        assert!(sent.is_ok_and(|status| status.success()), "the signal {signal} is sent to {id}");
    }

    /// Starts it anew with a clock that can be set.
    pub async fn with_another_clock(&self) -> Offset {
        let offset = Offset(self.folder.join("clock"));
        offset.set(0);
        assert!(Path::new(FAKETIME).exists(), "install Debian's package faketime");
        let path = offset.0.display().to_string();
        let env = [
            ("LD_PRELOAD", FAKETIME),
            ("FAKETIME_TIMESTAMP_FILE", &path),
            ("FAKETIME_CACHE_DURATION", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        self.kill(&env).await;
        self.ready().await;
        offset
    }

    /// How often it has said that its clock is trusted.
    pub fn agreed(&self) -> usize {
        self.program().said().matches(CLOCK_AGREES).count()
    }

    /// Waits until it has said so more often than before.
    pub async fn agrees_again(&self, before: usize) {
        until("the clock is trusted again", || async { (self.agreed() > before).then_some(()) }).await;
    }
}

/// The file that tells a controller how far its clock is off.
pub struct Offset(PathBuf);

impl Offset {
    /// So many seconds ahead from here on; negative: behind.
    pub fn set(&self, seconds: i64) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n")).expect("a file");
        std::fs::rename(new, &self.0).expect("a file");
    }
}

/// The program under test.
fn run(env: &[(String, String)]) -> Controller {
    let program = std::env::var("EPHEMERON_RUN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_run").into());
    let env: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Controller::program(&program, &env)
}

fn kubeconfig(folder: &Path, server: &str) -> String {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
        "clusters": [{ "name": "proxy", "cluster": { "server": server } }],
        "users": [{ "name": "proxy", "user": {} }],
        "contexts": [{ "name": "proxy", "context": { "cluster": "proxy", "user": "proxy", "namespace": "default" } }],
    });
    let file = folder.join("kubeconfig");
    std::fs::write(&file, config.to_string()).expect("a file");
    file.display().to_string()
}

/// A client with the rights that the controller is shipped with: whatever it lacks would show.
async fn account(cluster: &Cluster) -> Client {
    cluster.kubectl("apply -f k8s/controller/sa.yaml").await;
    cluster.apply(LEASES).await.expect("it is accepted");
    let token = cluster.kubectl("-n default create token ephemeron-controller --duration=6h").await;
    let config = cluster.kubectl("config view --raw --minify -o json").await;
    let mut config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    config["users"][0]["user"] = json!({ "token": token.trim() });
    let config: Kubeconfig = serde_json::from_value(config).expect("a kubeconfig");
    let mut config =
        Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.expect("a configuration");
    // What goes wrong is passed on, and is not hidden.
    config.default_retry = false;
    Client::try_from(config).expect("a client")
}
