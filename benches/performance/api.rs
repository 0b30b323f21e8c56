//! The REST API: reads from memory beside a handler that does nothing, creations beside those of the API
//! server, and thousands who wait.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ephemeron::{api::server::raise_file_limit, resource::Ephemeron};
use futures::future::join_all;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    World, bare,
    cluster::until,
    controllers::Controller,
    lives::{self, as_f64},
    process::Usage,
    report::{Figure, Goal, Row},
    spread::Spread,
};

/// Connections that read at once.
const READERS: usize = 16;
/// How long each side reads in a round.
const WINDOW: Duration = Duration::from_secs(5);
/// Who creates at once.
const CALLERS: usize = 50;
/// How many are created.
const CREATED: usize = 1_000;
/// Who waits at once.
const WAITING: usize = 5_000;

const READ_RATIO: f64 = 0.5;
const CREATE_RATIO: f64 = 2.0;
const A_MINUTE: f64 = 60.0;
const MEMORY: f64 = 150.0;
const TOLD: f64 = 1.0;

const CONFIG: &str = "
presets:
  server: {image: 'local/server:1', imagePullPolicy: IfNotPresent, port: 8080, readinessProbe: {path: /ready}}
apps: {bench: the key of the benchmark}
";

/// Measures all of it. No controller runs: what is created stays as it is.
pub async fn measure(world: &World) -> Figure {
    raise_file_limit();
    let mut api = Api::start(world).await;
    let (mut rows, mut details, mut data) = (Vec::new(), Vec::new(), json!({}));
    reads(world, &api, &mut rows, &mut details, &mut data).await;
    api.renew().await;
    creations(world, &mut api, &mut rows, &mut details, &mut data).await;
    api.renew().await;
    streams(world, &api, &mut rows, &mut details, &mut data).await;
    let gone = call(&mut api.connect().await, Method::DELETE, "/?all=true", &api.backend, None).await;
    assert_eq!(gone.0, StatusCode::OK, "{}", gone.1);
    api.program.stop().await;
    // One that has had no streams: what they leave would be counted.
    let api = Api::start(world).await;
    waits(world, &api, &mut rows, &mut details, &mut data).await;
    api.program.stop().await;
    Figure { rows, details, data }
}

struct Api {
    program: Controller,
    address: String,
    token: String,
    backend: String,
}

impl Api {
    async fn start(world: &World) -> Self {
        let file = std::env::temp_dir().join(world.cluster.name("bench-api"));
        std::fs::write(&file, CONFIG).expect("a file");
        let file = file.display().to_string();
        let env = [
            ("KUBECONFIG", world.cluster.env("KUBECONFIG")),
            ("EPHEMERON_CONFIG", &file),
            ("JWT_SECRET", bare::SECRET),
            ("EPHEMERON_API_LISTEN", "127.0.0.1:0"),
            ("EPHEMERON_LOG_FORMAT", "json"),
            ("EPHEMERON_LOG", "warn,ephemeron=info"),
        ];
        let program = Controller::program(env!("CARGO_BIN_EXE_api"), &env);
        program.says("ready: the first list").await;
        let address = until("it says where it is", || async {
            let said = program.said();
            let line = said.lines().find(|line| line.contains("the REST API is served"))?;
            let line: Value = serde_json::from_str(line).ok()?;
            Some(line["address"].as_str()?.to_owned())
        })
        .await;
        let mut api = Self { program, address, token: String::new(), backend: String::new() };
        api.renew().await;
        api
    }

    /// Tokens live five minutes.
    async fn renew(&mut self) {
        let mut connection = self.connect().await;
        let mut login = async |path: &str, body: Value| {
            let answer = call(&mut connection, Method::POST, path, "", Some(body)).await;
            let answer: Value = serde_json::from_str(&answer.1).expect("JSON");
            answer["token"].as_str().expect("a token").to_owned()
        };
        let key = "the key of the benchmark";
        self.token = login("/auth", json!({"app": "bench", "key": key, "uid": "user"})).await;
        self.backend = login("/auth/app", json!({"app": "bench", "key": key})).await;
    }

