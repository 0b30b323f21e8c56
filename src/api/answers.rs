//! What all answers have: the request's id, one form of errors, and a line in the log.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use data_encoding::BASE32_NOPAD;
use ephemeron_preset_host::secret;
use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use poem::{
    Endpoint, EndpointExt as _, Error, Request, Response, Result, Route,
    error::{MethodNotAllowedError, NotFoundError},
    get,
};
use poem_openapi::{
    OperationId,
    error::{AuthorizationError, ParseParamError, ParsePathError},
};
use tokio::sync::watch;

use super::{
    Api,
    caller::Who,
    document::{self, Allowed},
    metrics::Metrics,
    origins::{Asked, Origins},
    problem::Problem,
};

/// The header with the request's id, in requests and answers.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id of a caller's own that is kept.
const LONGEST_ID: usize = 64;
/// What a browser may do with the page of Swagger UI, whose scripts and styles are in it.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
     img-src data:; connect-src *; font-src data:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";

/// All that is served, as one endpoint.
pub fn endpoint(api: Arc<Api>) -> impl Endpoint<Output = Response> {
    let service = document::service();
    let text = document::text();
    let page = document::page(&text);
    let allowed = Allowed::of(&text);
    let text = bytes::Bytes::from(text);
    let document = poem::endpoint::make_sync(move |_| {
        Response::builder().content_type("application/json").body(text.clone())
    });
    let page = bytes::Bytes::from(page);
    let docs = poem::endpoint::make_sync(move |_| {
        let answer = Response::builder().content_type("text/html; charset=utf-8");
        answer.header(header::CONTENT_SECURITY_POLICY, PAGE_POLICY).body(page.clone())
    });
    let routes =
        Route::new().at("/openapi.json", get(document)).at("/docs", get(docs)).nest_no_strip("/", service);
    let origins = Origins(api.settings.origins.clone());
    let (metrics, stopping) = (Arc::clone(&api.metrics), api.stopping.clone());
    Answering { inner: routes.data(api).map_to_response(), metrics, stopping, allowed, origins }
}

struct Answering<E> {
    inner: E,
    metrics: Arc<Metrics>,
    stopping: watch::Receiver<bool>,
    allowed: Allowed,
    origins: Origins,
}

impl<E: Endpoint<Output = Response>> Endpoint for Answering<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let begun = Instant::now();
        let id = request_id(&request);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let asked = Asked::of(&request);
        let (who, later) = (Who::default(), Later::default());
        request.set_data(who.clone());
        request.set_data(later.clone());
        let outcome = if asked.is_preflight {
            Ok(Ok(Response::builder().status(StatusCode::NO_CONTENT).finish()))
        } else {
            // In a box, which is gone before what comes later is waited for.
            AssertUnwindSafe(Box::pin(self.inner.call(request))).catch_unwind().await
        };
        let later = later.take();
        let waits = later.is_some();
        let (operation, outcome) = (
            operation(&outcome),
            match later {
                Some(later) => AssertUnwindSafe(later).catch_unwind().await,
                None => outcome,
            },
        );
        let mut response = match outcome {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let problem = problem(&error, &path);
                let is_wrong_method = problem.status == StatusCode::METHOD_NOT_ALLOWED;
                let mut response = if error.is_from_response() {
                    error.into_response()
                } else {
                    problem.response(Some(&id))
                };
                if is_wrong_method && let Ok(allowed) = HeaderValue::try_from(self.allowed.at(&path)) {
                    response.headers_mut().insert(header::ALLOW, allowed);
                }
                response
            }
            // The panic itself is a line of the log already.
            Err(_) => Problem::internal().response(Some(&id)),
        };
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::try_from(&id) {
            headers.insert(REQUEST_ID, value);
        }
        self.origins.tell(&asked, headers);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if *self.stopping.borrow() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let (status, time) = (response.status().as_u16(), begun.elapsed());
        let waits = waits || response.data::<Waited>().is_some();
        self.metrics.answered(operation, status, (!waits).then_some(time));
        let who = who.0.get();
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        if status >= 500 {
            tracing::warn!(request = id, %method, path = shown(&path), operation, status, ms, who, "request failed");
        } else if status < 400 && method == Method::GET {
            // Those who look again and again would fill the log; they are counted.
            tracing::debug!(request = id, %method, path = shown(&path), operation, status, ms, who, "request");
        } else {
            tracing::info!(request = id, %method, path = shown(&path), operation, status, ms, who, "request");
        }
        Ok(response)
    }
}

