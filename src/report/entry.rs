//! What became of one purchase, for whoever reads it elsewhere.

use serde::{Deserialize, Serialize};
use tokio::time::Duration;

use crate::{
    order::{Order, receipt::Receipt},
    outcome::Outcome,
    strategy::StrategyId,
};

/// One purchase. The first seven members are those of the PHP lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunEntry {
    /// The buyer, as the PHP lab named the processes that it forked: `proc_0`.
    pub process_id: String,
    /// Whether the lock was granted; true for strategies that need none.
    pub lock_acquired: bool,
    /// The stock that was read; −1 if none was, and for a cart.
    pub stock_before: i64,
    /// The stock after the purchase; −1 if it was never read, and for a cart.
    pub stock_after: i64,
    /// Time for the whole purchase, release included.
    pub duration_ms: f64,
    /// Whether the units were sold.
    pub success: bool,
    /// Why nothing was sold; null if something was.
    pub error: Option<String>,
    /// The buyer.
    pub buyer: u32,
    /// The operating system's process.
    pub pid: u32,
    /// The strategy.
    pub lock: StrategyId,
    /// How it ended.
    pub outcome: Outcome,
    /// Names the order in the history.
    pub order_id: String,
    /// Tries to acquire a lock after the first.
    pub retries: u32,
    /// From wanting the lock to having it, or to giving up.
    pub wait_ms: f64,
    /// The work between read and write.
    pub work_ms: f64,
    /// From the grant to the end of the release; 0 if nothing was held.
    pub hold_ms: f64,
    /// The fencing token of the lease; null for strategies that issue none, and for a cart.
    pub fencing_token: Option<u64>,
    /// Whether a lease had expired before the purchase was done with it.
    pub ttl_violated: bool,
    /// Why it was carried out without its lock, if it was.
    pub degraded: Option<String>,
    /// When it began, in nanoseconds by CLOCK_MONOTONIC.
    pub began_ns: u64,
    /// When it had ended.
    pub ended_ns: u64,
}

impl RunEntry {
    /// What an order came to.
    #[must_use]
    pub fn new(buyer: u32, order: &Order, receipt: &Receipt, began_ns: u64, ended_ns: u64) -> Self {
        let line = match &receipt.lines[..] {
            [line] => *line,
            _ => Default::default(),
        };
        Self {
            process_id: format!("proc_{buyer}"),
            lock_acquired: receipt.lock_acquired,
            stock_before: line.stock_before.unwrap_or(-1),
            stock_after: line.stock_after.unwrap_or(-1),
            duration_ms: millis(receipt.duration),
            success: receipt.outcome == Outcome::Sold,
            error: receipt.error(),
            buyer,
            pid: std::process::id(),
            lock: order.strategy,
            outcome: receipt.outcome,
            order_id: order.id.as_str().to_owned(),
            retries: receipt.retries,
            wait_ms: millis(receipt.wait),
            work_ms: millis(receipt.work),
            hold_ms: millis(receipt.hold),
            fencing_token: line.fencing_token,
            ttl_violated: receipt.violation.is_some(),
            degraded: receipt.degraded.clone(),
            began_ns,
            ended_ns,
        }
    }

    /// Whether it says how the purchase ended, for good.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        !matches!(self.outcome, Outcome::Unavailable | Outcome::Error)
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}
