//! Locklab sells one scarce item over HTTP under whichever lock a request names, and tells the
//! truth about what happened.
//!
//! # Where things are
//!
//! Two packages: [`locklab_locks`] (`crates/locks/`) acquires, renews and releases a lock under any
//! protocol; this one is everything else, and uses it as anybody else would.
//!
//! `POST /purchase?lock=safe` passes four rooms: `http/purchase.rs` parses and validates it,
//! [`shop`] is the critical section, the keeper of `crates/locks/src/lock/safe.rs` grants and ends the
//! lease, `stock/redis.rs` reads, writes and keeps the ledger. A scenario of the command line enters
//! at the shop, so both exercise one code.
//!
//! Every room imports only rooms below it in this table; `tests/it/tidy.rs` holds each file to that.
//!
//! | room | what is in it |
//! |---|---|
//! | [`server`], [`telemetry`] | `locklab serve`; its log lines and spans |
//! | [`scenario`] | what the command line shows of locks |
//! | [`lab`] | puts the parts together, and takes them apart in the right order |
//! | [`http`] | requests to orders, receipts to replies: the only place that names axum |
//! | [`shop`] | the critical section; `shop/shelf.rs` builds each strategy |
//! | [`sell`] | the strategies that need no lease, one file each |
//! | [`report`] | how findings are told, as text, JSON and pages |
//! | [`cli`] | flags, environment variables, subcommands; nothing else reads the environment |
//! | [`verdict`] | pure judgement over what was recorded |
//! | [`order`] | an order, its receipt, and how both are logged, traced and recorded |
//! | [`stock`] | the racy stock and the exact ledger, one file per store; answers to idempotency keys |
//! | [`history`] | what every purchase did, step by step |
//! | [`backends`], [`embedded`] | the configured servers; private servers that Locklab starts |
//! | [`strategy`] | the names of strategies, and what each says of itself: one table |
//! | [`measure`] | metrics and their exporter, clocks, processor time, samples |
//! | [`client`], [`outcome`], [`product`], [`run`] | small things that everybody uses |
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

// Paths by which tests, documents and users of this library name the locks.
pub use locklab_locks::{duration, error, fault, lease, lock, name, step, token, wait, wires};
