//! Why a lab could not be opened.

use crate::embedded::EmbeddedError;
use locklab_locks::wires::{
    etcd::InvalidEndpoint, redis::InvalidUrl, sql, zookeeper::InvalidHosts,
};

/// Why a lab could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The Redis URL is not one.
    #[error("--redis-url (REDIS_URL): {0}")]
    RedisUrl(#[from] InvalidUrl),
    /// The URLs of Redlock's nodes are not.
    #[error("--redlock-urls (REDLOCK_URLS): {0}")]
    RedlockUrls(String),
    /// The endpoints of etcd are not.
    #[error("--etcd-endpoints (ETCD_ENDPOINTS): {0}")]
    EtcdEndpoints(InvalidEndpoint),
    /// The hosts of ZooKeeper are not.
    #[error("--zookeeper-hosts (ZOOKEEPER_HOSTS): {0}")]
    ZooKeeperHosts(#[from] InvalidHosts),
    /// The URL of Postgres is not one.
    #[error("--postgres-url (POSTGRES_URL): {0}")]
    PostgresUrl(sql::InvalidUrl),
    /// The URL of MySQL is not one.
    #[error("--mysql-url (MYSQL_URL): {0}")]
    MySqlUrl(sql::InvalidUrl),
    /// The embedded Redis did not start.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
}

impl LabError {
    /// Whether the configuration is to blame.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Embedded(_))
    }
}
