//! `postgres-optimistic`: nobody is kept out; whoever finds another version of the row starts again.
//!
//! - Algorithm: SELECT with the version, work, UPDATE … WHERE version = that; no row changed means that
//!   somebody else was faster, and all of it is done again (Kung and Robinson, "On Optimistic Methods for
//!   Concurrency Control", 1981; the version column of every object-relational mapper).
//! - Guarantees: exact. A stock that was changed and changed back has another version.
//! - Does not guarantee: that anybody but the fastest gets anywhere. The work of whoever loses is
//!   wasted, and with N buyers who retry at once that grows like N².
//! - Clock: none.
//! - Cancellation: nothing is held during the work, no connection either. A COMMIT that has been sent stands.
//! - Commands sent: SELECT; BEGIN, SET LOCAL lock_timeout; UPDATE and INSERT in one statement; COMMIT, or
//!   ROLLBACK. With an idempotency key also SELECT and INSERT of its answer.

use crate::{
    backends::Backend,
    fault::Step,
    lock::rows,
    stock::{Store, sql::Reading},
    strategy::{Expected, Family, Strategy},
};

/// The registry row.
pub static STRATEGY: Strategy = Strategy {
    name: "postgres-optimistic",
    family: Family::LockFree,
    store: Store::Postgres,
    backend: Backend::Postgres,
    summary: "version column in the WHERE of the UPDATE, retry on conflict",
    expected: Expected::Exact,
    fails: "conflicts: wasted work grows with contention",
    steps: &[Step::Read, Step::Work, Step::BeforeWrite, Step::Write, Step::AfterWrite],
    sells_carts: true,
    extends_leases: false,
    connect: |parts| rows::method(&parts.backends.postgres, Reading::Plain),
};
