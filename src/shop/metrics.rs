//! Every metric: its name, help, labels and buckets, and the handles to record it.
//!
//! Handles are made once, for every value that a label can take. That keeps the hot path free of
//! look-ups, and starts every series at 0: a counter that first appears at 1 never fires
//! `increase(…) > 0`.

use std::sync::Arc;
use strum::IntoStaticStr;
use strum::VariantArray;

use metrics::{Counter, Gauge, Histogram};
use metrics_exporter_prometheus::{PrometheusHandle, PrometheusRecorder};
use tokio::{sync::watch, time::Duration};

use crate::{
    error::BackendError,
    fault,
    http::metrics::HttpMetrics,
    lease::{release::Cause, renewal::Renewal},
    lock::{Release, Votes},
    measure::{definitions as def, raised::Raised},
    outcome::{Outcome, Violation},
    shop::presence::Presence,
    strategy::{Family, Strategy, StrategyId},
    wait::Policy,
    wires::metrics::BackendMetrics,
};

/// How an attempt, or the last attempt of an acquisition, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Attempted {
    Acquired,
    Contended,
    /// Nobody has a majority of the nodes.
    Split,
    /// Granted, but by the time of the answer the lease had ended.
    Late,
    Unknown,
    Error,
}

impl Attempted {
    /// For an attempt that failed.
    #[must_use]
    pub fn of_error(error: &BackendError) -> Self {
        match error {
            BackendError::Unknown { .. } => Self::Unknown,
            BackendError::Contended { .. } => Self::Contended,
            _ => Self::Error,
        }
    }
}

/// Handles of a strategy, present whatever its family.
struct StrategyMetrics {
    purchases: Vec<Counter>,
    units_sold: Counter,
    units_oversold: Counter,
    lost_updates: Counter,
    retries: Counter,
    /// `None` for a strategy that grants no lease.
    lock: Option<LockMetrics>,
}

impl StrategyMetrics {
    fn new(recorder: &PrometheusRecorder, id: StrategyId) -> Self {
        let lock = ("lock", id.row().name);
        Self {
            purchases: def::PURCHASES.counters::<Outcome>(recorder, &[lock], "outcome"),
            units_sold: def::UNITS_SOLD.counter(recorder, &[lock]),
            units_oversold: def::UNITS_OVERSOLD.counter(recorder, &[lock]),
            lost_updates: def::LOST_UPDATES.counter(recorder, &[lock]),
            retries: def::PURCHASE_RETRIES.counter(recorder, &[lock]),
            lock: (id.row().family == Family::Lock).then(|| LockMetrics::new(recorder, lock)),
        }
    }
}

/// Handles of a lock.
struct LockMetrics {
    attempts: Vec<Counter>,
    acquisitions: Vec<Counter>,
    ambiguous: Counter,
    wait: Vec<Histogram>,
    retries: Vec<Histogram>,
    hold: Histogram,
    hold_ttl_ratio: Histogram,
    violations: Vec<Counter>,
    releases: Vec<Counter>,
    hand_overs: Counter,
    orphans: Vec<Counter>,
    fencing_rejections: Counter,
    renewals: Vec<Counter>,
}

impl LockMetrics {
    fn new(recorder: &PrometheusRecorder, lock: (&'static str, &'static str)) -> Self {
        Self {
            attempts: def::LOCK_ATTEMPTS.counters::<Attempted>(recorder, &[lock], "outcome"),
            acquisitions: def::LOCK_ACQUISITIONS.counters::<Attempted>(
                recorder,
                &[lock],
                "outcome",
            ),
            ambiguous: def::LOCK_AMBIGUOUS_ACQUIRES.counter(recorder, &[lock]),
            retries: def::LOCK_ACQUISITION_RETRIES.histograms::<Policy>(recorder, &[lock], "retry"),
            wait: def::LOCK_WAIT.histograms::<Attempted>(recorder, &[lock], "outcome"),
            hold: def::LOCK_HOLD.histogram(recorder, &[lock]),
            hold_ttl_ratio: def::LOCK_HOLD_TTL_RATIO.histogram(recorder, &[lock]),
            violations: def::LOCK_TTL_VIOLATIONS.counters::<Violation>(recorder, &[lock], "stage"),
            releases: def::LOCK_RELEASES.counters::<Release>(recorder, &[lock], "outcome"),
            hand_overs: def::LOCK_HAND_OVERS.counter(recorder, &[lock]),
            renewals: def::LOCK_RENEWALS.counters::<Renewal>(recorder, &[lock], "outcome"),
            fencing_rejections: def::FENCING_REJECTIONS.counter(recorder, &[lock]),
            orphans: def::LOCK_ORPHANS.counters::<Cause>(recorder, &[lock], "cause"),
        }
    }
}

