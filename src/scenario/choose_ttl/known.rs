//! What is known of hold times.

use tokio::time::Duration;

use super::purchases::millis;
use crate::{cli::ChooseTtlArgs, measure::sample, strategy::StrategyId};

/// Work that comes from a file is cut here when ttls are tried out: that changes nothing for
/// shorter ones.
pub const WORK_CUT: Duration = Duration::from_secs(1);
/// What is known of hold times.
pub struct Known {
    /// Under which lock.
    pub lock: StrategyId,
    /// All of them in ms, the least first.
    pub holds: Vec<f64>,
    /// The work from which more can be drawn, in ms, the least first.
    pub works: Vec<f64>,
    /// Whether nothing else is ever drawn.
    pub is_whole: bool,
    /// Which part of all purchases may outlast a ttl.
    pub risk: f64,
}

impl Known {
    /// Of hold times and work in ms, in any order.
    pub fn new(
        args: &ChooseTtlArgs,
        mut holds: Vec<f64>,
        mut works: Vec<f64>,
        is_whole: bool,
    ) -> Self {
        holds.sort_by(f64::total_cmp);
        works.sort_by(f64::total_cmp);
        Self { lock: args.lock, holds, works, is_whole, risk: args.risk }
    }

    /// The hold time that such a part of all does not exceed, in ms.
    pub fn quantile(&self, q: f64) -> f64 {
        sample::quantile(&self.holds, q)
    }

    /// What a hold has to be longer than to outlast a ttl, in ms.
    pub fn limit(&self, ttl: Duration) -> f64 {
        millis(self.lock.row().validity(ttl))
    }
}

/// A ttl in whole milliseconds, as lock services take it.
pub fn ttl(ms: f64) -> Duration {
    Duration::from_millis((ms.ceil() as u64).max(1))
}
