//! The values of labels that nothing but metrics has.

use strum::{IntoStaticStr, VariantArray};

use crate::backends::BackendError;

/// What a command was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Op {
    Acquire,
    Renew,
    Release,
    Clear,
    TimeLeft,
    Waiters,
    Generation,
    RaiseBar,
    Read,
    Write,
    Take,
    Tally,
    Reset,
    Answer,
    Record,
    Enqueue,
    Next,
    Vote,
    LeaseGrant,
    LeaseRevoke,
    Begin,
    LockRow,
    Commit,
    Rollback,
    Session,
    Info,
}

impl Op {
    /// What a backend of this name is asked for: series of anything else would never move.
    pub(super) fn of(backend: &str) -> &'static [Self] {
        use Op::*;
        match backend {
            "redis" => &[
                Acquire, Renew, Release, Clear, TimeLeft, Waiters, Generation, RaiseBar, Read,
                Write, Take, Tally, Reset, Answer, Record, Enqueue, Next, Info,
            ],
            "etcd" => &[Acquire, Renew, Release, Clear, Enqueue, LeaseGrant, LeaseRevoke],
            "zookeeper" => &[Acquire, Renew, Release, Clear, Enqueue],
            "postgres" | "mysql" => &[
                Begin, LockRow, Commit, Rollback, Generation, RaiseBar, Read, Write, Take, Tally,
                Reset, Answer, Record,
            ],
            "postgres-locks" | "mysql-locks" => &[Acquire, Renew, Release, Clear, Enqueue, Session],
            // A node of Redlock.
            _ => &[Acquire, Renew, Release, Clear, TimeLeft, Waiters, Vote, Info],
        }
    }
}

/// Why a command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum ErrorKind {
    Unavailable,
    Timeout,
    Io,
    Refused,
    CircuitOpen,
}

/// How an attempt, or the last attempt of an acquisition, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Attempted {
    Acquired,
    Contended,
    /// Nobody has a majority of the nodes.
    Split,
    /// Granted, but by the time of the answer the lease had ended.
    Late,
    Unknown,
    Error,
}

impl Attempted {
    /// For an attempt that failed.
    #[must_use]
    pub fn of_error(error: &BackendError) -> Self {
        match error {
            BackendError::Unknown { .. } => Self::Unknown,
            BackendError::Contended { .. } => Self::Contended,
            _ => Self::Error,
        }
    }
}

/// Why a request was turned away before it reached the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Shed {
    Overload,
    Draining,
    QueueFull,
}
