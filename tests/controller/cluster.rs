//! The test cluster as the cases see it: manifests in, objects and answers out.

use std::{
    collections::HashMap,
    fmt::Debug,
    future::Future,
    path::PathBuf,
    process::{Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chrono::{DateTime, TimeDelta, Utc};
use ephemeron::resource::{Ephemeron, conditions};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, Patch, PatchParams},
    config::KubeConfigOptions,
};
use tokio::{process::Command, time};

/// How long anything may take before a case gives up. It is generous: the machine may be slow, and
/// no case measures.
pub const LIMIT: Duration = Duration::from_mins(5);

/// A connection to the test cluster.
pub struct Cluster {
    /// A client with all rights.
    pub client: Client,
    /// What the cluster's `env` file sets.
    env: HashMap<String, String>,
    run: u64,
    names: AtomicU32,
    controller: OnceLock<&'static str>,
}

impl Cluster {
    /// Connects to the project's own cluster, never to one that a kubeconfig happens to name.
    pub async fn connect() -> Result<Self, String> {
        let folder = std::env::var_os("EPHEMERON_CLUSTER_DIR")
            .map_or_else(|| PathBuf::from("/var/lib/ephemeron-cluster"), PathBuf::from);
        let file = folder.join("env");
        let text = std::fs::read_to_string(&file).map_err(|error| {
            format!("no test cluster: {}: {error}; run `make cluster-up`", file.display())
        })?;
        let env: HashMap<String, String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
            .chain([("BIN".to_owned(), folder.join("bin").display().to_string())])
            .collect();
        let kubeconfig = kube::config::Kubeconfig::read_from(&env["KUBECONFIG"])
            .map_err(|error| format!("the test cluster's kubeconfig: {error}"))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(|error| format!("the test cluster's kubeconfig: {error}"))?;
        let client = Client::try_from(config).map_err(|error| error.to_string())?;
        client
            .apiserver_version()
            .await
            .map_err(|error| format!("the test cluster does not answer: {error}; run `make cluster-up`"))?;
        let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() % 100_000;
        Ok(Self { client, env, run, names: AtomicU32::new(0), controller: OnceLock::new() })
    }

    /// Installs the definition and removes what an interrupted run left.
    pub async fn clean(&self) {
        self.kubectl("apply -f k8s/ephemerons.yaml").await;
        self.established("ephemerons.qualified.io").await;
        // It is found a moment after it is established.
        until("the definition is served", || async {
            self.shell("kubectl delete ephs --all --wait=false").await.status.success().then_some(())
        })
        .await;
        // As an interrupted benchmark leaves them.
        self.kubectl("uncordon -l kubernetes.io/os").await;
        self.kubectl("-n default delete pods,services,httproutes,ingresses -l test=foreign --wait=false")
            .await;
    }

    /// Waits until a definition is served. One so new that it has no conditions yet `kubectl wait` does not wait for.
    pub async fn established(&self, name: &str) {
        until(&format!("{name} is established"), || async {
            let wait = format!("kubectl wait --for=condition=Established --timeout=10s crd/{name}");
            self.shell(&wait).await.status.success().then_some(())
        })
        .await;
    }

    /// A value of the cluster's `env` file.
    pub fn env(&self, name: &str) -> &str {
        self.env.get(name).unwrap_or_else(|| panic!("the cluster's env file has no {name}"))
    }

    /// The kubeconfig of controllers: the administrator's, unless another one was named.
    pub fn controller_kubeconfig(&self) -> &str {
        self.controller.get().copied().unwrap_or_else(|| self.env("KUBECONFIG"))
    }

    /// Names the kubeconfig that controllers have from now on.
    #[allow(dead_code, reason = "the benchmark has no need of it")]
    pub fn run_controllers_with(&self, kubeconfig: &'static str) {
        self.controller.get_or_init(|| kubeconfig);
    }

