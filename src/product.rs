//! What is sold: products, and how many units of each.

use serde::{Deserialize, Serialize};

pub use locklab_locks::name::{
    InvalidName as InvalidProduct, NAME_MAX as PRODUCT_NAME_MAX,
    NAME_PATTERN as PRODUCT_NAME_PATTERN, NAME_VALID as PRODUCT_NAME_VALID, Name as Product,
};

/// The most different products of one order.
pub const ITEMS_MAX: usize = 16;

/// Units of one product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// What to buy.
    pub product: Product,
    /// How many units.
    pub quantity: u32,
}
