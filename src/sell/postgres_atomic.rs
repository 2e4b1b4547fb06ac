//! `postgres-atomic`: one statement checks and decrements. The honest winner: no lock is needed.
//!
//! - Algorithm: UPDATE … SET stock = stock − q WHERE stock ≥ q, which also adds the order to the
//!   ledger, as one statement and one transaction; the work follows the sale. CHECK (stock ≥ 0)
//!   stands behind it.
//! - Guarantees: never oversells: whoever waits for the row's lock checks the row as it is then
//!   (PostgreSQL documentation, "Read Committed Isolation Level").
//! - Does not guarantee: that a sale whose reply was lost did not happen; fairness.
//! - Clock: none.
//! - Cancellation: nothing is held. A sale that has been sent stands.
//! - Commands sent: UPDATE and INSERT in one statement; a SELECT that says why, when nothing was
//!   sold. For a cart, or with an idempotency key: BEGIN, that statement for each product, SELECT
//!   and INSERT of the answer, COMMIT, or ROLLBACK.
