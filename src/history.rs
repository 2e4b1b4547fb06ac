//! The history: what every purchase of a product did, step by step, and when.
//!
//! Times are nanoseconds of the machine's monotonic clock, which all processes of one machine
//! share; `clock` names that machine since its last start, and only times of the same clock can be
//! compared. What the store did needs no clock: its ledger counts units sold, and that count, which
//! every sale makes larger, orders reads and writes wherever they came from.

pub mod edn;
pub mod lease;
#[cfg(test)]
pub mod shaken;
#[cfg(test)]
pub mod simulated;
pub mod trace;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use utoipa::ToSchema;

use crate::{outcome::Outcome, run::RunId};
use locklab_locks::step::Step;

/// What one server recorded of one order: all of it, or, of a long one, a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Names the order; the same in every record of it, whichever server wrote it.
    pub order_id: String,
    /// Names the server process.
    pub server: String,
    /// Names the clock of its times.
    pub clock: String,
    /// The strategy.
    pub lock: String,
    /// The load test that it belongs to, if its client named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// What happened, in the order of time.
    pub events: Vec<Event>,
}

/// Something that happened in a purchase.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// When it was known to have happened: for what a server answers, when the answer was there.
    pub at_ns: u64,
    /// What it was.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What can happen. `since_ns` is when the request to the server was sent: the effect lies between
#[doc = " that and `at_ns`. They are listed in the order in which they follow each other within \
          a purchase."]
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, IntoStaticStr, ToSchema,
)]
#[serde(tag = "type", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[schema(as = Kind)]
pub enum EventKind {
    /// Somebody wants units.
    Invoke {
        /// How many.
        quantity: u32,
    },
    /// The lock was granted.
    Granted {
        /// When it was asked for.
        since_ns: u64,
        /// The first digits of the owner id; a lease that is handed over keeps it.
        token: String,
        /// The number that orders the lease, if the lock issues one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fencing_token: Option<u64>,
        /// When the lease ends unless it is renewed; absent if it never does by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until_ns: Option<u64>,
        /// Whether the lock promised that nobody else holds it.
        exclusive: bool,
    },
    /// The stock was read.
    Read {
        /// When it was asked for.
        since_ns: u64,
        /// What it was.
        stock: i64,
        /// Units sold by then, in the same instant, from the ledger.
        sold: i64,
    },
    /// The store recorded the sale.
    Written {
        /// When it was sent.
        since_ns: u64,
        /// What the stock became.
        stock: i64,
        /// How many units the sale took.
        quantity: u32,
        /// Units sold from then on, this sale included, from the ledger.
        sold: i64,
        /// The fencing token that the write carried.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fencing_token: Option<u64>,
    },
    /// The lease was ended, or found to have ended.
    Released {
        /// When the release was sent.
        since_ns: u64,
        #[doc = " When the lease ended at the latest, renewals included; absent if it never does \
                  by itself."]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until_ns: Option<u64>,
        /// `released`, `expired`, `stolen`, `unknown` or `handed_over`.
        how: String,
    },
    /// The units were sold.
    Ok,
    /// Certainly nothing was sold.
    Fail {
        /// How it ended.
        outcome: Outcome,
    },
    /// A reply was lost, or the purchase broke off: it may have had an effect, or may yet have one.
    Unknown {
        /// During which step.
        step: Step,
    },
}