    /// A name that no other case and no other run has.
    pub fn name(&self, prefix: &str) -> String {
        format!("{prefix}-{}-{}", self.run, self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs a command line with bash, with kubectl and the kubeconfig of this cluster.
    pub async fn shell(&self, script: &str) -> Output {
        // Where port 80 of the machine was taken, the cluster's own address takes its place.
        let address = self.env("NODE_ADDRESS");
        let curl = format!("curl() {{ command curl --connect-to ::{address}: \"$@\"; }}");
        let script =
            if self.env("HTTP_PORT") == "80" { script.to_owned() } else { format!("{curl}\n{script}") };
        Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .env("KUBECONFIG", self.env("KUBECONFIG"))
            .env("PATH", format!("{}:{}", self.env("BIN"), std::env::var("PATH").unwrap_or_default()))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .expect("bash runs")
    }

    /// Runs kubectl; returns what it printed. It must succeed.
    pub async fn kubectl(&self, arguments: &str) -> String {
        let output = self.shell(&format!("kubectl {arguments}")).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Applies a manifest; returns what kubectl said if it was refused.
    pub async fn apply(&self, manifest: &str) -> Result<(), String> {
        let output = self.shell(&format!("kubectl apply -f - <<'MANIFEST'\n{manifest}\nMANIFEST")).await;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// All Ephemerons.
    pub fn ephemerons(&self) -> Api<Ephemeron> {
        Api::all(self.client.clone())
    }

    /// The Ephemeron of this name, if there is one.
    pub async fn ephemeron(&self, name: &str) -> Option<Ephemeron> {
        self.ephemerons().get_opt(name).await.expect("the API server answers")
    }

    /// Waits until the Ephemeron is available.
    pub async fn available(&self, name: &str) -> Ephemeron {
        self.reaches(name, "is available", |one| {
            condition(one, conditions::AVAILABLE) == ("True", "Available")
        })
        .await
    }

    /// Waits until the Ephemeron is in a state.
    pub async fn reaches(&self, name: &str, what: &str, is: impl Fn(&Ephemeron) -> bool) -> Ephemeron {
        if let Some(one) =
            within_limit(|| async { self.ephemerons().get_opt(name).await.ok()?.filter(&is) }).await
        {
            return one;
        }
        let events = format!("kubectl get events -A --field-selector involvedObject.name={name}");
        let now = self.shell(&format!("kubectl get eph {name} -o yaml; {events}")).await;
        panic!("{name} never {what}; it is: {}", String::from_utf8_lossy(&now.stdout));
    }

    /// Waits until an object is gone.
    pub async fn gone<K>(&self, api: &Api<K>, name: &str)
    where
        K: Clone + Debug + serde::de::DeserializeOwned,
    {
        until(&format!("{name} is gone"), || async {
            api.get_opt(name).await.is_ok_and(|found| found.is_none()).then_some(())
        })
        .await;
    }

    /// Has an Ephemeron end so many seconds from now, and returns when. Cases that need an available one
    /// that ends soon say so once it is available: how long that takes depends on the machine.
    pub async fn ends_in(&self, name: &str, seconds: i64) -> DateTime<Utc> {
        let end = Utc::now() + TimeDelta::seconds(seconds);
        let patch = Patch::Merge(serde_json::json!({"spec": {"expirationTime": end.to_rfc3339()}}));
        self.ephemerons().patch(name, &PatchParams::default(), &patch).await.expect("the end is accepted");
        end
    }

    /// Deletes an Ephemeron.
    pub async fn delete(&self, name: &str) {
        let _ = self.ephemerons().delete(name, &DeleteParams::default()).await;
    }

    /// Asks the gateway at `address`, by default Traefik, for a URL. Returns status and body.
    pub async fn get(&self, url: &str, address: Option<&str>) -> (u16, String) {
        let address = address.unwrap_or(self.env("NODE_ADDRESS"));
        let to = format!("--connect-to ::{address}:");
        let output =
            self.shell(&format!("command curl -s {to} -m 60 -w '\\n%{{http_code}}' '{url}' || true")).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
        (status.parse().unwrap_or(0), body.to_owned())
    }

    /// Waits until a URL gives this status, and returns the body.
    pub async fn answers(&self, url: &str, address: Option<&str>, wanted: u16) -> String {
        until(&format!("{url} answers {wanted}"), || async {
            let (status, body) = self.get(url, address).await;
            (status == wanted).then_some(body)
        })
        .await
    }
}

/// Status and reason of a condition.
pub fn condition<'a>(one: &'a Ephemeron, r#type: &str) -> (&'a str, &'a str) {
    let conditions = one.status.as_ref().map_or(&[][..], |status| &status.conditions);
    conditions::find(conditions, r#type)
        .map_or(("", ""), |found| (found.status.as_str(), found.reason.as_deref().unwrap_or_default()))
}

/// What a condition says.
#[allow(dead_code, reason = "the benchmark has no need of it")]
pub fn message<'a>(one: &'a Ephemeron, r#type: &str) -> &'a str {
    let conditions = one.status.as_ref().map_or(&[][..], |status| &status.conditions);
    conditions::find(conditions, r#type).and_then(|found| found.message.as_deref()).unwrap_or_default()
}

/// Looks again and again until there is something; gives up after [`LIMIT`].
pub async fn until<T, F>(what: &str, look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    match within_limit(look).await {
        Some(found) => found,
        None => panic!("it never happened that {what}"),
    }
}

async fn within_limit<T, F>(mut look: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Option<T>>,
{
    let looking = async {
        let mut ticks = time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    time::timeout(LIMIT, looking).await.ok()
}
