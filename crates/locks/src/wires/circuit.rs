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
use tokio::time::{Duration, Instant};

/// That many commands without an answer, in a row, open the circuit.
const FAILURES: u32 = 5;
/// How long it stays open before commands are let through again to see.
const OPEN: Duration = Duration::from_millis(500);

/// Whether commands are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, IntoStaticStr, Serialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
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
    /// The state, and since when.
    state: Arc<Mutex<(State, Instant)>>,
}

impl Circuit {
    /// A closed circuit, which tells of each change.
    #[must_use]
    pub fn new(on_change: impl Fn(State) + Send + Sync + 'static) -> Self {
        let state = Arc::new(Mutex::new((State::Closed, Instant::now())));
        let reporter = Reporter { state: Arc::clone(&state), on_change: Box::new(on_change) };
        // The machine reads the system's clock, which no test can pause: how long it stays open is
        // for `lets_through` to say.
        let at_once = backoff::constant(Duration::ZERO);
        let policy = failure_policy::consecutive_failures(FAILURES, at_once);
        Self { machine: StateMachine::new(policy, reporter), state }
    }

    /// Whether a command may be sent now.
    #[must_use]
    pub fn lets_through(&self) -> bool {
        let (state, since) = *self.state.lock();
        let is_shut = state == State::Open && since.elapsed() < OPEN;
        !is_shut && self.machine.is_call_permitted()
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
        self.state.lock().0
    }
}

/// Notes the state where it can be seen.
struct Reporter {
    state: Arc<Mutex<(State, Instant)>>,
    on_change: Box<dyn Fn(State) + Send + Sync>,
}

impl Reporter {
    fn report(&self, state: State) {
        let (before, _) = std::mem::replace(&mut *self.state.lock(), (state, Instant::now()));
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

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_opens_for_a_while_by_the_clock_of_tests() {
        let circuit = Circuit::new(|_| {});
        let fail = |times| (0..times).for_each(|_| circuit.record(false));
        fail(FAILURES - 1);
        assert!(circuit.lets_through());
        fail(1);
        assert!(!circuit.lets_through());
        time::advance(OPEN - Duration::from_millis(1)).await;
        assert_eq!((circuit.lets_through(), circuit.state()), (false, State::Open));
        time::advance(Duration::from_millis(1)).await;
        assert_eq!((circuit.lets_through(), circuit.state()), (true, State::HalfOpen));
        fail(1);
        assert!(!circuit.lets_through(), "one failure opens it again");
        time::advance(OPEN).await;
        assert!(circuit.lets_through());
        circuit.record(true);
        assert_eq!(circuit.state(), State::Closed);
    }
}
