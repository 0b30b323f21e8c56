//! What a Pod's state means for its service.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::{
    api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt as _;

use crate::{
    controller::attempts::has_failed,
    resource::conditions::{Finding, Reason},
};

/// How often what keeps a Pod from becoming ready is looked into.
pub const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(60);

/// The kubelet's words for an image that is not to be had (k8s.io/kubernetes, pkg/kubelet/images/types.go).
const NO_IMAGE: &[&str] = &[
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
    "ImageInspectError",
    "SignatureValidationFailed",
];
/// Its words for a container that cannot be started (pkg/kubelet/kuberuntime/kuberuntime_container.go).
const NO_START: &[&str] = &[
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "PreCreateHookError",
    "PreStartHookError",
    "PostStartHookError",
];
/// The runtime's words for the end of a container that has never begun.
const NEVER_BEGAN: &[&str] = &["StartError", "ContainerCannotRun"];

/// What is to be known to judge a Pod.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// In which time after its container's start a Pod usually becomes ready.
    pub ready_within: TimeDelta,
    /// The kubelet's last complaint about it, where it was asked for.
    pub complaint: Option<&'a str>,
    /// The moment.
    pub now: DateTime<Utc>,
}

/// Whether the Pod is ready, and why not; and after what time the answer may be another without the
/// Pod changing.
#[must_use]
pub fn judge(pod: &Pod, view: &View<'_>) -> (Finding, Option<TimeDelta>) {
    if let Some(finding) = ended(pod) {
        return (finding, None);
    }
    let none = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&none);
    let conditions = || status.conditions.iter().flatten();
    if conditions().any(|one| one.type_ == "Ready" && one.status == "True") {
        return (Finding::yes(Reason::PodReady, "the Pod is ready"), None);
    }
    if let Some(one) = conditions().find(|one| one.type_ == "PodScheduled" && one.status == "False") {
        let reason = one.reason.as_deref().unwrap_or("Unschedulable");
        return (Finding::no(Reason::Unschedulable, with_detail(reason, one.message.as_deref())), None);
    }
    let init = status.init_container_statuses.iter().flatten().filter(|one| !has_done_its_work(one));
    let mut containers = init.chain(status.container_statuses.iter().flatten());
    if let Some(finding) = containers.find_map(container) {
        return (finding, None);
    }
    let left = due(pod, view) - view.now;
    if left > TimeDelta::zero() {
        return (Finding::no(Reason::PodNotReady, "the Pod is being started"), Some(left));
    }
    (late(pod, view), Some(LOOK_AGAIN))
}

/// Whether the Pod should have become ready by now, and nothing in it says why it has not.
#[must_use]
pub fn is_late(pod: &Pod, view: &View<'_>) -> bool {
    judge(pod, view).0.reason == Reason::NotReadyInTime
}

fn ended(pod: &Pod) -> Option<Finding> {
    let name = pod.name_any();
    if pod.metadata.deletion_timestamp.is_some() {
        return Some(Finding::no(
            Reason::PodLost,
            format!("the Pod {name} is being deleted, or its node is lost; another one is made"),
        ));
    }
    if !has_failed(pod) {
        return None;
    }
    let status = pod.status.as_ref()?;
    let words = match (&status.reason, status.container_statuses.iter().flatten().find_map(terminated)) {
        (Some(reason), _) => with_detail(reason, status.message.as_deref()),
        (None, Some(end)) => format!("exit code {}", end.exit_code),
        (None, None) => status.phase.clone().unwrap_or_default(),
    };
    Some(Finding::no(Reason::PodFailed, format!("the Pod {name} has ended: {words}; another one is made")))
}

