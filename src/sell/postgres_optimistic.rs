//! `postgres-optimistic`: nobody is kept out; whoever finds another version of the row starts
//! again.
//!
//! - Algorithm: SELECT with the version, work, UPDATE … WHERE version = that; no row changed means
//!   that somebody else was faster, and all of it is done again (Kung and Robinson, "On Optimistic
//!   Methods for Concurrency Control", 1981; the version column of every object-relational mapper).
//! - Guarantees: exact. A stock that was changed and changed back has another version.
//! - Does not guarantee: that anybody but the fastest gets anywhere. The work of whoever loses is
//!   wasted, and with N buyers who retry at once that grows like N².
//! - Clock: none.
//! - Cancellation: nothing is held during the work, no connection either. A COMMIT that has been
//!   sent stands.
//! - Commands sent: SELECT; BEGIN, SET LOCAL lock_timeout; UPDATE and INSERT in one statement;
//!   COMMIT, or ROLLBACK. With an idempotency key also SELECT and INSERT of its answer.
