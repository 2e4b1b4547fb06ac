//! An order, its outcome, and the receipt that says how far it came.

pub mod log;
pub mod receipt;
pub mod recorder;
pub mod span;

use serde::{Deserialize, Serialize};
use tokio::time::Duration;

use crate::{
    product::{Item, Product},
    run::RunId,
    stock::answer::Key,
    strategy::StrategyId,
};
use locklab_locks::{fault::Faults, lease::keeper::Wish, token::Token, wait::Patience};

/// What a buyer wants.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// Names the order, and the sale, if there is one.
    pub id: Token,
    /// What to buy, all or nothing, in the order in which locks are taken: at least one item, and no
    /// product twice.
    pub items: Vec<Item>,
    /// What makes it the same order when it is sent again.
    pub key: Option<Key>,
    /// The load test that it belongs to, if its client named one.
    pub run_id: Option<RunId>,
    /// Under which strategy.
    pub strategy: StrategyId,
    /// How long the work between read and write takes, at least.
    pub delay: Duration,
    /// How long a lease lasts.
    pub ttl: Duration,
    /// How often a lease is extended, at most, under a strategy that does so when asked to.
    pub extensions: u32,
    /// How long to wait for somebody else's.
    pub patience: Patience,
    /// What is to go wrong.
    #[serde(skip)]
    pub faults: Faults,
}

impl Order {
    /// One unit of a product under a strategy. Whatever else it asks for is what a request asks for
    /// that says nothing more: little work, a lease of some seconds, and no patience.
    #[must_use]
    pub fn of(strategy: StrategyId, product: Product) -> Self {
        Self {
            id: Token::random(),
            items: vec![Item { product, quantity: 1 }],
            key: None,
            run_id: None,
            strategy,
            delay: Duration::from_millis(1),
            ttl: Duration::from_secs(5),
            extensions: 0,
            patience: Patience::default(),
            faults: Faults::default(),
        }
    }

    /// What it wants of the lock of each item.
    #[must_use]
    pub fn wish(&self) -> Wish {
        Wish { ttl: self.ttl, extensions: self.extensions, faults: self.faults.clone() }
    }

    /// What was ordered, in words: the strategy and the items, in the order of their locks.
    #[must_use]
    pub fn describe(&self) -> String {
        let item = |item: &Item| format!("{} {}", item.quantity, item.product);
        let items: Vec<String> = self.items.iter().map(item).collect();
        format!("{}: {}", self.strategy.row().name, items.join(", "))
    }

    /// Whether it must have leases of its own, and nobody else's: they are to be extended, or something
    /// is to go wrong with them.
    #[must_use]
    pub fn needs_own_leases(&self) -> bool {
        self.extensions > 0 || !self.faults.is_empty()
    }
}
