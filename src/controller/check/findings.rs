//! What a check has found, each with its remedy.

use std::fmt;

/// What was found, in the order in which it matters.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

#[derive(Debug)]
struct Finding {
    verdict: Verdict,
    subject: &'static str,
    text: String,
    remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Doubtful,
    Bad,
}

impl Findings {
    /// Whether services can work, as far as can be seen.
    #[must_use]
    pub fn are_good(&self) -> bool {
        self.0.iter().all(|finding| finding.verdict != Verdict::Bad)
    }

    pub(super) fn good(&mut self, subject: &'static str, text: impl Into<String>) {
        self.0.push(Finding { verdict: Verdict::Good, subject, text: text.into(), remedy: None });
    }

    pub(super) fn bad(&mut self, subject: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding {
            verdict: Verdict::Bad,
            subject,
            text: text.into(),
            remedy: Some(remedy.into()),
        });
    }

    pub(super) fn doubtful(
        &mut self,
        subject: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (text, remedy) = (text.into(), Some(remedy.into()));
        self.0.push(Finding { verdict: Verdict::Doubtful, subject, text, remedy });
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { verdict, subject, text, remedy } in &self.0 {
            let mark = match verdict {
                Verdict::Good => "ok  ",
                Verdict::Doubtful => "look",
                Verdict::Bad => "FAIL",
            };
            writeln!(formatter, "{mark}  {subject:<12}  {text}")?;
            if let Some(remedy) = remedy {
                writeln!(formatter, "      {:<12}  -> {remedy}", "")?;
            }
        }
        let end = if self.are_good() { "services can work here" } else { "services cannot work here yet" };
        write!(formatter, "{end}")
    }
}
