//! Controllers that run while the cases do.

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::cluster::{Cluster, LIMIT, until};

/// The controllers that most cases use.
#[derive(Default)]
pub struct Controllers(Vec<Controller>);

impl Controllers {
    /// Starts them: as users do, for a second gateway, for Ingresses, for HTTPS by each of these, and one
    /// that does not wait long for a Pod to become ready.
    pub async fn start(cluster: &Cluster) -> Result<Self, String> {
        let node = cluster.env("NODE_ADDRESS");
        let controllers = [
            Controller::start(cluster, "localhost", &[("EPHEMERON_SELECTOR", "!controller")]),
            Controller::start(
                cluster,
                "contour.localhost",
                &[("EPHEMERON_SELECTOR", "controller=contour"), ("EPHEMERON_GATEWAY", "gateways/contour")],
            ),
            Controller::start(
                cluster,
                "ingress.localhost",
                &[
                    ("EPHEMERON_SELECTOR", "controller=ingress"),
                    ("EPHEMERON_GATEWAY", "ingress"),
                    // Traefik publishes no address in Ingresses.
                    ("EPHEMERON_PROBE_ADDRESS", node),
                ],
            ),
            Controller::start(
                cluster,
                "eph.localhost",
                &[
                    ("EPHEMERON_SELECTOR", "controller=traefik-tls"),
                    ("EPHEMERON_GATEWAY", "gateways/traefik"),
                ],
            ),
            Controller::start(
                cluster,
                "eph.localhost",
                &[
                    ("EPHEMERON_SELECTOR", "controller=contour-tls"),
                    ("EPHEMERON_GATEWAY", "gateways/contour"),
                ],
            ),
            Controller::start(
                cluster,
                "eph.localhost",
                &[
                    ("EPHEMERON_SELECTOR", "controller=ingress-tls"),
                    ("EPHEMERON_GATEWAY", "ingress"),
                    ("EPHEMERON_PROBE_ADDRESS", node),
                ],
            ),
            Controller::start(
                cluster,
                "localhost",
                &[("EPHEMERON_SELECTOR", "controller=impatient"), ("EPHEMERON_READY_WITHIN", "3s")],
            ),
        ];
        for controller in &controllers {
            controller.says("\"ready\"").await;
        }
        Ok(Self(controllers.into()))
    }

    /// Stops them.
    pub async fn stop(&self) {
        for controller in &self.0 {
            controller.stop().await;
        }
    }
}

/// One controller, as a process of its own.
pub struct Controller {
    child: Mutex<Option<Child>>,
    said: Arc<Mutex<String>>,
}

impl Controller {
    /// Starts one on the cluster.
    pub fn start(cluster: &Cluster, domain: &str, env: &[(&str, &str)]) -> Self {
        let mut all = vec![("EPHEMERON_DOMAIN", domain), ("KUBECONFIG", cluster.controller_kubeconfig())];
        all.extend(env);
        Self::start_with(&all)
    }

    /// Starts one with this environment.
    pub fn start_with(env: &[(&str, &str)]) -> Self {
        Self::program(env!("CARGO_BIN_EXE_run"), env)
    }

    /// Starts a program with this environment. It dies with the thread that starts it: a worker of the runtime or the
    /// main thread, which live as long as the process, unless something is `block_in_place`.
    pub fn program(program: &str, env: &[(&str, &str)]) -> Self {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", program])
            // Several run at once.
            .env("EPHEMERON_LISTEN", "127.0.0.1:0")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the controller starts");
        let said = Arc::new(Mutex::new(String::new()));
        let (written, mut lines) =
            (Arc::clone(&said), BufReader::new(child.stderr.take().expect("standard error")).lines());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut said = written.lock().expect("no writer panics");
                said.push_str(&line);
                said.push('\n');
            }
        });
        Self { child: Mutex::new(Some(child)), said }
    }

    /// The process's id, while it runs.
    #[allow(dead_code, reason = "the benchmark uses it")]
    pub fn id(&self) -> Option<u32> {
        self.child.lock().expect("no holder panics").as_ref()?.id()
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        self.said.lock().expect("no writer panics").clone()
    }

    /// What it answers at a path of its own port: the body, and the status behind it.
    pub async fn answer(&self, cluster: &Cluster, path: &str) -> String {
        self.says("/metrics are served").await;
        let said = self.said();
        let line = said.lines().find(|line| line.contains("/metrics are served")).expect("it was said");
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let address = line["address"].as_str().expect("an address");
        let script = format!("command curl -s -w '%{{http_code}}' http://{address}{path}");
        String::from_utf8_lossy(&cluster.shell(&script).await.stdout).into_owned()
    }

    /// Waits until it has said something.
    pub async fn says(&self, what: &str) {
        until(&format!("the controller says {what:?}"), || async {
            self.said().contains(what).then_some(())
        })
        .await;
    }

    /// Ends it with SIGTERM; returns its exit code.
    pub async fn stop(&self) -> Option<i32> {
        let mut child = self.child.lock().expect("no holder panics").take()?;
        let id = child.id()?.to_string();
        Command::new("kill").arg(&id).status().await.expect("kill runs");
        let ended = tokio::time::timeout(LIMIT, child.wait()).await;
        ended.expect("it ends when it is told").expect("it ends").code()
    }

    /// Ends it with SIGKILL.
    pub async fn kill(&self) {
        let child = self.child.lock().expect("no holder panics").take();
        if let Some(mut child) = child {
            child.kill().await.expect("it is killed");
        }
    }
}
