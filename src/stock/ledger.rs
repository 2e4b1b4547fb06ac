//! What is read, written and counted: the words of the ledger.

use serde::{Deserialize, Serialize};

use crate::product::Product;

/// What became of one item of an order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What the buyer read, if it came to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stock_before: Option<i64>,
    /// What the stock was after the buyer's write, or what it read if it did not write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stock_after: Option<i64>,
    /// The number that ordered its lease, if the lock issued one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fencing_token: Option<u64>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
