//! The body of a request: JSON, read within bounds.

use std::{io, time::Duration};

use ephemeron_preset_host::document;
use http::StatusCode;
use poem::{Request, RequestBody, Result, error::ReadBodyError};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    payload::{Json, Payload as _},
    registry::{MetaMediaType, MetaRequest, Registry},
    types::{ParseFromJSON, Type},
};
use tokio::{io::AsyncReadExt as _, time};

use super::problem::Problem;

/// The most bytes of a body: what a preset's parameters may have, and room for the rest.
pub const LARGEST: usize = 300 << 10;
/// In which it must have come.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a body that is too large which are read all the same.
const DISCARDED: u64 = 4 << 20;
/// How deep objects and arrays may be nested.
const DEEPEST: usize = 64;

/// A body of this type.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<'a, T: ParseFromJSON + Type> ApiExtractor<'a> for Body<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        // Without `charset`, which JSON does not have (RFC 8259, section 11).
        let content = vec![MetaMediaType { content_type: "application/json", schema: T::schema_ref() }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> Result<Self> {
        if !request.content_type().is_some_and(Json::<T>::check_content_type) {
            let what = "the body must be JSON, with the header Content-Type: application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what).into());
        }
        let text = read(request, body).await?;
        let bad = |why: String| Problem::bad_request(format!("the body cannot be read: {why}"));
        let value = document::parse(&text, DEEPEST)
            .map_err(|fault| bad(format!("{}: {}", fault.at, fault.reason)))?;
        let value = T::parse_from_json(Some(value)).map_err(|error| bad(error.into_message()))?;
        Ok(Self(value))
    }
}

async fn read(request: &Request, body: &mut RequestBody) -> Result<String> {
    let too_large = || {
        let message = format!("the body has more than the {LARGEST} bytes that it may have");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    let announced = request.header(http::header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let body = <poem::Body as poem::FromRequest>::from_request(request, body).await?;
    if announced.is_some_and(|length: u64| length > LARGEST as u64) {
        discard(body).await;
        return Err(too_large().into());
    }
    let Ok(read) = time::timeout(TIMEOUT, body.into_bytes_limit(LARGEST)).await else {
        let message = format!("the body did not come within {TIMEOUT:?}");
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, message).into());
    };
    let bytes = read.map_err(|error| match error {
        ReadBodyError::PayloadTooLarge => too_large(),
        ReadBodyError::Io(error) => cut(&error),
        error => Problem::bad_request(format!("the body cannot be read: {error}")),
    })?;
    let text = String::from_utf8(bytes.into());
    Ok(text.map_err(|_| Problem::bad_request("the body is not UTF-8"))?)
}

/// Takes in some of what is not wanted: a connection that is closed before would take the answer with it.
async fn discard(body: poem::Body) {
    let (mut some, mut nowhere) = (body.into_async_read().take(DISCARDED), tokio::io::sink());
    // Whatever becomes of it, the answer is the same.
    let _ = time::timeout(TIMEOUT / 10, tokio::io::copy(&mut some, &mut nowhere)).await;
}

fn cut(error: &io::Error) -> Problem {
    Problem::bad_request(format!("the body did not come whole: {error}"))
}
