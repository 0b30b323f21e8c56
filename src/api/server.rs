//! Connections to the REST API: how many, how slow they may be, and how they end.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use http::uri::Scheme;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::{
    Addr, Endpoint, EndpointExt as _, Response,
    web::{LocalAddr, RemoteAddr},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time,
};
use tokio_io_timeout::TimeoutStream;

use super::{Api, answers};
use crate::health;

/// In which a request's head must have come, and the next one on the same connection.
const HEAD: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const MAX_HEAD: usize = 32 * 1024;
/// Headers of a request.
const MAX_HEADERS: usize = 100;
/// Between attempts to accept a connection, where the system has no room for one.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a reader may take nothing of what is there for it: else thousands could hold connections for ever.
const STALLED: Duration = Duration::from_secs(30);
/// How long requests may go on that came before the end.
const LAST: Duration = Duration::from_secs(20);

/// The address cannot be listened at.
#[derive(Debug, thiserror::Error)]
#[error(
    "the API cannot listen at {0}: {1}; set EPHEMERON_API_LISTEN (or --api-listen) to another address or port"
)]
pub struct CannotListen(SocketAddr, io::Error);

/// Takes the port.
///
/// # Errors
///
/// It is taken, or may not be used, or the address is not one of this machine.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, CannotListen> {
    let listener = health::listen(address).await.map_err(|error| CannotListen(address, error))?;
    let address = listener.local_addr().map_err(|error| CannotListen(address, error))?;
    tracing::info!(%address, "the REST API is served, its document at /openapi.json and Swagger UI at /docs");
    Ok(listener)
}

/// Lets this process have as many connections as the system allows it: what it starts with is often 1,024.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the number of open files stays limited to {:?}", limit.current);
    }
}

/// Serves until `shutdown` resolves. Then who waits is told to come back, and for a while connections are
/// still accepted, since it takes time until everybody knows that they should go elsewhere.
pub async fn serve(
    listener: TcpListener,
    api: Arc<Api>,
    stop: watch::Sender<bool>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let drain = api.settings.drain;
    let permits = Arc::new(Semaphore::new(api.settings.connections));
    let endpoint = Arc::new(answers::endpoint(Arc::clone(&api)).map_to_response());
    let mut connections = JoinSet::new();
    let (close, closing) = watch::channel(false);
    let mut end = std::pin::pin!(async {
        shutdown.await;
        stop.send_replace(true);
        tracing::info!(?drain, "stopping: who waits is told to come back");
        time::sleep(drain).await;
    });
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = async {
            // The semaphore is never closed.
            let permit = Arc::clone(&permits).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            () = &mut end => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, remote)) => {
                let (endpoint, closing) = (Arc::clone(&endpoint), closing.clone());
                let open = api.metrics.connection();
                connections.spawn(async move {
                    let _held = (permit, open);
                    answer(stream, remote, endpoint, closing).await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    close.send_replace(true);
    let all = async {
        while connections.join_next().await.is_some() {}
        // Those who asked may have gone away before it was done.
        drop(api.writing.write().await);
    };
    if time::timeout(LAST, all).await.is_err() {
        tracing::warn!("requests that did not end within {LAST:?} are cut off");
    }
}

async fn answer(
    stream: TcpStream,
    remote: SocketAddr,
    endpoint: Arc<impl Endpoint<Output = Response> + 'static>,
    mut closing: watch::Receiver<bool>,
) {
    // Small answers go at once.
    let _ = stream.set_nodelay(true);
    let local =
        stream.local_addr().map_or_else(|_| LocalAddr::default(), |at| LocalAddr(Addr::SocketAddr(at)));
    let service = service_fn(move |request: Request<Incoming>| {
        let endpoint = Arc::clone(&endpoint);
        let remote = RemoteAddr(Addr::SocketAddr(remote));
        let request = poem::Request::from((request, local.clone(), remote, Scheme::HTTP));
        // In a box, too: the connection keeps the room for it after the answer, for as long as a stream lasts.
        Box::pin(async move {
            let response = match endpoint.call(request).await {
                Ok(response) => response,
                Err(error) => error.into_response(),
            };
            Ok::<_, Infallible>(http::Response::from(response))
        })
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STALLED));
    let stream = Box::pin(stream);
    let connection = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // In a box: a task has room for each place that a value of its own is moved through.
    let mut connection = Box::pin(connection);
    // Whoever asked may go away, or be too slow: that is no trouble of ours.
    tokio::select! {
        _ = &mut connection => return,
        _ = closing.wait_for(|closing| *closing) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
