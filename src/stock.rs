//! What is on sale: the racy stock that strategies read and write, and beside it the ledger.
//!
//! The stock is a plain number: two purchases that read it before either writes both write the same
//! result, and the stock hides that. The ledger cannot race: the store adds to it in the same
//! atomic step as every write, so oversell is counted from the ledger.

pub mod redis;

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};
use utoipa::ToSchema;

use crate::{
    backends::{BackendError, Backends},
    product::Product,
};

/// The most units a product can start with.
pub const STOCK_MAX: u64 = 1_000_000_000;
/// The most units one purchase can take.
pub const QUANTITY_MAX: u32 = 1_000;

/// Which kind of server holds the stock.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray, Serialize, ToSchema,
)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// Redis.
    Redis,
}

impl Store {
    /// Its name in the API and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Which reset a product is at.
///
/// A purchase asks for it before it acquires, and its write names it again. So whoever was granted
/// a lease before a reset, which forgets leases, cannot sell from the stock that came after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation(pub String);

/// What a purchase wants written.
#[derive(Debug, Clone, Copy)]
pub struct Sale<'a> {
    /// The reset at which the purchase began.
    pub generation: &'a Generation,
    /// The stock that it read.
    pub read: i64,
    /// How many units it takes.
    pub quantity: u32,
    /// The fencing token of its lease, if it has one.
    pub fencing_token: Option<u64>,
}

/// What a write or a take did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The sale stands in the ledger.
    Sold(Sold),
    /// There were fewer units than wanted; nothing was written.
    SoldOut {
        /// How many there were.
        stock: i64,
    },
    /// A newer holder has been seen; nothing was written.
    Fenced,
    /// The product was reset since the purchase began; nothing was written.
    Reset,
    /// The product was never put on sale; nothing was written.
    Absent,
}

/// A sale, as the ledger saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sold {
    /// What the stock said just before.
    pub found: i64,
    /// What the stock says now.
    pub stock: i64,
    /// Units of this sale beyond what there was.
    pub oversold: u64,
    /// Units that others had sold since the read, and that this write put back into the stock.
    pub lost_updates: u64,
}

impl Sold {
    /// A sale of `quantity` that had read the stock as `read`, found it at `found`, left it at
    /// `stock`, and brought the units sold to `sold` of `initial`.
    #[must_use]
    pub fn new(read: i64, found: i64, stock: i64, sold: i64, initial: i64, quantity: u32) -> Self {
        let beyond = (sold - initial).clamp(0, quantity.into());
        let put_back = (read - found).max(0);
        let (oversold, lost_updates) = (beyond.unsigned_abs(), put_back.unsigned_abs());
        Self { found, stock, oversold, lost_updates }
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

/// A store of products.
///
/// # Cancellation
/// Dropping any of these futures does not recall a command that has been sent.
#[async_trait]
pub trait Stock: Send + Sync {
    /// Which reset the product is at. `None`: it was never put on sale.
    ///
    /// # Errors
    /// The store could not be read.
    async fn generation(&self, product: &Product) -> Result<Option<Generation>, BackendError>;

    /// Reads the stock. `None`: the product was never put on sale.
    ///
    /// # Errors
    /// The store could not be read.
    async fn read(&self, product: &Product) -> Result<Option<i64>, BackendError>;

    /// Writes `sale.read − sale.quantity`, whatever the stock is by now, and records the sale; unless
    /// it has a fencing token that is older than the newest seen.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: the sale may stand, or may still come to stand.
    async fn write(&self, product: &Product, sale: Sale<'_>) -> Result<Written, BackendError>;

    /// Makes the store refuse writes under fencing tokens older than `token`; false when it refuses
    /// this one already.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: it may have happened.
    async fn raise_bar(&self, product: &Product, token: u64) -> Result<bool, BackendError>;

    /// Checks and decrements the stock and records the sale, in one atomic step.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: the sale may stand.
    async fn take(&self, product: &Product, quantity: u32) -> Result<Written, BackendError>;

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
}

/// The products of every store.
pub struct Stocks {
    redis: redis::RedisStock,
}

impl Stocks {
    /// Over the configured backends.
    #[must_use]
    pub fn new(backends: &Backends) -> Self {
        Self { redis: redis::RedisStock::new(Arc::clone(&backends.redis)) }
    }

    /// The products of one store.
    #[must_use]
    pub fn of(&self, store: Store) -> &dyn Stock {
        match store {
            Store::Redis => &self.redis,
        }
    }
}
