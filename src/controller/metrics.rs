//! What the controller counts and measures, for Prometheus; docs/reference/metrics.md lists it.

mod labels;

use std::{
    fmt,
    sync::{Arc, OnceLock, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{
        MetricType,
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};

pub use labels::{Asked, Ended, Failure, Held, Kind, Phase, PresetFile};
use labels::{By, Outcome};

use crate::cache::Counts;

/// Seconds of a reconcile: mostly of requests to the API server; each is cut off at 30 s.
const RECONCILE: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 30.0];
/// Seconds after the end at which an Ephemeron was deleted.
const LATENESS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0];
/// Seconds from the creation to the first time that a service is available.
const TO_AVAILABLE: [f64; 14] =
    [0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// How many Ephemerons are in each phase, as [`Phase::ALL`] orders them.
type Count = dyn Fn() -> [u32; Phase::ALL.len()] + Send + Sync;

/// The controller's metrics. Every method is cheap and may be called from anywhere.
pub struct Metrics {
    reconciles: Family<By<Outcome>, Counter>,
    errors: Family<By<Failure>, Counter>,
    duration: Histogram,
    lateness: Histogram,
    to_available: Histogram,
    ended: Family<By<Ended>, Counter>,
    held: Family<By<Held>, Gauge>,
    clock_skew: Gauge<f64, AtomicU64>,
    watch_failures: Family<By<Kind>, Counter>,
    unreadable: Family<By<Kind>, Counter>,
    pods_replaced: Counter,
    leader: Gauge,
    leader_transitions: Counter,
    presets: Family<By<PresetFile>, Gauge>,
    asked: Family<By<Asked>, Counter>,
    count: Arc<OnceLock<Box<Count>>>,
}

impl Metrics {
    /// Registers them. Every series is there from the start, so that the first failure is an
    /// increase and not a beginning.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Arc<Self> {
        let metrics = Self {
            reconciles: all("result", Outcome::ALL),
            errors: all("reason", Failure::ALL),
            duration: Histogram::new(RECONCILE),
            lateness: Histogram::new(LATENESS),
            to_available: Histogram::new(TO_AVAILABLE),
            ended: all("reason", Ended::ALL),
            held: all("reason", Held::ALL),
            clock_skew: Gauge::default(),
            watch_failures: all("kind", Kind::ALL),
            unreadable: all("kind", Kind::ALL),
            pods_replaced: Counter::default(),
            leader: Gauge::default(),
            leader_transitions: Counter::default(),
            presets: all("state", PresetFile::ALL),
            asked: all("result", Asked::ALL),
            count: Arc::default(),
        };
        // The format adds `_total` to the names of counters, and a full stop to each help text.
        let m = &metrics;
        registry.register(
            "ephemeron_reconciles",
            "Looks at an Ephemeron, by how they ended",
            m.reconciles.clone(),
        );
        registry.register(
            "ephemeron_reconcile_errors",
            "Reconciles that failed, by what failed",
            m.errors.clone(),
        );
        registry.register_with_unit(
            "ephemeron_reconcile_duration",
            "How long reconciles took, failed ones included",
            Unit::Seconds,
            m.duration.clone(),
        );
        registry.register_with_unit(
            "ephemeron_expiry_lateness",
            "How long after its end an Ephemeron was deleted",
            Unit::Seconds,
            m.lateness.clone(),
        );
        registry.register_with_unit(
            "ephemeron_time_to_available",
            "From an Ephemeron's creation to the first time that it was Available",
            Unit::Seconds,
            m.to_available.clone(),
        );
        registry.register("ephemeron_ended", "Ephemerons whose life has ended, by why", m.ended.clone());
        registry.register(
            "ephemeron_expiry_held",
            "1 while nothing is deleted at its end, by why: as configured, or since the clock differs from the API server's",
            m.held.clone(),
        );
        registry.register_with_unit(
            "ephemeron_clock_skew",
            "How far this machine's clock is ahead of the API server's; negative where it is behind",
            Unit::Seconds,
            m.clock_skew.clone(),
        );
        registry.register(
            "ephemeron_watch_failures",
            "Failures of watches, by kind",
            m.watch_failures.clone(),
        );
        registry.register(
            "ephemeron_unreadable_objects",
            "Objects that were skipped since they cannot be read, by kind",
            m.unreadable.clone(),
        );
        registry.register(
            "ephemeron_pods_replaced",
            "Pods that were made again after they failed or went away",
            m.pods_replaced.clone(),
        );
        registry.register(
            "ephemeron_leader",
            "1 while this process leads, or there is no lease; else 0",
            m.leader.clone(),
        );
        registry.register(
            "ephemeron_leader_transitions",
            "How often this process has begun or ceased to lead",
            m.leader_transitions.clone(),
        );
        registry.register(
            "ephemeron_preset_files",
            "Files of presets, by what has come of them",
            m.presets.clone(),
        );
        registry.register(
            "ephemeron_preset_renders",
            "How often presets were asked what to run, by what came of it",
            m.asked.clone(),
        );
        registry.register_collector(Box::new(Phases(Arc::clone(&m.count))));
        let build: Family<By<&str>, Gauge> = all("version", [env!("CARGO_PKG_VERSION")]);
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        registry.register("ephemeron_build_info", "Always 1; the label has the controller's version", build);
        Arc::new(metrics)
    }

    /// So many files of presets are served, and so many are bad.
    pub fn presets(&self, serving: usize, failing: usize) {
        for (state, count) in [(PresetFile::Serving, serving), (PresetFile::Failing, failing)] {
            self.presets.get_or_create(&[("state", state)]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// A preset was asked what to run.
    pub fn asked(&self, result: Asked) {
        self.asked.get_or_create(&[("result", result)]).inc();
    }

    /// A reconcile ended well after this time.
    pub fn reconciled(&self, took: Duration) {
        self.reconciles.get_or_create(&[("result", Outcome::Success)]).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// A reconcile failed after this time.
    pub fn reconcile_failed(&self, reason: Failure, took: Duration) {
        self.reconciles.get_or_create(&[("result", Outcome::Error)]).inc();
        self.errors.get_or_create(&[("reason", reason)]).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// An Ephemeron was deleted at its end, this long after it.
    pub fn expired(&self, late: Duration) {
        self.ended.get_or_create(&[("reason", Ended::Expired)]).inc();
        self.lateness.observe(late.as_secs_f64());
    }

    /// An Ephemeron was deleted by somebody else, before its end.
    pub fn deleted(&self) {
        self.ended.get_or_create(&[("reason", Ended::Deleted)]).inc();
    }

    /// An Ephemeron is Available for the first time, this long after its creation.
    pub fn available(&self, after: Duration) {
        self.to_available.observe(after.as_secs_f64());
    }

    /// Deletions at the end are held for this reason, or not any more.
    pub fn expiry_held(&self, reason: Held, held: bool) {
        self.held.get_or_create(&[("reason", reason)]).set(held.into());
    }

    /// How many seconds this clock is ahead of the API server's.
    pub fn clock_skew(&self, seconds: f64) {
        self.clock_skew.set(seconds);
    }

    /// A Pod was made again.
    pub fn pod_replaced(&self) {
        self.pods_replaced.inc();
    }

    /// This process leads, or does not any more.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
        self.leader_transitions.inc();
    }

    /// How Ephemerons are counted when the metrics are asked for: the phase of each that there is.
    /// Until then there are none; only the first call counts.
    pub fn count_phases<I: IntoIterator<Item = Phase>>(
        &self,
        phases: impl Fn() -> I + Send + Sync + 'static,
    ) {
        let count = move || {
            let mut counts = [0_u32; Phase::ALL.len()];
            for phase in phases() {
                if let Some(count) = Phase::ALL.iter().zip(&mut counts).find(|(one, _)| **one == phase) {
                    *count.1 = count.1.saturating_add(1);
                }
            }
            counts
        };
        let _ = self.count.set(Box::new(count));
    }
}

/// A family that has all of its series from the start.
fn all<V, M, const N: usize>(key: &'static str, values: [V; N]) -> Family<By<V>, M>
where
    V: Clone + Eq + std::hash::Hash,
    M: Default + Clone,
{
    let family = Family::<By<V>, M>::default();
    for value in values {
        drop(family.get_or_create(&[(key, value)]));
    }
    family
}

/// Counts the Ephemerons when the metrics are asked for.
struct Phases(Arc<OnceLock<Box<Count>>>);

impl fmt::Debug for Phases {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Phases")
    }
}

impl Collector for Phases {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.0.get().map(|count| count()).unwrap_or_default();
        let mut family = encoder.encode_descriptor(
            "ephemeron_ephemerons",
            "Ephemerons that there are, by phase.",
            None,
            MetricType::Gauge,
        )?;
        for (phase, count) in Phase::ALL.into_iter().zip(counts) {
            ConstGauge::new(i64::from(count)).encode(family.encode_family(&[("phase", phase)])?)?;
        }
        Ok(())
    }
}

impl Counts for Metrics {
    fn watch_failed(&self, kind: &str) {
        self.watch_failures.get_or_create(&[("kind", Kind::of(kind))]).inc();
    }

    fn unreadable(&self, kind: &str) {
        self.unreadable.get_or_create(&[("kind", Kind::of(kind))]).inc();
    }
}

#[cfg(test)]
mod tests;
