//! A program's own HTTP server: whether it is alive (`/healthz`) and ready (`/readyz`), and its
//! metrics (`/metrics`).

mod readiness;

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{encoding::text, registry::Registry};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    task::{JoinError, JoinHandle, JoinSet},
    time,
};

pub use readiness::Readiness;

/// Connections that are open at once; others wait.
const CONNECTIONS: usize = 64;
/// In which a request must have come and its answer have gone: a connection serves one, and a slow
/// one holds up nobody for longer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head (the least that hyper takes).
const MAX_HEAD: usize = 8 * 1024;
/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// Between attempts to accept a connection, where the system has no room for one.
const PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
/// <https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    Off,
    /// At this address; port 0 for one that is free.
    At(SocketAddr),
}

/// The text does not say where to listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write ADDRESS:PORT, such as 127.0.0.1:8081 or [::]:8081 (port 0: one that is free), or off")]
pub struct NotAListen;

impl FromStr for Listen {
    type Err = NotAListen;

    fn from_str(text: &str) -> Result<Self, NotAListen> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| NotAListen)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => formatter.write_str("off"),
            Self::At(address) => address.fmt(formatter),
        }
    }
}

/// The address cannot be listened at.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address}: {cause}; set EPHEMERON_LISTEN (or --listen) to {remedy}, or to off")]
pub struct CannotListen {
    address: SocketAddr,
    cause: io::Error,
    remedy: &'static str,
}

/// What the program tells of itself.
pub struct Answers {
    /// Whether it does its work, with what else it tells; else one line per thing that is missing, with
    /// what to do about it. It is called for each request and must not wait.
    pub ready: Box<dyn Fn() -> Result<Vec<String>, Vec<String>> + Send + Sync>,
    /// Its metrics.
    pub metrics: Registry,
}

/// A server that has its port already.
#[derive(Debug)]
pub struct Server(TcpListener);

impl Server {
    /// Takes the port, and logs which it is.
    ///
    /// # Errors
    ///
    /// The port is taken, or may not be used, or the address is not one of this machine.
    pub async fn bind(address: SocketAddr) -> Result<Self, CannotListen> {
        let explain = |cause: io::Error| {
            let remedy = match cause.kind() {
                io::ErrorKind::AddrInUse => "another port (port 0: one that is free)",
                io::ErrorKind::PermissionDenied => "a port above 1023",
                _ => "an address of this machine",
            };
            CannotListen { address, cause, remedy }
        };
        let server = Self(listen(address).await.map_err(explain)?);
        tracing::info!(address = %server.address().map_err(explain)?, "/healthz, /readyz and /metrics are served");
        Ok(server)
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers until `end` resolves, and then those who have asked before.
    pub async fn serve(self, answers: Answers, end: impl Future<Output = ()>) {
        let (answers, permits) = (Arc::new(answers), Arc::new(Semaphore::new(CONNECTIONS)));
        let mut connections = JoinSet::new();
        tokio::pin!(end);
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = async {
                // The semaphore is never closed.
                let permit = Arc::clone(&permits).acquire_owned().await;
                (self.0.accept().await, permit)
            };
            let (accepted, permit) = tokio::select! {
                () = &mut end => break,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let answers = Arc::clone(&answers);
                    connections.spawn(async move {
                        let _permit = permit;
                        // Whoever asked may go away, or be too slow: that is no trouble of ours.
                        let _ = time::timeout(TIMEOUT, answer_one(stream, answers)).await;
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection was not accepted");
                    time::sleep(PAUSE).await;
                }
            }
        }
        // Each ends within the timeout.
        while connections.join_next().await.is_some() {}
    }
}

/// Takes a port. Without IPv6, all addresses are those of IPv4.
///
/// # Errors
///
/// The system's own.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if is_all_of_ipv6(address) && !is_about_the_port(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

/// A [`Server`] that runs beside the program's work: asked until the end, since a program that drains is alive.
#[derive(Debug)]
pub struct Beside(Option<(oneshot::Sender<()>, JoinHandle<()>)>);

impl Beside {
    /// Begins to answer, where that is wanted.
    ///
    /// # Errors
    ///
    /// See [`Server::bind`].
    pub async fn start(at: Listen, readiness: &Readiness, metrics: Registry) -> Result<Self, CannotListen> {
        let Listen::At(address) = at else { return Ok(Self(None)) };
        let server = Server::bind(address).await?;
        let asked = readiness.clone();
        let answers = Answers { ready: Box::new(move || asked.ask()), metrics };
        let (end, ended) = oneshot::channel::<()>();
        Ok(Self(Some((end, tokio::spawn(server.serve(answers, async { drop(ended.await) }))))))
    }

    /// Ends it, once those who have asked are answered.
    ///
    /// # Errors
    ///
    /// It has panicked.
    pub async fn end(self) -> Result<(), JoinError> {
        let Some((end, serving)) = self.0 else { return Ok(()) };
        drop(end);
        serving.await
    }
}

fn is_all_of_ipv6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

fn is_about_the_port(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

async fn answer_one(stream: TcpStream, answers: Arc<Answers>) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        std::future::ready(Ok::<_, Infallible>(answer(request.method(), request.uri().path(), &answers)))
    });
    http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .timer(TokioTimer::new())
        .header_read_timeout(TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer(method: &Method, path: &str, answers: &Answers) -> Response<Full<Bytes>> {
    if !matches!(path, "/healthz" | "/readyz" | "/metrics") {
        return response(StatusCode::NOT_FOUND, TEXT, "there are /healthz, /readyz and /metrics\n");
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/healthz" => response(StatusCode::OK, TEXT, "ok\n"),
        "/readyz" => match (answers.ready)() {
            Ok(lines) => {
                let lines: Vec<String> = ["ok".into()].into_iter().chain(lines).collect();
                response(StatusCode::OK, TEXT, lines.join("\n") + "\n")
            }
            Err(lines) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, lines.join("\n") + "\n"),
        },
        _ => {
            let mut encoded = String::new();
            match text::encode(&mut encoded, &answers.metrics) {
                Ok(()) => response(StatusCode::OK, OPEN_METRICS, encoded),
                Err(_) => response(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    TEXT,
                    "the metrics cannot be written: a defect of the program, please report it\n",
                ),
            }
        }
    }
}

fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
