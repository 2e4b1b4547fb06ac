//! How a waiter learns that a product may be free.

use async_trait::async_trait;
use tokio::time::Duration;

use crate::{error::BackendError, name::Name, wires::subscription::Subscription};

/// What can be waited for without asking again and again. By default, nothing can.
#[async_trait]
pub trait Waitable: Send + Sync {
    /// Asks to be told whenever the product is released. Every release after this has returned wakes
    /// a subscriber. `None`: nobody tells, so ask again and again.
    ///
    /// Who notices that they may have missed releases (a connection was lost) must wake a subscriber
    /// then. That is where others slept until the ttl: Redisson's threads 763, 3891, 4744, 5761.
    ///
    /// # Errors
    /// The lock service does not tell at the moment.
    ///
    /// # Cancellation
    /// Dropping the future ends the subscription.
    async fn subscribe(&self, _product: &Name) -> Result<Option<Subscription>, BackendError> {
        Ok(None)
    }

    /// How many wait to be told at this moment; a server with several counts as one.
    ///
    /// # Errors
    /// The lock service did not say.
    async fn waiters(&self, _product: &Name) -> Result<u64, BackendError> {
        Ok(0)
    }

    /// How long the present holder's lease can last at most, unless it is renewed: that end is told
    /// to nobody. Zero: nobody holds it. `None`: it does not end by itself.
    ///
    /// # Errors
    /// The lock service did not say.
    async fn time_left(&self, _product: &Name) -> Result<Option<Duration>, BackendError> {
        Ok(None)
    }
}