/// What keeps one container from running, if anything does.
fn container(container: &ContainerStatus) -> Option<Finding> {
    let name = &container.name;
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    let why = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    let message = waiting.and_then(|waiting| waiting.message.as_deref());
    if NO_IMAGE.contains(&why) {
        let image = &container.image;
        return Some(Finding::no(
            Reason::ImagePullFailed,
            format!("{image:?}: {}", with_detail(why, message)),
        ));
    }
    if NO_START.contains(&why) {
        let words = with_detail(why, message);
        return Some(Finding::no(Reason::ContainerCannotStart, format!("container {name}: {words}")));
    }
    let end = terminated(container)?;
    let reason = end.reason.as_deref().unwrap_or_default();
    let words = end.message.as_deref().map(str::trim).filter(|words| !words.is_empty());
    if NEVER_BEGAN.contains(&reason) {
        let words = words.unwrap_or(reason);
        return Some(Finding::no(Reason::ContainerCannotStart, format!("container {name}: {words}")));
    }
    let how = match reason {
        "OOMKilled" => "was killed for using more memory than its limit".to_owned(),
        _ => format!("ended with exit code {}", end.exit_code),
    };
    let times = match container.restart_count {
        0 => String::new(),
        restarts => format!(" (restarts: {restarts})"),
    };
    let last = words.map(|words| format!("; its last words: {words}")).unwrap_or_default();
    Some(Finding::no(Reason::ContainerCrashed, format!("container {name} {how}{times}{last}")))
}

/// The latest end of a container.
fn terminated(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let now = container.state.as_ref().and_then(|state| state.terminated.as_ref());
    now.or_else(|| container.last_state.as_ref().and_then(|state| state.terminated.as_ref()))
}

fn has_done_its_work(init: &ContainerStatus) -> bool {
    let end = init.state.as_ref().and_then(|state| state.terminated.as_ref());
    end.is_some_and(|end| end.exit_code == 0) || init.ready && init.started == Some(true)
}

/// When the Pod should be ready at the latest: counted from the start of its last container, or from
/// its creation while none runs.
fn due(pod: &Pod, view: &View<'_>) -> DateTime<Utc> {
    let utc = |time: &Time| DateTime::from_timestamp(time.0.as_second(), 0);
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let started = containers
        .filter_map(|container| container.state.as_ref()?.running.as_ref()?.started_at.as_ref())
        .filter_map(utc)
        .max();
    let from = started.or_else(|| pod.metadata.creation_timestamp.as_ref().and_then(utc));
    let due = |from: DateTime<Utc>| from.checked_add_signed(view.ready_within);
    from.map_or(view.now, |from| due(from).unwrap_or(DateTime::<Utc>::MAX_UTC))
}

fn late(pod: &Pod, view: &View<'_>) -> Finding {
    let seconds = view.ready_within.num_seconds();
    let running = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let runs = running.clone().any(|one| one.state.as_ref().is_some_and(|state| state.running.is_some()));
    let what = if runs { "the container runs, but is not ready" } else { "the container is not started" };
    match view.complaint {
        // Go's words for a port that nobody listens on (syscall.ECONNREFUSED).
        Some(words) if words.contains("connection refused") => Finding::no(
            Reason::PortNotListening,
            format!("the container runs, but nothing listens on its port: {words}"),
        ),
        Some(words) => Finding::no(Reason::NotReadyInTime, format!("{what} after {seconds} s: {words}")),
        None => Finding::no(Reason::NotReadyInTime, format!("{what} after {seconds} s")),
    }
}

