//! Wires: clients of lock services and databases; how each connects, what its health is, and what its failures
//! mean.

pub mod circuit;
#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(not(feature = "etcd"))]
#[doc(hidden)]
#[path = "wires/no_etcd.rs"]
pub mod etcd;
#[cfg(any(feature = "etcd", feature = "redis", feature = "sql", feature = "zookeeper"))]
mod exchange;
pub mod metrics;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "redis")]
pub mod redlock;
#[cfg(feature = "sql")]
pub mod sql;
pub mod subscription;
#[cfg(feature = "zookeeper")]
pub mod zookeeper;
#[cfg(not(feature = "zookeeper"))]
#[doc(hidden)]
#[path = "wires/no_zookeeper.rs"]
pub mod zookeeper;
