//! What the consumer of a queue asks the lock service for.

use tokio::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::product::Product;
use locklab_locks::{
    lease::keeper::Wish,
    wait::{Patience, Policy},
};

/// How long one candidacy lasts; there is another one after it.
const CANDIDACY: Duration = Duration::from_secs(10);

/// Standing for election as the consumer of a product.
pub struct Candidacy {
    /// Whose queue is to be served.
    pub product: Product,
    /// What is wanted of the lock.
    pub wish: Wish,
    /// Until when.
    pub patience: Patience,
}

impl Candidacy {
    /// A candidacy that lasts until it is unwanted, for leases of `ttl`.
    #[must_use]
    pub fn new(product: &Product, ttl: Duration, unwanted: &CancellationToken) -> Self {
        let patience = Patience {
            policy: Policy::Notify,
            max_retries: u32::MAX,
            wait: CANDIDACY,
            gone: unwanted.clone(),
            ..Patience::default()
        };
        Self { product: product.clone(), wish: Wish::lasting(ttl), patience }
    }
}
