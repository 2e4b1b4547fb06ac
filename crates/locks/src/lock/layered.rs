//! `layered`: the lock of `safe`, and behind it a row lock, and behind that CHECK (stock ≥ 0).
//!
//! - Algorithm: SET NX PX at Redis, of lock:postgres/{product}, keeps most buyers from the database; who gets in sells in one transaction:
//!   SELECT … FOR UPDATE, work, UPDATE … SET stock = stock − q, and the order under its unique id. When Redis
//!   does not answer, buyers go on without its lock, and the reply says so (`degraded`).
//! - Guarantees: exact, for each layer is enough by itself: when the lock has expired, the next one waits for
//!   the row and finds what is left; when a row is read without FOR UPDATE (`skip@lock-row`), the lock keeps
//!   others out; when both fail, the table refuses a stock below nothing, and the transaction is undone
//!   (`conflict`). An order that is sent twice is sold once: its answer is kept in the same transaction.
//! - Does not guarantee: that Redis spares the database anything while it is away: then the pool is the queue.
//! - Clock: that of `safe`; `lock_timeout` of Postgres: `wait`.
//! - Cancellation: safe at every await: the lease is released by the release task, and the transaction's
//!   connection is closed, so it is rolled back.
//! - Commands sent: those of `safe` to Redis, and those of `postgres-row` to Postgres.

use std::borrow::Cow;

use super::safe::{KeyLock, Variant};
use crate::name::Name;

/// The one before a database, which guards itself as well.
pub struct Layered;

impl Variant for Layered {
    const IS_DISPENSABLE: bool = true;

    /// The product of that name in Redis is another one, with a lock of its own.
    fn called(name: &Name) -> Cow<'_, str> {
        format!("postgres/{name}").into()
    }
}

/// The lock of `layered`.
pub type LayeredLock = KeyLock<Layered>;
