//! What happens to each Ephemeron in a run: what was asked for, what was answered, what a watch has shown.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::sync::watch;

/// A moment.
pub type Time = DateTime<Utc>;

/// One Ephemeron, from its creation to its end.
#[derive(Clone, Debug, Default)]
pub struct Life {
    /// Its name; another one may have it later.
    pub name: String,
    /// Which installation looks after it.
    pub whose: String,
    /// What has happened, in the order in which it became known.
    pub events: Vec<Event>,
}

/// Something that has happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it was known.
    pub at: Time,
    /// What it was.
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug)]
pub enum What {
    /// Somebody asked the API server for something, and got an answer, or none.
    Asked {
        /// When.
        sent: Time,
        /// For what.
        wish: Wish,
        /// What came of it.
        answer: Answer,
    },
    /// A watch or a list has shown that its end is this.
    Ends(Option<Time>),
    /// The watch has shown that it is gone, with the end that it had then.
    Gone(Option<Time>),
    /// A list has shown that it is gone: since when, and with which end, is not known.
    Missing,
}

/// What may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To exist, until this.
    Begin(Time),
    /// To end at this time instead.
    End(Time),
    /// To be deleted at once.
    Delete,
}

/// What may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// It is not done, and why: an HTTP status.
    Refused(u16),
    /// None came: it may be done, or may be done later.
    Lost,
}

impl Life {
    /// When it was known to be gone, if it is.
    pub fn gone(&self) -> Option<Time> {
        let gone = |event: &&Event| matches!(event.what, What::Gone(_) | What::Missing);
        self.events.iter().find(gone).map(|event| event.at)
    }

    /// The story, one line each.
    pub fn told(&self) -> String {
        let lines: Vec<_> = self.events.iter().map(|event| format!("    {event}\n")).collect();
        lines.concat()
    }
}

impl fmt::Display for Event {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} ", short(self.at))?;
        match &self.what {
            What::Asked { sent, wish, answer } => {
                match wish {
                    Wish::Begin(end) => write!(to, "asked to begin, and to end at {}", short(*end))?,
                    Wish::End(end) => write!(to, "asked to end at {}", short(*end))?,
                    Wish::Delete => write!(to, "asked to be deleted")?,
                }
                write!(to, ", sent {}: {answer:?}", short(*sent))
            }
            What::Ends(end) => write!(to, "is seen; it ends at {}", end.map(short).unwrap_or_default()),
            What::Gone(end) => {
                write!(to, "is seen to go; its end was {}", end.map(short).unwrap_or_default())
            }
            What::Missing => write!(to, "is not there any more"),
        }
    }
}

/// A time of the day.
pub fn short(time: Time) -> String {
    let text = time.to_rfc3339_opts(SecondsFormat::Millis, true);
    text.split_once('T').map_or(text.clone(), |(_, time)| time.trim_end_matches('Z').to_owned())
}

/// All lives of a run, by UID.
pub struct History {
    lives: Mutex<HashMap<String, Life>>,
    changed: watch::Sender<u64>,
}

impl History {
    /// Without any life.
    pub fn new() -> Self {
        Self { lives: Mutex::default(), changed: watch::Sender::new(0) }
    }

    fn lives(&self) -> MutexGuard<'_, HashMap<String, Life>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what has happened to the life of this UID.
    pub fn add(&self, uid: &str, name: &str, whose: &str, what: What) {
        let mut lives = self.lives();
        let life = lives.entry(uid.to_owned()).or_insert_with(|| Life {
            name: name.to_owned(),
            whose: whose.to_owned(),
            events: Vec::new(),
        });
        life.events.push(Event { at: Utc::now(), what });
        drop(lives);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Whether the end that was seen last of the life of this UID was this one.
    pub fn was_seen(&self, uid: &str, end: Option<Time>) -> bool {
        let lives = self.lives();
        let events = lives.get(uid).into_iter().flat_map(|life| life.events.iter().rev());
        let seen = events.filter_map(|event| match event.what {
            What::Ends(end) => Some(end),
            _ => None,
        });
        seen.take(1).any(|seen| seen == end)
    }

    /// The UIDs and names of all that are not known to be gone.
    pub fn living(&self) -> HashMap<String, String> {
        let lives = self.lives();
        let living = lives.iter().filter(|(_, life)| life.gone().is_none());
        living.map(|(uid, life)| (uid.clone(), life.name.clone())).collect()
    }

    /// Returns once the life of this UID is known to be gone.
    pub async fn gone(&self, uid: &str) {
        let mut changes = self.changed.subscribe();
        while self.lives().get(uid).is_none_or(|life| life.gone().is_none()) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// All that is known, by UID.
    pub fn all(&self) -> HashMap<String, Life> {
        self.lives().clone()
    }
}
