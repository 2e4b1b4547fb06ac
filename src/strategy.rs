//! What a strategy says of itself, and how one is named.

pub mod id;
pub mod server;
pub mod table;

use std::fmt;
use tokio::time::Duration;

use strum::IntoStaticStr;

pub use self::id::StrategyId;
use self::server::{Backend, Store};
use locklab_locks::{lock::redlock, step::Step};

/// A named way to sell under contention: one row of the registry.
#[derive(Debug, Clone, Copy)]
pub struct Strategy {
    /// Which one it is.
    pub id: StrategyId,
    /// The value of `lock=`.
    pub name: &'static str,
    /// Whether it grants leases or sells without any.
    pub family: Family,
    /// Which kind of store it sells from.
    pub store: Store,
    /// Who grants its leases.
    pub backend: Backend,
    /// The protocol in a line.
    pub summary: &'static str,
    /// What the test suite demands of it.
    pub expected: Expected,
    /// How it fails, on demand.
    pub fails: &'static str,
    /// The steps of a purchase, in order.
    pub steps: &'static [Step],
    /// Whether it sells several products at once, all or nothing.
    pub sells_carts: bool,
    /// Whether a purchase may ask for its leases to be extended, so often and no more.
    pub extends_leases: bool,
}

impl Strategy {
    /// Whether its leases carry a number that orders them, which the store compares.
    #[must_use]
    pub fn has_fencing_token(&self) -> bool {
        self.steps.contains(&Step::RaiseBar)
    }

    /// How long a lease lasts that was granted for a ttl: all of it, unless several clocks measure it.
    #[must_use]
    pub fn validity(&self, ttl: Duration) -> Duration {
        match self.backend {
            Backend::Redlock => redlock::validity(ttl),
            _ => ttl,
        }
    }

    /// Whether its purchases keep the rows locked from which they sell.
    #[must_use]
    pub fn locks_rows(&self) -> bool {
        self.steps.contains(&Step::LockRow)
    }
}

/// Whether a strategy grants leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Family {
    /// Grants a lease around a read-modify-write.
    Lock,
    /// Needs no lease.
    LockFree,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.into())
    }
}

/// What the test suite demands. A strategy that oversells must be caught at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Expected {
    /// Oversells under any concurrency.
    Oversells,
    /// Oversells when the work outlasts the ttl, and a crash in the middle of its acquire locks for
    /// ever.
    OversellsOrSticks,
    /// Exact within one server process, oversells with two.
    ExactOnOneServer,
    /// Exact while the work takes less than the ttl.
    ExactWithinTtl,
    /// Exact while the process runs, however long the work takes.
    ExactWhileRenewed,
    /// Exact while the connection lives whose session holds the lock.
    ExactWhileConnected,
    /// Exact whatever happens, for nothing can be late.
    Exact,
    /// Exact whatever happens, for the store refuses who is late.
    ExactAlways,
    /// Exact whatever happens, for the layers behind the lock hold when it does not.
    ExactInLayers,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oversells => "oversells",
            Self::OversellsOrSticks => {
                "oversells when work > ttl; stuck for ever when it crashes between the two commands"
            }
            Self::ExactOnOneServer => "exact on 1 server, oversells on 2",
            Self::ExactWithinTtl => "exact while work < ttl",
            Self::ExactWhileRenewed => "exact, also when work > ttl",
            Self::ExactWhileConnected => "exact while the connection lives",
            Self::Exact => "exact",
            Self::ExactAlways => "exact always (late writers get `fenced`)",
            Self::ExactInLayers => "exact always, even when the redis lock fails",
        })
    }
}
