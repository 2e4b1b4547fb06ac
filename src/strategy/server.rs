//! The kinds of servers that strategies use, and those of them that hold stock.

use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};
use utoipa::ToSchema;

/// A kind of server that strategies use.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray, Serialize, ToSchema,
)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The Redis that holds the stock and the locks of one node.
    Redis,
    /// The nodes of Redlock.
    Redlock,
    /// An etcd cluster.
    Etcd,
    /// A ZooKeeper ensemble.
    ZooKeeper,
    /// PostgreSQL.
    Postgres,
    /// MySQL, or MariaDB.
    MySql,
}

/// Which kind of server holds the stock.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    IntoStaticStr,
    VariantArray,
    Serialize,
    ToSchema,
)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// Redis.
    Redis,
    /// Postgres.
    Postgres,
    /// MySQL, or MariaDB.
    MySql,
}

impl Store {
    /// Its name in the API and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl From<Store> for Backend {
    fn from(store: Store) -> Self {
        match store {
            Store::Redis => Self::Redis,
            Store::Postgres => Self::Postgres,
            Store::MySql => Self::MySql,
        }
    }
}