/// Every handle of one server.
pub struct Metrics {
    exporter: PrometheusHandle,
    recorder: Arc<PrometheusRecorder>,
    /// What the HTTP layer records.
    pub http: HttpMetrics,
    strategies: Vec<StrategyMetrics>,
    /// Who waits for locks, and who is in critical sections.
    pub presence: Presence,
    faults: Vec<Counter>,
    paused: Gauge,
    pauses: watch::Sender<u64>,
    repeated: Counter,
    /// Granted, refused, failed.
    redlock_votes: [Counter; 3],
    redlock_voters: Gauge,
    queue_waiting: Gauge,
    queue_elections: Counter,
    queue_leases: Vec<Counter>,
    history_dropped: Counter,
    resets: Counter,
    last_reset: Gauge,
}

impl Metrics {
    /// Makes every series, at 0.
    #[must_use]
    pub fn new() -> Self {
        let recorder = Arc::new(crate::measure::exporter::recorder());
        let build =
            [("version", env!("CARGO_PKG_VERSION")), ("revision", env!("LOCKLAB_REVISION"))];
        def::BUILD_INFO.gauge(&recorder, &build).set(1.0);
        StrategyId::all().for_each(|id| introduce(&recorder, id));
        Self {
            exporter: recorder.handle(),
            strategies: StrategyId::all().map(|id| StrategyMetrics::new(&recorder, id)).collect(),
            presence: Presence::new(&recorder),
            paused: def::FAULTS_ACTIVE.gauge(&recorder, &[("fault", fault::Kind::Pause.into())]),
            pauses: watch::Sender::default(),
            faults: def::FAULTS_INJECTED.counters::<fault::Kind>(&recorder, &[], "fault"),
            repeated: def::PURCHASES_REPEATED.counter(&recorder, &[]),
            redlock_votes: ["granted", "refused", "failed"]
                .map(|vote| def::REDLOCK_VOTES.counter(&recorder, &[("vote", vote)])),
            redlock_voters: def::REDLOCK_VOTERS.gauge(&recorder, &[]),
            queue_waiting: def::QUEUE_WAITING.gauge(&recorder, &[]),
            queue_elections: def::QUEUE_ELECTIONS.counter(&recorder, &[]),
            queue_leases: def::QUEUE_LEASES.counters::<Release>(&recorder, &[], "outcome"),
            history_dropped: def::HISTORY_DROPPED.counter(&recorder, &[]),
            resets: def::RESETS.counter(&recorder, &[]),
            last_reset: def::LAST_RESET_TIMESTAMP.gauge(&recorder, &[]),
            http: HttpMetrics::new(Arc::clone(&recorder)),
            recorder,
        }
    }

    /// The Prometheus text. Takes milliseconds after heavy recording: not for a request worker.
    #[must_use]
    pub fn render(&self) -> String {
        self.presence.show_peaks();
        self.exporter.render() + &crate::measure::runtime::render()
    }

    /// Moves recorded samples into their buckets. Without it they pile up until the next scrape.
    pub fn upkeep(&self) {
        self.exporter.run_upkeep();
    }

    /// What the client of a server records, whose name becomes a label value: one of a few that the
    /// configuration knows.
    #[must_use]
    pub fn backend(&self, name: &'static str) -> Arc<BackendMetrics> {
        Arc::new(BackendMetrics::new(&self.recorder, name))
    }

    /// A purchase was decided.
    pub fn purchase(&self, strategy: StrategyId, outcome: Outcome) {
        self.strategies[strategy as usize].purchases[outcome as usize].increment(1);
    }

    /// Units were sold; `oversold` of them beyond what there was, and the write overwrote
    /// `lost_updates` units that others had sold since the read.
    pub fn sale(&self, strategy: StrategyId, units: u64, oversold: u64, lost_updates: u64) {
        let strategy = &self.strategies[strategy as usize];
        strategy.units_sold.increment(units);
        strategy.units_oversold.increment(oversold);
        strategy.lost_updates.increment(lost_updates);
    }

    fn lock(&self, strategy: StrategyId) -> Option<&LockMetrics> {
        self.strategies[strategy as usize].lock.as_ref()
    }

    /// An attempt to acquire ended.
    pub fn attempt(&self, strategy: StrategyId, attempted: Attempted) {
        if let Some(lock) = self.lock(strategy) {
            lock.attempts[attempted as usize].increment(1);
        }
    }

    /// All attempts of one caller ended, the last of them so.
    pub fn acquisition(&self, strategy: StrategyId, attempted: Attempted, wait: Duration) {
        if let Some(lock) = self.lock(strategy) {
            lock.acquisitions[attempted as usize].increment(1);
            lock.wait[attempted as usize].record(wait);
        }
    }

