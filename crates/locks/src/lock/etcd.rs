//! `etcd`: a lease, and a key that lives as long as it; whoever's key was created first is the holder.
//!
//! - Algorithm: the layout of etcd's own package `clientv3/concurrency`: the key is
//!   locklab/{product}/ and the id of its lease in hexadecimal digits, and the holder is the oldest key
//!   below the prefix, so that `etcdctl lock locklab/{product}` and every Mutex of that package contend
//!   with our buyers. With `retry=notify` or `fifo`, a buyer creates its key behind the others, watches
//!   the deletion of the key just before its own, and of no other, and looks again when that is told:
//!   who was before it may have given up, and its own lease may have ended meanwhile, which other
//!   clients have overlooked (etcd's thread 11456). Whoever gives up takes the key away. With any other
//!   policy, a try takes no place in that queue: it creates its key if there is no other, in one
//!   transaction. The lease is renewed while its holder works or waits, and lost when it is gone, or its
//!   key. The revision that created the key is the fencing token.
//! - Guarantees: exact, also when work or a pause exceeds the lease: a late writer is `fenced`. Goes
//!   on while a minority of members is away, once another member is used, or the others have a leader.
//! - Does not guarantee: anything across a cluster that begins anew, for its revisions do as well:
//!   everybody is `fenced` until the product is reset. Nor for a product that is sold under `fenced`
//!   too: the tokens of two locks cannot be compared, and those with the lower numbers are refused until
//!   the next reset, which forgets the bar. A turn to those who try without waiting in the queue.
//! - Clock: deadline = monotonic clock before the lease was asked for + ttl. The members count whole
//!   seconds, rounded up, and at least one and a half times their election timeout (2 s by default), so
//!   their end never comes before ours; a holder that dies keeps others out until theirs. After a
//!   change of leader, all leases begin anew.
//! - Cancellation: safe at every await; the id of the lease is the beginning of the claim's token, so
//!   the release task can revoke it whatever was answered: the key goes with it, and a transaction that
//!   arrives later finds no lease.
//! - Commands sent: Range (the oldest key), LeaseGrant, Txn (create revision of the prefix = 0: put);
//!   LeaseKeepAlive and Range every ttl/3; Txn (create revision of the key > 0: delete), LeaseRevoke.
//!   By waiters: LeaseGrant, Txn (put; the oldest key); Txn (the own key; the newest before it) and
//!   Watch of that until it is first; LeaseKeepAlive every third of the lease. By a reset: Range,
//!   DeleteRange.
//!
//! # Example
//!
#![cfg_attr(feature = "etcd", doc = "```no_run")]
#![cfg_attr(not(feature = "etcd"), doc = "```ignore")]
//! # use std::{sync::Arc, time::Duration};
//! # use locklab_locks::{lease::{Acquired, keeper::{Keeper, Wish}, release::ReleaseQueue},
//! #     wait::{Patience, Policy}, wires::metrics::{BackendMetrics, Wire}};
//! use locklab_locks::{lock::etcd::LeaseKey, wires::etcd::EtcdClient};
//!
//! # async fn example(releases: ReleaseQueue) -> Result<(), Box<dyn std::error::Error>> {
//! let members = ["http://10.0.0.1:2379".to_owned(), "http://10.0.0.2:2379".to_owned()];
//! let metrics = BackendMetrics::silent(Wire::Etcd, "etcd");
//! let etcd = EtcdClient::connect(&members, Duration::from_millis(500), metrics).await?;
//! let keeper = Keeper::silent(LeaseKey::new(&Arc::new(etcd)), releases);
//! let patience = Patience { policy: Policy::Notify, ..Patience::default() };
//! let wish = Wish::lasting(Duration::from_secs(5));
//! if let Acquired::Lease(lease) = keeper.acquire(&"leader".parse()?, &wish, &patience).await? {
//!     println!("leads under {:?}", lease.fencing_token());
//!     lease.ended().await;
//!     println!("{:?}", lease.release().await);
//! }
//! # Ok(()) }
//! ```

#[cfg(feature = "etcd")]
mod lease_key;

#[cfg(feature = "etcd")]
pub use self::lease_key::LeaseKey;
