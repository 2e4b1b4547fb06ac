//! What every strategy says of itself: one row each, in the order in which people are shown them.

use strum::EnumCount;

use super::{
    Expected, Family, Strategy, StrategyId,
    server::{Backend, Store},
};
use locklab_locks::step::Step;

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

/// The steps of a purchase under a lock whose leases carry fencing tokens.
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

/// The steps of a purchase that needs no lease and writes what it has read.
const PLAIN_STEPS: &[Step] =
    &[Step::Read, Step::Work, Step::BeforeWrite, Step::Write, Step::AfterWrite];

/// The steps of a purchase that locks the rows which it reads.
const ROW_STEPS: &[Step] =
    &[Step::LockRow, Step::Read, Step::Work, Step::BeforeWrite, Step::Write, Step::AfterWrite];

/// The steps of a purchase that checks and decrements at once.
const TAKE_STEPS: &[Step] = &[Step::Take, Step::AfterTake, Step::Work];

/// What most locks share.
const LOCK: Strategy = Strategy {
    id: StrategyId::None,
    name: "",
    family: Family::Lock,
    store: Store::Redis,
    backend: Backend::Redis,
    summary: "",
    expected: Expected::ExactWithinTtl,
    fails: "",
    steps: LOCK_STEPS,
    sells_carts: true,
    extends_leases: false,
};

/// What most locks share whose leases carry fencing tokens.
const FENCED: Strategy = Strategy { expected: Expected::ExactAlways, steps: FENCED_STEPS, ..LOCK };

/// What most strategies share that need no lease.
const SELLER: Strategy =
    Strategy { family: Family::LockFree, expected: Expected::Exact, steps: PLAIN_STEPS, ..LOCK };

impl Strategy {
    /// The row of a strategy.
    const fn named(self, id: StrategyId) -> Self {
        Self { id, name: id.into_str(), ..self }
    }
}

