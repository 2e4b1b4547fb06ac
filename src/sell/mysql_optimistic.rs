//! `mysql-optimistic`: nobody is kept out; whoever finds another version of the row starts again.
//!
//! - Algorithm: SELECT with the version, work, UPDATE … WHERE version = that; no row matched means
//!   that somebody else was faster, and all of it is done again (Kung and Robinson, "On Optimistic
//!   Methods for Concurrency Control", 1981). The SELECT is a transaction of its own (autocommit),
//!   so each try sees what is there by then: within one REPEATABLE READ transaction, MySQL's
//!   default, all tries would read the snapshot of the first, and conflict for ever (MySQL
//!   Reference Manual, "Consistent Nonlocking Reads").
//! - Guarantees: exact. An UPDATE compares the row as it is when it has its lock, and no snapshot
//!   of it. A stock that was changed and changed back has another version. MySQL counts the rows
//!   that were changed, unless the driver asks for those that matched (CLIENT_FOUND_ROWS), as it
//!   does here; the version grows with every UPDATE, so that both are as many, and none is never
//!   "it was so already".
//! - Does not guarantee: that anybody but the fastest gets anywhere. The work of whoever loses is
//!   wasted, and with N buyers who retry at once that grows like N².
//! - Clock: `innodb_lock_wait_timeout`, by the database's clock: whoever meets a locked row at the
//!   write waits for as long as an answer may take, in whole seconds; then it is `busy` (1205). The
//!   versions need none.
//! - Cancellation: nothing is held during the work, no connection either. Dropped at the write,
//!   before the COMMIT, the connection is closed and the transaction rolled back. A COMMIT that has
//!   been sent stands.
//! - Commands sent: SELECT; SET innodb_lock_wait_timeout, SET TRANSACTION, START TRANSACTION;
//!   UPDATE, and if it matched, INSERT and SELECT (there is no UPDATE … RETURNING); COMMIT, or
//!   ROLLBACK, also after a deadlock with somebody who locks rows in another order (1213), which is
//!   tried again. With an idempotency key also SELECT and INSERT of its answer.
