//! The machine's monotonic clock, which all its processes share.

use nix::time::{ClockId, clock_gettime};
use tokio::time::Duration;

/// Nanoseconds by CLOCK_MONOTONIC.
#[must_use]
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    now.as_nanos() as u64
}