/// Every strategy. Each stands at the place that its id has among its variants: a strategy without a row
/// does not compile.
pub static STRATEGIES: &[Strategy; StrategyId::COUNT] = &[
    Strategy {
        summary: "GET, work, SET",
        expected: Expected::Oversells,
        fails: "any concurrency",
        steps: PLAIN_STEPS,
        ..LOCK.named(StrategyId::None)
    },
    Strategy {
        summary: "in-process mutex per product",
        expected: Expected::ExactOnOneServer,
        fails: "a second server process",
        ..LOCK.named(StrategyId::Mutex)
    },
    Strategy {
        summary: "SETNX, then EXPIRE, then unconditional DEL",
        expected: Expected::OversellsOrSticks,
        fails: "crash at `between-setnx-and-expire`; work > ttl",
        steps: &[
            Step::Acquire,
            Step::BetweenSetnxAndExpire,
            Step::AfterAcquire,
            Step::Read,
            Step::Work,
            Step::BeforeWrite,
            Step::Write,
            Step::AfterWrite,
            Step::Release,
        ],
        ..LOCK.named(StrategyId::Naive)
    },
    Strategy {
        summary: "SET NX PX token; compare-and-delete script",
        expected: Expected::ExactWithinTtl,
        fails: "work > ttl, pause > ttl",
        ..LOCK.named(StrategyId::Safe)
    },
    Strategy {
        summary: "`safe`, renewed every ttl/3, hold cap, work cancelled when lost",
        expected: Expected::ExactWhileRenewed,
        fails: "whole-process stop (SIGSTOP) longer than ttl",
        ..LOCK.named(StrategyId::Watchdog)
    },
    Strategy {
        summary: "grant and fencing token in one script; write refused when its token is older than the \
              newest seen",
        fails: "none known on one Redis; a failover can roll the counter back",
        ..FENCED.named(StrategyId::Fenced)
    },
    Strategy {
        backend: Backend::Redlock,
        summary: "majority of N independent Redis, validity = ttl − elapsed − drift, enforced",
        expected: Expected::ExactWithinTtl,
        fails: "minority down: works; majority down: `unavailable`; pause > validity",
        extends_leases: true,
        ..LOCK.named(StrategyId::Redlock)
    },
    Strategy {
        backend: Backend::Etcd,
        summary: "key under a lease, the oldest holds; its create_revision is the fencing token",
        fails: "lease lost while paused: `fenced`; majority of members down: `unavailable`",
        ..FENCED.named(StrategyId::Etcd)
    },
    Strategy {
        backend: Backend::ZooKeeper,
        summary: "ephemeral sequential node, the lowest holds; its czxid is the fencing token",
        fails: "session expired while paused: `fenced`; majority of servers down: `unavailable`",
        ..FENCED.named(StrategyId::Zookeeper)
    },
    Strategy {
        store: Store::Postgres,
        backend: Backend::Postgres,
        summary: "session advisory lock on a pinned connection",
        expected: Expected::ExactWhileConnected,
        fails: "connection killed during the write",
        ..LOCK.named(StrategyId::PostgresAdvisory)
    },
    Strategy {
        store: Store::MySql,
        backend: Backend::MySql,
        summary: "GET_LOCK on a pinned connection",
        expected: Expected::ExactWhileConnected,
        fails: "connection killed during the write",
        ..LOCK.named(StrategyId::MysqlLock)
    },
    Strategy {
        store: Store::Postgres,
        summary: "`safe` lock, then SELECT … FOR UPDATE, CHECK (stock ≥ 0), idempotent orders",
        expected: Expected::ExactInLayers,
        fails: "none known: when a layer fails, the next one holds",
        steps: &[
            Step::Acquire,
            Step::AfterAcquire,
            Step::LockRow,
            Step::Read,
            Step::Work,
            Step::BeforeWrite,
            Step::Write,
            Step::AfterWrite,
            Step::Release,
        ],
        ..LOCK.named(StrategyId::Layered)
    },
    Strategy {
        summary: "WATCH, read, work, MULTI/EXEC, retry on conflict",
        fails: "wasted work grows with contention",
        ..SELLER.named(StrategyId::Optimistic)
    },
    Strategy {
        summary: "one script: check and decrement",
        fails: "–",
        steps: TAKE_STEPS,
        ..SELLER.named(StrategyId::Atomic)
    },
    Strategy {
        summary: "requests of a product pass through one consumer, elected across servers, its epoch \
              fenced at the store",
        fails: "consumer loss costs one lease",
        steps: &[
            Step::Enqueue,
            Step::Read,
            Step::Work,
            Step::BeforeWrite,
            Step::Write,
            Step::AfterWrite,
        ],
        sells_carts: false,
        ..SELLER.named(StrategyId::Queue)
    },
    Strategy {
        store: Store::Postgres,
        backend: Backend::Postgres,
        summary: "SELECT … FOR UPDATE, work, UPDATE, in one transaction",
        fails: "the pool is the real queue; `skip@lock-row`",
        steps: ROW_STEPS,
        ..SELLER.named(StrategyId::PostgresRow)
    },
    Strategy {
        store: Store::MySql,
        backend: Backend::MySql,
        summary: "SELECT … FOR UPDATE, work, UPDATE, in one transaction",
        fails: "the pool is the real queue; `skip@lock-row`",
        steps: ROW_STEPS,
        ..SELLER.named(StrategyId::MysqlRow)
    },
    Strategy {
        store: Store::Postgres,
        backend: Backend::Postgres,
        summary: "version column in the WHERE of the UPDATE, retry on conflict",
        fails: "conflicts: wasted work grows with contention",
        ..SELLER.named(StrategyId::PostgresOptimistic)
    },
    Strategy {
        store: Store::MySql,
        backend: Backend::MySql,
        summary: "version column in the WHERE of the UPDATE, retry on conflict",
        fails: "conflicts: wasted work grows with contention",
        ..SELLER.named(StrategyId::MysqlOptimistic)
    },
    Strategy {
        store: Store::Postgres,
        backend: Backend::Postgres,
        summary: "UPDATE … SET stock = stock − q WHERE stock ≥ q, CHECK (stock ≥ 0)",
        fails: "–",
        steps: TAKE_STEPS,
        ..SELLER.named(StrategyId::PostgresAtomic)
    },
    Strategy {
        store: Store::MySql,
        backend: Backend::MySql,
        summary: "UPDATE … SET stock = stock − q WHERE stock ≥ q, INSERT, in one transaction; \
              CHECK (stock ≥ 0)",
        fails: "–",
        steps: TAKE_STEPS,
        ..SELLER.named(StrategyId::MysqlAtomic)
    },
];

impl StrategyId {
    /// What it says of itself.
    #[must_use]
    pub fn row(self) -> &'static Strategy {
        &STRATEGIES[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_stands_at_the_place_of_its_id() {
        for id in StrategyId::all() {
            assert_eq!(id.row().id, id);
        }
    }
}