/// The operation that has been called, or `none`.
fn operation<P>(outcome: &Result<Result<Response>, P>) -> &'static str {
    let operation = match outcome {
        Ok(Ok(response)) => response.data::<OperationId>(),
        Ok(Err(error)) => error.data::<OperationId>(),
        Err(_) => None,
    };
    operation.map_or("none", |OperationId(name)| name)
}

/// What an operation leaves to be waited for. Its own answer does not count then. By now the request, the
/// buffer that it came in, and all that has handled it are gone: thousands may wait.
#[derive(Clone, Default)]
pub struct Later(Arc<Mutex<Option<Waiting>>>);

type Waiting = BoxFuture<'static, Result<Response>>;

impl Later {
    /// Leaves this to be waited for.
    pub fn put(&self, waiting: impl Future<Output = Result<Response>> + Send + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(waiting.boxed());
    }

    fn take(&self) -> Option<Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The answer took as long as its caller wanted: it says nothing of how quick the program is.
#[derive(Clone, Copy, Debug)]
pub struct Waited;

/// The caller's own id, where it is fit for a log, or another.
fn request_id(request: &Request) -> String {
    let is_fit = |id: &&str| {
        !id.is_empty()
            && id.len() <= LONGEST_ID
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    if let Some(id) = request.header(REQUEST_ID).filter(is_fit) {
        return id.to_owned();
    }
    let random = secret::random().unwrap_or_default();
    BASE32_NOPAD.encode(random.get(..10).unwrap_or_default()).to_ascii_lowercase()
}

/// A path as a log can hold it.
fn shown(path: &str) -> &str {
    path.get(..256).unwrap_or(path)
}

/// What an error means to its caller: one form for ours and for those of the libraries.
fn problem(error: &Error, path: &str) -> Problem {
    if let Some(problem) = error.downcast_ref::<Problem>() {
        return problem.clone();
    }
    if error.is::<NotFoundError>() {
        return Problem::not_found(format!("there is nothing at {}: /docs says what there is", shown(path)));
    }
    if error.is::<MethodNotAllowedError>() {
        return Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this method is not for this path: /docs says which are",
        );
    }
    if error.is::<AuthorizationError>() {
        return Problem::unauthorized(
            "a token is needed: get one by POST /auth, and send it as the header Authorization: Bearer TOKEN",
        );
    }
    if let Some(bad) = error.downcast_ref::<ParseParamError>() {
        return Problem::bad_request(format!("{} cannot be read: {}", bad.name, bad.reason));
    }
    if let Some(bad) = error.downcast_ref::<ParsePathError>() {
        return Problem::bad_request(format!("{} cannot be read: {}", bad.name, bad.reason));
    }
    let status = error.status();
    if status.is_server_error() {
        tracing::error!(%error, "a request failed in a way that is not known");
        return Problem::internal();
    }
    Problem::new(status, error.to_string())
}

#[cfg(test)]
mod tests {
    use poem::endpoint::make;
    use prometheus_client::registry::Registry;
    use serde_json::Value;

    use super::*;

    async fn answered<E: Endpoint<Output = Response>>(inner: E) -> (Response, String) {
        let (_stop, stopping) = watch::channel(false);
        let metrics = Arc::new(Metrics::register(&mut Registry::default()));
        let allowed = Allowed::of(&document::text());
        let answering = Answering { inner, metrics, stopping, allowed, origins: Origins(None) };
        let mut response = answering.call(Request::default()).await.expect("an answer");
        let text = response.take_body().into_string().await.expect("a text");
        (response, text)
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_like_any_other() {
        let panics = make(|_| async {
            let number: u8 = "words that are nobody's business".parse().expect("a number");
            Ok::<_, Error>(Response::builder().body(number.to_string()))
        });
        let (response, text) = answered(panics).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(body["requestId"].as_str(), response.header(REQUEST_ID));
        assert!(body["message"].is_string() && !text.contains("business"), "{text}");
    }

    #[tokio::test]
    async fn errors_of_libraries_have_the_one_body_and_none_of_their_words() {
        let fails = make(|_| async {
            Err::<Response, _>(poem::error::InternalServerError(std::io::Error::other("disk")))
        });
        let (response, text) = answered(fails).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(text.contains("requestId") && !text.contains("disk"), "{text}");
    }
}
