//! An HTTP client as a backend would have one, without anything that hides what comes back.

use std::time::Duration;

use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::time;

/// How long an answer may take: longer than any wait that is asked for.
const LIMIT: Duration = Duration::from_mins(3);

/// A client of one server.
#[derive(Clone)]
pub struct Http {
    base: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; null where it is no JSON.
    pub json: Value,
    /// The same as text.
    pub text: String,
}

/// What is sent.
#[derive(Clone, Copy, Default)]
pub struct Sent<'a> {
    /// The token.
    pub token: Option<&'a str>,
    /// The body; as JSON unless `headers` say otherwise.
    pub body: Option<&'a str>,
    /// Further headers.
    pub headers: &'a [(&'a str, &'a str)],
}

impl Http {
    /// Of the server at this address.
    pub fn new(address: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { base: format!("http://{address}"), client }
    }

    /// Where the server is.
    pub fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    async fn begin(&self, method: Method, path: &str, sent: Sent<'_>) -> http::Response<Incoming> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = sent.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let says_type = sent.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if sent.body.is_some() && !says_type {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in sent.headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::from(sent.body.unwrap_or_default().to_owned()));
        let request = request.body(body).expect("a request");
        let answer = time::timeout(LIMIT, self.client.request(request)).await;
        answer.expect("an answer in time").expect("an answer")
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&self, method: Method, path: &str, sent: Sent<'_>) -> Answer {
        let (parts, body) = self.begin(method, path, sent).await.into_parts();
        let bytes = time::timeout(LIMIT, body.collect()).await.expect("a body in time").expect("a body");
        let text = String::from_utf8_lossy(&bytes.to_bytes()).into_owned();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Answer { status: parts.status, headers: parts.headers, json, text }
    }

    /// GET with a token.
    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(Method::GET, path, Sent { token: Some(token), ..Sent::default() }).await
    }

    /// POST of JSON with a token.
    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        let body = body.to_string();
        self.send(Method::POST, path, Sent { token: Some(token), body: Some(&body), headers: &[] }).await
    }

    /// PATCH of JSON with a token.
    pub async fn patch(&self, path: &str, token: &str, body: &Value) -> Answer {
        let body = body.to_string();
        self.send(Method::PATCH, path, Sent { token: Some(token), body: Some(&body), headers: &[] }).await
    }

    /// DELETE with a token.
    pub async fn delete(&self, path: &str, token: &str) -> Answer {
        self.send(Method::DELETE, path, Sent { token: Some(token), ..Sent::default() }).await
    }

    /// A stream of events.
    pub async fn events(&self, path: &str, token: &str) -> Events {
        let answer = self.begin(Method::GET, path, Sent { token: Some(token), ..Sent::default() }).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        Events { body: answer.into_body(), text: String::new() }
    }
}

/// A stream of events.
pub struct Events {
    body: Incoming,
    text: String,
}

impl Events {
    /// The next event: its name and its data. None at the end.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        time::timeout(LIMIT, self.read()).await.expect("an event in time")
    }

    async fn read(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|value| value.trim_start_matches(": ").to_owned())
                };
                let found = field("event").zip(field("data"));
                let rest = rest.to_owned();
                self.text = rest;
                if let Some((name, data)) = found {
                    return Some((name, serde_json::from_str(&data).expect("JSON")));
                }
            }
            let frame = self.body.frame().await?.expect("a frame");
            self.text.push_str(&String::from_utf8_lossy(frame.data_ref().expect("data")));
        }
    }

    /// The next event that is this one.
    pub async fn until(&mut self, is: impl Fn(&str, &Value) -> bool) -> Value {
        loop {
            let (name, data) = self.next().await.expect("the stream goes on");
            if is(&name, &data) {
                return data;
            }
        }
    }

    /// Whether this is the end.
    pub async fn is_over(&mut self) -> bool {
        self.next().await.is_none()
    }
}
