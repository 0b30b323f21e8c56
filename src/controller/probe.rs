//! Asks public URLs whether they answer, beside the reconciles, until they do.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::Empty;
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
    time,
};
use tokio_rustls::TlsConnector;

use super::{caches::Listeners, insecure};
use crate::client::root_cause;

/// What to ask for, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The UID of the Pod that should answer: another Pod is another question.
    pub pod: String,
    /// The host to ask for.
    pub host: String,
    /// The path to ask for.
    pub path: String,
    /// Whether to speak TLS.
    pub tls: bool,
    /// Where to connect to: a host name or an IP address.
    pub address: String,
    /// The port to connect to.
    pub port: u16,
}

/// What is known of a public URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// Nothing yet: the first answer is awaited.
    Unknown,
    /// It answered as a readiness probe must, with a status from 200 to 399.
    Answered,
    /// No connection to the address; why.
    Unreachable(String),
    /// A TLS connection, but with a certificate that is not for the host.
    WrongCertificate,
    /// A connection, but not such an answer; what came instead.
    NotAnswering(String),
}

/// Requests that are under way at once, and as many again to those that have let one time out: who
/// hangs does not hold up who answers.
const CONCURRENCY: usize = 64;
/// In which a request must be answered.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Between the first two requests; doubled each time, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Bytes of an answer's head that are read; its body is not.
const MAX_HEAD: usize = 16 * 1024;

/// The probes of one controller. Each is a task that asks until it is answered, and has its
/// Ephemeron looked at when what is known changes.
pub struct Prober {
    probes: Mutex<HashMap<String, Probe>>,
    permits: Arc<Permits>,
    listeners: Listeners,
}

struct Permits {
    quick: Semaphore,
    slow: Semaphore,
}

#[derive(Debug)]
struct Probe {
    target: Target,
    known: Arc<Mutex<Reachability>>,
    task: AbortHandle,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Prober {
    /// A prober that tells `listeners` of changes.
    #[must_use]
    pub fn new(listeners: Listeners) -> Self {
        let permits = Permits { quick: Semaphore::new(CONCURRENCY), slow: Semaphore::new(CONCURRENCY) };
        Self { probes: Mutex::default(), permits: Arc::new(permits), listeners }
    }

    /// What is known of the target; starts to ask if it is new. Does not wait.
    pub fn ask(&self, name: &str, target: Target) -> Reachability {
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(probe) = probes.get(name)
            && probe.target == target
        {
            return probe.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        }
        let known = Arc::new(Mutex::new(Reachability::Unknown));
        let task = tokio::spawn(until_answered(
            name.to_owned(),
            target.clone(),
            Arc::clone(&known),
            Arc::clone(&self.permits),
            self.listeners.clone(),
        ));
        probes.insert(name.into(), Probe { target, known, task: task.abort_handle() });
        Reachability::Unknown
    }

    /// Asks no more at all.
    pub fn forget_all(&self) {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Asks no more for this Ephemeron.
    pub fn forget(&self, name: &str) {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

async fn until_answered(
    name: String,
    target: Target,
    known: Arc<Mutex<Reachability>>,
    permits: Arc<Permits>,
    listeners: Listeners,
) {
    let (mut pause, mut is_slow) = (FIRST_PAUSE, false);
    let mut last = Reachability::Unknown;
    loop {
        let answer = {
            // The semaphores are never closed.
            let permits = if is_slow { &permits.slow } else { &permits.quick };
            let _permit = permits.acquire().await;
            let answer = time::timeout(TIMEOUT, request(&target)).await;
            is_slow = answer.is_err();
            answer.unwrap_or_else(|_| {
                Reachability::NotAnswering(format!("no answer within {} s", TIMEOUT.as_secs()))
            })
        };
        let changed = {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let is_news = is_news(&known, &last, &answer);
            if is_news {
                known.clone_from(&answer);
            }
            is_news
        };
        if changed {
            listeners.name(&name);
        }
        last.clone_from(&answer);
        if answer == Reachability::Answered {
            return;
        }
        time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Whether an answer is to be told: one of another kind at once, other words of the same kind once they
/// have come twice. A URL that fails now in one way and now in another does not cause a write each time.
fn is_news(known: &Reachability, last: &Reachability, answer: &Reachability) -> bool {
    known != answer && (mem::discriminant(known) != mem::discriminant(answer) || last == answer)
}

/// One request. Redirects are not followed. Of certificates only the names are looked at: the question
/// is whether requests get through, not by whose authority.
async fn request(target: &Target) -> Reachability {
    let connection = match TcpStream::connect((target.address.as_str(), target.port)).await {
        Ok(connection) => connection,
        Err(error) => return Reachability::Unreachable(error.to_string()),
    };
    let answer = if target.tls {
        let Ok(name) = ServerName::try_from(target.host.clone()) else {
            return Reachability::NotAnswering("its host is no name that TLS can ask for".into());
        };
        match TlsConnector::from(insecure::config()).connect(name.clone(), connection).await {
            Ok(connection) if !insecure::is_for(connection.get_ref().1.peer_certificates(), &name) => {
                return Reachability::WrongCertificate;
            }
            Ok(connection) => exchange(target, connection).await,
            Err(error) => return Reachability::NotAnswering(format!("TLS: {error}")),
        }
    } else {
        exchange(target, connection).await
    };
    match answer {
        Ok(status) if (200..400).contains(&status) => Reachability::Answered,
        Ok(status) => Reachability::NotAnswering(format!("status {status}")),
        Err(error) => Reachability::NotAnswering(error),
    }
}

async fn exchange(
    target: &Target,
    connection: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
) -> Result<u16, String> {
    let explain = |error: hyper::Error| root_cause(&error);
    let (mut sender, driver) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(connection))
        .await
        .map_err(explain)?;
    let path = if target.path.starts_with('/') { target.path.clone() } else { format!("/{}", target.path) };
    let request = Request::get(path)
        .header("host", &target.host)
        .header("user-agent", concat!("ephemeron-probe/", env!("CARGO_PKG_VERSION")))
        .header("connection", "close")
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    // Dropped with this future, and the task and its connection with it.
    let mut tasks = JoinSet::new();
    tasks.spawn(driver);
    Ok(sender.send_request(request).await.map_err(explain)?.status().as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_words_are_news_once_they_last() {
        let not = |why: &str| Reachability::NotAnswering(why.into());
        let (late, busy) = (not("no answer within 5 s"), not("status 503"));
        assert!(is_news(&Reachability::Unknown, &Reachability::Unknown, &busy));
        assert!(!is_news(&busy, &busy, &late), "it may answer 503 again");
        assert!(is_news(&busy, &late, &late), "it lasts");
        assert!(!is_news(&busy, &late, &busy), "known");
        assert!(is_news(&busy, &late, &Reachability::Answered));
        assert!(is_news(&busy, &busy, &Reachability::Unreachable("refused".into())));
    }
}
