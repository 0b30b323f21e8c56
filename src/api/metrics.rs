//! What the REST API counts and measures, for Prometheus; docs/reference/metrics.md lists it.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::cache::Counts;

/// Seconds of a request; those that wait are not measured.
const REQUEST: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 5.0, 10.0];

/// An operation of the document, and the status of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    operation: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

/// The API's metrics. Every method is cheap and may be called from anywhere.
#[derive(Debug)]
pub struct Metrics {
    requests: Family<Answered, Counter>,
    durations: Family<Operation, Histogram, fn() -> Histogram>,
    connections: Gauge,
    streams: Gauge,
    watch_failures: Counter,
    unreadable: Counter,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let durations = Family::new_with_constructor((|| Histogram::new(REQUEST)) as fn() -> Histogram);
        let metrics = Self {
            requests: Family::default(),
            durations,
            connections: Gauge::default(),
            streams: Gauge::default(),
            watch_failures: Counter::default(),
            unreadable: Counter::default(),
        };
        // The format adds `_total` to the names of counters, and a full stop to each help text.
        let m = &metrics;
        registry.register("ephemeron_api_requests", "Requests, by operation and status", m.requests.clone());
        registry.register_with_unit(
            "ephemeron_api_request_duration",
            "How long requests took, but for those that wait or stream, by operation",
            Unit::Seconds,
            m.durations.clone(),
        );
        registry.register("ephemeron_api_connections", "Open connections", m.connections.clone());
        registry.register("ephemeron_api_streams", "Open streams and waits", m.streams.clone());
        registry.register(
            "ephemeron_api_watch_failures",
            "How often the watch of Ephemerons failed",
            m.watch_failures.clone(),
        );
        registry.register(
            "ephemeron_api_unreadable_objects",
            "Ephemerons that were skipped since they cannot be read",
            m.unreadable.clone(),
        );
        metrics
    }

    /// A request was answered; `time` is None where it was meant to wait.
    pub fn answered(&self, operation: &'static str, status: u16, time: Option<Duration>) {
        self.requests.get_or_create(&Answered { operation, status }).inc();
        if let Some(time) = time {
            self.durations.get_or_create(&Operation { operation }).observe(time.as_secs_f64());
        }
    }

    /// A connection is open until what is returned is dropped.
    pub fn connection(&self) -> Open {
        Open::of(&self.connections)
    }

    /// A stream or wait is open until what is returned is dropped.
    pub fn stream(&self) -> Open {
        Open::of(&self.streams)
    }
}

impl Counts for Metrics {
    fn watch_failed(&self, _: &str) {
        self.watch_failures.inc();
    }

    fn unreadable(&self, _: &str) {
        self.unreadable.inc();
    }
}

/// Something that is counted while it is there.
#[derive(Debug)]
pub struct Open(Gauge);

impl Open {
    fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
