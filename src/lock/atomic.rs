//! `atomic`: one script checks and decrements. The honest winner: no lock is needed.
//!
//! - Algorithm: check and decrement in one step at the store; the work follows the sale.
//! - Guarantees: never oversells.
//! - Does not guarantee: that a sale whose reply was lost did not happen; fairness.
//! - Clock: none.
//! - Cancellation: nothing is held. A sale that has been sent stands.
//! - Commands sent: EVALSHA (after NOSCRIPT: SCRIPT LOAD, then EVALSHA).

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    backends::Backend,
    fault::Step,
    lock::Method,
    order::{Failure, Order, Outcome, Receipt, at},
    recorder::Trail,
    shop::{Sell, note_sales},
    span,
    stock::{Stock, Store},
    strategy::{Expected, Family, Strategy},
};

/// The registry row.
pub static STRATEGY: Strategy = Strategy {
    name: "atomic",
    family: Family::LockFree,
    store: Store::Redis,
    backend: Backend::Redis,
    summary: "one script: check and decrement",
    expected: Expected::Exact,
    fails: "–",
    steps: STEPS,
    sells_carts: true,
    extends_leases: false,
    connect: |_| Method::LockFree(Arc::new(Atomic)),
};

/// The steps of a purchase, in order.
pub(super) const STEPS: &[Step] = &[Step::Take, Step::AfterTake, Step::Work];

/// Takes from whichever store, in one step.
pub(super) struct Atomic;

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
