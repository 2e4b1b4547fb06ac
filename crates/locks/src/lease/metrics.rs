//! What is recorded of leases, by whose lock it is.

use enum_map::{Enum, EnumMap};
use metrics::{Counter, NoopRecorder};
use strum::IntoStaticStr;

use super::release::Cause;
use crate::{
    definitions,
    measure::{Kind, Registry},
};

definitions! {
    LOCK_AMBIGUOUS_ACQUIRES: "locklab_lock_ambiguous_acquires_total", Kind::Counter,
        "Acquires of which nobody knows whether they were granted: the reply was lost, or not waited for.";
    LOCK_RENEWALS: "locklab_lock_renewals_total", Kind::Counter,
        "Renewals of leases, by outcome; unknown means that there was no answer, or too few.";
    LOCK_ORPHANS: "locklab_lock_orphans_total", Kind::Counter,
        "Claims that no purchase ended, by cause; all but crashes are left to the release task.";
}

/// How a renewal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Renewal {
    /// The lease lasts longer.
    Renewed,
    /// Somebody else, or nobody, holds the lock.
    Lost,
    /// There was no answer, or too few. That is not yet a loss: the local deadline decides.
    Unknown,
}

/// Handles of one lock.
pub struct LeaseMetrics {
    pub(super) ambiguous: Counter,
    pub(super) orphans: EnumMap<Cause, Counter>,
    pub(super) renewals: EnumMap<Renewal, Counter>,
}

impl LeaseMetrics {
    /// Starts every series at 0 of the lock of this name.
    #[must_use]
    pub fn new(registry: &Registry, lock: &'static str) -> Self {
        let lock = [("lock", lock)];
        Self {
            ambiguous: LOCK_AMBIGUOUS_ACQUIRES.counter(registry, &lock),
            orphans: LOCK_ORPHANS.counters(registry, &lock, "cause"),
            renewals: LOCK_RENEWALS.counters(registry, &lock, "outcome"),
        }
    }

    /// Handles that record nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(&NoopRecorder, "")
    }
}