fn with_detail(reason: &str, message: Option<&str>) -> String {
    match message {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000 + seconds, 0).expect("a time")
    }

    fn pod(status: &Value) -> Pod {
        let metadata = json!({"name": "a", "creationTimestamp": at(0).to_rfc3339()});
        serde_json::from_value(json!({"metadata": metadata, "status": status})).expect("a Pod")
    }

    fn state(state: &Value, last: &Value, restarts: u32) -> Value {
        json!({"containerStatuses": [{
            "name": "service", "image": "x:1", "imageID": "", "ready": false, "restartCount": restarts,
            "state": state, "lastState": last,
        }]})
    }

    fn view(seconds: i64, complaint: Option<&str>) -> View<'_> {
        View { ready_within: TimeDelta::seconds(60), complaint, now: at(seconds) }
    }

    #[test]
    fn each_trouble_has_its_reason() {
        let waiting = |reason: &str| json!({"waiting": {"reason": reason, "message": "so it is"}});
        let end = |reason: &str, code: i32, words: &str| json!({"terminated": {"reason": reason, "exitCode": code, "message": words}});
        let none = json!({});
        let rows = [
            (json!({"conditions": [{"type": "Ready", "status": "True"}]}), Reason::PodReady, "is ready"),
            (none.clone(), Reason::PodNotReady, "being started"),
            (state(&waiting("ContainerCreating"), &none, 0), Reason::PodNotReady, "being started"),
            (
                state(&waiting("ImagePullBackOff"), &none, 0),
                Reason::ImagePullFailed,
                "\"x:1\": ImagePullBackOff: so it is",
            ),
            (state(&waiting("InvalidImageName"), &none, 0), Reason::ImagePullFailed, "InvalidImageName"),
            (
                state(&waiting("CreateContainerConfigError"), &none, 0),
                Reason::ContainerCannotStart,
                "so it is",
            ),
            (
                state(&waiting("CrashLoopBackOff"), &end("StartError", 128, "no such file"), 2),
                Reason::ContainerCannotStart,
                "container service: no such file",
            ),
            (
                state(&waiting("CrashLoopBackOff"), &end("Error", 3, "bye\n"), 2),
                Reason::ContainerCrashed,
                "container service ended with exit code 3 (restarts: 2); its last words: bye",
            ),
            (state(&end("Error", 1, ""), &none, 0), Reason::ContainerCrashed, "ended with exit code 1"),
            (
                state(&json!({"running": {}}), &end("OOMKilled", 137, ""), 1),
                Reason::ContainerCrashed,
                "more memory",
            ),
            (
                json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}),
                Reason::Unschedulable,
                "Unschedulable: 0/1 nodes",
            ),
            (
                json!({"phase": "Failed", "reason": "Evicted", "message": "disk"}),
                Reason::PodFailed,
                "a has ended: Evicted: disk",
            ),
            (json!({"phase": "Succeeded"}), Reason::PodFailed, "has ended: Succeeded"),
        ];
        for (status, reason, message) in rows {
            let (finding, _) = judge(&pod(&status), &view(1, None));
            assert_eq!(finding.reason, reason, "{status}");
            assert!(finding.message.contains(message), "{}", finding.message);
        }
        let mut going = pod(&json!({"conditions": [{"type": "Ready", "status": "True"}]}));
        going.metadata.deletion_timestamp.clone_from(&going.metadata.creation_timestamp);
        assert_eq!(judge(&going, &view(1, None)).0.reason, Reason::PodLost, "whatever it says of itself");
    }

    #[test]
    fn a_pod_that_takes_too_long_is_told() {
        let running = json!({"running": {"startedAt": at(10).to_rfc3339()}});
        let pod = pod(&state(&running, &json!({}), 0));
        let told = |seconds, complaint| {
            let (finding, again) = judge(&pod, &view(seconds, complaint));
            (finding.reason, again.map(|again| again.num_seconds()))
        };
        assert_eq!(told(11, None), (Reason::PodNotReady, Some(59)));
        assert_eq!(told(70, None), (Reason::NotReadyInTime, Some(60)));
        assert_eq!(
            told(70, Some("HTTP probe failed with statuscode: 500")),
            (Reason::NotReadyInTime, Some(60))
        );
        assert_eq!(told(70, Some("dial tcp: connect: connection refused")).0, Reason::PortNotListening);
    }

    #[test]
    fn init_containers_count_until_they_have_done_their_work() {
        let init = |state: Value| {
            json!({"initContainerStatuses": [{
                "name": "init", "image": "x", "imageID": "", "ready": false, "restartCount": 0, "state": state,
            }]})
        };
        let reason = |status: &Value| judge(&pod(status), &view(1, None)).0.reason;
        assert_eq!(reason(&init(json!({"terminated": {"exitCode": 0}}))), Reason::PodNotReady);
        assert_eq!(reason(&init(json!({"terminated": {"exitCode": 2}}))), Reason::ContainerCrashed);
    }
}
