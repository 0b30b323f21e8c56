//! Logs of services.

use std::sync::Arc;

use futures::{AsyncBufRead, StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt as _, api::LogParams};
use poem::{Body, IntoResponse, Response, web::Data};
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Path, Query},
    payload::Payload,
    registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry},
    types::Type as _,
};

use super::{Tag, an_id};
use crate::{
    api::{
        Api,
        answers::Waited,
        caller::Authorized,
        problem::{AWAY, BAD, CONFLICT, FORBIDDEN, MANY, MISSING, Problem, Refused, UNKNOWN},
        requests::away,
    },
    policy::CONTAINER,
};

/// The operations.
pub struct Logs;

/// Bytes of a log that is not followed.
const LARGEST: i64 = 10 << 20;

/// Text that comes as it is written.
struct TextStream(Body);

impl Payload for TextStream {
    const CONTENT_TYPE: &'static str = "text/plain; charset=utf-8";

    fn schema_ref() -> MetaSchemaRef {
        String::schema_ref()
    }
}

impl IntoResponse for TextStream {
    fn into_response(self) -> Response {
        let mut response = Response::builder().content_type(Self::CONTENT_TYPE).body(self.0);
        response.set_data(Waited);
        response
    }
}

impl ApiResponse for TextStream {
    fn meta() -> MetaResponses {
        let content = vec![MetaMediaType { content_type: Self::CONTENT_TYPE, schema: Self::schema_ref() }];
        let description = "The log, line by line.";
        let one =
            MetaResponse { description, status: Some(200), status_range: None, content, headers: vec![] };
        MetaResponses { responses: vec![one] }
    }

    fn register(_: &mut Registry) {}
}

#[OpenApi(tag = "Tag::Services")]
impl Logs {
    /// Read a service's log
    ///
    /// What its container has written, at most 10 MiB of it. With `follow` it goes on until the container or
    /// the token ends. It has to be granted to the app; a backend itself may always read it.
    #[oai(path = "/:id/logs", method = "get", operation_id = "readLogs")]
    #[expect(clippy::too_many_arguments, reason = "one for each parameter of the query")]
    async fn read(
        &self,
        api: Data<&Arc<Api>>,
        caller: Authorized,
        /// The service.
        #[oai(example = "an_id")]
        id: Path<String>,
        /// Whether to go on as more is written.
        follow: Query<Option<bool>>,
        /// Only so many lines from the end.
        #[oai(validator(minimum(value = "0"), maximum(value = "100000")))]
        tail: Query<Option<u32>>,
        /// The container, where the service has several. Default: the one that serves.
        #[oai(validator(max_length = 63))]
        container: Query<Option<String>>,
        /// Whether to read that of the container before, which has ended.
        previous: Query<Option<bool>>,
    ) -> Result<TextStream, Refused<{ BAD | UNKNOWN | FORBIDDEN | MISSING | CONFLICT | MANY | AWAY }>> {
        let caller = caller.0;
        if caller.user.is_some() && !caller.app.logs {
            return Err(Problem::forbidden(
                "users of this app may not read logs: EPHEMERON_CONFIG grants it",
            )
            .into());
        }
        let found = api.directory.get(&api.ephemerons, &caller, &id).await?;
        let pod = api.ephemerons.pod(&found).await.map_err(|error| away("read the log", &error))?;
        let pod = pod.ok_or_else(|| Problem::conflict("the service has no Pod yet: try again"))?;
        let container = chosen(&pod, container.0)?;
        let follow = follow.0.unwrap_or(false);
        let params = LogParams {
            container: Some(container),
            follow,
            previous: previous.0.unwrap_or(false),
            tail_lines: tail.0.map(Into::into),
            limit_bytes: (!follow).then_some(LARGEST),
            ..LogParams::default()
        };
        let log = match api.ephemerons.log(&pod.name_any(), &params).await {
            Ok(log) => log,
            Err(error) if error.is_not_yet() => {
                return Err(Problem::conflict("the container has no log yet: try again").into());
            }
            Err(error) => return Err(away("read the log", &error).into()),
        };
        let end =
            tokio::time::Instant::now() + (caller.expires - chrono::Utc::now()).to_std().unwrap_or_default();
        let mut stopping = api.stopping.clone();
        let over = async move {
            tokio::select! {
                () = tokio::time::sleep_until(end) => {}
                // An error means that this process ends, too.
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        };
        let open = api.metrics.stream();
        let bytes = chunks(Box::pin(log)).take_until(Box::pin(over)).map(move |chunk| {
            let _counted = &open;
            chunk
        });
        Ok(TextStream(Body::from_bytes_stream(bytes.map_err(std::io::Error::other))))
    }
}

/// The container that was named, or the one that serves, or the first.
fn chosen(pod: &Pod, asked: Option<String>) -> Result<String, Problem> {
    let spec = pod.spec.as_ref();
    let names: Vec<_> = {
        let serving = spec.iter().flat_map(|spec| &spec.containers);
        let first = spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        serving.chain(first).map(|container| container.name.clone()).collect()
    };
    match asked {
        Some(asked) if names.contains(&asked) => Ok(asked),
        Some(_) => Err(Problem::not_found(format!("the service has these containers: {}", names.join(", ")))),
        None if names.iter().any(|name| name == CONTAINER) => Ok(CONTAINER.into()),
        None => names.into_iter().next().ok_or_else(|| Problem::not_found("the service has no container")),
    }
}

/// The log in pieces, as they come.
fn chunks<R: AsyncBufRead + Unpin + Send + 'static>(
    log: R,
) -> impl futures::Stream<Item = std::io::Result<Vec<u8>>> + Send {
    stream::try_unfold(log, |mut log| async move {
        let mut piece = vec![0; 16 << 10];
        let size =
            futures::future::poll_fn(|context| std::pin::Pin::new(&mut log).poll_read(context, &mut piece))
                .await?;
        piece.truncate(size);
        Ok((size > 0).then_some((piece, log)))
    })
}