    /// One caller's attempts after the first.
    pub fn retries(&self, strategy: StrategyId, policy: Policy, retries: u32) {
        if let Some(lock) = self.lock(strategy) {
            lock.retries[policy as usize].record(f64::from(retries));
        }
    }

    /// Nobody knows whether an acquire was granted.
    pub fn ambiguous_acquire(&self, strategy: StrategyId) {
        if let Some(lock) = self.lock(strategy) {
            lock.ambiguous.increment(1);
        }
    }

    /// One caller's tries after the first, whatever it tried.
    pub fn tries(&self, strategy: StrategyId, retries: u32) {
        self.strategies[strategy as usize].retries.increment(retries.into());
    }

    /// An order with an idempotency key got the answer of an earlier one.
    pub fn repeated(&self) {
        self.repeated.increment(1);
    }

    /// The nodes of Redlock were asked for a lock.
    pub fn votes(&self, votes: Votes) {
        let counts = [votes.granted, votes.refused, votes.failed];
        for (counter, count) in self.redlock_votes.iter().zip(counts) {
            counter.increment(count as u64);
        }
    }

    /// So many nodes of Redlock vote.
    pub fn redlock_voters(&self, voters: usize) {
        self.redlock_voters.set(voters as f64);
    }

    /// So many tickets more wait in queues.
    pub fn queue_waiting(&self, more: f64) {
        self.queue_waiting.increment(more);
    }

    /// This server was elected as the consumer of a queue.
    pub fn queue_election(&self) {
        self.queue_elections.increment(1);
    }

    /// A consumer of a queue has given its lease up.
    pub fn queue_lease(&self, release: Release) {
        self.queue_leases[release as usize].increment(1);
    }

    /// Records did not come into the history.
    pub fn history_dropped(&self, records: u64) {
        self.history_dropped.increment(records);
    }

    /// A lease was released by its holder, after `hold`; its age by then, as a part of its ttl, if that
    /// is fixed.
    pub fn release(
        &self,
        strategy: StrategyId,
        release: Release,
        hold: Duration,
        ratio: Option<f64>,
    ) {
        if let Some(lock) = self.lock(strategy) {
            lock.releases[release as usize].increment(1);
            lock.hold.record(hold);
            if let Some(ratio) = ratio {
                lock.hold_ttl_ratio.record(ratio);
            }
        }
    }

    /// A lease was handed over to the next in line.
    pub fn hand_over(&self, strategy: StrategyId, hold: Duration) {
        if let Some(lock) = self.lock(strategy) {
            lock.hand_overs.increment(1);
            lock.hold.record(hold);
        }
    }

    /// A lease outlived its deadline.
    pub fn violation(&self, strategy: StrategyId, violation: Violation) {
        if let Some(lock) = self.lock(strategy) {
            lock.violations[violation as usize].increment(1);
        }
    }

    /// A lease was renewed, or not.
    pub fn renewal(&self, strategy: StrategyId, renewal: Renewal) {
        if let Some(lock) = self.lock(strategy) {
            lock.renewals[renewal as usize].increment(1);
        }
    }

    /// The store refused a holder, for it had seen a newer one.
    pub fn fenced(&self, strategy: StrategyId) {
        if let Some(lock) = self.lock(strategy) {
            lock.fencing_rejections.increment(1);
        }
    }

    /// A claim was left to the release task.
    pub fn orphan(&self, strategy: StrategyId, cause: Cause) {
        if let Some(lock) = self.lock(strategy) {
            lock.orphans[cause as usize].increment(1);
        }
    }

    /// A fault struck.
    pub fn fault(&self, kind: fault::Kind) {
        self.faults[kind as usize].increment(1);
    }

    /// A fault makes a purchase stand still; the gauge falls when the guard is dropped.
    pub fn paused(&self) -> Raised {
        self.pauses.send_modify(|pauses| *pauses += 1);
        Raised::one(self.paused.clone())
    }

    /// How often that was, for whoever waits for it.
    pub fn pauses(&self) -> watch::Receiver<u64> {
        self.pauses.subscribe()
    }

    /// A product was reset.
    pub fn reset(&self) {
        self.resets.increment(1);
        #[expect(clippy::disallowed_types, reason = "dashboards need the time of day")]
        let now = std::time::SystemTime::now();
        let since_1970 = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        self.last_reset.set(since_1970);
    }
}

/// Says what a strategy is, for rules that are not to name any.
fn introduce(recorder: &PrometheusRecorder, id: StrategyId) {
    let Strategy { name, family, store, expected, .. } = id.row();
    let labels = [
        ("lock", *name),
        ("family", family.into()),
        ("store", store.into()),
        ("expected", expected.into()),
    ];
    def::STRATEGY_INFO.gauge(recorder, &labels).set(1.0);
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
