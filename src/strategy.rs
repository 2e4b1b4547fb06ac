//! What a strategy says of itself, and how one is named.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::{
    backends::{Backend, Backends},
    fault::Step,
    lock::{Method, STRATEGIES},
    recorder::Recorder,
    release::ReleaseQueue,
    stock::Store,
};

/// A named way to sell under contention: one row of the registry.
#[derive(Debug)]
pub struct Strategy {
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
    /// Builds it.
    pub connect: fn(&Parts<'_>) -> Method,
}

impl Strategy {
    /// Whether its leases carry a number that orders them, which the store compares.
    #[must_use]
    pub fn has_fencing_token(&self) -> bool {
        self.steps.contains(&Step::RaiseBar)
    }

    /// Whether its purchases keep the rows locked from which they sell.
    #[must_use]
    pub fn locks_rows(&self) -> bool {
        self.steps.contains(&Step::LockRow)
    }
}

/// What a strategy can be built from.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// The configured servers.
    pub backends: &'a Backends,
    /// Where claims go that nobody else will end.
    pub releases: &'a ReleaseQueue,
    /// Records what purchases do.
    pub recorder: &'a Recorder,
}

/// The steps of a purchase under a lock, unless its acquire has some of its own.
pub const LOCK_STEPS: &[Step] = &[
    Step::Acquire,
    Step::AfterAcquire,
    Step::Read,
    Step::Work,
    Step::BeforeWrite,
    Step::Write,
    Step::AfterWrite,
    Step::Release,
];

/// The same, for a lock whose leases carry fencing tokens.
pub const FENCED_STEPS: &[Step] = &[
    Step::Acquire,
    Step::AfterAcquire,
    Step::RaiseBar,
    Step::Read,
    Step::Work,
    Step::BeforeWrite,
    Step::Write,
    Step::AfterWrite,
    Step::Release,
];

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

/// A strategy by its place in [`STRATEGIES`]: small, `Copy`, and an index for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct StrategyId(usize);

impl StrategyId {
    /// Every strategy.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..STRATEGIES.len()).map(Self)
    }

    /// The place in the registry.
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }

    /// The row in the registry.
    #[must_use]
    pub fn row(self) -> &'static Strategy {
        STRATEGIES[self.0]
    }
}

impl From<StrategyId> for &'static str {
    fn from(id: StrategyId) -> Self {
        id.row().name
    }
}

impl TryFrom<String> for StrategyId {
    type Error = UnknownStrategy;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

/// `safe`, as in the PHP lab's own HTTP server.
impl Default for StrategyId {
    fn default() -> Self {
        Self(STRATEGIES.iter().position(|row| row.name == "safe").unwrap_or(0))
    }
}

/// No strategy has that name; [`STRATEGIES`] lists those that exist.
#[derive(Debug, thiserror::Error)]
#[error("expected one of {}", names().join(", "))]
pub struct UnknownStrategy;

/// The names of all strategies.
#[must_use]
pub fn names() -> Vec<&'static str> {
    STRATEGIES.iter().map(|strategy| strategy.name).collect()
}

impl FromStr for StrategyId {
    type Err = UnknownStrategy;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        STRATEGIES.iter().position(|row| row.name == name).map(Self).ok_or(UnknownStrategy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_parse_back() {
        for id in StrategyId::all() {
            assert_eq!(id.row().name.parse::<StrategyId>().unwrap(), id);
        }
        assert!("safee".parse::<StrategyId>().is_err());
        assert!("SAFE".parse::<StrategyId>().is_err());
    }
}
