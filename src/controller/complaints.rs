//! What the kubelet complains of: of a Pod that runs and does not become ready, only its Events say why.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use k8s_openapi::{api::core::v1::Event, api::core::v1::Pod};
use kube::{Api, Client, ResourceExt as _, api::ListParams};

use super::status::pod::LOOK_AGAIN;

/// Events of one Pod that are read; the last of them is the one that counts.
const MOST: u32 = 100;

/// The complaints that were asked for, by Ephemeron, so that nothing is asked again too soon.
#[derive(Debug, Default)]
pub struct Complaints(Mutex<HashMap<String, Asked>>);

#[derive(Debug)]
struct Asked {
    pod: Option<String>,
    when: Instant,
    complaint: Option<String>,
}

impl Complaints {
    /// The last complaint about this Pod. It costs a request, at most one in [`LOOK_AGAIN`]. Without
    /// an answer there is none: the status says the rest.
    pub async fn of(&self, client: &Client, ephemeron: &str, pod: &Pod) -> Option<String> {
        let uid = pod.uid();
        if let Some(known) = self.asked().get(ephemeron).filter(|asked| asked.is_fresh(uid.as_deref())) {
            return known.complaint.clone();
        }
        let of_pod = format!("involvedObject.uid={},type=Warning", uid.as_deref().unwrap_or_default());
        let events = Api::<Event>::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
        let complaint = match events.list(&ListParams::default().fields(&of_pod).limit(MOST)).await {
            Ok(events) => events.items.into_iter().max_by_key(last_seen).and_then(|event| event.message),
            Err(error) => {
                tracing::debug!(ephemeron, %error, "the Events of the Pod cannot be read");
                None
            }
        };
        let asked = Asked { pod: uid, when: Instant::now(), complaint: complaint.clone() };
        self.asked().insert(ephemeron.into(), asked);
        complaint
    }

    /// Drops what is known of an Ephemeron.
    pub fn forget(&self, ephemeron: &str) {
        self.asked().remove(ephemeron);
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, HashMap<String, Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    fn is_fresh(&self, pod: Option<&str>) -> bool {
        self.pod.as_deref() == pod && self.when.elapsed() < LOOK_AGAIN.to_std().unwrap_or_default()
    }
}

fn last_seen(event: &Event) -> Option<k8s_openapi::jiff::Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    series.map(|time| time.0).or(last).or_else(|| event.event_time.as_ref().map(|time| time.0))
}
