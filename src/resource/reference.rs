//! The reference of the conditions as a page: docs/reference/conditions.md.

use std::fmt::Write as _;

use super::{
    conditions::{AVAILABLE, EXPIRING, POD_READY, PRESET_READY},
    reasons::Reason,
};

const HEAD: &str = "\
# Conditions
An Ephemeron tells its state by conditions: `kubectl get eph NAME -o wide`, or `kubectl describe eph NAME`.
Each has a status, a `reason` for programs, a `message` for people, and the time since which the status is what it is.
Where somebody has to do something, an Event on the Ephemeron says the same; a healthy life has no Events.
This page is made from the code: `make generate`.
";

const CONDITIONS: [(&str, &str); 4] = [
    (PRESET_READY, "The preset has said what to run. The condition is only there where the spec names one."),
    (POD_READY, "The Pod is ready. It is not said that it can be reached from outside."),
    (AVAILABLE, "The service can be reached at its host; with a readiness probe its URL has answered."),
    (EXPIRING, "The end is near, or is held back. The condition is only there while that is so."),
];

/// The page, in Markdown.
#[must_use]
pub fn conditions() -> String {
    let mut page = HEAD.to_owned();
    for (condition, meaning) in CONDITIONS {
        // Writing to a String does not fail.
        let _ = write!(page, "\n## {condition}\n{meaning}\n\n");
        page.push_str("| reason | Event | what it means | what to do |\n| --- | --- | --- | --- |\n");
        for one in Reason::ALL.iter().filter(|one| one.of.contains(&condition)) {
            let event = if one.is_trouble { "yes" } else { "" };
            let _ =
                writeln!(page, "| `{}` | {event} | {} | {} |", one.reason.as_str(), one.meaning, one.remedy);
        }
    }
    page
}
