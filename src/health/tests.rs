//! The server, asked over real connections.

use prometheus_client::metrics::counter::Counter;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::oneshot,
    task::JoinHandle,
};

use super::*;

/// In which anything here must happen, on however busy a machine.
const LIMIT: Duration = Duration::from_mins(2);

struct Running {
    address: SocketAddr,
    readiness: Readiness,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn start() -> Running {
    let server = Server::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let address = server.address().expect("an address");
    let (readiness, mut metrics) = (Readiness::starting("lists"), Registry::default());
    readiness.started();
    let counted = Counter::<u64>::default();
    metrics.register("things", "Things that were counted", counted.clone());
    counted.inc_by(3);
    let asked = readiness.clone();
    let answers = Answers { ready: Box::new(move || asked.ask()), metrics };
    let (end, ended) = oneshot::channel();
    let task = tokio::spawn(server.serve(answers, async { drop(ended.await) }));
    Running { address, readiness, end, task }
}

impl Running {
    /// Sends these bytes; returns all that comes back until the server closes the connection.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        stream.write_all(bytes).await.expect("it is sent");
        rest(stream).await
    }

    async fn ask(&self, method: &str, path: &str) -> String {
        self.say(format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await
    }
}

async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("it ends").expect("an answer");
    String::from_utf8(answer).expect("text")
}

/// Status and body.
fn parts(answer: &str) -> (&str, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.split(' ').nth(1).expect("a status"), body)
}

#[tokio::test]
async fn paths_and_methods_are_answered() {
    let server = start().await;
    for (method, path, status, body) in [
        ("GET", "/healthz", "200", "ok\n"),
        ("GET", "/healthz?verbose", "200", "ok\n"),
        ("HEAD", "/healthz", "200", ""),
        ("GET", "/readyz", "200", "ok\n"),
        ("HEAD", "/metrics", "200", ""),
        ("POST", "/healthz", "405", "only GET and HEAD\n"),
        ("GET", "/", "404", "there are /healthz, /readyz and /metrics\n"),
        ("DELETE", "/healthz/", "404", "there are /healthz, /readyz and /metrics\n"),
    ] {
        let answer = server.ask(method, path).await;
        assert_eq!(parts(&answer), (status, body), "{method} {path}");
    }
    assert!(server.ask("PUT", "/metrics").await.contains("allow: GET, HEAD\r\n"));
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    let answer = start().await.ask("GET", "/metrics").await;
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
    let wanted = "# HELP things Things that were counted.\n# TYPE things counter\nthings_total 3\n# EOF\n";
    assert_eq!(parts(&answer), ("200", wanted));
}

#[tokio::test]
async fn what_is_not_ready_is_said_line_by_line() {
    let server = start().await;
    server.readiness.lacks("API server", "no answer; is the kubeconfig (KUBECONFIG) right?");
    server.readiness.lacks("clock", "40 s apart; set the clock");
    let wanted =
        "API server: no answer; is the kubeconfig (KUBECONFIG) right?\nclock: 40 s apart; set the clock\n";
    assert_eq!(parts(&server.ask("GET", "/readyz").await), ("503", wanted));
    assert_eq!(parts(&server.ask("GET", "/healthz").await).0, "200", "not ready is no reason to restart");
    server.readiness.has("API server");
    server.readiness.has("clock");
    assert_eq!(parts(&server.ask("GET", "/readyz").await).0, "200");
}

#[tokio::test]
async fn a_large_head_and_nonsense_are_refused() {
    let server = start().await;
    // No larger than what the server reads before it closes: a reset would take the answer along.
    let (head, end) = ("GET /healthz HTTP/1.1\r\nhost: a\r\na: ", "\r\n\r\n");
    let long = format!("{head}{}{end}", "a".repeat(MAX_HEAD - head.len() - end.len() + 1));
    assert_eq!(parts(&server.say(long.as_bytes()).await).0, "431");
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
    assert_eq!(parts(&server.say(many.as_bytes()).await).0, "431");
    assert_eq!(parts(&server.say(b"\x16\x03\x01\r\n\r\n").await).0, "400");
    assert_eq!(parts(&server.ask("GET", "/healthz").await).0, "200", "it goes on");
}

#[tokio::test]
async fn those_who_say_nothing_are_dropped_and_others_get_their_turn() {
    let server = start().await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS {
        silent.push(TcpStream::connect(server.address).await.expect("a connection"));
    }
    // It waits until the silent ones have had their time.
    assert_eq!(parts(&server.ask("GET", "/healthz").await).0, "200");
    for stream in silent {
        rest(stream).await;
    }
}

#[tokio::test]
async fn it_ends_gracefully() {
    let server = start().await;
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.expect("it is sent");
    // A later connection is answered, so the earlier one has been accepted.
    assert_eq!(parts(&server.ask("GET", "/healthz").await).0, "200");
    server.end.send(()).expect("it runs");
    stream.write_all(b"host: a\r\n\r\n").await.expect("it is sent");
    assert_eq!(parts(&rest(stream).await).0, "200");
    time::timeout(LIMIT, server.task).await.expect("it ends").expect("without a panic");
    assert!(TcpStream::connect(server.address).await.is_err(), "the port is free");
}

#[tokio::test]
async fn a_port_that_is_taken_is_said() {
    let server = start().await;
    let error = Server::bind(server.address).await.expect_err("it is taken").to_string();
    assert!(error.contains(&server.address.to_string()) && error.contains("EPHEMERON_LISTEN"), "{error}");
    assert!(error.contains("another port"), "{error}");
    // 192.0.2.0/24 is for documentation: no machine has it.
    let elsewhere = Server::bind(([192, 0, 2, 1], 0).into()).await.expect_err("not ours").to_string();
    assert!(elsewhere.contains("an address of this machine"), "{elsewhere}");
}

#[test]
fn addresses_are_read() {
    for text in ["off", "127.0.0.1:8081", "0.0.0.0:0", "[::]:8081"] {
        assert_eq!(text.parse::<Listen>().map(|listen| listen.to_string()), Ok(text.into()));
    }
    for text in ["", "8081", ":8081", "localhost:8081", "::1:8081:", "127.0.0.1", "127.0.0.1:99999"] {
        assert_eq!(text.parse::<Listen>(), Err(NotAListen), "{text}");
    }
}
