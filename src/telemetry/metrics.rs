//! Everything clos counts and times, as one registry with typed labels. Serving the text over
//! HTTP is not here.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder, text,
};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::process::Process;

/// All metrics of this process. Clones share the same numbers and cost a pointer.
///
/// Label values are enums, or `&'static str`s from a fixed set (kinds, verbs, resources, causes):
/// never a name a user chose and never the text of an error, because each value is a series kept
/// for ever.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

/// How one reconcile pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReconcileResult {
    /// There was nothing to do.
    Unchanged,
    /// Something was done, and it worked.
    Changed,
    /// The pass failed and is tried again.
    Failed,
}

/// How one call to the container engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineResult {
    /// The engine did as asked.
    Ok,
    /// The engine answered, and said no.
    Refused,
    /// No answer: not reachable, hung or cut off.
    Unreachable,
}

/// What the store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreTotals {
    /// Transactions made durable.
    pub commits: u64,
    /// Transactions that could not be.
    pub failed_commits: u64,
    /// Writes in the durable ones: together with `commits`, how many share one.
    pub writes: u64,
    /// Time spent making them durable.
    pub commit_time: Duration,
}

struct Inner {
    registry: Registry,
    reconciles: Family<Reconcile, Counter>,
    reconcile_seconds: Family<Kind, Histogram>,
    drift_found: Family<Cause, Counter>,
    drift_repaired: Family<Cause, Counter>,
    repair_seconds: Histogram,
    engine_call_seconds: Family<EngineCall, Histogram>,
    engine_event_gaps: Counter,
    engine_events_broken: Gauge,
    removals_held: Gauge,
    last_sync: LastSync,
    store: Store,
    api_requests: Family<ApiRequest, Counter>,
    api_request_seconds: Family<Verb, Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconcile {
    kind: &'static str,
    result: ReconcileResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EngineCall {
    operation: &'static str,
    result: EngineResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiRequest {
    verb: &'static str,
    resource: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verb {
    verb: &'static str,
}

/// Read at each scrape: the store counts by itself, because it knows nothing of metrics.
#[derive(Clone, Default)]
struct Store(Arc<OnceLock<Box<dyn Fn() -> StoreTotals + Send + Sync>>>);

/// When the engine's state was last known completely; the age is computed at each scrape.
#[derive(Clone, Debug, Default)]
struct LastSync(Arc<Mutex<Option<Instant>>>);

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A fresh registry; every number starts at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("clos");
        let inner = Inner {
            reconciles: Family::default(),
            reconcile_seconds: Family::new_with_constructor(slow),
            drift_found: Family::default(),
            drift_repaired: Family::default(),
            repair_seconds: slow(),
            engine_call_seconds: Family::new_with_constructor(slow),
            engine_event_gaps: Counter::default(),
            engine_events_broken: Gauge::default(),
            removals_held: Gauge::default(),
            last_sync: LastSync::default(),
            store: Store::default(),
            api_requests: Family::default(),
            api_request_seconds: Family::new_with_constructor(fast),
            registry: Registry::default(),
        };
        let seconds = || Unit::Seconds;
        registry.register(
            "reconciles",
            "Reconcile passes by kind and how they ended",
            inner.reconciles.clone(),
        );
        registry.register_with_unit(
            "reconcile",
            "Time of one reconcile pass",
            seconds(),
            inner.reconcile_seconds.clone(),
        );
        registry.register(
            "drift_found",
            "Differences between declared and running state that clos did not cause",
            inner.drift_found.clone(),
        );
        registry.register(
            "drift_repaired",
            "Such differences that were repaired",
            inner.drift_repaired.clone(),
        );
        registry.register_with_unit(
            "repair",
            "Time from noticing a difference to its repair",
            seconds(),
            inner.repair_seconds.clone(),
        );
        registry.register_with_unit(
            "engine_call",
            "Time of one call to the container engine",
            seconds(),
            inner.engine_call_seconds.clone(),
        );
        registry.register(
            "engine_event_gaps",
            "Times the engine's event stream was interrupted and everything was read again",
            inner.engine_event_gaps.clone(),
        );
        registry.register(
            "engine_events_broken",
            "1 while the engine's events end as soon as they begin and lists take their place",
            inner.engine_events_broken.clone(),
        );
        registry.register(
            "removals_held",
            "Containers without an instance that are not removed until somebody confirms it",
            inner.removals_held.clone(),
        );
        registry.register_collector(Box::new(inner.last_sync.clone()));
        registry.register_collector(Box::new(inner.store.clone()));
        registry.register(
            "api_requests",
            "Requests to the Kubernetes API by verb, resource and HTTP status",
            inner.api_requests.clone(),
        );
        registry.register_with_unit(
            "api_request",
            "Time to answer a request; a watch counts until it is open",
            seconds(),
            inner.api_request_seconds.clone(),
        );
        registry.register_collector(Box::new(Process));
        Self(Arc::new(Inner { registry, ..inner }))
    }

    /// A reconcile pass over one object of `kind` ended after `took`.
    pub fn reconciled(&self, kind: &'static str, result: ReconcileResult, took: Duration) {
        let labels = Reconcile { kind, result };
        self.0.reconciles.get_or_create(&labels).inc();
        let seconds = self.0.reconcile_seconds.get_or_create(&Kind { kind });
        seconds.observe(took.as_secs_f64());
    }

    /// Running state was found to differ from the declared one, for a reason outside clos.
    pub fn drift_found(&self, cause: &'static str) {
        self.0.drift_found.get_or_create(&Cause { cause }).inc();
    }

    /// Such a difference is gone again, `took` after it was found.
    pub fn drift_repaired(&self, cause: &'static str, took: Duration) {
        self.0.drift_repaired.get_or_create(&Cause { cause }).inc();
        self.0.repair_seconds.observe(took.as_secs_f64());
    }

    /// A call to the engine ended. `operation` is the call's name, such as `create_container`.
    pub fn engine_call(&self, operation: &'static str, result: EngineResult, took: Duration) {
        let labels = EngineCall { operation, result };
        let seconds = self.0.engine_call_seconds.get_or_create(&labels);
        seconds.observe(took.as_secs_f64());
    }

    /// The engine's event stream broke: events may be missing.
    pub fn engine_event_gap(&self) {
        self.0.engine_event_gaps.inc();
    }

    /// Whether the engine's event stream ends as soon as it begins.
    pub fn engine_events_broken(&self, broken: bool) {
        self.0.engine_events_broken.set(i64::from(broken));
    }

    /// So many containers are held back from being removed until somebody confirms it.
    pub fn removals_held(&self, count: u32) {
        self.0.removals_held.set(count.into());
    }

    /// The engine's whole state was known at `at`. Before the first call the age is not exported.
    pub fn synced(&self, at: Instant) {
        *self
            .0
            .last_sync
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// From now on each scrape asks `read` for the store's totals. Before the first call they are
    /// not exported; after it, further calls change nothing.
    pub fn watch_store(&self, read: impl Fn() -> StoreTotals + Send + Sync + 'static) {
        // A second store in one process would make the totals jump.
        let _ = self.0.store.0.set(Box::new(read));
    }

    /// A request was answered with the HTTP status `code`. `resource` is the plural (`services`),
    /// or one fixed word for everything that is not a resource or not known.
    pub fn api_request(
        &self,
        verb: &'static str,
        resource: &'static str,
        code: u16,
        took: Duration,
    ) {
        let labels = ApiRequest {
            verb,
            resource,
            code,
        };
        self.0.api_requests.get_or_create(&labels).inc();
        let seconds = self.0.api_request_seconds.get_or_create(&Verb { verb });
        seconds.observe(took.as_secs_f64());
    }

    /// All metrics in the text format of `OpenMetrics`
    /// (`application/openmetrics-text; version=1.0.0; charset=utf-8`).
    pub fn encode(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.0.registry).expect("writing to a String never fails");
        out
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl EncodeLabelValue for ReconcileResult {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        let value = match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Failed => "failed",
        };
        value.encode(encoder)
    }
}

impl EncodeLabelValue for EngineResult {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        let value = match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
        };
        value.encode(encoder)
    }
}

