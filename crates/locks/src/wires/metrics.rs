//! What the clients of backends record.

use std::sync::{Arc, OnceLock};

use enum_map::{Enum, EnumMap};
use metrics::{Counter, Gauge, Histogram};
use parking_lot::Mutex;
use strum::IntoStaticStr;
use tokio::time::Duration;

use crate::{
    definitions,
    measure::{self, Kind, Registry},
    wires::circuit::{self, Circuit},
};

/// A command on loopback takes 70 µs; the default command timeout (500 ms) is a bound.
const BACKEND_SECONDS: Kind = Kind::Histogram(&[
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
]);

/// A pool is what buyers wait for under row locks, as long as for any lock.
const POOL_SECONDS: Kind = Kind::Histogram(&[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
]);

definitions! {
    BACKEND_REQUEST_DURATION: "locklab_backend_request_duration_seconds", BACKEND_SECONDS,
        "Time for one exchange with a backend, the wait for a connection included.";
    BACKEND_UP: "locklab_backend_up", Kind::Gauge,
        "Whether the last probe of the backend was answered.";
    BACKEND_ERRORS: "locklab_backend_errors_total", Kind::Counter,
        "Failed exchanges with a backend, by kind.";
    BACKEND_EVICTED_KEYS: "locklab_backend_evicted_keys_total", Kind::Counter,
        "Keys that the backend has thrown away for want of memory: one may have been a lock.";
    CIRCUIT_STATE: "locklab_circuit_state", Kind::Gauge,
        "1 for the state in which the circuit of the backend is, 0 for the others.";
    CIRCUIT_TRANSITIONS: "locklab_circuit_transitions_total", Kind::Counter,
        "Changes of a circuit's state, by the state it changed to.";
    POOL_CONNECTIONS: "locklab_pool_connections", Kind::Gauge,
        "Connections that the pools own, by state.";
    POOL_WAIT: "locklab_pool_wait_seconds", POOL_SECONDS,
        "Time to check a connection out of a pool; multiplexed commands never do, transactions and SQL always.";
    POOL_TIMEOUTS: "locklab_pool_timeouts_total", Kind::Counter,
        "Checkouts that got no connection from the pool in time.";
}

/// What a command was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, IntoStaticStr)]
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

/// What a client is connected to: it says what the client will be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// A Redis that holds locks, and may hold stock.
    Redis,
    /// A node of Redlock.
    RedlockNode,
    /// An etcd cluster.
    Etcd,
    /// A ZooKeeper ensemble.
    ZooKeeper,
    /// The pool of a database from which is sold.
    SqlStock,
    /// The pool of a database whose sessions hold locks.
    SqlLocks,
}

impl Wire {
    /// What it is asked for: those series are there from the start, at 0.
    fn ops(self) -> &'static [Op] {
        use Op::*;
        match self {
            Self::Redis => &[
                Acquire, Renew, Release, Clear, TimeLeft, Waiters, Generation, RaiseBar, Read,
                Write, Take, Tally, Reset, Answer, Record, Enqueue, Next, Info,
            ],
            Self::RedlockNode => &[Acquire, Renew, Release, Clear, TimeLeft, Waiters, Vote, Info],
            Self::Etcd => &[Acquire, Renew, Release, Clear, Enqueue, LeaseGrant, LeaseRevoke],
            Self::ZooKeeper => &[Acquire, Renew, Release, Clear, Enqueue],
            Self::SqlStock => &[
                Begin, LockRow, Commit, Rollback, Generation, RaiseBar, Read, Write, Take, Tally,
                Reset, Answer, Record,
            ],
            Self::SqlLocks => &[Acquire, Renew, Release, Clear, Enqueue, Session],
        }
    }
}

/// Why a command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum ErrorKind {
    Unavailable,
    Timeout,
    Io,
    Refused,
    CircuitOpen,
}

/// Handles of one server's client.
pub struct BackendMetrics {
    /// What errors and metrics call the server.
    pub name: &'static str,
    registry: Arc<Registry>,
    /// Answered and failed. An operation that its [`Wire`] does not name is there from its first use.
    requests: EnumMap<Op, OnceLock<[Histogram; 2]>>,
    up: Gauge,
    errors: EnumMap<ErrorKind, Counter>,
    evicted: Counter,
    /// What the backend said last, since it was started.
    evicted_by_then: Mutex<Option<u64>>,
    circuit_state: EnumMap<circuit::State, Gauge>,
    circuit_transitions: EnumMap<circuit::State, Counter>,
    pool_used: Gauge,
    pool_idle: Gauge,
    pool_wait: Histogram,
    pool_timeouts: Counter,
}

