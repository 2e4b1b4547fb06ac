//! `mysql-row`: the product's row is locked from the read to the commit.
//!
//! - Algorithm: SELECT … FOR UPDATE, work, UPDATE from the row that it returned, in one transaction that is
//!   READ COMMITTED (MySQL Reference Manual, "Locking Reads"). Under the default, REPEATABLE READ, any later
//!   read without FOR UPDATE would see what was there before the wait, and act on it.
//! - Guarantees: exact; a connection that dies takes its transaction with it, and sells nothing.
//! - Does not guarantee: that anybody gets in soon. Whoever waits for the row keeps a connection of the
//!   pool, and so does whoever works: the pool is the real queue. Carts whose rows are locked in
//!   `order=given` deadlock; InnoDB finds that at once and undoes one of them (`conflict`).
//! - Clock: `innodb_lock_wait_timeout`, by the database's clock: what is left of `wait`, in whole seconds.
//! - Cancellation: dropped at any await, the connection is closed and the transaction rolled back. One that
//!   waits for the row is only noticed when its wait ends.
//! - Commands sent: SET innodb_lock_wait_timeout, SET TRANSACTION, START TRANSACTION; SELECT … FOR UPDATE;
//!   UPDATE, INSERT, SELECT; COMMIT, or ROLLBACK. With an idempotency key also SELECT and INSERT of its answer.

use crate::{
    backends::Backend,
    fault::Step,
    lock::rows,
    stock::{Store, sql::Reading},
    strategy::{Expected, Family, Strategy},
};

/// The registry row.
pub static STRATEGY: Strategy = Strategy {
    name: "mysql-row",
    family: Family::LockFree,
    store: Store::MySql,
    backend: Backend::MySql,
    summary: "SELECT … FOR UPDATE, work, UPDATE, in one transaction",
    expected: Expected::Exact,
    fails: "the pool is the real queue; `skip@lock-row`",
    steps: &[
        Step::LockRow,
        Step::Read,
        Step::Work,
        Step::BeforeWrite,
        Step::Write,
        Step::AfterWrite,
    ],
    sells_carts: true,
    extends_leases: false,
    connect: |parts| rows::method(&parts.backends.mysql, Reading::ForUpdate),
};
