//! `zookeeper`: a node that ends with a session, numbered by ZooKeeper; the lowest number holds.
//!
//! - Algorithm: the layout of Curator's InterProcessMutex: below /locklab/{product}, each contender has
//!   a node _c_{GUID}-lock-{number}, ephemeral and sequential, and that with the lowest number is the
//!   holder's. Only the number counts, so clients that name their nodes otherwise, as kazoo does,
//!   contend with ours. A try takes no place in the queue: it looks whether anybody contends before it
//!   creates its node, and deletes it again if it was not the first. The lease is renewed by looking
//!   whether the node is there, and is one of the present session. The transaction that created the
//!   node (czxid) is the fencing token: the number begins anew with a new parent, and the czxid does
//!   not.
//! - Guarantees: exact, also when work or a pause exceeds the session: a late writer is `fenced`. Goes
//!   on while a minority of servers is away.
//! - Does not guarantee: anything across an ensemble that begins anew, for its transactions do as well:
//!   everybody is `fenced` until the product is reset. Nor for a product that is sold under `fenced` or
//!   `etcd` too: their tokens cannot be compared. Nor that a dead holder keeps others out for no longer
//!   than `ttl`, which has no say in it: the session timeout does.
//! - Clock: all nodes of this server belong to one session. It ends when ZooKeeper has not heard of it
//!   for the session timeout, counted by its leader from the last message. So a lease lasts for `ttl`
//!   or the session timeout, whichever is shorter; its deadline is counted from our monotonic clock
//!   before the node was created, or seen the last time. While the connection is lost, nobody can see
//!   the node, and the deadline stops the work.
//! - Cancellation: safe at every await; the GUID is the claim's token, so the release task finds the
//!   node whatever was answered. A create without an answer is looked for and never sent again; what is
//!   asked under the same session is answered after it. A claim whose faults contain a crash has a
//!   session of its own, which the crash abandons, as that of a process that dies.
//! - Commands sent: getChildren, create2, getChildren, and delete if it was not the first; createContainer
//!   where the product has no node yet. sync, getChildren and exists every ttl/3. To release: sync,
//!   getChildren, delete. By a reset: sync, getChildren, delete of each.
//!
//! # Example
//!
#![cfg_attr(feature = "zookeeper", doc = "```no_run")]
#![cfg_attr(not(feature = "zookeeper"), doc = "```ignore")]
//! # use std::{sync::Arc, time::Duration};
//! # use locklab_locks::{lease::{Acquired, keeper::{Keeper, Wish}, release::ReleaseQueue},
//! #     wait::{Patience, Policy}, wires::metrics::{BackendMetrics, Wire}};
//! use locklab_locks::{
//!     lock::zookeeper::SessionNode,
//!     wires::zookeeper::{ZooKeeperClient, ZooKeeperOptions},
//! };
//!
//! # async fn example(releases: ReleaseQueue) -> Result<(), Box<dyn std::error::Error>> {
//! let options = ZooKeeperOptions {
//!     hosts: "10.0.0.1:2181,10.0.0.2:2181,10.0.0.3:2181".parse()?,
//!     timeout: Duration::from_millis(500),
//!     session_timeout: Duration::from_secs(5),
//! };
//! let metrics = BackendMetrics::silent(Wire::ZooKeeper, "zookeeper");
//! let zookeeper = Arc::new(ZooKeeperClient::connect(options, metrics).await);
//! let keeper = Keeper::silent(SessionNode::new(&zookeeper), releases);
//! let patience = Patience { policy: Policy::Notify, ..Patience::default() };
//! let wish = Wish::lasting(Duration::from_secs(5));
//! if let Acquired::Lease(lease) = keeper.acquire(&"leader".parse()?, &wish, &patience).await? {
//!     println!("leads under {:?}", lease.fencing_token());
//!     lease.ended().await;
//!     println!("{:?}", lease.release().await);
//! }
//! # Ok(()) }
//! ```

#[cfg(feature = "zookeeper")]
mod contenders;
#[cfg(feature = "zookeeper")]
mod session_node;

#[cfg(feature = "zookeeper")]
pub use self::session_node::SessionNode;