    async fn connect(&self) -> SendRequest<Full<Bytes>> {
        connect(&self.address).await
    }

    async fn create(&self, connection: &mut SendRequest<Full<Bytes>>) -> (StatusCode, String) {
        let body = json!({"preset": "server", "lifetimeMinutes": 60});
        let (status, text) = call(connection, Method::POST, "/", &self.token, Some(body)).await;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        (status, answer["id"].as_str().unwrap_or_default().to_owned())
    }
}

async fn connect(address: &str) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("a setting");
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    sender
}

fn request(method: Method, path: &str, token: &str, body: Option<Value>) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "api");
    if !token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let body = body.map(|body| body.to_string());
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    request.body(Full::new(Bytes::from(body.unwrap_or_default()))).expect("a request")
}

async fn call(
    connection: &mut SendRequest<Full<Bytes>>,
    method: Method,
    path: &str,
    token: &str,
    body: Option<Value>,
) -> (StatusCode, String) {
    connection.ready().await.expect("an open connection");
    let answer = connection.send_request(request(method, path, token, body)).await.expect("an answer");
    let status = answer.status();
    let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

/// Answers in a second, by as many connections as there are readers.
async fn rate(address: &str, path: &str, token: &str) -> f64 {
    let (count, end) = (Arc::new(AtomicU64::new(0)), Instant::now() + WINDOW);
    let readers = (0..READERS).map(|_| {
        let count = Arc::clone(&count);
        let (address, path, token) = (address.to_owned(), path.to_owned(), token.to_owned());
        tokio::spawn(async move {
            let mut connection = connect(&address).await;
            while Instant::now() < end {
                let (status, _) = call(&mut connection, Method::GET, &path, &token, None).await;
                assert_eq!(status, StatusCode::OK);
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for reader in join_all(readers).await {
        reader.expect("a reader");
    }
    #[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^52")]
    let count = count.load(Ordering::Relaxed) as f64;
    count / WINDOW.as_secs_f64()
}

async fn reads(world: &World, api: &Api, rows: &mut Vec<Row>, details: &mut Vec<String>, data: &mut Value) {
    let (mut floor, address) = bare::start().await;
    let mut connection = api.connect().await;
    let (status, id) = api.create(&mut connection).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let path = format!("/{id}");
    until("the watch has shown it", || async {
        let mut connection = api.connect().await;
        let (_, list) = call(&mut connection, Method::GET, "/", &api.token, None).await;
        list.contains(&id).then_some(())
    })
    .await;
    let place = world.audit.end();
    let (mut floors, mut projects) = (Vec::new(), Vec::new());
    for _ in 0..world.pairs.min(5) {
        floors.push(rate(&address, &path, &api.token).await);
        projects.push(rate(&api.address, &path, &api.token).await);
    }
    let asked = world.audit.since(place).await;
    let asked: Vec<_> = asked.iter().filter(|one| one.is_apis() && one.verb != "watch").collect();
    floor.kill().await.expect("it ends");
    let (floor, project) = (Spread::of(floors), Spread::of(projects));
    rows.push(Row::ratio(
        "GET /{id}: answers a second",
        project.median,
        floor.median,
        "/s",
        Goal::AtLeast(READ_RATIO),
    ));
    rows.push(Row::value("GET /{id}: API-server requests", as_f64(asked.len()), "", Goal::AtMost(0.0)));
    details.push(format!("reads by {READERS} connections: {}", project.told("/s")));
    details.push(format!(
        "a poem handler that checks the token and answers the same text: {}",
        floor.told("/s")
    ));
    data["reads"] = json!({"floor": floor, "project": project});
}

/// How long each creation took, in seconds, and how long all of them.
async fn crowd<F>(count: usize, create: impl Fn(usize) -> F) -> (Vec<f64>, f64)
where
    F: Future<Output = f64>,
{
    let (places, begun) = (Semaphore::new(CALLERS), Instant::now());
    let all = (0..count).map(|at| {
        let (places, one) = (&places, create(at));
        async move {
            let _place = places.acquire().await.expect("it is open");
            one.await
        }
    });
    (join_all(all).await, begun.elapsed().as_secs_f64())
}

async fn creations(
    world: &World,
    api: &mut Api,
    rows: &mut Vec<Row>,
    details: &mut Vec<String>,
    data: &mut Value,
) {
    let count = world.size(CREATED);
    let (mut floors, mut projects, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..world.pairs.min(3) {
        let one: Ephemeron = lives::ephemeron("none", "1h");
        let (times, _) = crowd(count, |_| {
            let mut one = one.clone();
            one.metadata.name = Some(world.cluster.name("bare"));
            async move {
                let begun = Instant::now();
                world.cluster.ephemerons().create(&PostParams::default(), &one).await.expect("it is created");
                begun.elapsed().as_secs_f64()
            }
        })
        .await;
        floors.push(Spread::of(times));
        let ours = ListParams::default().labels(lives::LABEL);
        let gone = world.cluster.ephemerons().delete_collection(&DeleteParams::default(), &ours).await;
        gone.expect("they are deleted");
        api.renew().await;
        let api = &*api;

        let pool: Vec<_> =
            join_all((0..CALLERS).map(|_| async { tokio::sync::Mutex::new(api.connect().await) })).await;
        let (times, all) = crowd(count, |_| async {
            // There is one connection for each caller.
            let mut connection = loop {
                if let Some(free) = pool.iter().find_map(|one| one.try_lock().ok()) {
                    break free;
                }
                tokio::task::yield_now().await;
            };
            let begun = Instant::now();
            let (status, _) = api.create(&mut connection).await;
            assert_eq!(status, StatusCode::ACCEPTED, "no 429 and no 5xx");
            begun.elapsed().as_secs_f64()
        })
        .await;
        projects.push(Spread::of(times));
        whole.push(all);
        let (status, text) =
            call(&mut api.connect().await, Method::DELETE, "/?all=true", &api.backend, None).await;
        assert_eq!(status, StatusCode::OK, "{text}");
    }
    let p99 = |spreads: &[Spread]| Spread::of(spreads.iter().map(|spread| spread.p99 * 1_000.0)).median;
    let median = |spreads: &[Spread]| Spread::of(spreads.iter().map(|spread| spread.median * 1_000.0)).median;
    rows.push(Row::ratio(
        format!("POST /: P99 of {count} by {CALLERS} callers"),
        p99(&projects),
        p99(&floors),
        "ms",
        Goal::AtMost(CREATE_RATIO),
    ));
    let longest = Spread::of(whole).max;
    rows.push(Row::value(
        format!("POST /: {count} from one address, none refused"),
        longest,
        "s",
        Goal::AtMost(A_MINUTE),
    ));
    details.push(format!(
        "P50 of a creation: {:.1} ms, by the API server alone {:.1} ms",
        median(&projects),
        median(&floors)
    ));
    data["creations"] = json!({"floor": floors, "project": projects});
}

async fn streams(world: &World, api: &Api, rows: &mut Vec<Row>, details: &mut Vec<String>, data: &mut Value) {
    let count = world.size(WAITING);
    let pid = api.program.id().expect("it runs");
    let before = Usage::of(pid).memory;
    let mut connection = api.connect().await;
    let (_, id) = api.create(&mut connection).await;
    let streams = open(api, count, &format!("/{id}/events")).await;
    let mut streams: Vec<Incoming> = streams.into_iter().map(http::Response::into_body).collect();
    join_all(streams.iter_mut().map(next)).await;
    let memory = Usage::of(pid).memory;
    let begun = Instant::now();
    let path = format!("/{id}");
    let (told, extended) = tokio::join!(
        join_all(streams.iter_mut().map(|stream| async {
            next(stream).await;
            begun.elapsed().as_secs_f64()
        })),
        call(&mut connection, Method::PATCH, &path, &api.token, Some(json!({"lifetimeMinutes": 90})))
    );
    assert_eq!(extended.0, StatusCode::OK, "{}", extended.1);
    let told = Spread::of(told);
    rows.push(Row::value(format!("memory with {count} streams"), memory, "MB", Goal::AtMost(MEMORY)));
    rows.push(Row::value("the last stream is told of a change after", told.max, "s", Goal::AtMost(TOLD)));
    details.push(format!("memory before the streams: {before:.1} MB; told: {}", told.told(" s")));
    data["streams"] = json!({"before": before, "memory": memory, "told": told});
}

async fn waits(world: &World, api: &Api, rows: &mut Vec<Row>, details: &mut Vec<String>, data: &mut Value) {
    let count = world.size(WAITING);
    let pid = api.program.id().expect("it runs");
    let before = Usage::of(pid).memory;
    let mut connection = api.connect().await;
    let (_, id) = api.create(&mut connection).await;
    let path = format!("/{id}?wait=120");
    let waiting = (0..count).map(|_| {
        let (address, path, token) = (api.address.clone(), path.clone(), api.token.clone());
        tokio::spawn(async move {
            let mut connection = connect(&address).await;
            let (status, _) = call(&mut connection, Method::GET, &path, &token, None).await;
            (status, Instant::now())
        })
    });
    let waiting: Vec<_> = waiting.collect();
    until("all of them wait", || async {
        let busy = api.program.id().map(open_files).unwrap_or_default();
        (busy >= count).then_some(())
    })
    .await;
    sleep_until(Instant::now() + Duration::from_secs(3)).await;
    let memory = Usage::of(pid).memory;
    let begun = Instant::now();
    let deleted = call(&mut connection, Method::DELETE, &format!("/{id}"), &api.token, None).await;
    assert_eq!(deleted.0, StatusCode::NO_CONTENT, "{}", deleted.1);
    let answers = join_all(waiting).await.into_iter().map(|answer| answer.expect("an answer"));
    let told = Spread::of(answers.map(|(status, at)| {
        assert_eq!(status, StatusCode::NOT_FOUND);
        at.duration_since(begun).as_secs_f64()
    }));
    rows.push(Row::value(format!("memory with {count} waits"), memory, "MB", Goal::AtMost(MEMORY)));
    rows.push(Row::value("the last wait is told of the end after", told.max, "s", Goal::AtMost(TOLD)));
    details.push(format!("memory before the waits: {before:.1} MB; told: {}", told.told(" s")));
    data["waits"] = json!({"before": before, "memory": memory, "told": told});
}

fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count).unwrap_or_default()
}

async fn open(api: &Api, count: usize, path: &str) -> Vec<http::Response<Incoming>> {
    // Not all at the same moment: the system's queue of connections is shorter.
    let places = Arc::new(Semaphore::new(64));
    let all = (0..count).map(|_| {
        let places = Arc::clone(&places);
        async move {
            let _place = places.acquire().await.expect("it is open");
            let mut connection = connect(&api.address).await;
            let answer = connection.send_request(request(Method::GET, path, &api.token, None)).await;
            let answer = answer.expect("an answer");
            assert_eq!(answer.status(), StatusCode::OK);
            // A connection without its sender ends after the answer.
            std::mem::forget(connection);
            answer
        }
    });
    join_all(all).await
}

async fn next(stream: &mut Incoming) {
    loop {
        let frame = timeout(Duration::from_mins(1), stream.frame()).await.expect("in time");
        let frame = frame.expect("it goes on").expect("a frame");
        if frame.data_ref().is_some_and(|data| data.starts_with(b"id:") || data.starts_with(b"event:")) {
            return;
        }
    }
}
