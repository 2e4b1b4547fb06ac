//! What sellers record.

use enum_map::EnumMap;
use metrics::{Counter, Gauge};

use crate::{measure::definitions as def, stock::ledger::Sold};
use locklab_locks::{lock::Release, measure::Registry};

/// Handles of the sales of one strategy.
pub struct SaleMetrics {
    units_sold: Counter,
    units_oversold: Counter,
    lost_updates: Counter,
}

impl SaleMetrics {
    /// Starts every series at 0 of the strategy of this name.
    #[must_use]
    pub fn new(registry: &Registry, strategy: &'static str) -> Self {
        let lock = [("lock", strategy)];
        Self {
            units_sold: def::UNITS_SOLD.counter(registry, &lock),
            units_oversold: def::UNITS_OVERSOLD.counter(registry, &lock),
            lost_updates: def::LOST_UPDATES.counter(registry, &lock),
        }
    }

    /// So many units were sold.
    pub fn sold(&self, units: u32, sold: &Sold) {
        self.units_sold.increment(units.into());
        self.units_oversold.increment(sold.oversold);
        self.lost_updates.increment(sold.lost_updates);
    }
}

/// Handles of the queues of one server.
pub struct QueueMetrics {
    /// Buyers that have no answer yet.
    pub waiting: Gauge,
    /// Times that this server became the consumer.
    pub elections: Counter,
    /// Leases that consumers gave up.
    pub leases: EnumMap<Release, Counter>,
    /// What consumers sold.
    pub sales: SaleMetrics,
}

impl QueueMetrics {
    /// Starts every series at 0.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self {
            waiting: def::QUEUE_WAITING.gauge(registry, &[]),
            elections: def::QUEUE_ELECTIONS.counter(registry, &[]),
            leases: def::QUEUE_LEASES.counters(registry, &[], "outcome"),
            sales: SaleMetrics::new(registry, "queue"),
        }
    }
}
