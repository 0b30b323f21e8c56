//! Chooses how hosts are routed, whenever what it is chosen from changes.

use std::{collections::HashMap, future, sync::Arc};

use chrono::Utc;
use tokio::{sync::watch, time};

use super::{
    caches::{Caches, Listeners},
    routing::{
        Offer, Routing,
        sticky::{Choice, InUse},
    },
    settings::Settings,
};
use crate::{health::Readiness, resource::Route};

/// Keeps `routing` up to date, and has every Ephemeron looked at when it changes.
pub async fn keep_choosing(
    settings: Settings,
    caches: Arc<Caches>,
    listeners: Listeners,
    routing: watch::Sender<Option<Arc<Routing>>>,
) {
    // What living services use counts at the first choice.
    caches.ephemerons.synced().await;
    let mut choice: Option<Choice> = None;
    let mut served = caches.http_routes.served();
    loop {
        caches.routing_synced().await;
        // A Gateway is of no use without HTTPRoutes.
        let gateways = if *served.borrow_and_update() { caches.gateways.all() } else { Vec::new() };
        let classes = caches.gateway_classes.all();
        let ingress_classes = caches.ingress_classes.all();
        let namespace = caches.namespaces.get(&settings.namespace);
        let offer = Offer {
            gateways: gateways.iter().map(AsRef::as_ref).collect(),
            classes: classes.iter().map(AsRef::as_ref).collect(),
            ingress_classes: ingress_classes.iter().map(AsRef::as_ref).collect(),
            namespace_labels: namespace.and_then(|one| one.metadata.labels.clone()).unwrap_or_default(),
        };
        let (next, again) = match choice.take() {
            Some(choice) => choice.next(&settings, &offer, Utc::now()),
            None => Choice::first(&settings, &offer, in_use(&caches).as_ref(), Utc::now()),
        };
        let chosen = &next.routing;
        let changed = routing.send_if_modified(|current| {
            let changed = current.as_deref() != Some(chosen);
            if changed {
                *current = Some(Arc::new(chosen.clone()));
            }
            changed
        });
        if changed {
            tell(chosen, &listeners.readiness);
            caches.ephemerons.names().into_iter().for_each(|name| listeners.name(name));
        }
        choice = Some(next);
        let later = async {
            match again {
                Some(again) => time::sleep(again.to_std().unwrap_or_default()).await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            () = listeners.routing.notified() => {}
            // The sender lives in the caches.
            _ = served.changed() => {}
            () = later => {}
        }
    }
}

/// Tells how hosts are routed, in the log, and what is missing also where readiness is asked for.
fn tell(chosen: &Routing, readiness: &Readiness) {
    const SUBJECT: &str = "routing";
    let lacking = match chosen {
        Routing::Unavailable(finding) => format!("services cannot be routed: {}", finding.message),
        Routing::Gateway(parent) if parent.gone => {
            format!("the Gateway {}/{} is gone: waiting for it", parent.namespace, parent.name)
        }
        chosen => {
            let Route { kind, parent } = chosen.as_status().unwrap_or_default();
            tracing::info!(kind, parent, "routing chosen");
            readiness.has(SUBJECT);
            return;
        }
    };
    readiness.lacks(SUBJECT, lacking.as_str());
    tracing::warn!("{lacking}");
}

/// The route that most of the living services use.
fn in_use(caches: &Caches) -> Option<InUse> {
    let mut counts = HashMap::<(String, Option<String>, bool), usize>::new();
    for status in caches.ephemerons.each().filter_map(|ephemeron| ephemeron.status.clone()) {
        if let Some(Route { kind, parent }) = status.route {
            let tls = status.url.is_some_and(|url| url.starts_with("https:"));
            *counts.entry((kind, parent, tls)).or_default() += 1;
        }
    }
    let ((kind, parent, tls), _) = counts.into_iter().max_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)))?;
    Some(InUse { route: Route { kind, parent }, tls })
}
