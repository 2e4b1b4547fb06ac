//! What the clients of backends record.

use metrics::{Counter, Gauge, Histogram};
use metrics_exporter_prometheus::PrometheusRecorder;
use parking_lot::Mutex;
use strum::IntoStaticStr;
use strum::VariantArray;
use tokio::time::Duration;

use crate::{measure::definitions as def, wires::circuit};

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
    pub fn of(backend: &str) -> &'static [Self] {
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

/// Handles of one server's client.
pub struct BackendMetrics {
    /// What errors and metrics call the server.
    pub name: &'static str,
    /// By [`Op`]; none of those that this backend is never asked for.
    requests: Vec<Option<[Histogram; 2]>>,
    up: Gauge,
    errors: Vec<Counter>,
    evicted: Counter,
    /// What the backend said last, since it was started.
    evicted_by_then: Mutex<Option<u64>>,
    circuit_state: Vec<Gauge>,
    circuit_transitions: Vec<Counter>,
    pool_used: Gauge,
    pool_idle: Gauge,
    pool_wait: Histogram,
    pool_timeouts: Counter,
}

impl BackendMetrics {
    /// Starts every series at 0 of the client of a server, whose name becomes a label value.
    #[must_use]
    pub fn new(recorder: &PrometheusRecorder, name: &'static str) -> Self {
        let backend = ("backend", name);
        let request = |op: &Op| {
            let op = ("op", op.into());
            ["ok", "error"].map(|outcome| {
                let labels = [backend, op, ("outcome", outcome)];
                def::BACKEND_REQUEST_DURATION.histogram(recorder, &labels)
            })
        };
        let pool = |state| def::POOL_CONNECTIONS.gauge(recorder, &[backend, ("state", state)]);
        let metrics = Self {
            name,
            requests: Op::VARIANTS
                .iter()
                .map(|op| Op::of(name).contains(op).then(|| request(op)))
                .collect(),
            up: def::BACKEND_UP.gauge(recorder, &[backend]),
            errors: def::BACKEND_ERRORS.counters::<ErrorKind>(recorder, &[backend], "kind"),
            evicted: def::BACKEND_EVICTED_KEYS.counter(recorder, &[backend]),
            evicted_by_then: Mutex::default(),
            circuit_state: circuit::State::VARIANTS
                .iter()
                .map(|&state| {
                    def::CIRCUIT_STATE.gauge(recorder, &[backend, ("state", state.into())])
                })
                .collect(),
            circuit_transitions: def::CIRCUIT_TRANSITIONS.counters::<circuit::State>(
                recorder,
                &[backend],
                "to",
            ),
            pool_used: pool("used"),
            pool_idle: pool("idle"),
            pool_wait: def::POOL_WAIT.histogram(recorder, &[backend]),
            pool_timeouts: def::POOL_TIMEOUTS.counter(recorder, &[backend]),
        };
        metrics.show_circuit(circuit::State::Closed);
        metrics
    }

    /// A command was answered or failed.
    pub fn request(&self, op: Op, took: Duration, ok: bool) {
        let requests = &self.requests[op as usize];
        debug_assert!(requests.is_some(), "{op:?} is in no list of `Op::of`");
        if let Some(by_outcome) = requests {
            by_outcome[usize::from(!ok)].record(took);
        }
    }

    /// A command failed.
    pub fn error(&self, kind: ErrorKind) {
        self.errors[kind as usize].increment(1);
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
    pub fn circuit(&self, state: circuit::State) {
        self.circuit_transitions[state as usize].increment(1);
        self.show_circuit(state);
    }

    fn show_circuit(&self, state: circuit::State) {
        for (gauge, of) in self.circuit_state.iter().zip(circuit::State::VARIANTS) {
            gauge.set(f64::from(u8::from(*of == state)));
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
