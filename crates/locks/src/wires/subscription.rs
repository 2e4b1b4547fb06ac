//! Being told that a product may be free.

use std::{any::Any, fmt, sync::Arc};

use tokio::sync::{Notify, futures::Notified};

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
