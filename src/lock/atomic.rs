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

use crate::{
    fault::Step,
    lock::Method,
    order::{Order, Outcome, Receipt},
    shop::Sell,
    stock::{Stock, Store},
    strategy::{Expected, Family, Strategy},
};

/// The registry row.
pub static STRATEGY: Strategy = Strategy {
    name: "atomic",
    family: Family::LockFree,
    store: Store::Redis,
    summary: "one script: check and decrement",
    expected: Expected::Exact,
    fails: "–",
    steps: &[Step::Take, Step::AfterTake, Step::Work],
    connect: |_| Method::LockFree(Arc::new(Atomic)),
};

struct Atomic;

#[async_trait]
impl Sell for Atomic {
    async fn sell(&self, order: &Order, stock: &dyn Stock, receipt: &mut Receipt) {
        if let Err(crash) = order.faults.strike(Step::Take).await {
            return receipt.fail(Step::Take, crash);
        }
        let taken = stock.take(&order.product, order.quantity).await;
        match order.faults.reply(Step::Take, taken) {
            Ok(taken) => receipt.settle(taken, &order.product),
            Err(error) => return receipt.fail(Step::Take, error),
        }
        if let Err(crash) = order.faults.strike(Step::AfterTake).await {
            return receipt.fail(Step::AfterTake, crash);
        }
        if receipt.outcome != Outcome::Sold {
            return;
        }
        if let Err(crash) = order.faults.strike(Step::Work).await {
            return receipt.fail(Step::Work, crash);
        }
        let started = Instant::now();
        Receipt::work(order.delay).await;
        receipt.work = started.elapsed();
    }
}
