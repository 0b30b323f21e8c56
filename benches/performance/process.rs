//! What a process has used, by /proc; and the programs of the node, by the cluster's tool.

use std::{collections::BTreeMap, fs};

use serde::Serialize;
use tokio::process::Command;

use crate::cluster::Cluster;

/// The kernel counts processor time for programs in hundredths of a second (USER_HZ).
const TICKS: f64 = 100.0;

/// Processor time and memory of a process.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Usage {
    /// Processor time so far, in seconds.
    pub cpu: f64,
    /// Memory that is in use now, in MB.
    pub memory: f64,
    /// The most that it was, in MB.
    pub peak: f64,
}

impl Usage {
    /// Of the process with this id.
    pub fn of(pid: u32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
        // Fields 14 and 15, counted from behind the name, which may hold spaces.
        let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |field: usize| fields[field - 3].parse::<f64>().expect("a number of ticks");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
        let megabytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("its memory is told");
            line.trim_end_matches("kB").trim().parse::<f64>().expect("a number of kB") * 1024.0 / 1e6
        };
        Self { cpu: (ticks(14) + ticks(15)) / TICKS, memory: megabytes("VmRSS:"), peak: megabytes("VmHWM:") }
    }
}

/// Processor time so far, in seconds, of every program of the cluster, of the controller, and of this
/// process, by name.
pub fn all(cluster: &Cluster, controller: u32) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::from([
        ("controller".to_owned(), Usage::of(controller).cpu),
        ("this benchmark".to_owned(), Usage::of(std::process::id()).cpu),
    ]);
    let folder = format!("{}/", cluster.env("BIN"));
    for entry in fs::read_dir("/proc").expect("processes").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has ended meanwhile has none.
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let program = line.split('\0').next().unwrap_or_default();
        if let Some(name) = program.strip_prefix(&folder) {
            *all.entry(name.to_owned()).or_default() += Usage::of(pid).cpu;
        }
    }
    all
}

/// Has the node's supervisor stop or start a program, and returns when that is done.
pub async fn program(cluster: &Cluster, verb: &str, name: &str) {
    let output = Command::new("tests/cluster/cluster")
        .args([verb, name])
        .env("EPHEMERON_CLUSTER_DIR", cluster.env("EPHEMERON_CLUSTER_DIR"))
        .output()
        .await
        .expect("the cluster's tool runs");
    let error = String::from_utf8_lossy(&output.stderr);
    // One that was not chosen cannot be stopped, and need not be.
    assert!(output.status.success() || error.contains("no program named"), "{verb} {name}: {error}");
}
