//! Strategies that sell without a lease: one file each.

pub mod atomic;
pub mod metrics;
pub mod mysql_atomic;
pub mod mysql_optimistic;
pub mod mysql_row;
pub mod optimistic;
pub mod postgres_atomic;
pub mod postgres_optimistic;
pub mod postgres_row;
pub mod queue;
pub mod rows;

use async_trait::async_trait;

use crate::{
    history::EventKind,
    order::{Order, receipt::Receipt, recorder::Trail},
    stock::Stock,
};

/// A strategy that sells without a lock.
#[async_trait]
pub trait Sell: Send + Sync {
    /// Carries out an order and notes on the receipt how far it came.
    ///
    /// # Cancellation
    /// Dropping the future does not recall a sale that has been sent to the store.
    async fn sell(
        &self,
        order: &Order,
        stock: &dyn Stock,
        receipt: &mut Receipt,
        trail: &mut Trail,
    );

    /// Waits until nothing of it is under way any more; called when no more orders come.
    async fn close(&self) {}
}

/// Records the sales of a receipt.
pub fn note_sales(order: &Order, receipt: &Receipt, trail: &mut Trail, since_ns: u64) {
    for (item, sale) in receipt.sales.iter().enumerate() {
        trail.learn(item, &sale.generation);
        let kind = EventKind::Written {
            since_ns,
            stock: sale.stock,
            quantity: order.items[item].quantity,
            sold: sale.sold,
            fencing_token: receipt.lines[item].fencing_token,
        };
        trail.note(item, kind);
    }
}