impl BackendMetrics {
    /// Starts every series at 0 of the client of a server, whose name becomes a label value.
    #[must_use]
    pub fn new(registry: &Arc<Registry>, wire: Wire, name: &'static str) -> Self {
        let backend = [("backend", name)];
        let pool =
            |state| POOL_CONNECTIONS.gauge(&**registry, &[("backend", name), ("state", state)]);
        let metrics = Self {
            name,
            requests: EnumMap::default(),
            up: BACKEND_UP.gauge(&**registry, &backend),
            errors: BACKEND_ERRORS.counters(&**registry, &backend, "kind"),
            evicted: BACKEND_EVICTED_KEYS.counter(&**registry, &backend),
            evicted_by_then: Mutex::default(),
            circuit_state: CIRCUIT_STATE.gauges(&**registry, &backend, "state"),
            circuit_transitions: CIRCUIT_TRANSITIONS.counters(&**registry, &backend, "to"),
            pool_used: pool("used"),
            pool_idle: pool("idle"),
            pool_wait: POOL_WAIT.histogram(&**registry, &backend),
            pool_timeouts: POOL_TIMEOUTS.counter(&**registry, &backend),
            registry: Arc::clone(registry),
        };
        for &op in wire.ops() {
            metrics.requests[op].get_or_init(|| metrics.series(op));
        }
        metrics.show_circuit(circuit::State::Closed);
        metrics
    }

    /// Handles that record nothing.
    #[must_use]
    pub fn silent(wire: Wire, name: &'static str) -> Arc<Self> {
        Arc::new(Self::new(&measure::nowhere(), wire, name))
    }

    fn series(&self, op: Op) -> [Histogram; 2] {
        ["ok", "error"].map(|outcome| {
            let labels = [("backend", self.name), ("op", op.into()), ("outcome", outcome)];
            BACKEND_REQUEST_DURATION.histogram(&*self.registry, &labels)
        })
    }

    /// A closed circuit, whose changes are recorded.
    pub(super) fn circuit(self: &Arc<Self>) -> Circuit {
        let metrics = Arc::clone(self);
        Circuit::new(move |state| metrics.circuit_changed(state))
    }

    /// A command was answered or failed.
    pub fn request(&self, op: Op, took: Duration, ok: bool) {
        let [answered, failed] = self.requests[op].get_or_init(|| self.series(op));
        if ok { answered } else { failed }.record(took);
    }

    /// A command failed.
    pub fn error(&self, kind: ErrorKind) {
        self.errors[kind].increment(1);
    }

    /// The last probe was answered, or not.
    pub fn up(&self, up: bool) {
        self.up.set(f64::from(u8::from(up)));
    }

    /// The backend says how many keys it has evicted since it was started.
    pub fn evicted(&self, by_now: u64) {
        // What happened before anybody looked is not news.
        let by_then = self.evicted_by_then.lock().replace(by_now).unwrap_or(by_now);
        // It was started again if that is less.
        self.evicted.increment(by_now.checked_sub(by_then).unwrap_or(by_now));
    }

    /// The circuit has changed its state.
    fn circuit_changed(&self, state: circuit::State) {
        self.circuit_transitions[state].increment(1);
        self.show_circuit(state);
    }

    fn show_circuit(&self, state: circuit::State) {
        for (of, gauge) in &self.circuit_state {
            gauge.set(f64::from(u8::from(of == state)));
        }
    }

    /// How many pooled connections are in use and idle.
    pub fn pool_connections(&self, used: u32, idle: u32) {
        self.pool_used.set(used);
        self.pool_idle.set(idle);
    }

    /// A connection was checked out, or not, after this long.
    pub fn pool_wait(&self, wait: Duration) {
        self.pool_wait.record(wait);
    }

    /// No connection could be checked out in time.
    pub fn pool_timeout(&self) {
        self.pool_timeouts.increment(1);
    }
}
