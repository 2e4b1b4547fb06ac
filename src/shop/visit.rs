//! An order in the shop: what it needs on its way through the critical section, and what it holds.

use crate::{
    order::{Order, receipt::Receipt, recorder::Trail},
    outcome::Violation,
    shop::{
        buyers::{BuyerLines, BuyerTurn, Leased},
        metrics::ShopMetrics,
    },
    stock::{Stock, sql::SqlStock},
};
use locklab_locks::lease::keeper::Keeper;
use tokio::time::Instant;

/// One order on its way through the critical section.
pub struct Visit<'a> {
    pub order: &'a Order,
    pub keeper: &'a Keeper,
    pub lines: &'a BuyerLines,
    pub stock: &'a dyn Stock,
    /// The stock in rows that can be locked, if it is there.
    pub rows: Option<&'a SqlStock>,
    pub metrics: &'a ShopMetrics,
    pub receipt: &'a mut Receipt,
    pub trail: &'a mut Trail,
}

impl Visit<'_> {
    /// A lease has outlived its deadline. Counted when it is first seen.
    pub fn violate(&mut self, violation: Violation) {
        if self.receipt.violation.is_none() {
            self.receipt.violation = Some(violation);
            self.metrics.violation(self.order.strategy, violation);
        }
    }
}

/// The lease of an item.
pub struct Held {
    /// The lease.
    pub leased: Leased,
    /// When it was granted to this order, or handed over.
    pub since: Instant,
    /// The place at the head of the line; the next is served when it is dropped.
    pub turn: Option<BuyerTurn>,
}
