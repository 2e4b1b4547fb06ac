//! `mysql-atomic`: one UPDATE checks and decrements. It needs no lock but the row's.
//!
//! - Algorithm: UPDATE … SET stock = stock − q WHERE stock ≥ q; then the order is added to the
//!   ledger, and the row, which is still locked, read back (there is no UPDATE … RETURNING: MariaDB
//!   has RETURNING for INSERT and DELETE), in one transaction that is READ COMMITTED; the work
//!   follows the sale. CHECK (stock ≥ 0) stands behind it, from MySQL 8.0.16 and MariaDB 10.2.1:
//!   older ones read it and ignore it (MySQL Reference Manual, "CHECK Constraints").
//! - Guarantees: never oversells: whoever waits for the row's lock checks the row as it is then. A
//!   snapshot is for SELECT, and not for UPDATE (MySQL Reference Manual, "Consistent Nonlocking
//!   Reads"). Whether there was enough is told by the number of rows that matched, which the driver
//!   asks for (CLIENT_FOUND_ROWS); the version grows with every UPDATE, so as many have changed.
//! - Does not guarantee: that a sale whose reply to the COMMIT was lost did not happen; fairness;
//!   one exchange: the row is locked from the UPDATE until the COMMIT is on the disk. Carts lock
//!   rows in the order of their names, so they cannot deadlock with each other; InnoDB finds a
//!   deadlock with anybody else at once, and undoes one of them (1213, `conflict`).
//! - Clock: `innodb_lock_wait_timeout`, by the database's clock: as long as an answer may take, in
//!   whole seconds; then it is `busy` (1205). That undoes the statement alone (MySQL Reference
//!   Manual, "InnoDB Error Handling"): the ROLLBACK is sent.
//! - Cancellation: dropped before the COMMIT, the connection is closed and the transaction rolled
//!   back. One that waits for the row is only noticed when its wait ends. A COMMIT that has been
//!   sent stands.
//! - Commands sent: SET innodb_lock_wait_timeout, SET TRANSACTION, START TRANSACTION; UPDATE,
//!   INSERT, SELECT, for each product; COMMIT. When nothing was sold: UPDATE, a SELECT that says
//!   why, and ROLLBACK. With an idempotency key also SELECT and INSERT of its answer.
