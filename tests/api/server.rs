//! An API that runs while a case does.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::http::Http;
use crate::{World, accounts, cluster::until, controllers::Controller};

/// What most cases configure.
pub const CONFIG: &str = r#"
presets:
  server:
    image: local/server:1
    imagePullPolicy: IfNotPresent
    port: 8080
    env: [{name: MESSAGE, value: hello from the API}]
    readinessProbe: {path: /ready, timeoutSeconds: 10}
  missing: {image: "local/none:1", imagePullPolicy: Never, port: 80}
apps:
  shop: key of the shop
  other: {key: key of the other, logs: true, render: true}
"#;

/// One process.
pub struct Server {
    /// A client of it.
    pub http: Http,
    program: Controller,
    folder: PathBuf,
}

impl Server {
    /// Starts one with the usual configuration.
    pub async fn start(world: &World) -> Self {
        Self::with(world, CONFIG, &[]).await
    }

    /// Starts one with this configuration and further variables.
    pub async fn with(world: &World, config: &str, env: &[(&str, &str)]) -> Self {
        Self::of(env!("CARGO_BIN_EXE_api"), world, config, env).await
    }

    /// Starts one of another version.
    pub async fn of(api: &str, world: &World, config: &str, env: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(world.cluster.name("api"));
        fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("config.yaml");
        fs::write(&file, config).expect("a file");
        let file = file.display().to_string();
        let mut all = vec![
            ("KUBECONFIG", accounts::kubeconfig(&world.cluster, "ephemeron-api").await),
            ("EPHEMERON_CONFIG", &file),
            ("JWT_SECRET", "a secret of the tests, long enough"),
            ("EPHEMERON_API_LISTEN", "127.0.0.1:0"),
            ("EPHEMERON_API_DRAIN", "0s"),
            ("EPHEMERON_LOG_FORMAT", "json"),
        ];
        all.extend(env);
        let program = Controller::program(api, &all);
        program.says("ready: the first list").await;
        let address = address(&program, "the REST API is served").await;
        Self { http: Http::new(&address), program, folder }
    }

    /// Where /readyz and /metrics are.
    pub async fn health(&self) -> Http {
        Http::new(&address(&self.program, "/healthz, /readyz").await)
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        self.program.said()
    }

    /// Waits until it has said something.
    pub async fn says(&self, what: &str) {
        self.program.says(what).await;
    }

    /// Ends it with SIGTERM; returns its exit code.
    pub async fn stop(&self) -> Option<i32> {
        self.program.stop().await
    }

    /// A token for a user of an app with the usual keys.
    pub async fn token(&self, app: &str, uid: &str) -> String {
        self.login("/auth", &json!({"app": app, "key": format!("key of the {app}"), "uid": uid})).await
    }

    /// The same in a group.
    pub async fn token_in(&self, app: &str, uid: &str, gid: &str) -> String {
        let body = json!({"app": app, "key": format!("key of the {app}"), "uid": uid, "gid": gid});
        self.login("/auth", &body).await
    }

    /// A token for the backend itself.
    pub async fn app_token(&self, app: &str) -> String {
        self.login("/auth/app", &json!({"app": app, "key": format!("key of the {app}")})).await
    }

    async fn login(&self, path: &str, body: &Value) -> String {
        let answer = self.http.post(path, "", body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json["token"].as_str().expect("a token").to_owned()
    }

    /// Creates a service; returns its id.
    pub async fn create(&self, token: &str, preset: &str) -> String {
        let answer = self.http.post("/", token, &json!({"preset": preset, "lifetimeMinutes": 30})).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer.json["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until a service is available.
    pub async fn available(&self, token: &str, id: &str) -> Value {
        until(&format!("{id} is available"), || async {
            let answer = self.http.get(&format!("/{id}?wait=60"), token).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            (answer.json["phase"] == "Available").then_some(answer.json)
        })
        .await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

async fn address(program: &Controller, message: &str) -> String {
    until(&format!("the API says {message:?}"), || async {
        let said = program.said();
        let line = said.lines().find(|line| line.contains(message))?;
        let line: Value = serde_json::from_str(line).ok()?;
        Some(line["address"].as_str()?.to_owned())
    })
    .await
}
