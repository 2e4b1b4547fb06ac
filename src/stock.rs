//! What is on sale: the racy stock that strategies read and write, and beside it the ledger.
//!
//! The stock is a plain number: two purchases that read it before either writes both write the same
//! result, and the stock hides that. The ledger cannot race: the store adds to it in the same
//! atomic step as every write, so oversell is counted from the ledger.

pub mod answer;
pub mod ledger;
pub mod redis;
pub mod sql;
pub mod stocks;

use std::collections::HashSet;

use async_trait::async_trait;

use crate::{
    history::Record,
    product::{Item, Product},
    stock::{
        answer::{Answer, Answers, Key},
        ledger::{Generation, Sale, Seen, Sold, Tally},
    },
    strategy::server::Store,
};
use locklab_locks::{error::BackendError, token::Token};

/// The most units a product can start with.
pub const STOCK_MAX: u64 = 1_000_000_000;
/// The most units one purchase can take.
pub const QUANTITY_MAX: u32 = 1_000;

/// What a write or a take did. It is done to all products of a purchase, or to none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// The sales stand in the ledgers, in the order of what was wanted.
    Sold(Vec<Sold>),
    /// There were fewer units than wanted of one product; nothing was written.
    SoldOut {
        /// Which, in the order of what was wanted.
        item: usize,
        /// How many there were.
        stock: i64,
    },
    /// A newer holder has been seen; nothing was written.
    Fenced,
    /// A product was reset since the purchase began; nothing was written.
    Reset,
    /// A product was never put on sale; nothing was written.
    Absent {
        /// Which, in the order of what was wanted.
        item: usize,
    },
    /// The order had been answered before; nothing was written.
    Repeated(Answer),
}

/// Everything that is known of a product.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Its numbers.
    pub tally: Tally,
    /// What was recorded of its purchases, as far as it is kept, oldest first.
    pub history: Vec<Record>,
    /// How many records there were since the last reset, dropped ones included.
    pub recorded: u64,
}

impl Evidence {
    /// Of what a store gave back. A record whose reply was lost was sent again, and may be there
    /// twice: it counts once.
    #[must_use]
    pub fn new(tally: Tally, mut history: Vec<Record>, recorded: u64) -> Self {
        let mut seen = HashSet::new();
        let before = history.len();
        history.retain(|record| {
            let since = record.events.first().map(|event| event.at_ns);
            seen.insert((record.server.clone(), record.order_id.clone(), since))
        });
        let repeated = (before - history.len()) as u64;
        Self { tally, history, recorded: recorded.saturating_sub(repeated) }
    }
}

/// A record on its way to the store.
#[derive(Debug)]
pub struct Note {
    /// Where the product is.
    pub store: Store,
    /// The product.
    pub product: Product,
    /// The reset it belongs to. `None`: whichever it is at by then, for the order never learned it.
    pub generation: Option<Generation>,
    /// What happened.
    pub record: Record,
}

/// A store of products.
///
/// # Cancellation
/// Dropping any of these futures does not recall a command that has been sent.
#[async_trait]
pub trait Stock: Answers + Send + Sync {
    /// Which reset the product is at. `None`: it was never put on sale.
    ///
    /// # Errors
    /// The store could not be read.
    async fn generation(&self, product: &Product) -> Result<Option<Generation>, BackendError>;

    /// Reads the stock, and how much the ledger has sold by the same instant. `None`: the product
    /// was never put on sale.
    ///
    /// # Errors
    /// The store could not be read.
    async fn read(&self, product: &Product) -> Result<Option<Seen>, BackendError>;

    /// Writes [`Sale::left`] of each sale of an order, whatever the stocks are by now, and records
    /// the sales, all in one atomic step; unless one of them has a fencing token that is older than
    /// the newest seen. In the same step the answer is kept, if the order has a `key`, or found to
    /// be kept already.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: the sales may stand, or may still come to stand.
    async fn write(
        &self,
        order_id: &Token,
        sales: &[Sale<'_>],
        key: Option<&Key>,
    ) -> Result<Written, BackendError>;

    /// Makes the store refuse writes under fencing tokens older than `token`; false when it refuses
    /// this one already.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: it may have happened.
    async fn raise_bar(&self, product: &Product, token: u64) -> Result<bool, BackendError>;

    /// Checks and decrements the stocks and records the sales, in one atomic step; with a `key` as
    /// [`Self::write`].
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: the sales may stand.
    async fn take(
        &self,
        order_id: &Token,
        items: &[Item],
        key: Option<&Key>,
    ) -> Result<Written, BackendError>;

    /// Stops the sale of a product until its reset: whatever generation a write names is refused.
    /// So leases can be forgotten without letting two holders of one generation in.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: it may have happened.
    async fn close(&self, product: &Product) -> Result<(), BackendError>;

    /// Puts `stock` units on sale afresh and clears the ledger.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: it may have happened.
    async fn reset(&self, product: &Product, stock: u64) -> Result<(), BackendError>;

    /// Puts `stock` units on sale, if the product is not on sale yet; says whether it did.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: it may have happened.
    async fn open(&self, product: &Product, stock: u64) -> Result<bool, BackendError>;

    /// Reads stock and ledger at one instant. `None`: the product was never put on sale.
    ///
    /// # Errors
    /// The store could not be read.
    async fn tally(&self, product: &Product) -> Result<Option<Tally>, BackendError>;

    /// Reads stock and ledger at one instant, together with the history. `None`: the product was
    /// never put on sale.
    ///
    /// # Errors
    /// The store could not be read.
    async fn evidence(&self, product: &Product) -> Result<Option<Evidence>, BackendError>;

    /// Adds to the histories of products; of those that were reset since, to none.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: it may have happened.
    async fn record(&self, notes: &[Note]) -> Result<(), BackendError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Event, EventKind};

    #[test]
    fn a_record_that_was_sent_twice_counts_once() {
        let record = |order_id: &str, at_ns| Record {
            order_id: order_id.to_owned(),
            server: "s".to_owned(),
            clock: "c".to_owned(),
            lock: "safe".to_owned(),
            run_id: None,
            events: vec![Event { at_ns, kind: EventKind::Ok }],
        };
        let tally = Tally { initial: 1, stock: 1, sold: 0 };
        let sent = [record("a", 1), record("b", 1), record("a", 1), record("a", 2)];
        let evidence = Evidence::new(tally, sent.to_vec(), 10);
        assert_eq!(evidence.history, [record("a", 1), record("b", 1), record("a", 2)]);
        assert_eq!(evidence.recorded, 9, "one of them was none, and the others were dropped");
    }
}
