//! What the shop records: of strategies, and of their locks as buyers see them.

use enum_map::{Enum, EnumMap};
use metrics::{Counter, Gauge, Histogram};
use strum::IntoStaticStr;
use tokio::time::Duration;

use super::presence::Presence;
use crate::{
    measure::definitions as def,
    outcome::{Outcome, Violation},
    sell::metrics::SaleMetrics,
    stock::ledger::Sold,
    strategy::{Family, Strategy, StrategyId},
};
use locklab_locks::{error::BackendError, lock::Release, measure::Registry, wait::Policy};

/// How an attempt, or the last attempt of an acquisition, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, IntoStaticStr)]
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
    purchases: EnumMap<Outcome, Counter>,
    sales: SaleMetrics,
    retries: Counter,
    /// `None` for a strategy that grants no lease.
    lock: Option<LockMetrics>,
}

impl StrategyMetrics {
    fn new(registry: &Registry, id: StrategyId) -> Self {
        let Strategy { name, family, store, expected, .. } = id.row();
        let lock = [("lock", *name)];
        let about = [
            ("lock", *name),
            ("family", family.into()),
            ("store", store.into()),
            ("expected", expected.into()),
        ];
        def::STRATEGY_INFO.gauge(registry, &about).set(1.0);
        Self {
            purchases: def::PURCHASES.counters(registry, &lock, "outcome"),
            sales: SaleMetrics::new(registry, name),
            retries: def::PURCHASE_RETRIES.counter(registry, &lock),
            lock: (*family == Family::Lock).then(|| LockMetrics::new(registry, name)),
        }
    }
}

/// Handles of a lock, as buyers see it.
struct LockMetrics {
    attempts: EnumMap<Attempted, Counter>,
    acquisitions: EnumMap<Attempted, Counter>,
    wait: EnumMap<Attempted, Histogram>,
    retries: EnumMap<Policy, Histogram>,
    hold: Histogram,
    hold_ttl_ratio: Histogram,
    violations: EnumMap<Violation, Counter>,
    releases: EnumMap<Release, Counter>,
    hand_overs: Counter,
    fencing_rejections: Counter,
}

impl LockMetrics {
    fn new(registry: &Registry, name: &'static str) -> Self {
        let lock = [("lock", name)];
        Self {
            attempts: def::LOCK_ATTEMPTS.counters(registry, &lock, "outcome"),
            acquisitions: def::LOCK_ACQUISITIONS.counters(registry, &lock, "outcome"),
            wait: def::LOCK_WAIT.histograms(registry, &lock, "outcome"),
            retries: def::LOCK_ACQUISITION_RETRIES.histograms(registry, &lock, "retry"),
            hold: def::LOCK_HOLD.histogram(registry, &lock),
            hold_ttl_ratio: def::LOCK_HOLD_TTL_RATIO.histogram(registry, &lock),
            violations: def::LOCK_TTL_VIOLATIONS.counters(registry, &lock, "stage"),
            releases: def::LOCK_RELEASES.counters(registry, &lock, "outcome"),
            hand_overs: def::LOCK_HAND_OVERS.counter(registry, &lock),
            fencing_rejections: def::FENCING_REJECTIONS.counter(registry, &lock),
        }
    }
}

/// Handles of the shop.
pub struct ShopMetrics {
    strategies: EnumMap<StrategyId, StrategyMetrics>,
    /// Who waits for locks, and who is in critical sections.
    pub presence: Presence,
    repeated: Counter,
    resets: Counter,
    last_reset: Gauge,
}

impl ShopMetrics {
    /// Starts every series at 0.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self {
            strategies: EnumMap::from_fn(|id| StrategyMetrics::new(registry, id)),
            presence: Presence::new(registry),
            repeated: def::PURCHASES_REPEATED.counter(registry, &[]),
            resets: def::RESETS.counter(registry, &[]),
            last_reset: def::LAST_RESET_TIMESTAMP.gauge(registry, &[]),
        }
    }

    /// A purchase was decided.
    pub fn purchase(&self, strategy: StrategyId, outcome: Outcome) {
        self.strategies[strategy].purchases[outcome].increment(1);
    }

    /// Units of a product were sold.
    pub fn sale(&self, strategy: StrategyId, units: u32, sold: &Sold) {
        self.strategies[strategy].sales.sold(units, sold);
    }

    fn lock(&self, strategy: StrategyId) -> Option<&LockMetrics> {
        self.strategies[strategy].lock.as_ref()
    }

    /// An attempt to acquire ended.
    pub fn attempt(&self, strategy: StrategyId, attempted: Attempted) {
        if let Some(lock) = self.lock(strategy) {
            lock.attempts[attempted].increment(1);
        }
    }

    /// All attempts of one caller ended, the last of them so.
    pub fn acquisition(&self, strategy: StrategyId, attempted: Attempted, wait: Duration) {
        if let Some(lock) = self.lock(strategy) {
            lock.acquisitions[attempted].increment(1);
            lock.wait[attempted].record(wait);
        }
    }

    /// One caller's attempts after the first.
    pub fn retries(&self, strategy: StrategyId, policy: Policy, retries: u32) {
        if let Some(lock) = self.lock(strategy) {
            lock.retries[policy].record(f64::from(retries));
        }
    }

    /// One caller's tries after the first, whatever it tried.
    pub fn tries(&self, strategy: StrategyId, retries: u32) {
        self.strategies[strategy].retries.increment(retries.into());
    }

    /// An order with an idempotency key got the answer of an earlier one.
    pub fn repeated(&self) {
        self.repeated.increment(1);
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
            lock.releases[release].increment(1);
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
            lock.violations[violation].increment(1);
        }
    }

    /// The store refused a holder, for it had seen a newer one.
    pub fn fenced(&self, strategy: StrategyId) {
        if let Some(lock) = self.lock(strategy) {
            lock.fencing_rejections.increment(1);
        }
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
