//! In the place of `zookeeper.rs` in a build without the feature: there is no client, and none is
//! made.

use std::convert::Infallible;

use tokio::time::Duration;

use crate::wires::circuit;

/// What to do.
pub const REASON: &str =
    "built without ZooKeeper: build with the feature `zookeeper`, which is on by default";

/// Never made.
#[derive(Debug, thiserror::Error)]
#[error("{REASON}")]
pub struct InvalidHosts;

/// Nothing has this type.
pub struct ZooKeeperClient(
    /// Which nothing is.
    pub Infallible,
);

impl ZooKeeperClient {
    /// Never called.
    #[must_use]
    pub fn is_up(&self) -> bool {
        match self.0 {}
    }

    /// Never called.
    #[must_use]
    pub fn circuit(&self) -> circuit::State {
        match self.0 {}
    }

    /// Never called.
    pub async fn versions(&self, _: Duration) -> Vec<Option<String>> {
        match self.0 {}
    }
}
