//! Ephemerons and settings that the unit tests of the pure modules share.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;

use super::{
    caches::Listeners,
    life::Lives,
    metrics::Metrics,
    settings::{Expiry, ProbeChoice, Reserved, RoutingChoice, Settings},
};
use crate::{
    health::Readiness,
    lease::election::Times,
    policy::{Policy, Rules},
    resource::{Ephemeron, selector::Selector},
};

/// The least that an Ephemeron can say.
pub const MINIMAL: &str = r"
apiVersion: qualified.io/v1alpha1
kind: Ephemeron
metadata: {name: minimal, uid: 0b0e, generation: 1, creationTimestamp: '2030-01-01T00:00:00Z'}
spec:
  lifetime: 30m
  service: {image: nginx, port: 80}
";

/// Every field that an Ephemeron has.
pub const FULL: &str = r"
apiVersion: qualified.io/v1alpha1
kind: Ephemeron
metadata: {name: full, uid: 0b0e, generation: 1, creationTimestamp: '2030-01-01T00:00:00Z'}
spec:
  expirationTime: '2030-01-01T01:00:00Z'
  service:
    image: registry.example.com/app:1
    port: 8080
    command: [/app, serve]
    workingDir: /srv
    env: [{name: A, value: b}, {name: EMPTY}]
    readinessProbe: {path: /ready, initialDelaySeconds: 1, periodSeconds: 2, timeoutSeconds: 3}
    imagePullPolicy: IfNotPresent
    resources: {limits: {cpu: 1, memory: 64Mi}, requests: {cpu: 100m}}
    podLabels: {team: blue, ephemerons.qualified.io/group: a.b}
    tlsSecretName: wildcard
    ingressAnnotations: {example.com/key: value}
";

/// An Ephemeron from its manifest.
pub fn ephemeron(manifest: &str) -> Ephemeron {
    serde_saphyr::from_str(manifest).expect("a manifest")
}

/// What an Ephemeron says of its service.
pub fn service(ephemeron: &mut Ephemeron) -> &mut crate::resource::Service {
    ephemeron.spec.service.as_mut().expect("a service")
}

/// Metrics that nobody reads.
pub fn metrics() -> Arc<Metrics> {
    Metrics::register(&mut Registry::default())
}

/// No lives yet, counted for nobody.
pub fn lives() -> Lives {
    Lives::new(metrics())
}

/// Whom the caches tell of changes, and the names that they tell.
pub fn listeners() -> (Listeners, mpsc::UnboundedReceiver<String>) {
    let (names, told) = mpsc::unbounded_channel();
    let listeners = Listeners {
        names,
        gone: mpsc::unbounded_channel().0,
        routing: Arc::default(),
        metrics: metrics(),
        readiness: Readiness::starting("it waits for nothing"),
    };
    (listeners, told)
}

/// The settings of a small installation.
pub fn settings() -> Settings {
    Settings {
        domain: "example.com".parse().expect("a domain"),
        namespace: "ephemerons".into(),
        selector: Selector::default(),
        routing: RoutingChoice::Automatic,
        ingress_class: None,
        probe: ProbeChoice::Published,
        expiry: Expiry::Delete,
        notice: TimeDelta::zero(),
        ready_within: TimeDelta::seconds(60),
        request_timeout: "0s".into(),
        policy: policy(Rules::default()),
        presets: crate::presets::Settings::default(),
        max_lifetime: None,
        reserved: Reserved::default(),
        lease: None,
        lease_times: Times::of(Duration::from_secs(15)),
    }
}

/// The policy of these rules, with a grace period of 5 s.
pub fn policy(rules: Rules) -> Policy {
    Policy::new(Rules { grace_period: Duration::from_secs(5), ..rules }).expect("rules that go together")
}
