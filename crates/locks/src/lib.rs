//! Distributed locks over Redis, several Redis servers (Redlock), etcd, ZooKeeper, Postgres and
//! MySQL.
//!
//! All of them are used in one way. Somebody acquires a lock and is given a [`Lease`]; the lease
//! says while it lasts whether it is lost, and when it is released how it ended. What each lock
//! promises, and what it does not, stands at the head of its file below [`lock`], and in the table
//! of the README.
//!
#![cfg_attr(feature = "redis", doc = "```no_run")]
#![cfg_attr(not(feature = "redis"), doc = "```ignore")]
//! use std::{sync::Arc, time::Duration};
//!
//! use locklab_locks::{
//!     lease::{Acquired, keeper::{Keeper, Wish}, release},
//!     lock::{Release, safe::SafeLock},
//!     wait::Patience,
//!     wires::{metrics::{BackendMetrics, Wire}, redis::{RedisClient, RedisOptions}},
//! };
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn work() {}
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // Once for each process: a client, and the task that releases what was dropped.
//! let options = RedisOptions::new("redis://127.0.0.1:6379");
//! let redis = RedisClient::connect(&options, BackendMetrics::silent(Wire::Redis, "redis")).await?;
//! let (releases, task) = release::channel();
//! let closing = CancellationToken::new();
//! let releasing = tokio::spawn(task.run(closing.clone()));
//!
//! // Once for each lock.
//! let keeper = Keeper::silent(SafeLock::new(Arc::new(redis)), releases);
//!
//! // Each time.
//! let wish = Wish::lasting(Duration::from_secs(10));
//! match keeper.acquire(&"invoice-7".parse()?, &wish, &Patience::default()).await? {
//!     Acquired::Lease(lease) => {
//!         work().await;
//!         if lease.release().await != Release::Released {
//!             eprintln!("the work took longer than the lease: somebody else may have worked too");
//!         }
//!     }
//!     Acquired::Busy | Acquired::Late | Acquired::Outvoted { .. } => eprintln!("somebody else"),
//! }
//!
//! // At the end: releases what was left, once.
//! closing.cancel();
//! releasing.await?;
//! # Ok(()) }
//! ```
//!
//! # Acquiring
//!
//! [`Keeper::acquire`] takes a [`Patience`], which says what to do when somebody else has the lock:
//!
//! | to | policy |
//! |---|---|
//! | give up at once | [`Policy::None`], the default |
//! | try again after delays | [`Policy::Jitter`] and others, within `wait` and `max_retries` |
//! | be told of the release | [`Policy::Notify`] |
//! | stand in line in this process | [`Lines`], and one of the above for who has the turn |
//!
//! With [`Policy::Notify`], one is told by a message of Redis, or waits in the queue that etcd,
//! ZooKeeper, Postgres and MySQL have. [`Policy::Fifo`] makes no difference to [`Keeper::acquire`]:
//! it is for who puts a line in front of it, as below.
//!
//! ```
//! use std::time::Duration;
//!
//! use locklab_locks::wait::{Patience, Policy};
//! use tokio_util::sync::CancellationToken;
//!
//! // Waits for 5 s at most, and no longer than somebody wants the answer.
//! let gone = CancellationToken::new();
//! let told = Patience {
//!     policy: Policy::Notify,
//!     wait: Duration::from_secs(5),
//!     gone: gone.clone(),
//!     ..Patience::default()
//! };
//! # assert_eq!(told.max_retries, 15);
//! ```
//!
//! A line spares the lock service those of this process who would lose, and lets the holder hand
//! its lease to the next, so that nobody has to release and acquire it in between:
//!
//! ```
//! use locklab_locks::{
//!     error::BackendError,
//!     lease::{Acquired, Lease, keeper::{Keeper, Wish}},
//!     name::Name,
//!     wait::{Patience, line::Lines},
//! };
//! use tokio::time::Instant;
//!
//! # async fn work(_: &Lease) {}
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! /// A lease is handed over only while it lasts.
//! fn lines() -> Lines<Name, (), Box<Lease>> {
//!     Lines::new(|lease, ()| !lease.has_ended())
//! }
//!
//! /// Whether it was our turn in time, and the work was done.
//! async fn in_line(
//!     lines: &Lines<Name, (), Box<Lease>>,
//!     keeper: &Keeper,
//!     name: &Name,
//!     wish: &Wish,
//!     patience: &Patience,
//! ) -> Result<bool, BackendError> {
//!     let until = Instant::now() + patience.wait;
//!     let Some(mut turn) = lines.turn(name.clone(), (), until, &patience.gone).await else {
//!         return Ok(false);
//!     };
//!     let wait = until.saturating_duration_since(Instant::now());
//!     let patience = Patience { wait, ..patience.clone() };
//!     let lease = match turn.take() {
//!         Some(lease) => lease,
//!         None => match keeper.acquire(name, wish, &patience).await? {
//!             Acquired::Lease(lease) => lease,
//!             // The turn is dropped here, so the next one tries.
//!             _ => return Ok(false),
//!         },
//!     };
//!     work(&lease).await;
//!     if let Err((turn, lease)) = turn.hand_over(lease) {
//!         // Nobody waits, or the lease has ended.
//!         let _ = lease.release().await;
//!         drop(turn);
//!     }
//!     Ok(true)
//! }
//! # let (releases, _task) = locklab_locks::lease::release::channel();
//! # let keeper = Keeper::silent(locklab_locks::lock::mutex::ProcessMutex::default(), releases);
//! # let (lines, name) = (lines(), "x".parse()?);
//! # let wish = Wish::lasting(std::time::Duration::from_secs(9));
//! # let patience = Patience::default();
//! # let buyer = || in_line(&lines, &keeper, &name, &wish, &patience);
//! # let (first, second, third) = tokio::join!(buyer(), buyer(), buyer());
//! # assert!(first? && second? && third?);
//! # Ok(()) }
//! ```
//!
//! While leases are handed over here, other processes wait. Whoever shares a lock with them should
//! count how often a lease was handed over, and release it instead after a few times.
//!
//! # Knowing that the lease was lost
//!
//! [`Lease::ended`] resolves when the holder must stop, and [`Lease::has_ended`] tells whether it
//! must. A lease that is renewed (`watchdog`, [`RenewedLock`], etcd, ZooKeeper, the databases) is
//! lost when the lock service says so, or has not answered until the deadline: [`Lease::lost`] and
//! [`Lease::is_lost`]. Others end at the deadline of their grant.
//!
//! ```
//! # use locklab_locks::lease::Lease;
//! /// Works while the lease lasts; `None` if it ended before the work did.
//! async fn guarded<T>(lease: &Lease, work: impl Future<Output = T>) -> Option<T> {
//!     tokio::select! {
//!         done = work => Some(done),
//!         () = lease.ended() => None,
//!     }
//! }
//! ```
//!
//! It cannot tell a process that it stood still: when the process goes on, a write that it was
//! about to send is sent, though the lease has ended. Only the store that is written to can refuse
//! that.
//!
//! # Fencing
//!
//! Some locks number their grants, and later ones have higher numbers: [`Lease::fencing_token`].
//! Send it with each write, and let the store refuse a token that is lower than one it has seen, in
//! the same atomic step as the write. In SQL:
//!
//! ```sql
//! UPDATE reports SET text = $2, fence = $1 WHERE id = 7 AND fence <= $1  -- no row: stop
//! ```
//!
//! Whoever also reads should raise the bar first (`UPDATE … SET fence = $1 WHERE fence < $1`): from
//! then on, no earlier holder can change what was read. Both examples of this crate do it in Redis.
//!
//! # Releasing
//!
//! [`Lease::release`] says how the lease ended; see [`Release`]. All but [`Release::Released`] mean
//! that others may have been holders before the work was done.
//!
//! # Cancellation, and the release task
//!
//! Every future here may be dropped at any await. A claim is registered before its request is sent;
//! when the future is dropped, or the reply is lost, or a lease is dropped (in a panic, say), the
//! claim goes to the release task of [`lease::release`]. It releases by the claim's token until the
//! lock service has said that the claim is not the holder, or the ttl has passed. A [`Lease`] that
//! is dropped never blocks its thread. Without a running task, a dropped lease lasts until its ttl;
//! one of ZooKeeper, of a database or of `mutex` lasts for as long as the process.
//!
//! # Each lock
//!
//! Each page says what the lock promises, what it does not, and what it sends; those of
//! servers have an example.
//!
//! | lock | page | feature |
//! |---|---|---|
//! | `safe`: one key of one Redis | [`lock::safe`] | `redis`, the default |
//! | `watchdog`: that key, renewed | [`lock::watchdog`] | `redis` |
//! | `fenced`: that key, and a number for each grant | [`lock::fenced`] | `redis` |
//! | `fenced`, renewed: for leaders | [`RenewedLock`] | `redis` |
//! | `redlock`: a majority of several Redis servers | [`lock::redlock`] | `redis` |
//! | `etcd`: a key that ends with its lease | [`lock::etcd`] | `etcd` |
//! | `zookeeper`: a node that ends with its session | [`lock::zookeeper`] | `zookeeper` |
//! | `postgres-advisory`: a lock of a connection | [`lock::postgres_advisory`] | `postgres` |
//! | `mysql-lock`: a lock of a connection | [`lock::mysql_lock`] | `mysql` |
//! | `mutex`: a table in this process | [`lock::mutex`] | |
//!
//! [`lock::naive`] and [`lock::none`] are there to show what goes wrong without the others.
//!
//! # Where things are
//!
//! Imports run downward, from the first of these rooms to the last:
//!
//! | room | what is in it |
//! |---|---|
//! | [`lease`] | the keeper, who gives leases; being the holder; renewing; the release task |
//! | [`lock`] | what a lock must do, and a file for each that does it |
//! | [`wait`] | what losers do: schedules of delays, being told of a release, lines |
//! | [`wires`] | clients of the servers: connections, health, circuits, and what failures mean |
//! | [`fault`] | what can be made to go wrong on purpose, at which of the named [`step`]s |
//! | [`error`] | what a failed command means to the one who sent it |
//! | [`measure`] | how metrics are declared and recorded, for any recorder of the crate `metrics` |
//! | [`name`], [`token`], [`step`] | what is locked, who owns a claim, what is being done |
//!
//! # Invariants
//!
//! - A claim is registered before its request is sent, so no dropped future can leak a lease.
//! - A reply that was lost is unknown. It is never treated as a failure, or as a success.
//! - A deadline is counted from before the request was sent, by the monotonic clock of tokio.
//! - A lease is released by its token, and nobody frees a stranger's; `naive` alone does.
//! - A lease that was granted too late to be used is never handed out: [`Acquired::Late`].
//! - Renewing ends after [`HOLD_TTLS_MAX`] ttls: a holder that is stuck must not block for ever.
//! - Label values of metrics come from fixed lists. Names never become labels.
//!
//! [`Acquired::Late`]: lease::Acquired::Late
//! [`HOLD_TTLS_MAX`]: lease::renewal::HOLD_TTLS_MAX
//! [`Keeper::acquire`]: lease::keeper::Keeper::acquire
//! [`Lease`]: lease::Lease
//! [`Lease::ended`]: lease::Lease::ended
//! [`Lease::fencing_token`]: lease::Lease::fencing_token
//! [`Lease::has_ended`]: lease::Lease::has_ended
//! [`Lease::is_lost`]: lease::Lease::is_lost
//! [`Lease::lost`]: lease::Lease::lost
//! [`Lease::release`]: lease::Lease::release
//! [`Lines`]: wait::line::Lines
//! [`Patience`]: wait::Patience
//! [`Policy::Fifo`]: wait::Policy::Fifo
//! [`Policy::Jitter`]: wait::Policy::Jitter
//! [`Policy::None`]: wait::Policy::None
//! [`Policy::Notify`]: wait::Policy::Notify
//! [`Release`]: lock::Release
//! [`Release::Released`]: lock::Release::Released
#![cfg_attr(feature = "redis", doc = "[`RenewedLock`]: lock::fenced::renewed::RenewedLock")]

#[doc(hidden)]
pub mod duration;
pub mod error;
pub mod fault;
pub mod lease;
pub mod lock;
pub mod measure;
pub mod name;
pub mod random;
pub mod step;
pub mod token;
pub mod wait;
#[cfg_attr(
    not(any(feature = "redis", feature = "etcd", feature = "zookeeper", feature = "sql")),
    allow(dead_code, reason = "without a client, nothing has a circuit")
)]
pub mod wires;

/// The README, whose example is compiled with the others.
#[cfg(all(doctest, feature = "redis"))]
#[doc = include_str!("../README.md")]
struct Readme;
