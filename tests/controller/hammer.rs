//! Requests to one public URL without a pause, and how they went.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle, time};

/// From the end of one request to the next.
const PAUSE: Duration = Duration::from_millis(10);
/// In which an answer must come.
const LIMIT: Duration = Duration::from_secs(30);

/// Requests that go on until they are stopped.
pub struct Hammer {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Hammer {
    /// Starts to ask for `http://{host}/` at port 80 of the address, each time on a new connection.
    pub fn start(address: &str, host: &str) -> Self {
        Self::at(address, host, "/")
    }

    /// The same for another path of the host.
    pub fn at(address: &str, host: &str, path: &'static str) -> Self {
        let (stop, sent, failures) = (
            Arc::<AtomicBool>::default(),
            Arc::<AtomicUsize>::default(),
            Arc::<Mutex<Vec<String>>>::default(),
        );
        let (address, host) = (address.to_owned(), host.to_owned());
        let (stopped, count, failed) = (Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&failures));
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let answer = time::timeout(LIMIT, ask(&address, &host, path)).await;
                let trouble = match answer {
                    Ok(Ok(200)) => None,
                    Ok(Ok(status)) => Some(format!("status {status}")),
                    Ok(Err(error)) => Some(error),
                    Err(_) => Some("no answer".into()),
                };
                let number = count.fetch_add(1, Ordering::Relaxed);
                if let Some(trouble) = trouble {
                    failed.lock().expect("no holder panics").push(format!("request {number}: {trouble}"));
                }
                time::sleep(PAUSE).await;
            }
        });
        Self { stop, sent, failures, task }
    }

    /// How many requests were sent.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it; returns what went wrong.
    pub async fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("it ends");
        let failures = self.failures.lock().expect("no holder panics");
        failures.clone()
    }
}

async fn ask(address: &str, host: &str, path: &str) -> Result<u16, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect((address, 80)).await.map_err(|error| text(&error))?;
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    let driver = tokio::spawn(driver);
    let request = Request::get(path).header("host", host).body(Empty::<Bytes>::new()).expect("a request");
    let answer = sender.send_request(request).await.map_err(|error| text(&error))?;
    let status = answer.status().as_u16();
    answer.into_body().collect().await.map_err(|error| text(&error))?;
    drop(sender);
    driver.abort();
    Ok(status)
}
