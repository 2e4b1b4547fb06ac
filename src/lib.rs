//! Locklab sells one scarce item over HTTP under whichever lock a request names, and tells the
//! truth about what happened.
//!
//! # Where things are
//!
//! `POST /purchase?lock=safe` passes four rooms: `http/purchase.rs` parses and validates it,
//! [`shop`] is the critical section, `lock/safe.rs` grants and ends the lease, `stock/redis.rs`
//! reads, writes and keeps the ledger.
//!
//! | room | what is in it |
//! |---|---|
//! | [`cli`] | flags, environment variables, subcommands; nothing else reads the environment |
//! | [`server`], [`healthcheck`], [`ask`] | the subcommands, and one request to a server |
//! | [`lab`] | puts the parts together, and takes them apart in the right order |
//! | [`scenario`], [`report`] | what the command line shows of locks, and how it is told |
//! | [`http`] | router, handlers, errors: the only place that names axum |
//! | [`shop`] | the critical section; no axum, no redis, no clap |
//! | [`order`] | orders, outcomes, receipts |
//! | [`lock`] | the list of strategies, and what a lock must do; one file per strategy |
//! | [`lease`] | being the holder: how a lease is acquired, watched and released |
//! | [`strategy`] | what a strategy says of itself |
//! | [`fault`] | named steps, and what can be made to go wrong at them |
//! | [`wait`] | what losers do: schedules of delays, being told of a release, the loops that try again |
//! | [`mod@line`] | first come, first served, within one server |
//! | [`release`], [`renewal`] | end claims that nobody else will end; keep leases alive |
//! | [`stock`] | the racy stock and the exact ledger, one file per store |
//! | [`history`], [`recorder`] | what every purchase did, step by step, and how it gets to the store |
//! | [`answer`] | the answers to orders with an idempotency key |
//! | [`verdict`] | pure judgement over what was recorded |
//! | [`backends`], [`circuit`] | connections, health, embedded servers; the circuit breaker |
//! | [`metrics`] | every name, help, label and bucket |
//! | [`telemetry`], [`span`], [`purchase_log`] | log lines, and spans for OpenTelemetry |
//! | [`product`], [`token`], [`run`], [`duration`], [`clock`], [`cpu`], [`sample`] | small things that everybody uses |
//!
//! # Invariants
//!
//! - Sales are counted by the store, in the same atomic step as the write, never by this process.
//! - A claim is registered before its acquire is sent, so no dropped future can leak a lease.
//! - A reply that was lost is unknown. It is never treated as a failure, or as a success.
//! - Label values come from fixed lists. Product names never become labels.

pub mod backends;
pub mod cli;
pub mod client;
pub mod embedded;
pub mod history;
pub mod http;
pub mod lab;
pub mod measure;
pub mod order;
pub mod outcome;
pub mod product;
pub mod report;
pub mod run;
pub mod scenario;
pub mod sell;
pub mod server;
pub mod shop;
pub mod stock;
pub mod strategy;
pub mod telemetry;
pub mod verdict;

pub use locklab_locks::{duration, error, fault, lease, lock, name, step, token, wait, wires};
