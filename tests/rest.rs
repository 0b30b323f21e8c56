//! What the REST API says to requests that mean nothing: the right status, one form of body, nothing created.
//! The API server is away, so that whatever would ask it shows.

#![expect(clippy::expect_used, reason = "a test may fail loudly")]

#[path = "api/http.rs"]
#[allow(dead_code, reason = "the cases on a cluster use all of it")]
mod http_client;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use chrono::Utc;
use http::{Method, StatusCode};
use http_client::{Answer, Http, Sent};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const SECRETS: &str = "the secret of these tests, new,the secret of these tests, old";
const CONFIG: &str = "
presets:
  web: {image: nginx, port: 80}
apps:
  shop: apikey
  strict: {key: 'sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b', longestLifetimeMinutes: 60}
cors: {origins: ['https://shop.example.com']}
";

/// An API that runs for one test.
struct Server {
    child: Child,
    http: Http,
    address: String,
    folder: tempfile::TempDir,
}

impl Server {
    fn start(env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (config, kubeconfig) = (folder.path().join("config.yaml"), folder.path().join("kubeconfig"));
        fs::write(&config, CONFIG).expect("a file");
        let cluster = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "none",
            "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:1"}}],
            "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
            "users": [{"name": "none", "user": {}}],
        });
        fs::write(&kubeconfig, cluster.to_string()).expect("a file");
        let mut child = Command::new(env!("CARGO_BIN_EXE_api"))
            .env("EPHEMERON_CONFIG", &config)
            .env("KUBECONFIG", &kubeconfig)
            .env("JWT_SECRET", SECRETS)
            .env("EPHEMERON_API_LISTEN", "127.0.0.1:0")
            .env("EPHEMERON_LISTEN", "off")
            .env("EPHEMERON_LOG_FORMAT", "json")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("standard error")).lines();
        let address = lines.by_ref().find_map(|line| {
            let line: Value = serde_json::from_str(&line.expect("a line")).ok()?;
            let is_it = line["message"].as_str()?.contains("the REST API is served");
            is_it.then(|| line["address"].as_str().map(Into::into)).flatten()
        });
        let address: String = address.expect("it says where it is");
        // What it says further must not stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, http: Http::new(&address), address, folder }
    }

    async fn token(&self) -> String {
        let answer = self.auth(&json!({"app": "shop", "key": "apikey", "uid": "user"})).await;
        answer.json["token"].as_str().expect("a token").into()
    }

    async fn auth(&self, body: &Value) -> Answer {
        self.http.post("/auth", "", body).await
    }

    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        let mut answer = vec![0; 4_096];
        let size = stream.read(&mut answer).await.unwrap_or(0);
        String::from_utf8_lossy(&answer[..size]).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        assert!(self.folder.path().exists());
    }
}

/// The status, the one body, and the request's id in both places.
fn refused(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text);
    assert!(answer.json["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}: {}", answer.text);
    let id = answer.headers.get("x-request-id").and_then(|id| id.to_str().ok());
    assert_eq!(answer.json["requestId"].as_str(), id, "{what}");
    assert_eq!(answer.headers["content-type"], "application/json; charset=utf-8", "{what}");
    for word in ["kube", "127.0.0.1", "src/", "poem"] {
        assert!(!answer.text.contains(word), "{what}: {}", answer.text);
    }
}

