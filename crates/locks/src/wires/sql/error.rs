//! What a failed statement means, by the codes of the two databases.

use crate::{
    error::{BackendError, Cause},
    wires::{exchange::Exchange, metrics::ErrorKind as Kind},
};

/// SQLSTATE of Postgres: a lock was waited for long enough (55P03, `lock_not_available`), or several locks
/// by one statement (57014, `query_canceled`). MySQL: 1205 (`ER_LOCK_WAIT_TIMEOUT`), 3572 (`ER_LOCK_NOWAIT`).
const CONTENDED: &[&str] = &["55P03", "57014", "1205", "3572"];

/// The database has chosen this transaction to be undone, so that others can go on.
/// Postgres: 40P01 (`deadlock_detected`), 40001 (`serialization_failure`). MySQL: 1213
/// (`ER_LOCK_DEADLOCK`), 3058 (`ER_USER_LEVEL_LOCK_DEADLOCK`), and MariaDB's 1020 (`ER_CHECKREAD`).
const VICTIM: &[&str] = &["40P01", "40001", "1213", "3058", "1020"];

/// A constraint of the table refused it. CHECK: Postgres 23514, MySQL 3819, MariaDB 4025. A unique
/// key: Postgres 23505, MySQL 1062.
const CONSTRAINT: &[&str] = &["23514", "3819", "4025", "23505", "1062"];

/// The server cannot do anything now. Postgres: 53300 (`too_many_connections`), 57P01 to 57P03 (it is
/// being ended, has crashed, starts), 25006 (read only: a standby). MySQL: 1040,
/// 1203 and 1226 (too many connections), 1053 (shutdown), 1317 (the statement was killed), 1927 (the
/// connection was), 1290 and 1836 (read only).
const AWAY: &[&str] = &[
    "53300", "57P01", "57P02", "57P03", "25006", "1040", "1203", "1226", "1053", "1317", "1927",
    "1290", "1836",
];

/// What an error means that sqlx returned for a statement.
pub(super) fn classify(error: sqlx::Error, exchange: &Exchange) -> BackendError {
    let backend = exchange.name();
    let answer = match &error {
        sqlx::Error::Database(answer) => answer,
        // An answer that makes no sense.
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_) => {
            return exchange.refused(error);
        }
        _ => return exchange.unknown(Kind::Io, error),
    };
    // MySQL's SQLSTATEs tell less than its own numbers.
    let number = answer
        .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
        .map(|error| error.number().to_string());
    let code = number.or_else(|| answer.code().map(Into::into)).unwrap_or_default();
    let is = |codes: &[&str]| codes.contains(&code.as_str());
    let cause: Cause = format!("{} ({code})", answer.message()).into();
    if is(CONTENDED) {
        return BackendError::Contended { backend, cause };
    }
    if is(VICTIM) || is(CONSTRAINT) {
        return BackendError::Undone { backend, cause };
    }
    if is(AWAY) {
        exchange.suspect.notify_one();
        return exchange.unavailable(cause);
    }
    exchange.refused(cause)
}
