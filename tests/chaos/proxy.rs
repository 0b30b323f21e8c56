//! A proxy between one controller and the API server, which can be made to misbehave.
//!
//! It speaks plain HTTP to the controller, whose kubeconfig names its address, and HTTPS to the API
//! server, as whom its client is.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{future, stream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Bytes, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
    time,
};

use super::dice::Dice;

/// How it misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Not at all.
    None,
    /// Every connection is closed at once.
    Cut,
    /// Nothing is passed on, in neither direction, until the trouble is over.
    Frozen,
    /// So many of a hundred requests go wrong.
    Share(u64, Wrong),
}

/// How a request goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// 429 with `Retry-After: 1`.
    TooMany,
    /// 500.
    Fails,
    /// It is passed on late, or its answer is: by up to so many milliseconds.
    Slow(u64),
    /// Its answer breaks off in the middle.
    Half,
    /// It is passed on, and its answer is not.
    Lost,
}

/// The connection breaks.
#[derive(Debug, thiserror::Error)]
#[error("the proxy breaks the connection")]
pub struct Broken;

type Answer = Response<UnsyncBoxBody<Bytes, Broken>>;

/// One proxy; it ends when it is dropped.
pub struct Proxy {
    /// Where it listens.
    pub address: String,
    state: Arc<State>,
    accepting: AbortHandle,
}

struct State {
    upstream: Client,
    trouble: watch::Sender<Trouble>,
    /// Changes when every watch is to break.
    watches: watch::Sender<u64>,
    dice: Mutex<Dice>,
}

impl Proxy {
    /// Starts one in front of what this client speaks to.
    pub async fn start(upstream: Client, dice: Dice) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(State {
            upstream,
            trouble: watch::Sender::new(Trouble::None),
            watches: watch::Sender::new(0),
            dice: Mutex::new(dice),
        });
        let serving = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            loop {
                // It is out of files, or the other side was faster.
                let Ok((stream, _)) = listener.accept().await else { continue };
                tokio::spawn(connection(Arc::clone(&serving), stream));
            }
        });
        Self { address, state, accepting: accepting.abort_handle() }
    }

    /// Misbehaves in this way from here on.
    pub fn set(&self, trouble: Trouble) {
        self.state.trouble.send_replace(trouble);
    }

    /// Breaks all watches that there are now.
    pub fn break_watches(&self) {
        self.state.watches.send_modify(|count| *count += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn wrong(&self) -> Option<Wrong> {
        let Trouble::Share(share, wrong) = *self.trouble.borrow() else { return None };
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = match wrong {
            Wrong::Slow(most) => Wrong::Slow(dice.below(most + 1)),
            wrong => wrong,
        };
        (dice.below(100) < share).then_some(wrong)
    }

    fn coin(&self) -> bool {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).below(2) == 0
    }

    /// Waits while nothing is passed on.
    async fn thawed(&self) {
        let mut trouble = self.trouble.subscribe();
        // The sender is there for as long as this state is.
        let _ = trouble.wait_for(|trouble| *trouble != Trouble::Frozen).await;
    }
}

async fn connection(state: Arc<State>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut trouble = state.trouble.subscribe();
    let cut = async { drop(trouble.wait_for(|trouble| *trouble == Trouble::Cut).await) };
    let answering = Arc::clone(&state);
    let service = service_fn(move |request| answer(Arc::clone(&answering), request));
    let serving = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    // Whichever comes first, the connection is gone.
    future::select(serving, pin!(cut)).await;
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Answer, Broken> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
    state.thawed().await;
    let wrong = state.wrong();
    match wrong {
        Some(Wrong::TooMany) => return Ok(refusal(StatusCode::TOO_MANY_REQUESTS)),
        Some(Wrong::Fails) => return Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR)),
        Some(Wrong::Slow(pause)) if state.coin() => time::sleep(Duration::from_millis(pause)).await,
        _ => {}
    }
    let is_watch = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
    let mut upstream = Request::builder().method(parts.method).uri(parts.uri);
    let headers = upstream.headers_mut().ok_or(Broken)?;
    *headers = parts.headers;
    end_to_end(headers);
    headers.remove(header::HOST);
    let request = upstream.body(Body::from(body.to_vec())).map_err(|_| Broken)?;
    let answer = state.upstream.send(request).await.map_err(|_| Broken)?;
    state.thawed().await;
    match wrong {
        Some(Wrong::Lost) => return Err(Broken),
        Some(Wrong::Slow(pause)) => time::sleep(Duration::from_millis(pause)).await,
        _ => {}
    }
    let (mut parts, body) = answer.into_parts();
    end_to_end(&mut parts.headers);
    let watches = state.watches.subscribe();
    let is_half = wrong == Some(Wrong::Half);
    let passing = Passing { state, body, watches, is_watch, is_half, is_over: false };
    Ok(Response::from_parts(parts, UnsyncBoxBody::new(StreamBody::new(passing.frames()))))
}

/// Takes out what is between two ends of one connection only.
fn end_to_end(headers: &mut HeaderMap) {
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
        headers.remove(name);
    }
}

fn refusal(code: StatusCode) -> Answer {
    let text = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "by the proxy of the tests", "reason": "ByTheProxy", "code": code.as_u16(),
    });
    let body = Full::new(Bytes::from(text.to_string())).map_err(|never: Infallible| match never {});
    let mut answer = Response::new(UnsyncBoxBody::new(body));
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if code == StatusCode::TOO_MANY_REQUESTS {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// An answer's body on its way.
struct Passing {
    state: Arc<State>,
    body: Body,
    watches: watch::Receiver<u64>,
    is_watch: bool,
    is_half: bool,
    is_over: bool,
}

impl Passing {
    fn frames(self) -> impl futures::Stream<Item = Result<Frame<Bytes>, Broken>> + Send {
        stream::unfold(Some(self), |passing| async {
            let mut passing = passing?;
            let frame = passing.next().await?;
            let goes_on = frame.is_ok().then_some(passing);
            Some((frame, goes_on))
        })
    }

    async fn next(&mut self) -> Option<Result<Frame<Bytes>, Broken>> {
        let Self { state, body, watches, is_watch, is_half, is_over } = self;
        if *is_over {
            return Some(Err(Broken));
        }
        let frame = tokio::select! {
            frame = body.frame() => frame?.map_err(|_| Broken),
            _ = watches.changed(), if *is_watch => Err(Broken),
        };
        state.thawed().await;
        let Ok(frame) = frame else { return Some(Err(Broken)) };
        if !*is_half {
            return Some(Ok(frame));
        }
        let Some(data) = frame.data_ref().filter(|data| data.len() > 1) else {
            return Some(Err(Broken));
        };
        *is_over = true;
        Some(Ok(Frame::data(data.slice(..data.len() / 2))))
    }
}
