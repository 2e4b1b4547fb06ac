//! In the place of `etcd.rs` in a build without the feature: there is no client, and none is made.

use std::convert::Infallible;

use tokio::time::Duration;

use crate::wires::circuit;

/// What to do.
pub const REASON: &str =
    "built without etcd: build with the feature `etcd`, which is on by default and needs protoc";

/// Never made.
#[derive(Debug, thiserror::Error)]
#[error("{REASON}")]
pub struct InvalidEndpoint;

/// Nothing has this type.
pub struct EtcdClient(
    /// Which nothing is.
    pub Infallible,
);

impl EtcdClient {
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
