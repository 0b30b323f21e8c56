//! An API server that is away.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::{
    io,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::server::Server;
use crate::{Cases, World, cluster::until};

/// What stands between a program and the API server, and can be cut.
struct Wire {
    open: watch::Sender<bool>,
    kubeconfig: String,
}

impl Wire {
    async fn new(world: &World) -> Arc<Self> {
        let config = world.cluster.kubectl("config view --raw --minify -o json").await;
        let mut config: Value = serde_json::from_str(&config).expect("JSON");
        let cluster = &mut config["clusters"][0]["cluster"];
        let server = cluster["server"].as_str().expect("a server").trim_start_matches("https://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        cluster["server"] = format!("https://{}", listener.local_addr().expect("an address")).into();
        cluster["tls-server-name"] = "kubernetes".into();
        let file = std::env::temp_dir().join(world.cluster.name("wire"));
        std::fs::write(&file, config.to_string()).expect("a file");
        let (open, is_open) = watch::channel(true);
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.expect("a connection");
                let (server, mut is_open) = (server.clone(), is_open.clone());
                connections.spawn(async move {
                    if !*is_open.borrow() {
                        return;
                    }
                    let Ok(mut far) = TcpStream::connect(&server).await else { return };
                    tokio::select! {
                        _ = io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = is_open.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Arc::new(Self { open, kubeconfig: file.display().to_string() })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.kubeconfig);
    }
}

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("api::reads_go_on_while_the_api_server_is_away", |world| async move {
        let wire = Wire::new(&world).await;
        let server = Server::with(&world, super::server::CONFIG, &[("KUBECONFIG", &wire.kubeconfig)]).await;
        let (health, token) = (server.health().await, server.token("shop", "leo").await);
        let id = server.create(&token, "missing").await;
        let path = format!("/{id}");
        until("it is listed", || async {
            server.http.get("/", &token).await.text.contains(&id).then_some(())
        })
        .await;
        assert_eq!(health.get("/readyz", "").await.status, 200);

        wire.open.send_replace(false);
        until("the program says so", || async {
            let answer = health.get("/readyz", "").await;
            (answer.status == 503 && answer.text.contains("no connection to the API server")).then_some(())
        })
        .await;
        assert_eq!(health.get("/healthz", "").await.status, 200);
        assert_eq!(server.http.get(&path, &token).await.status, 200);
        assert!(server.http.get("/", &token).await.text.contains(&id));
        assert_eq!(server.http.get("/presets", &token).await.status, 200);
        for answer in [
            server.http.post("/", &token, &json!({"preset": "server", "lifetimeMinutes": 5})).await,
            server.http.patch(&path, &token, &json!({"lifetimeMinutes": 5})).await,
            server.http.delete(&path, &token).await,
            server.http.get("/e-not-known-here", &token).await,
        ] {
            assert_eq!(answer.status, 503, "{}", answer.text);
            assert!(answer.headers.contains_key("retry-after"), "{}", answer.text);
            for word in ["127.0.0.1", "tcp", "refused", "kube"] {
                assert!(!answer.text.contains(word), "not for a caller: {}", answer.text);
            }
        }

        wire.open.send_replace(true);
        until("the program is ready again", || async {
            (health.get("/readyz", "").await.status == 200).then_some(())
        })
        .await;
        assert_eq!(server.http.delete(&path, &token).await.status, 204);
        server.stop().await;
    });
}
