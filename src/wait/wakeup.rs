//! How a waiter learns that a product may be free.

use std::{any::Any, fmt, sync::Arc};

use async_trait::async_trait;
use tokio::{
    sync::{Notify, futures::Notified},
    time::Duration,
};

use crate::{backends::BackendError, product::Product};

/// Being told of releases, until dropped.
///
/// A release wakes one waiter of this server, the one that has waited longest: the others would only
/// find the lock taken by it. So a wake-up must not get lost: who was given one and does not try goes
/// on to [`Self::pass_on`].
pub struct Subscription {
    releases: Arc<Notify>,
    /// Ends the subscription when it is dropped.
    _membership: Box<dyn Any + Send + Sync>,
}

impl Subscription {
    /// Whoever notices releases calls `notify_one` on `releases`; dropping `membership` tells them
    /// that nobody listens here any more.
    #[must_use]
    pub fn new(releases: Arc<Notify>, membership: impl Send + Sync + 'static) -> Self {
        Self { releases, _membership: Box::new(membership) }
    }

    /// The next wake-up. Enable it before a try and await it after: then a release during the try is
    /// not missed.
    ///
    /// # Cancellation
    /// A wake-up that reached a future which is then dropped goes to the next waiter.
    pub fn notified(&self) -> Notified<'_> {
        self.releases.notified()
    }

    /// Gives a wake-up to the next waiter, or to the next who comes.
    pub fn pass_on(&self) {
        self.releases.notify_one();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

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
    async fn subscribe(&self, _product: &Product) -> Result<Option<Subscription>, BackendError> {
        Ok(None)
    }

    /// How many wait to be told at this moment; a server with several counts as one.
    ///
    /// # Errors
    /// The lock service did not say.
    async fn waiters(&self, _product: &Product) -> Result<u64, BackendError> {
        Ok(0)
    }

    /// How long the present holder's lease can last at most, unless it is renewed: that end is told
    /// to nobody. Zero: nobody holds it. `None`: it does not end by itself.
    ///
    /// # Errors
    /// The lock service did not say.
    async fn time_left(&self, _product: &Product) -> Result<Option<Duration>, BackendError> {
        Ok(None)
    }
}
