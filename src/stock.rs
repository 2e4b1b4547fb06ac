//! What is on sale: the racy stock that strategies read and write, and beside it the ledger.
//!
//! The stock is a plain number: two purchases that read it before either writes both write the same
//! result, and the stock hides that. The ledger cannot race: the store adds to it in the same
//! atomic step as every write, so oversell is counted from the ledger.

pub mod redis;
pub mod sql;
mod stocks;

use std::collections::HashSet;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};
use utoipa::ToSchema;

pub use self::stocks::Stocks;
use crate::{
    answer::{Answer, Answers, Key, Line},
    backends::{Backend, BackendError},
    history::Record,
    order::Item,
    product::Product,
    recorder::Note,
    token::Token,
};

/// The most units a product can start with.
pub const STOCK_MAX: u64 = 1_000_000_000;
/// The most units one purchase can take.
pub const QUANTITY_MAX: u32 = 1_000;

/// Which kind of server holds the stock.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    IntoStaticStr,
    VariantArray,
    Serialize,
    ToSchema,
)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// Redis.
    Redis,
    /// Postgres.
    Postgres,
    /// MySQL, or MariaDB.
    MySql,
}

impl Store {
    /// Its name in the API and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl From<Store> for Backend {
    fn from(store: Store) -> Self {
        match store {
            Store::Redis => Self::Redis,
            Store::Postgres => Self::Postgres,
            Store::MySql => Self::MySql,
        }
    }
}

/// Which reset a product is at.
///
/// A purchase asks for it before it acquires, and its write names it again. So whoever was granted
/// a lease before a reset, which forgets leases, cannot sell from the stock that came after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation(pub String);

/// What a buyer sees of a product at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The stock.
    pub stock: i64,
    /// Units sold by then, from the ledger. Every sale makes it larger, so it also says which of
    /// all sales were seen.
    pub sold: i64,
}

/// What a purchase wants written to one product.
#[derive(Debug, Clone, Copy)]
pub struct Sale<'a> {
    /// The product.
    pub product: &'a Product,
    /// The reset at which the purchase began.
    pub generation: &'a Generation,
    /// The stock that it read.
    pub read: i64,
    /// How many units it takes.
    pub quantity: u32,
    /// The fencing token of its lease, if it has one.
    pub fencing_token: Option<u64>,
}

impl Sale<'_> {
    /// What the stock will be.
    #[must_use]
    pub fn left(&self) -> i64 {
        self.read - i64::from(self.quantity)
    }

    /// What the buyer will be told of it.
    #[must_use]
    pub fn line(&self) -> Line {
        Line {
            stock_before: Some(self.read),
            stock_after: Some(self.left()),
            fencing_token: self.fencing_token,
        }
    }
}

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

/// A sale, as the ledger saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sold {
    /// The reset after which it was sold.
    pub generation: Generation,
    /// What the stock said just before.
    pub found: i64,
    /// What the stock says now.
    pub stock: i64,
    /// Units sold since the reset, this sale included.
    pub sold: i64,
    /// Units of this sale beyond what there was.
    pub oversold: u64,
    /// Units that others had sold since the read, and that this write put back into the stock.
    pub lost_updates: u64,
}

/// What the ledger knew when it recorded a sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The reset after which it was sold.
    pub generation: Generation,
    /// What the stock said just before.
    pub found: i64,
    /// What the stock says now.
    pub stock: i64,
    /// Units sold since the reset, this sale included.
    pub sold: i64,
    /// Units at the reset.
    pub initial: i64,
}

impl Sold {
    /// A sale of `quantity` units that had read the stock as `read`, and made this entry.
    #[must_use]
    pub fn new(entry: Entry, read: i64, quantity: u32) -> Self {
        let Entry { generation, found, stock, sold, initial } = entry;
        let beyond = (sold - initial).clamp(0, quantity.into());
        let put_back = (read - found).max(0);
        let (oversold, lost_updates) = (beyond.unsigned_abs(), put_back.unsigned_abs());
        Self { generation, found, stock, sold, oversold, lost_updates }
    }
}

/// The state of a product: the three numbers from which its verdict follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Units at the last reset.
    pub initial: i64,
    /// Units left, as far as the stock knows.
    pub stock: i64,
    /// Units sold since the last reset, from the ledger.
    pub sold: i64,
}

impl Tally {
    /// What the stock should be, if every sale had been subtracted once.
    #[must_use]
    pub fn expected(&self) -> i64 {
        self.initial - self.sold
    }

    /// Units sold beyond what there was.
    #[must_use]
    pub fn oversold(&self) -> i64 {
        (-self.expected()).max(0)
    }

    /// Units that were sold and that the stock still has, because a write overwrote their sale.
    #[must_use]
    pub fn lost_updates(&self) -> i64 {
        (self.stock - self.expected()).max(0)
    }
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
    /// Of what a store gave back. A record whose reply was lost was sent again, and may be there twice: it
    /// counts once.
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

    /// Reads the stock, and how much the ledger has sold by the same instant. `None`: the product was
    /// never put on sale.
    ///
    /// # Errors
    /// The store could not be read.
    async fn read(&self, product: &Product) -> Result<Option<Seen>, BackendError>;

    /// Writes [`Sale::left`] of each sale of an order, whatever the stocks are by now, and records the sales, all
    /// in one atomic step; unless one of them has a fencing token that is older than the newest seen.
    /// In the same step the answer is kept, if the order has a `key`, or found to be kept already.
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

    /// Stops the sale of a product until its reset: whatever generation a write names is refused. So
    /// leases can be forgotten without letting two holders of one generation in.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: it may have happened.
    async fn close(&self, product: &Product) -> Result<(), BackendError>;

    /// Puts `stock` units on sale afresh and clears the ledger.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: it may have happened.
    async fn reset(&self, product: &Product, stock: u64) -> Result<(), BackendError>;

    /// As [`Self::reset`], but only if the product is not on sale yet; says whether it did.
    ///
    /// # Errors
    /// As [`Self::reset`].
    async fn open(&self, product: &Product, stock: u64) -> Result<bool, BackendError>;

    /// Reads stock and ledger at one instant. `None`: the product was never put on sale.
    ///
    /// # Errors
    /// The store could not be read.
    async fn tally(&self, product: &Product) -> Result<Option<Tally>, BackendError>;

    /// As [`Self::tally`], together with the history.
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
    use crate::history::{Event, Kind};

    #[test]
    fn a_record_that_was_sent_twice_counts_once() {
        let record = |order_id: &str, at_ns| Record {
            order_id: order_id.to_owned(),
            server: "s".to_owned(),
            clock: "c".to_owned(),
            lock: "safe".to_owned(),
            run_id: None,
            events: vec![Event { at_ns, kind: Kind::Ok }],
        };
        let tally = Tally { initial: 1, stock: 1, sold: 0 };
        let sent = [record("a", 1), record("b", 1), record("a", 1), record("a", 2)];
        let evidence = Evidence::new(tally, sent.to_vec(), 10);
        assert_eq!(evidence.history, [record("a", 1), record("b", 1), record("a", 2)]);
        assert_eq!(evidence.recorded, 9, "one of them was none, and the others were dropped");
    }
}
