//! What may come of a call besides an answer.

use std::{fmt, time::Duration};

use thiserror::Error;

/// The longest message of a preset that is handed on, in characters.
const MESSAGE: usize = 1_024;

/// The most issues of one refusal that are handed on, and the longest pointer and message of each, in
/// characters: together they fit into a condition.
const ISSUES: usize = 32;
const POINTER: usize = 256;
const ISSUE: usize = 640;

/// One thing that is wrong, as the preset says it. The texts are fit for a terminal and a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Which value: a JSON Pointer (RFC 6901) into the parameters; empty for all of them.
    pub pointer: String,
    /// The kind of fault, for programs.
    pub code: String,
    /// What is wrong, for people.
    pub message: String,
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.pointer, self.message)
    }
}

/// The preset's own no.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The parameters are not what the preset asks for.
    #[error("the parameters are not valid: {}", list(.0))]
    InvalidParameters(Vec<Issue>),
    /// A rule of the preset forbids what the parameters ask for.
    #[error("the preset refuses: {0}")]
    Rejected(Issue),
    /// The preset has failed by its own account.
    #[error("the preset has failed: {0}; tell its author")]
    Internal(String),
}

impl Refusal {
    /// The refusal with its texts escaped, and cut to what a condition or a line of a log can hold.
    #[must_use]
    pub fn bounded(self) -> Self {
        match self {
            Self::InvalidParameters(issues) => Self::InvalidParameters(bounded(issues)),
            Self::Rejected(issue) => Self::Rejected(issue.bounded()),
            Self::Internal(message) => Self::Internal(printable(&message)),
        }
    }
}

impl Issue {
    fn bounded(self) -> Self {
        Self {
            pointer: printable_within(&self.pointer, POINTER),
            code: printable_within(&self.code, POINTER),
            message: printable_within(&self.message, ISSUE),
        }
    }
}

/// At most so many, and how many there are besides.
fn bounded(issues: Vec<Issue>) -> Vec<Issue> {
    let more = issues.len().saturating_sub(ISSUES);
    let mut issues: Vec<_> = issues.into_iter().take(ISSUES).map(Issue::bounded).collect();
    issues.extend((more > 0).then(|| Issue {
        pointer: String::new(),
        code: "more".into(),
        message: format!("and {more} others"),
    }));
    issues
}

fn list(issues: &[Issue]) -> String {
    issues.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A text that is not ours, fit to be shown: control characters and those that turn the direction of
/// writing are escaped, and the length is bounded.
#[must_use]
pub fn printable(text: &str) -> String {
    printable_within(text, MESSAGE)
}

fn printable_within(text: &str, most: usize) -> String {
    let (mut shown, mut count) = (String::new(), 0);
    for char in text.chars() {
        if count >= most {
            shown.push('…');
            break;
        }
        let before = shown.len();
        let turns =
            matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if char.is_control() || turns {
            shown.extend(char.escape_default());
            // Escapes are of ASCII.
            count += shown.len() - before;
        } else {
            shown.push(char);
            count += 1;
        }
    }
    shown
}

/// Why a call has no answer.
#[derive(Debug, Error)]
pub enum CallError {
    /// The WebAssembly code has trapped, such as by `unreachable` or by running out of stack.
    #[error("the preset has trapped: {0}; tell its author")]
    Trapped(wasmtime::Trap),
    /// The call has used all of its fuel.
    #[error("the preset has used its {fuel} units of fuel: it may loop, or be asked for too much at once")]
    OutOfFuel {
        /// What it may use.
        fuel: u64,
    },
    /// The call has asked for more memory, or a larger table, than it may have.
    #[error("the preset wants more than its {memory} bytes of memory or {elements} elements of a table")]
    OutOfMemory {
        /// The most bytes of linear memory.
        memory: usize,
        /// The most elements of a table.
        elements: usize,
    },
    /// The call has run for too long.
    #[error("the preset has not answered within {0:?}")]
    TimedOut(Duration),
    /// The answer is larger than it may be.
    #[error("the preset's answer is larger than the {0} bytes that it may be")]
    TooMuchOutput(usize),
    /// The parameters or the context are larger than they may be; the preset was not called.
    #[error("{what} of {size} bytes is more than the {limit} that it may be")]
    TooMuchInput {
        /// Which of them.
        what: &'static str,
        /// Its bytes.
        size: usize,
        /// The most bytes.
        limit: usize,
    },
    /// The parameters are nested deeper than they may be; the preset was not called.
    #[error("the parameters are nested deeper than the {0} that they may be")]
    TooDeep(usize),
    /// The preset says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What was answered is not the document that it should be.
    #[error("what {call} answers is not what it should be, {at}: {reason}; tell the preset's author")]
    Malformed {
        /// `describe` or `render`.
        call: &'static str,
        /// Where in the document: a line and column, or a JSON Pointer.
        at: String,
        /// What is wrong there.
        reason: String,
    },
    /// The answer is no value of the interface's types: a bad pointer, text or variant.
    #[error("the preset breaks the rules of its interface: {0}; it was not built as it should be")]
    Broken(String),
    /// Two calls with the same arguments have answered differently.
    #[error("{0} answers differently when it is called again with the same arguments")]
    NotRepeatable(&'static str),
    /// Too many calls run or wait.
    #[error("too many calls of presets wait: try again in a moment")]
    Busy,
    /// The host itself has failed at the call.
    #[error("the call of the preset was lost: this is a fault of the host")]
    Lost,
}

impl CallError {
    /// Whether the same call may well have an answer another time: what has failed is not the preset.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::Busy | Self::Lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_is_escaped_and_cut() {
        assert_eq!(printable("a\u{1b}[31mb\nc\u{202e}d"), "a\\u{1b}[31mb\\nc\\u{202e}d");
        assert_eq!(printable(&"ü".repeat(5_000)).chars().count(), MESSAGE + 1);
    }
}