impl Collector for LastSync {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(at) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) else {
            return Ok(());
        };
        let age = ConstGauge::new(at.elapsed().as_secs_f64());
        age.encode(encoder.encode_descriptor(
            "last_sync_age",
            "Time since the engine's whole state was last known.",
            Some(&Unit::Seconds),
            age.metric_type(),
        )?)
    }
}

impl Collector for Store {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(read) = self.0.get() else {
            return Ok(());
        };
        let totals = read();
        for (name, help, value) in [
            (
                "store_commits",
                "Transactions made durable.",
                totals.commits,
            ),
            (
                "store_failed_commits",
                "Transactions that could not be made durable.",
                totals.failed_commits,
            ),
            (
                "store_writes",
                "Writes in durable transactions.",
                totals.writes,
            ),
        ] {
            let counter = ConstCounter::new(value);
            let kind = counter.metric_type();
            counter.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
        }
        let seconds = ConstCounter::new(totals.commit_time.as_secs_f64());
        seconds.encode(encoder.encode_descriptor(
            "store_commit",
            "Time spent making transactions durable.",
            Some(&Unit::Seconds),
            seconds.metric_type(),
        )?)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

/// Buckets for work that waits for the engine: 5 ms to 2 minutes.
fn slow() -> Histogram {
    Histogram::new([
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0,
    ])
}

/// Buckets for work within this process and its disk: 100 µs to 5 s.
fn fast() -> Histogram {
    Histogram::new([
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0,
    ])
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{EngineResult, Metrics, ReconcileResult, StoreTotals};

    /// The exposition without what differs from run to run.
    fn stable(text: &str) -> String {
        text.lines()
            .map(|line| match line.split_once(' ') {
                Some((name, _))
                    if name.starts_with("clos_process_") || name.starts_with("clos_last_sync_") =>
                {
                    format!("{name} <varies>\n")
                }
                _ => format!("{line}\n"),
            })
            .collect()
    }

    fn value(text: &str, series: &str) -> f64 {
        let line = text.lines().find(|line| line.starts_with(series));
        let line = line.unwrap_or_else(|| panic!("no {series} in\n{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Every family has one series: their order within a family is not stable.
    fn observed() -> Metrics {
        let metrics = Metrics::new();
        let ms = Duration::from_millis;
        metrics.reconciled("Instance", ReconcileResult::Changed, ms(700));
        metrics.drift_found("died");
        metrics.drift_repaired("died", ms(512));
        metrics.engine_call("create_container", EngineResult::Ok, ms(80));
        metrics.engine_event_gap();
        metrics.removals_held(12);
        metrics.synced(Instant::now());
        metrics.watch_store(|| StoreTotals {
            commits: 3,
            failed_commits: 1,
            writes: 17,
            commit_time: Duration::from_millis(4500),
        });
        metrics.api_request("get", "services", 200, Duration::from_micros(300));
        metrics
    }

    #[test]
    fn the_exposition_names_every_family_with_help_and_unit() {
        insta::assert_snapshot!("exposition", stable(&observed().encode()));
    }

    #[test]
    fn every_result_is_a_series_of_its_own() {
        let metrics = Metrics::new();
        let took = Duration::from_millis(3);
        for result in [
            ReconcileResult::Unchanged,
            ReconcileResult::Changed,
            ReconcileResult::Failed,
        ] {
            metrics.reconciled("Service", result, took);
        }
        for result in [
            EngineResult::Ok,
            EngineResult::Refused,
            EngineResult::Unreachable,
        ] {
            metrics.engine_call("ping", result, took);
        }
        let text = metrics.encode();
        for result in ["unchanged", "changed", "failed"] {
            let series = format!("clos_reconciles_total{{kind=\"Service\",result=\"{result}\"}}");
            assert!((value(&text, &series) - 1.0).abs() < f64::EPSILON);
        }
        for result in ["ok", "refused", "unreachable"] {
            let series =
                format!("clos_engine_call_seconds_count{{operation=\"ping\",result=\"{result}\"}}");
            assert!((value(&text, &series) - 1.0).abs() < f64::EPSILON);
        }
        let passes = value(&text, "clos_reconcile_seconds_count{kind=\"Service\"}");
        assert!((passes - 3.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_fresh_registry_claims_nothing_it_was_not_told() {
        let text = Metrics::new().encode();
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert!(!text.contains("last_sync"), "{text}");
        assert!(!text.contains("store"), "{text}");
        assert!(text.contains("clos_engine_event_gaps_total 0"), "{text}");
    }

    #[test]
    fn clones_share_their_numbers() {
        let metrics = Metrics::new();
        let clone = metrics.clone();
        clone.engine_event_gap();
        metrics.engine_event_gap();
        assert!(
            metrics
                .encode()
                .contains("clos_engine_event_gaps_total 2\n")
        );
    }

    #[test]
    fn the_age_of_the_last_sync_grows_until_the_next_one() {
        let metrics = Metrics::new();
        let now = Instant::now();
        metrics.synced(now.checked_sub(Duration::from_secs(90)).unwrap());
        let age = value(&metrics.encode(), "clos_last_sync_age_seconds");
        assert!((90.0..1000.0).contains(&age), "{age}");
        metrics.synced(now);
        let age = value(&metrics.encode(), "clos_last_sync_age_seconds");
        assert!((0.0..90.0).contains(&age), "{age}");
    }

    #[test]
    fn every_family_says_what_it_is_and_starts_with_clos() {
        let text = observed().encode();
        let families: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .map(|line| line.split(' ').next().unwrap())
            .collect();
        assert_eq!(families.len(), 18, "{families:?}");
        for family in families {
            assert!(family.starts_with("clos_"), "{family}");
            let help = format!("# HELP {family} ");
            let help = text.lines().find(|line| line.starts_with(&help));
            assert!(help.is_some_and(|line| line.ends_with('.')), "{family}");
            if family.ends_with("_seconds") || family.ends_with("_bytes") {
                assert!(text.contains(&format!("# UNIT {family} ")), "{family}");
            }
        }
    }
}
