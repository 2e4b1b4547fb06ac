//! An order, its outcome, and the receipt that says how far it came.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};
use tokio::time::{self, Duration};
use utoipa::ToSchema;

use crate::{
    backends::BackendError,
    fault::{Faults, Step},
    product::Product,
    stock::{Sold, Written},
    strategy::StrategyId,
    token::Token,
    wait::Patience,
};

/// How one purchase ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray, Serialize, Deserialize, ToSchema,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The buyer has the units.
    Sold,
    /// There were fewer units than wanted.
    SoldOut,
    /// Somebody else held the lock until the buyer gave up.
    Busy,
    /// The store refused the write, for a newer holder had been granted the lock.
    Fenced,
    /// The lease was lost, and the work stopped before the write.
    Lost,
    /// The product changed between read and write in a way that the store could see.
    Conflict,
    /// A backend did not answer.
    Unavailable,
    /// A backend refused, or the purchase broke.
    Error,
}

/// Where it was first seen that a lease had outlived its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Violation {
    /// After the work, before the write.
    Work,
    /// After the write, before the release.
    Write,
    /// At the release.
    Release,
}

/// What a buyer wants.
#[derive(Debug, Clone)]
pub struct Order {
    /// What to buy.
    pub product: Product,
    /// How many units.
    pub quantity: u32,
    /// Under which strategy.
    pub strategy: StrategyId,
    /// How long the work between read and write takes, at least.
    pub delay: Duration,
    /// How long a lease lasts.
    pub ttl: Duration,
    /// How long to wait for somebody else's.
    pub patience: Patience,
    /// What is to go wrong.
    pub faults: Faults,
}

/// What became of an order.
#[derive(Debug)]
pub struct Receipt {
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the lock was granted; true for a strategy that needs none.
    pub lock_acquired: bool,
    /// The name of the sale, if there was one.
    pub order_id: Option<Token>,
    /// The number that ordered its lease, if the lock issued one.
    pub fencing_token: Option<u64>,
    /// What the buyer read, if it came to that.
    pub stock_before: Option<i64>,
    /// What the stock was after the buyer's write, or what it read if it did not write.
    pub stock_after: Option<i64>,
    /// The sale as the ledger saw it, if there was one.
    pub sale: Option<Sold>,
    /// Tries to acquire the lock after the first.
    pub retries: u32,
    /// From wanting the lock to having it, or to giving up.
    pub wait: Duration,
    /// From reading to the end of the work.
    pub work: Duration,
    /// From the grant to the end of the release; zero if nothing was held.
    pub hold: Duration,
    /// All of it.
    pub duration: Duration,
    /// Where it was first seen that the lease had outlived its deadline, if it had.
    pub violation: Option<Violation>,
    /// Why it failed, for outcomes that are failures.
    pub failure: Option<Failure>,
}

/// Why an order failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A backend failed at a step.
    #[error("{}: {error}", .step.name())]
    Backend {
        /// During which step.
        step: Step,
        /// How.
        error: BackendError,
    },
    /// The product was never put on sale.
    #[error("product {0} is not on sale")]
    Absent(Product),
    /// Somebody else was faster.
    #[error("product {0} was changed by others between read and write")]
    Conflict(Product),
    /// The lease could not be renewed in time.
    #[error("the lease of product {0} was lost: the work was cancelled and nothing was written")]
    Lost(Product),
    /// A newer holder was granted the lock.
    #[error("product {0} has a newer holder: the write was refused")]
    Fenced(Product),
    /// The product was reset between read and write.
    #[error("product {0} was reset during the purchase")]
    Reset(Product),
}

impl Receipt {
    /// Nothing has happened yet.
    #[must_use]
    pub fn blank() -> Self {
        Self {
            outcome: Outcome::Error,
            lock_acquired: false,
            order_id: None,
            fencing_token: None,
            stock_before: None,
            stock_after: None,
            sale: None,
            retries: 0,
            wait: Duration::ZERO,
            work: Duration::ZERO,
            hold: Duration::ZERO,
            duration: Duration::ZERO,
            violation: None,
            failure: None,
        }
    }

    /// The backend failed at a step.
    pub fn fail(&mut self, step: Step, error: BackendError) {
        self.outcome = match error {
            BackendError::Unavailable { .. } | BackendError::Unknown { .. } => Outcome::Unavailable,
            BackendError::Refused { .. } | BackendError::Crashed { .. } => Outcome::Error,
        };
        self.failure = Some(Failure::Backend { step, error });
    }

    /// Whether a fault ended the purchase.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        matches!(&self.failure, Some(Failure::Backend { error, .. }) if error.is_crash())
    }

    /// The work of the buyer: a pause of at least `delay`, in steps of the timer's millisecond.
    pub async fn work(delay: Duration) {
        if !delay.is_zero() {
            time::sleep(delay).await;
        }
    }

    /// The store has carried out, or refused, a write or a take.
    pub fn settle(&mut self, written: Written, product: &Product) {
        match written {
            Written::Sold(sold) => {
                self.outcome = Outcome::Sold;
                self.order_id = Some(Token::random());
                self.stock_before.get_or_insert(sold.found);
                self.stock_after = Some(sold.stock);
                self.sale = Some(sold);
            }
            Written::SoldOut { stock } => self.sold_out(stock),
            Written::Fenced => self.fenced(product),
            Written::Reset => {
                self.outcome = Outcome::Conflict;
                self.failure = Some(Failure::Reset(product.clone()));
            }
            Written::Absent => self.absent(product),
        }
    }

    /// The lease was lost before the write.
    pub fn lost(&mut self, product: &Product) {
        self.outcome = Outcome::Lost;
        self.failure = Some(Failure::Lost(product.clone()));
    }

    /// Others changed the product until patience was over.
    pub fn conflict(&mut self, product: &Product) {
        self.outcome = Outcome::Conflict;
        self.failure = Some(Failure::Conflict(product.clone()));
    }

    /// The store has seen a newer holder.
    pub fn fenced(&mut self, product: &Product) {
        self.outcome = Outcome::Fenced;
        self.failure = Some(Failure::Fenced(product.clone()));
    }

    /// There was less than wanted.
    pub fn sold_out(&mut self, stock: i64) {
        self.outcome = Outcome::SoldOut;
        self.stock_before = Some(stock);
        self.stock_after = Some(stock);
    }

    /// The product was never put on sale.
    pub fn absent(&mut self, product: &Product) {
        self.outcome = Outcome::Error;
        self.failure = Some(Failure::Absent(product.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcomes_are_these() {
        let labels: Vec<&str> = Outcome::VARIANTS.iter().map(Into::into).collect();
        let pinned =
            ["sold", "sold_out", "busy", "fenced", "lost", "conflict", "unavailable", "error"];
        assert_eq!(labels, pinned);
    }
}
