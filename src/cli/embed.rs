//! Which servers are started privately.

use clap::ValueEnum;

use crate::strategy::server::Backend;

/// What can be started privately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Embed {
    /// Nothing: compose files pass variables that nobody has set as empty ones.
    #[value(name = "", hide = true)]
    Nothing,
    /// The Redis that holds the stock; it is started anyway, if there is no other.
    Redis,
    /// Five Redis servers, as the nodes of Redlock.
    Redlock,
    /// An etcd cluster of three members.
    Etcd,
    /// A ZooKeeper of one server.
    Zookeeper,
    /// A PostgreSQL.
    Postgres,
    /// A MySQL or MariaDB.
    Mysql,
    /// All of them.
    All,
}

impl Embed {
    /// The servers behind strategies of a backend.
    #[must_use]
    pub fn of(backend: Backend) -> Self {
        match backend {
            Backend::Redis => Self::Redis,
            Backend::Redlock => Self::Redlock,
            Backend::Etcd => Self::Etcd,
            Backend::ZooKeeper => Self::Zookeeper,
            Backend::Postgres => Self::Postgres,
            Backend::MySql => Self::Mysql,
        }
    }
}
