//! What goes wrong with a request, as its caller is told: one body for all of it.

use std::time::Duration;

use http::StatusCode;
use poem::{IntoResponse, Response};
use poem_openapi::{
    ApiResponse, Object,
    payload::{Json, Payload as _},
    registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry},
    types::{Example, Type as _},
};

/// Why a request was not done.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// What kind of problem it is.
    pub status: StatusCode,
    /// What happened, and what to do.
    pub message: String,
    /// What is wrong with which parameter.
    pub faults: Vec<Fault>,
    /// When it may work.
    pub retry_after: Option<Duration>,
}

/// What is wrong with one parameter.
#[derive(Clone, Debug, Object)]
pub struct Fault {
    /// Which one: a JSON Pointer (RFC 6901) into `parameters`.
    pub pointer: String,
    /// The kind of fault, for programs.
    pub code: String,
    /// What is wrong, for people.
    pub message: String,
}

/// What a request that was not done is answered with.
#[derive(Clone, Debug, Object)]
#[oai(rename = "Error", rename_all = "camelCase", skip_serializing_if_is_none, example)]
pub struct ErrorBody {
    /// What happened, and what to do.
    pub message: String,
    /// The `X-Request-Id` of the answer: the log has it, too.
    pub request_id: Option<String>,
    /// What is wrong with which parameter.
    pub faults: Option<Vec<Fault>>,
}

impl Example for ErrorBody {
    fn example() -> Self {
        Self {
            message: "there is no service ekoo6mcbxpzt3wd5g2qjhvrla".into(),
            request_id: Some("m4ztkwq2pq7xn5vb".into()),
            faults: None,
        }
    }
}

impl Problem {
    /// One of this kind.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), faults: Vec::new(), retry_after: None }
    }

    /// The request means nothing.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// The caller is not known.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    /// The caller may not.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// Something stands against it at this moment.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// The parameters are not what the preset takes.
    pub fn unprocessable(message: impl Into<String>, faults: Vec<Fault>) -> Self {
        Self { faults, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, message) }
    }

    /// There are too many.
    pub fn too_many(message: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, message).after(retry_after)
    }

    /// It cannot be done now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message).after(Duration::from_secs(2))
    }

    /// A defect of ours.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a defect of the program: please report it with the request's id",
        )
    }

    /// The same, and when it may work.
    #[must_use]
    pub fn after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    /// The answer.
    #[must_use]
    pub fn response(self, request_id: Option<&str>) -> Response {
        let body = ErrorBody {
            message: self.message,
            request_id: request_id.map(Into::into),
            faults: Some(self.faults).filter(|faults| !faults.is_empty()),
        };
        let mut response = Json(body).into_response();
        response.set_status(self.status);
        let headers = response.headers_mut();
        if let Some(pause) = self.retry_after {
            headers.insert(http::header::RETRY_AFTER, pause.as_secs().max(1).into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(http::header::WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl poem::error::ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.status
    }

    fn as_response(&self) -> Response {
        self.clone().response(None)
    }
}

/// The request has a parameter that cannot be read.
pub const BAD: u32 = 1 << 0;
/// The caller has no token, or a bad one.
pub const UNKNOWN: u32 = 1 << 1;
/// The caller may not.
pub const FORBIDDEN: u32 = 1 << 2;
/// There is no such thing.
pub const MISSING: u32 = 1 << 3;
/// The body did not come in time, is too large, or is of another type.
pub const BODY: u32 = BAD | 1 << 4 | 1 << 6 | 1 << 7;
/// Something stands against it at this moment.
pub const CONFLICT: u32 = 1 << 5;
/// The parameters are not what the preset takes.
pub const PARAMETERS: u32 = 1 << 8;
/// There are too many.
pub const MANY: u32 = 1 << 9;
/// It cannot be done now.
pub const AWAY: u32 = 1 << 10;

/// All that a request may be refused with, and what it means.
const REFUSALS: [(u32, u16, &str); 11] = [
    (1 << 0, 400, "The request cannot be read, or means nothing; the message says what is wrong with it."),
    (1 << 1, 401, "There is no valid token, or the key is wrong."),
    (1 << 2, 403, "It is somebody else's, or not allowed to this app."),
    (1 << 3, 404, "There is no such thing."),
    (1 << 4, 408, "The body did not come in time."),
    (1 << 5, 409, "Something stands against it at this moment; with Retry-After it may work later."),
    (1 << 6, 413, "The body is larger than it may be."),
    (1 << 7, 415, "The body is not application/json."),
    (1 << 8, 422, "The preset does not take these parameters; `faults` says which."),
    (1 << 9, 429, "There are too many; Retry-After says when to try again."),
    (1 << 10, 503, "It cannot be done now; Retry-After says when to try again."),
];

/// A problem whose status is one of `SET`: so the document says of each operation what it answers.
#[derive(Debug)]
pub struct Refused<const SET: u32>(Problem);

impl<const SET: u32> From<Problem> for Refused<SET> {
    fn from(problem: Problem) -> Self {
        let told =
            REFUSALS.iter().any(|(bit, status, _)| SET & bit != 0 && *status == problem.status.as_u16());
        debug_assert!(
            told || problem.status == StatusCode::INTERNAL_SERVER_ERROR,
            "not documented: {problem:?}"
        );
        Self(problem)
    }
}

impl<const SET: u32> From<Refused<SET>> for poem::Error {
    fn from(refused: Refused<SET>) -> Self {
        refused.0.into()
    }
}

impl<const SET: u32> ApiResponse for Refused<SET> {
    fn meta() -> MetaResponses {
        let documented = REFUSALS.iter().filter(|(bit, _, _)| SET & bit != 0);
        let of = |status: u16, description: &'static str| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType {
                content_type: Json::<ErrorBody>::CONTENT_TYPE,
                schema: ErrorBody::schema_ref(),
            }],
            headers: if matches!(status, 409 | 429 | 503) { vec![retry_after()] } else { Vec::new() },
        };
        let mut responses: Vec<_> = documented.map(|(_, status, meaning)| of(*status, meaning)).collect();
        responses.push(of(500, "A defect of the program."));
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        ErrorBody::register(registry);
    }
}

fn retry_after() -> MetaHeader {
    MetaHeader {
        name: "Retry-After".into(),
        description: Some("In how many seconds to try again.".into()),
        required: false,
        deprecated: false,
        schema: u32::schema_ref(),
    }
}
