//! From what a request says of the end to the moment of it.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

use super::{problem::Problem, settings::App, time::Time};

/// RFC 3339 has years of four digits.
const LAST_YEAR: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_799, 0) {
    Some(time) => time,
    None => DateTime::UNIX_EPOCH,
};

/// The end that a request asks for, exactly one of the two being given.
///
/// # Errors
///
/// It says none or two, the end is not in the future, or farther than it may be.
pub fn end(
    app: &App,
    minutes: Option<u32>,
    time: Option<Time>,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, Problem> {
    let end = match (minutes, time) {
        (Some(0), None) => return Err(Problem::bad_request("lifetimeMinutes must be at least 1")),
        (Some(minutes), None) => {
            now.checked_add_signed(TimeDelta::minutes(minutes.into())).ok_or_else(too_far)?.trunc_subsecs(3)
        }
        (None, Some(Time(time))) if time <= now => {
            return Err(Problem::bad_request("expirationTime must be in the future"));
        }
        (None, Some(Time(time))) => time,
        _ => return Err(Problem::bad_request("give either lifetimeMinutes or expirationTime")),
    };
    if end > LAST_YEAR {
        return Err(too_far());
    }
    match app.longest {
        Some(longest) if end - now > longest => Err(Problem::bad_request(format!(
            "the end may be at most {} minutes from now",
            longest.num_minutes()
        ))),
        _ => Ok(end),
    }
}

fn too_far() -> Problem {
    Problem::bad_request("the end is farther away than a time can say")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::settings::{Key, Quotas};

    #[test]
    fn ends_are_in_the_future_and_not_too_far() {
        let app = |longest| App {
            name: "app".into(),
            key: Key::read("key").expect("a key"),
            presets: None,
            longest,
            quotas: Quotas::default(),
            logs: false,
            render: false,
        };
        let (free, bound) = (app(None), app(Some(TimeDelta::minutes(60))));
        let now = DateTime::from_timestamp(1_900_000_000, 123_456_789).expect("a time");
        let at = |seconds| Some(Time(now + TimeDelta::seconds(seconds)));
        let ok = |app: &App, minutes, time| end(app, minutes, time, now).map(|end| (end - now).num_seconds());
        assert_eq!(ok(&free, Some(30), None).ok(), Some(1_799), "cut to milliseconds");
        assert_eq!(ok(&free, None, at(5)).ok(), Some(5));
        assert_eq!(ok(&bound, Some(60), None).ok(), Some(3_599));
        assert_eq!(ok(&bound, None, at(3_600)).ok(), Some(3_600));
        let bad = [
            (&free, Some(0), None),
            (&free, Some(u32::MAX), None),
            (&free, None, None),
            (&free, Some(1), at(60)),
            (&free, None, at(0)),
            (&free, None, at(-1)),
            (&free, None, Some(Time(DateTime::<Utc>::MAX_UTC))),
            (&bound, Some(61), None),
            (&bound, None, at(3_601)),
        ];
        for (app, minutes, time) in bad {
            let problem = ok(app, minutes, time).expect_err("a problem");
            assert_eq!(problem.status, http::StatusCode::BAD_REQUEST, "{minutes:?} {time:?}");
        }
    }
}
