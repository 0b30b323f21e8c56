//! From which pages browsers may call (<https://fetch.spec.whatwg.org/#http-cors-protocol>). Whoever is not a
//! browser is not concerned: tokens go in a header, never in cookies.

use http::{HeaderMap, HeaderValue, Method, header};
use poem::Request;

/// What a page may send.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PATCH, DELETE");
const HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, idempotency-key, x-request-id");
/// What a page may read besides the body.
const EXPOSED: HeaderValue = HeaderValue::from_static("x-request-id, retry-after, location");
/// For how long a browser need not ask again, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("3600");

/// The origins whose pages may call; None for any.
#[derive(Clone, Debug)]
pub struct Origins(pub Option<Vec<String>>);

/// The origin of a request's page, and whether the request only asks what may be sent.
#[derive(Clone, Debug)]
pub struct Asked {
    origin: Option<HeaderValue>,
    /// It is a preflight request.
    pub is_preflight: bool,
}

impl Asked {
    /// What a request says.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let origin = request.headers().get(header::ORIGIN).cloned();
        let asks = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        Self { is_preflight: request.method() == Method::OPTIONS && origin.is_some() && asks, origin }
    }
}

impl Origins {
    /// Says in an answer what its page may do. One that may not is not refused: its browser sees to that, and a
    /// page of the API's own host needs nothing.
    pub fn tell(&self, asked: &Asked, headers: &mut HeaderMap) {
        let Some(origin) = &asked.origin else { return };
        let allowed = match &self.0 {
            None => HeaderValue::from_static("*"),
            Some(known) => {
                headers.append(header::VARY, HeaderValue::from_static("origin"));
                if !known.iter().any(|one| one.as_bytes() == origin.as_bytes()) {
                    return;
                }
                origin.clone()
            }
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if asked.is_preflight {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        } else {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}
