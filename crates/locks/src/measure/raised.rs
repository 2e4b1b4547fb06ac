//! Gauges that count what is under way.

use metrics::Gauge;

/// One more of what a gauge counts, until dropped: also when a task is cancelled or panics.
#[must_use = "the gauge falls when this is dropped"]
pub struct Raised(Gauge);

impl Raised {
    /// Raises the gauge by one.
    pub fn one(gauge: Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
