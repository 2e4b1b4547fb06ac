//! A circuit breaker in front of a backend: while it is away, callers are told at once, instead of
//! each waiting for the timeout of its own command.

use std::sync::Arc;

use enum_map::Enum;
use failsafe::{
    Instrument, StateMachine,
    backoff::{self, Constant},
    failure_policy::{self, ConsecutiveFailures},
};
use parking_lot::Mutex;
use serde::Serialize;
use strum::IntoStaticStr;
use tokio::time::Duration;
use utoipa::ToSchema;

/// That many commands without an answer, in a row, open the circuit.
const FAILURES: u32 = 5;
/// How long it stays open before commands are let through again to see.
const OPEN: Duration = Duration::from_millis(500);

/// Whether commands are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, IntoStaticStr, Serialize, ToSchema)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// They are.
    Closed,
    /// They are refused.
    Open,
    /// They are, and the first answer, or the first failure, decides.
    HalfOpen,
}

/// The circuit of one backend.
pub struct Circuit {
    machine: StateMachine<ConsecutiveFailures<Constant>, Reporter>,
    state: Arc<Mutex<State>>,
}

impl Circuit {
    /// A closed circuit, which tells of each change.
    #[must_use]
    pub fn new(on_change: impl Fn(State) + Send + Sync + 'static) -> Self {
        let state = Arc::new(Mutex::new(State::Closed));
        let reporter = Reporter { state: Arc::clone(&state), on_change: Box::new(on_change) };
        let policy = failure_policy::consecutive_failures(FAILURES, backoff::constant(OPEN));
        Self { machine: StateMachine::new(policy, reporter), state }
    }

    /// Whether a command may be sent now.
    #[must_use]
    pub fn lets_through(&self) -> bool {
        self.machine.is_call_permitted()
    }

    /// A command was answered, or not.
    pub fn record(&self, answered: bool) {
        if answered { self.machine.on_success() } else { self.machine.on_error() }
    }

    /// Closes it at once: the backend has been away, and answers again.
    pub fn close(&self) {
        self.machine.reset();
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> State {
        *self.state.lock()
    }
}

/// Notes the state where it can be seen.
struct Reporter {
    state: Arc<Mutex<State>>,
    on_change: Box<dyn Fn(State) + Send + Sync>,
}

impl Reporter {
    fn report(&self, state: State) {
        let before = std::mem::replace(&mut *self.state.lock(), state);
        if before != state {
            (self.on_change)(state);
        }
    }
}

impl Instrument for Reporter {
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        self.report(State::Open);
    }

    fn on_half_open(&self) {
        self.report(State::HalfOpen);
    }

    fn on_closed(&self) {
        self.report(State::Closed);
    }
}
