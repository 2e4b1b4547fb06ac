//! `postgres-row`: the product's row is locked from the read to the commit.
//!
//! - Algorithm: SELECT … FOR UPDATE, work, UPDATE from the row that it returned, in one transaction
//!   (PostgreSQL documentation, "Explicit Locking", "Row-Level Locks").
//! - Guarantees: exact; a connection that dies takes its transaction with it, and sells nothing.
//! - Does not guarantee: that anybody gets in soon. Whoever waits for the row keeps a connection of
//!   the pool, and so does whoever works: the pool is the real queue. Carts whose rows are locked
//!   in `order=given` deadlock; Postgres finds that after a second and undoes one of them
//!   (`conflict`).
//! - Clock: `lock_timeout`, by the database's clock: what is left of `wait`.
//! - Cancellation: dropped at any await, the connection is closed and the transaction rolled back.
//!   One that waits for the row is noticed by Postgres within a second.
//! - Commands sent: BEGIN, SET LOCAL lock_timeout; SELECT … FOR UPDATE; UPDATE and INSERT in one
//!   statement; COMMIT, or ROLLBACK. With an idempotency key also SELECT and INSERT of its answer.
