//! `mysql-row`: the product's row is locked from the read to the commit.
//!
//! - Algorithm: SELECT … FOR UPDATE, work, UPDATE from the row that it returned, in one transaction
//!   that is READ COMMITTED (MySQL Reference Manual, "Locking Reads"). Under the default,
//!   REPEATABLE READ, any later read without FOR UPDATE would see what was there before the wait,
//!   and act on it.
//! - Guarantees: exact; a connection that dies takes its transaction with it, and sells nothing.
//! - Does not guarantee: that anybody gets in soon. Whoever waits for the row keeps a connection of
//!   the pool, and so does whoever works: the pool is the real queue. Carts whose rows are locked
//!   in `order=given` deadlock; InnoDB finds that at once and undoes one of them (`conflict`).
//! - Clock: `innodb_lock_wait_timeout`, by the database's clock: what is left of `wait`, in whole
//!   seconds.
//! - Cancellation: dropped at any await, the connection is closed and the transaction rolled back.
//!   One that waits for the row is only noticed when its wait ends.
//! - Commands sent: SET innodb_lock_wait_timeout, SET TRANSACTION, START TRANSACTION; SELECT … FOR
//!   UPDATE; UPDATE, INSERT, SELECT; COMMIT, or ROLLBACK. With an idempotency key also SELECT and
//!   INSERT of its answer.
