//! Gauges that count what is under way.

use metrics::Gauge;

/// One more of what a gauge counts, until dropped: also when a task is cancelled or panics.
#[must_use = "the gauge falls when this is dropped"]
pub struct Raised(Option<Gauge>);

impl Raised {
    /// Raises the gauge by one, if there is one.
    pub(super) fn one(gauge: Option<Gauge>) -> Self {
        if let Some(gauge) = &gauge {
            gauge.increment(1);
        }
        Self(gauge)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        if let Some(gauge) = &self.0 {
            gauge.decrement(1);
        }
    }
}
