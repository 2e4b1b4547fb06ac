//! What the log says of purchases: a line for each that failed or was slow, and only so many of
//! each a second. When a backend is away, every purchase fails; the first few say why. Where every
//! purchase is slow, the one that fails is logged nevertheless.

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use crate::{
    order::{
        Order,
        receipt::{Failure, Receipt},
        span,
    },
    run::RunId,
};

/// Lines per second, of those that failed and of those that were slow.
const LINES_MAX: u32 = 10;
/// What a second is.
const WINDOW: Duration = Duration::from_secs(1);

/// Logs purchases.
pub struct PurchaseLog {
    /// Whoever takes so long is slow.
    slow: Duration,
    failed: Mutex<Window>,
    delayed: Mutex<Window>,
}

/// What was logged of one kind in this second.
struct Window {
    ends: Instant,
    lines: u32,
    /// Purchases that were not logged, since one was.
    unlogged: u64,
}

impl PurchaseLog {
    /// Logs purchases that fail, and those that take at least `slow`.
    #[must_use]
    pub fn new(slow: Duration) -> Self {
        Self { slow, failed: Mutex::new(Window::open()), delayed: Mutex::new(Window::open()) }
    }

    /// A purchase has ended.
    pub fn note(&self, order: &Order, receipt: &Receipt) {
        let failure = receipt.failure.as_ref().filter(|failure| is_ours(failure));
        let is_slow = receipt.duration >= self.slow;
        if failure.is_none() && !is_slow {
            return;
        }
        let window = if failure.is_some() { &self.failed } else { &self.delayed };
        let Some(unlogged) = window.lock().admit() else { return };
        let product = &order.items[0].product;
        let ms = |duration: Duration| duration.as_secs_f64() * 1_000.0;
        macro_rules! line {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    lock = order.strategy.row().name,
                    %product,
                    outcome = <&str>::from(receipt.outcome),
                    reason = failure.map(tracing::field::display),
                    order_id = order.id.as_str(),
                    run_id = order.run_id.as_ref().map(RunId::as_str),
                    trace_id = span::trace_id(),
                    duration_ms = ms(receipt.duration),
                    wait_ms = ms(receipt.wait),
                    work_ms = ms(receipt.work),
                    hold_ms = ms(receipt.hold),
                    retries = receipt.retries,
                    unlogged = (unlogged > 0).then_some(unlogged),
                    $message
                )
            };
        }
        match failure {
            Some(_) => line!(warn, "a purchase failed"),
            None => line!(info, "a purchase was slow"),
        }
    }
}

impl Window {
    fn open() -> Self {
        Self { ends: Instant::now() + WINDOW, lines: 0, unlogged: 0 }
    }

    /// Whether there may be one more line, and how many were left out before it.
    fn admit(&mut self) -> Option<u64> {
        let now = Instant::now();
        if now >= self.ends {
            (self.ends, self.lines) = (now + WINDOW, 0);
        }
        if self.lines >= LINES_MAX {
            self.unlogged += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.unlogged))
    }
}

/// Whether it failed because of a server: not of what was asked for, nor of other buyers.
fn is_ours(failure: &Failure) -> bool {
    matches!(failure, Failure::Backend { .. } | Failure::Refused)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_so_many_lines_a_second() {
        let mut window = Window::open();
        let admitted: Vec<_> = (0..LINES_MAX + 3).filter_map(|_| window.admit()).collect();
        assert_eq!(admitted, [0; LINES_MAX as usize]);
        advance(WINDOW).await;
        assert_eq!([window.admit(), window.admit()], [Some(3), Some(0)]);
    }
}
