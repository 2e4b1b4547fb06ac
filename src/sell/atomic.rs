//! `atomic`: one script checks and decrements. The honest winner: no lock is needed.
//!
//! - Algorithm: check and decrement in one step at the store; the work follows the sale.
//! - Guarantees: never oversells.
//! - Does not guarantee: that a sale whose reply was lost did not happen; fairness.
//! - Clock: none.
//! - Cancellation: nothing is held. A sale that has been sent stands.
//! - Commands sent: EVALSHA (after NOSCRIPT: SCRIPT LOAD, then EVALSHA).

use async_trait::async_trait;
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    order::{
        Order,
        receipt::{Failure, Receipt, at},
        recorder::Trail,
        span,
    },
    outcome::Outcome,
    sell::{Sell, note_sales},
    stock::Stock,
};
use locklab_locks::step::Step;

/// Takes from whichever store, in one step.
pub struct Atomic;

#[async_trait]
impl Sell for Atomic {
    async fn sell(
        &self,
        order: &Order,
        stock: &dyn Stock,
        receipt: &mut Receipt,
        trail: &mut Trail,
    ) {
        if let Err(failure) = sell(order, stock, receipt, trail).await {
            receipt.fail(failure);
        }
    }
}

async fn sell(
    order: &Order,
    stock: &dyn Stock,
    receipt: &mut Receipt,
    trail: &mut Trail,
) -> Result<(), Failure> {
    let faults = &order.faults;
    faults.strike(Step::Take).await.map_err(at(Step::Take))?;
    let since_ns = trail.now();
    let taken = stock.take(&order.id, &order.items, order.key.as_ref());
    let taken = taken.instrument(span::take()).await;
    let taken = faults.reply(Step::Take, taken).map_err(at(Step::Take))?;
    receipt.settle(taken, order);
    note_sales(order, receipt, trail, since_ns);
    faults.strike(Step::AfterTake).await.map_err(at(Step::AfterTake))?;
    if receipt.outcome == Outcome::Sold {
        faults.strike(Step::Work).await.map_err(at(Step::Work))?;
        let started = Instant::now();
        Receipt::work(order.delay).instrument(span::work()).await;
        receipt.work = started.elapsed();
    }
    Ok(())
}
