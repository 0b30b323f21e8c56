//! Which of several replicas leads, and whether this one could.

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};

use super::{Findings, may};
use crate::{
    client::root_cause,
    controller::{permissions::LEASE, settings::Settings},
};

const SUBJECT: &str = "lease";

/// Looks at the Lease, where there is one.
pub(super) async fn check(client: &Client, settings: &Settings, findings: &mut Findings) {
    let Some(place) = &settings.lease else {
        return findings.good(SUBJECT, "none: only one controller may run here (EPHEMERON_LEASE is off)");
    };
    let remedy = format!(
        "apply k8s/controller/sa.yaml: its Role for leases belongs to the namespace {}, or set EPHEMERON_LEASE",
        place.namespace
    );
    let mut denied = Vec::new();
    for verb in LEASE.verbs {
        // The Role names the Lease, which a request that creates it does not.
        let name = (*verb != "create").then_some(&*place.name);
        match may(client, &place.namespace, &LEASE, verb, name).await {
            Ok(true) => {}
            Ok(false) => denied.push(*verb),
            Err(error) => {
                let text = format!("permissions for {place} cannot be asked for: {}", root_cause(&error));
                return findings.doubtful(SUBJECT, text, remedy);
            }
        }
    }
    if !denied.is_empty() {
        let text = format!("missing in the namespace {}: {} leases", place.namespace, denied.join(", "));
        return findings.bad(SUBJECT, text, remedy);
    }
    match Api::<Lease>::namespaced(client.clone(), &place.namespace).get_opt(&place.name).await {
        Ok(lease) => {
            let spec = lease.and_then(|lease| lease.spec).unwrap_or_default();
            let held = match spec.holder_identity.filter(|holder| !holder.is_empty()) {
                Some(holder) => {
                    let renewed = spec.renew_time.map(|time| time.0.to_string()).unwrap_or_default();
                    format!("{place} is held by {holder}, renewed at {renewed} by that machine's clock")
                }
                None => format!("{place} is held by nobody"),
            };
            findings.good(SUBJECT, held);
        }
        Err(error) => {
            findings.bad(SUBJECT, format!("{place} cannot be read: {}", root_cause(&error)), remedy);
        }
    }
}
