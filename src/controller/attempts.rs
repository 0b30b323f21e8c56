//! Which Pod is an Ephemeron's service, and when another one is made in its place.
//!
//! A Pod cannot be started again once it has failed as a whole, and one on a lost node keeps its
//! name for as long as the node is away. So each attempt has a name of its own: the first is called
//! like the Ephemeron, later ones `{name}.1`, `{name}.2` and so on. No Ephemeron's name has a dot.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

/// An attempt comes at least this long after the one before it was made, and twice as long with
/// each, up to [`LONGEST`]; the second follows at once.
const SHORTEST: TimeDelta = TimeDelta::seconds(1);
const LONGEST: TimeDelta = TimeDelta::minutes(5);

/// What is to be done about the Pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Pick {
    /// This one is the service's.
    Live(Arc<Pod>),
    /// There is none: make this attempt, in the place of the last one.
    Make {
        /// The attempt's number, from 0.
        attempt: u32,
    },
    /// The last one is of no use any more; the next is made at this time, and not before.
    Wait {
        /// The last one.
        last: Arc<Pod>,
        /// When the next is made.
        until: DateTime<Utc>,
    },
}

/// Picks from the Pods that an Ephemeron owns.
#[must_use]
pub fn pick(owned: &[Arc<Pod>], now: DateTime<Utc>) -> Pick {
    let Some(last) = owned.iter().max_by_key(|pod| number(&pod.name_any())) else {
        return Pick::Make { attempt: 0 };
    };
    if !is_over(last) {
        return Pick::Live(Arc::clone(last));
    }
    let number = number(&last.name_any());
    let made = last.metadata.creation_timestamp.as_ref();
    let made = made.and_then(|time| DateTime::from_timestamp(time.0.as_second(), 0)).unwrap_or(now);
    let until = made + pause_after(number);
    // A creation in the future is another clock's: the pause is all that is waited for.
    let until = until.min(now + pause_after(number));
    if until > now {
        return Pick::Wait { last: Arc::clone(last), until };
    }
    Pick::Make { attempt: number.saturating_add(1) }
}

/// The Pods that have failed and have a successor: they only take up room.
pub fn replaced(owned: &[Arc<Pod>]) -> impl Iterator<Item = &Arc<Pod>> {
    let last = owned.iter().map(|pod| number(&pod.name_any())).max();
    owned.iter().filter(move |pod| Some(number(&pod.name_any())) < last && has_failed(pod))
}

/// The name of an attempt.
#[must_use]
pub fn name(ephemeron: &str, attempt: u32) -> String {
    match attempt {
        0 => ephemeron.into(),
        later => format!("{ephemeron}.{later}"),
    }
}

/// The name of the Ephemeron whose Pod, or other child, may have this name.
#[must_use]
pub fn ephemeron_of(child: &str) -> &str {
    child.split('.').next().unwrap_or_default()
}

/// Whether the Pod has ended as a whole: its containers are not started again.
#[must_use]
pub fn has_failed(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

fn is_over(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() || has_failed(pod)
}

fn number(pod: &str) -> u32 {
    pod.split_once('.').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

fn pause_after(attempt: u32) -> TimeDelta {
    match attempt {
        0 => TimeDelta::zero(),
        later => SHORTEST
            .checked_mul(2_i32.checked_pow(later - 1).unwrap_or(i32::MAX))
            .map_or(LONGEST, |pause| pause.min(LONGEST)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000 + seconds, 0).expect("a time")
    }

    fn pod(name: &str, created: i64, more: &Value) -> Arc<Pod> {
        let mut pod = json!({"metadata": {"name": name, "creationTimestamp": at(created).to_rfc3339()}});
        for (key, value) in more.as_object().into_iter().flatten() {
            match key.as_str() {
                "phase" => pod["status"] = json!({ "phase": value }),
                key => pod["metadata"][key] = value.clone(),
            }
        }
        Arc::new(serde_json::from_value(pod).expect("a Pod"))
    }

    fn going() -> Value {
        json!({"deletionTimestamp": at(0).to_rfc3339()})
    }

    #[test]
    fn the_last_attempt_counts() {
        let failed = json!({"phase": "Failed"});
        let (first, second) = (pod("a", 0, &failed), pod("a.1", 1, &json!({})));
        assert_eq!(pick(&[], at(0)), Pick::Make { attempt: 0 });
        assert_eq!(pick(&[Arc::clone(&first)], at(0)), Pick::Make { attempt: 1 }, "the second comes at once");
        let both = [Arc::clone(&first), Arc::clone(&second)];
        assert_eq!(pick(&both, at(2)), Pick::Live(Arc::clone(&second)));
        assert_eq!(replaced(&both).collect::<Vec<_>>(), [&first]);
        assert_eq!(replaced(&[first]).count(), 0, "the last one stays for its words");
        let ten = [pod("a.9", 0, &going()), pod("a.10", 0, &json!({}))];
        assert!(matches!(pick(&ten, at(0)), Pick::Live(pod) if pod.name_any() == "a.10"));
    }

    #[test]
    fn one_that_is_going_is_replaced() {
        for more in [going(), json!({"phase": "Succeeded"}), json!({"phase": "Failed"})] {
            assert_eq!(pick(&[pod("a", 0, &more)], at(0)), Pick::Make { attempt: 1 }, "{more}");
        }
    }

    #[test]
    fn attempts_come_later_each_time_but_not_after_a_long_life() {
        let wait = |name: &str, now| match pick(&[pod(name, 0, &going())], at(now)) {
            Pick::Wait { until, .. } => (until - at(0)).num_seconds(),
            Pick::Make { .. } => 0,
            Pick::Live(_) => panic!("it is going"),
        };
        assert_eq!([wait("a", 0), wait("a.1", 0), wait("a.2", 0), wait("a.5", 0)], [0, 1, 2, 16]);
        assert_eq!([wait("a.9", 0), wait("a.40", 0), wait("a.4294967295", 0)], [256, 300, 300]);
        assert_eq!(wait("a.9", 256), 0);
        assert_eq!(wait("a.5", -1_000), -1_000 + 16, "a clock that is behind does not stop it");
    }

    #[test]
    fn names_tell_the_ephemeron() {
        assert_eq!((name("a-b", 0).as_str(), name("a-b", 12).as_str()), ("a-b", "a-b.12"));
        for child in ["a-b", "a-b.12"] {
            assert_eq!(ephemeron_of(child), "a-b");
        }
    }
}