#[tokio::test]
async fn bodies_that_mean_nothing() {
    let server = Server::start(&[]);
    let token = server.token().await;
    let deep = format!(
        r#"{{"preset":"web","lifetimeMinutes":1,"parameters":{}{}}}"#,
        "[".repeat(500),
        "]".repeat(500)
    );
    let long = format!(r#"{{"preset":"{}","lifetimeMinutes":1}}"#, "a".repeat(400_000));
    let rows: &[(&str, &str, u16)] = &[
        ("/", "", 400),
        ("/", "{", 400),
        ("/", "null", 400),
        ("/", "[]", 400),
        ("/", "\"web\"", 400),
        ("/", "{}", 400),
        ("/", r#"{"preset":"web"}"#, 400),
        ("/", r#"{"preset":"web","lifetimeMinutes":0}"#, 400),
        ("/", r#"{"preset":"web","lifetimeMinutes":-1}"#, 400),
        ("/", r#"{"preset":"web","lifetimeMinutes":1.5}"#, 400),
        ("/", r#"{"preset":"web","lifetimeMinutes":"30"}"#, 400),
        ("/", r#"{"preset":"web","lifetimeMinutes":4294967295}"#, 400),
        ("/", r#"{"preset":"web","lifetimeMinutes":4294967296}"#, 400),
        ("/", r#"{"preset":"web","lifetimeMinutes":1e400}"#, 400),
        ("/", r#"{"preset":"web","lifetimeMinutes":true}"#, 400),
        ("/", r#"{"preset":"web","lifetimeMinutes":1,"expirationTime":"2099-01-01T00:00:00Z"}"#, 400),
        ("/", r#"{"preset":"web","expirationTime":"2001-01-01T00:00:00Z"}"#, 400),
        ("/", r#"{"preset":"web","expirationTime":"tomorrow"}"#, 400),
        ("/", r#"{"preset":"web","expirationTime":"2099-01-01 00:00:00Z"}"#, 400),
        ("/", r#"{"preset":"web","expirationTime":"2098-12-31T23:59:60Z"}"#, 400),
        ("/", r#"{"preset":7,"lifetimeMinutes":1}"#, 400),
        ("/", r#"{"preset":"web","lifetimeMinutes":1,"lifetimeMinutes":2}"#, 400),
        ("/", r#"{"preset":"web","lifetimeMinutes":1,"lifetime":2}"#, 400),
        ("/", r#"{"preset":"web","lifetimeMinutes":1,"parameters":[]}"#, 400),
        ("/", "{\"preset\":\"web\",\"lifetimeMinutes\":1} x", 400),
        ("/", &deep, 400),
        ("/", &long, 413),
        ("/", r#"{"preset":"none","lifetimeMinutes":1}"#, 404),
        ("/", r#"{"preset":"","lifetimeMinutes":1}"#, 404),
        ("/", r#"{"preset":"a/b","lifetimeMinutes":1}"#, 404),
        ("/", r#"{"preset":"../../etc/passwd","lifetimeMinutes":1}"#, 404),
        ("/", r#"{"preset":"a\u0000\u001b[31m","lifetimeMinutes":1}"#, 404),
        ("/", r#"{"preset":"web","lifetimeMinutes":1,"parameters":{"a":1}}"#, 422),
        // All is well with it, but for the API server.
        ("/", r#"{"preset":"web","lifetimeMinutes":1}"#, 503),
        ("/", r#"{"preset":"web","lifetimeMinutes":1,"expirationTime":null,"parameters":{}}"#, 503),
        ("/auth", "{", 400),
        ("/auth", r#"{"app":"shop","key":"apikey"}"#, 400),
        ("/auth", r#"{"app":"shop","key":"apikey","uid":"user","admin":true}"#, 400),
        ("/auth", r#"{"app":"shop","key":"apikey","key":"apikey","uid":"user"}"#, 400),
        ("/auth", r#"{"app":"shop","key":7,"uid":"user"}"#, 400),
        ("/auth/app", "{}", 400),
        ("/presets/web/render", "{", 400),
    ];
    for (path, body, status) in rows {
        let sent = Sent { token: Some(&token), body: Some(body), headers: &[] };
        let answer = server.http.send(Method::POST, path, sent).await;
        let shown: String = body.chars().take(90).collect();
        refused(&answer, *status, &format!("{path} {shown}"));
    }
    for kind in [
        "",
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
    ] {
        let headers = [("content-type", kind)];
        let sent = Sent { token: Some(&token), body: Some("{}"), headers: &headers };
        refused(&server.http.send(Method::POST, "/", sent).await, 415, kind);
    }
    for kind in ["application/json; charset=utf-8", "APPLICATION/JSON", "application/merge-patch+json"] {
        let headers = [("content-type", kind)];
        let sent = Sent { token: Some(&token), body: Some("{}"), headers: &headers };
        refused(&server.http.send(Method::POST, "/", sent).await, 400, kind);
    }
    for key in ["", "a b", "ü", &"a".repeat(256)] {
        let headers = [("idempotency-key", key)];
        let sent = Sent {
            token: Some(&token),
            body: Some(r#"{"preset":"web","lifetimeMinutes":1}"#),
            headers: &headers,
        };
        refused(&server.http.send(Method::POST, "/", sent).await, 400, key);
    }
}

#[tokio::test]
async fn bodies_that_are_large_or_slow() {
    let server = Server::start(&[]);
    let token = server.token().await;
    let head = |more: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n{more}\r\n"
        )
    };
    // It is answered before it has come.
    let large = server.raw(&head("Content-Length: 104857600\r\n")).await;
    assert!(large.starts_with("HTTP/1.1 413"), "{large}");
    let chunk = format!("40000\r\n{}\r\n", "a".repeat(0x4_0000));
    let chunked = server.raw(&(head("Transfer-Encoding: chunked\r\n") + &chunk + &chunk)).await;
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
    let slow = server.raw(&(head("Content-Length: 100\r\n") + "{\"preset\":")).await;
    assert!(slow.starts_with("HTTP/1.1 408"), "{slow}");
    assert!(slow.contains("\"message\""), "{slow}");
    let headers = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "a".repeat(100_000));
    let headers = server.raw(&headers).await;
    assert!(headers.is_empty() || headers.starts_with("HTTP/1.1 431"), "{headers}");
    // Others are answered meanwhile and afterwards.
    assert_eq!(server.http.get("/presets", &token).await.status, 200);
}

#[tokio::test]
async fn tokens_that_are_none() {
    let server = Server::start(&[]);
    let sign = |algorithm, secret: &str, claims: &Value| {
        encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes()))
            .expect("a token")
    };
    let (new, old) = SECRETS.split_once(",the").expect("two");
    let (new, old) = (new, format!("the{old}"));
    let now = Utc::now().timestamp();
    let claims = json!({"sub": "user.shop", "exp": now + 60});
    // A comma divides secrets: each of the parts verifies.
    let parts: Vec<_> = SECRETS.split(',').map(str::trim).collect();
    for part in &parts {
        let token = sign(Algorithm::HS256, part, &claims);
        assert_eq!(server.http.get("/presets", &token).await.status, 200, "{part}");
    }
    let with = |field: &str, value: Value| {
        let mut claims = claims.clone();
        claims[field] = value;
        claims
    };
    let without = |field: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().expect("claims").remove(field);
        claims
    };
    let first = parts[0];
    let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1c2VyLnNob3AiLCJleHAiOjQxMDI0NDQ4MDB9.";
    let rows = [
        ("nothing", String::new()),
        ("no token", "abc".into()),
        ("none", none.into()),
        ("another algorithm", sign(Algorithm::HS384, first, &claims)),
        ("another key", sign(Algorithm::HS256, "another", &claims)),
        ("both secrets as one", sign(Algorithm::HS256, SECRETS, &claims)),
        ("expired", sign(Algorithm::HS256, first, &with("exp", json!(now - 60)))),
        ("no end", sign(Algorithm::HS256, first, &without("exp"))),
        ("no subject", sign(Algorithm::HS256, first, &without("sub"))),
        ("no app", sign(Algorithm::HS256, first, &with("sub", json!("user")))),
        ("an app that was removed", sign(Algorithm::HS256, first, &with("sub", json!("user.gone")))),
        ("long", "a".repeat(8_000)),
    ];
    assert!(!new.is_empty() && !old.is_empty());
    for (what, token) in &rows {
        for (method, path) in [
            (Method::GET, "/presets"),
            (Method::GET, "/"),
            (Method::POST, "/"),
            (Method::DELETE, "/some-id"),
            (Method::GET, "/events"),
        ] {
            let sent = Sent { token: Some(token), ..Sent::default() };
            let answer = server.http.send(method, path, sent).await;
            refused(&answer, 401, &format!("{what} at {path}"));
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }
    let missing = server.http.send(Method::GET, "/presets", Sent::default()).await;
    refused(&missing, 401, "no header");
    let headers = [("authorization", "Basic dXNlcjpwYXNz")];
    let basic =
        server.http.send(Method::GET, "/presets", Sent { headers: &headers, ..Sent::default() }).await;
    refused(&basic, 401, "another scheme");
}

#[tokio::test]
async fn keys_and_users_that_are_none() {
    let server = Server::start(&[]);
    let rows = [
        (json!({"app": "shop", "key": "apikeY", "uid": "user"}), 401),
        (json!({"app": "shop", "key": "", "uid": "user"}), 401),
        (json!({"app": "none", "key": "apikey", "uid": "user"}), 401),
        (json!({"app": "a".repeat(100), "key": "b".repeat(5_000), "uid": "user"}), 401),
        (
            json!({"app": "strict", "key": "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b", "uid": "user"}),
            401,
        ),
        (json!({"app": "shop", "key": "apikey", "uid": ""}), 400),
        (json!({"app": "shop", "key": "apikey", "uid": "a.b"}), 400),
        (json!({"app": "shop", "key": "apikey", "uid": "-a"}), 400),
        (json!({"app": "shop", "key": "apikey", "uid": "a\n"}), 400),
        (json!({"app": "shop", "key": "apikey", "uid": "ü"}), 400),
        (json!({"app": "shop", "key": "apikey", "uid": "a".repeat(59)}), 400),
        (json!({"app": "shop", "key": "apikey", "uid": "a", "gid": "b/c"}), 400),
    ];
    let all = rows.iter().map(|(body, status)| {
        let server = &server;
        async move { refused(&server.auth(body).await, *status, &body.to_string()) }
    });
    futures::future::join_all(all).await;
    for body in [
        json!({"app": "strict", "key": "secret", "uid": "a"}),
        json!({"app": "shop", "key": "apikey", "uid": "a".repeat(58), "gid": "b-c_d"}),
        json!({"app": "shop", "key": "apikey", "uid": "A0", "gid": null}),
    ] {
        assert_eq!(server.auth(&body).await.status, 200, "{body}");
    }
}

#[tokio::test]
async fn paths_methods_and_ids_that_are_none() {
    let server = Server::start(&[]);
    let token = server.token().await;
    for path in [
        "/a/b",
        "/a/b/c",
        "/presets/web/none",
        "/auth/none",
        "/docs/x",
        "//",
        "/presets/none",
        "/presets/a%2Fb",
    ] {
        refused(&server.http.get(path, &token).await, 404, path);
    }
    // None of these can be a service, which is known without a request to the API server.
    for id in ["%00", "A", "a_b", "..%2F..", "-a", "%C3%BC", "a%0Ab", &"a".repeat(64), &"a".repeat(5_000)] {
        let shown: String = id.chars().take(20).collect();
        refused(&server.http.get(&format!("/{id}"), &token).await, 404, &shown);
        refused(&server.http.delete(&format!("/{id}"), &token).await, 404, &shown);
    }
    let unknown = server.http.get("/some-id", &token).await;
    refused(&unknown, 503, "it could be there");
    assert!(unknown.headers.contains_key("retry-after"));
    for (method, path, allow) in [
        (Method::PUT, "/", "DELETE, GET, PATCH, POST"),
        (Method::GET, "/auth", "POST"),
        (Method::POST, "/some-id", "DELETE, GET, PATCH"),
        (Method::POST, "/presets", "GET"),
        (Method::POST, "/docs", "GET"),
    ] {
        let answer = server.http.send(method, path, Sent { token: Some(&token), ..Sent::default() }).await;
        refused(&answer, 405, path);
        assert_eq!(answer.headers["allow"], allow, "{path}");
    }
    for path in [
        "/?limit=0",
        "/?limit=1001",
        "/?limit=many",
        "/?phase=Gone",
        "/some-id?wait=301",
        "/some-id?wait=-1",
        "/some-id?wait=x",
    ] {
        refused(&server.http.get(path, &token).await, 400, path);
    }
    refused(&server.http.get("/?user=other", &token).await, 403, "of another user");
    // Nothing is known yet, which is not the same as that there is nothing.
    for path in ["/", "/events"] {
        refused(&server.http.get(path, &token).await, 503, path);
    }
}

#[tokio::test]
async fn what_is_served_to_browsers() {
    let server = Server::start(&[]);
    let document = server.http.get("/openapi.json", "").await;
    assert_eq!(document.json["info"]["title"], "Ephemeron");
    let docs = server.http.get("/docs", "").await;
    assert_eq!(docs.status, 200);
    assert!(docs.text.contains("swagger-ui") && docs.headers.contains_key("content-security-policy"));
    let from = |origin: &'static str| {
        let http = &server.http;
        async move {
            let headers = [
                ("origin", origin),
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", "authorization,content-type"),
            ];
            http.send(Method::OPTIONS, "/", Sent { headers: &headers, ..Sent::default() }).await
        }
    };
    let ours = from("https://shop.example.com").await;
    assert_eq!(ours.status, StatusCode::NO_CONTENT, "{}", ours.text);
    assert_eq!(ours.headers["access-control-allow-origin"], "https://shop.example.com");
    assert!(
        ours.headers["access-control-allow-headers"]
            .to_str()
            .is_ok_and(|all| all.contains("idempotency-key"))
    );
    assert!(!ours.headers.contains_key("access-control-allow-credentials"));
    // A page of another origin is not refused, but its browser does not let it read; one of the API's own host,
    // such as Swagger UI, needs nothing.
    for origin in ["https://other.example.com", "null"] {
        let others = from(origin).await;
        assert!(!others.headers.contains_key("access-control-allow-origin"), "{:?}", others.headers);
        let headers = [("origin", origin)];
        let login = json!({"app": "shop", "key": "apikey", "uid": "user"}).to_string();
        let sent = Sent { body: Some(&login), headers: &headers, ..Sent::default() };
        assert_eq!(server.http.send(Method::POST, "/auth", sent).await.status, 200);
    }
    // Errors are the same for browsers.
    let token = server.token().await;
    let headers = [("origin", "https://shop.example.com")];
    for (method, path, token, status) in [
        (Method::GET, "/none/none", &*token, 404),
        (Method::GET, "/presets", "bad", 401),
        (Method::PUT, "/", &token, 405),
        (Method::GET, "/?limit=0", &token, 400),
        (Method::GET, "/%ff", &token, 400),
        (Method::POST, "/", &token, 415),
    ] {
        let answer = server
            .http
            .send(method, path, Sent { token: Some(token), headers: &headers, ..Sent::default() })
            .await;
        refused(&answer, status, path);
        assert_eq!(answer.headers["access-control-allow-origin"], "https://shop.example.com", "{path}");
    }
    // A caller's own id is kept where a log can hold it.
    let with = |id: &'static str| {
        let http = &server.http;
        async move {
            let headers = [("x-request-id", id)];
            http.send(Method::GET, "/none/none", Sent { headers: &headers, ..Sent::default() }).await
        }
    };
    assert_eq!(with("trace-1.2_3").await.headers["x-request-id"], "trace-1.2_3");
    for id in ["a b", "", "a\"b"] {
        assert_ne!(with(id).await.headers["x-request-id"], id);
    }
}

#[tokio::test]
async fn wrong_keys_slow_down_nobody_else() {
    let server = Server::start(&[]);
    let wrong = json!({"app": "shop", "key": "wrong", "uid": "user"});
    let guesses = futures::future::join_all((0..400).map(|_| server.auth(&wrong)));
    let good = json!({"app": "shop", "key": "apikey", "uid": "user"});
    let right = async {
        let mut answers = Vec::new();
        for _ in 0..50 {
            answers.push(server.auth(&good).await.status);
        }
        answers
    };
    // Far more than the guesses are made to wait: the right ones never are.
    let (guesses, right) = tokio::join!(guesses, tokio::time::timeout(Duration::from_mins(2), right));
    assert!(right.expect("in time").iter().all(|status| *status == StatusCode::OK));
    for guess in guesses {
        assert!(matches!(guess.status.as_u16(), 401 | 429), "{}", guess.text);
    }
}

#[test]
fn a_wrong_setting_is_named_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.yaml");
    fs::write(&config, "apps: {shop: 7}").expect("a file");
    let config = config.display().to_string();
    let good = ("EPHEMERON_CONFIG", "k8s/api/config.yaml");
    let rows: &[(&[(&str, &str)], &str)] = &[
        (&[], "EPHEMERON_CONFIG (or --config) is not set"),
        (
            &[("EPHEMERON_CONFIG", "/nonexistent")],
            "EPHEMERON_CONFIG (or --config) cannot be \"/nonexistent\": it cannot be read",
        ),
        (&[("EPHEMERON_CONFIG", &config)], "apps.shop: the key is a text"),
        (&[good], "JWT_SECRET (or --jwt-secret) is not set"),
        (&[good, ("JWT_SECRET", "a,,b")], "JWT_SECRET (or --jwt-secret) cannot be"),
        (
            &[good, ("JWT_SECRET", "a"), ("EPHEMERON_API_LISTEN", "3030")],
            "EPHEMERON_API_LISTEN (or --api-listen) cannot be",
        ),
        (&[good, ("JWT_SECRET", "a"), ("EPHEMERON_IMAGES", "")], "EPHEMERON_IMAGES"),
        (&[good, ("JWT_SECRET", "a")], "no way to the API server"),
    ];
    for (env, wanted) in rows {
        let output = Command::new(env!("CARGO_BIN_EXE_api"))
            .env("KUBECONFIG", "/nonexistent/kubeconfig")
            .env_remove("KUBERNETES_SERVICE_HOST")
            .envs(env.iter().copied())
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(wanted), "{env:?}: {said}");
        assert!(!said.contains("a,,b"), "a secret is not shown: {said}");
    }
}
