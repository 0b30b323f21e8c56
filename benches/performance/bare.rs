//! A handler of poem that checks the token and answers what the REST API answers, and does nothing else for it:
//! the floor of its reads.

use std::{process::Stdio, sync::Arc};

use chrono::Utc;
use ephemeron::api::token::Signer;
use http::StatusCode;
use poem::{
    EndpointExt as _, Request, Route, Server, get, handler,
    listener::TcpListener,
    web::{Data, Json},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// Starts it as a process of its own; returns where it is.
pub async fn start() -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .arg("--bare")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("standard output")).lines();
    let address = lines.next_line().await.expect("a line").expect("an address");
    (child, address)
}

/// What tokens are signed with, here and by the API that is measured.
pub const SECRET: &str = "the secret of the benchmark; long enough";

#[handler]
#[expect(clippy::needless_pass_by_value, reason = "an extractor is a value")]
fn nothing(request: &Request, signer: Data<&Arc<Signer>>) -> Result<Json<Value>, StatusCode> {
    let token = request.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
    signer.verify(token.unwrap_or_default(), Utc::now()).map_err(|_| StatusCode::UNAUTHORIZED)?;
    Ok(Json(json!({
        "id": "ekoo6mcbxpzt3wd5g2qjhvrla", "host": null, "expirationTime": "2030-01-31T12:30:00.123Z",
        "tls": false, "phase": "Pending", "preset": "server", "created": "2030-01-31T12:00:00Z",
    })))
}

/// Serves the same text as the API, and does nothing else for it.
pub async fn serve() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    drop(socket);
    println!("{address}");
    let signer = Arc::new(Signer::new(&[SECRET.into()]));
    let routes = Route::new().at("/:id", get(nothing)).data(signer);
    Server::new(TcpListener::bind(address.to_string())).run(routes).await.expect("it serves");
}
