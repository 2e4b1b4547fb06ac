//! What the clients of all backends do alike: whether a command is let through, how its result is
//! recorded, and how a supervisor looks again and tells.

use std::sync::Arc;

use tokio::{
    sync::{Notify, watch},
    time::{self, Duration, Instant},
};

use crate::{
    error::{BackendError, Cause},
    wires::{
        circuit::Circuit,
        metrics::{BackendMetrics, ErrorKind as Kind, Op},
    },
};

/// How often a backend that answers is asked whether it still does.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// How soon to try again while it is away.
pub(super) const RECONNECT_INTERVAL: Duration = Duration::from_millis(100);

/// What a client and its supervisor share.
pub(super) struct Exchange {
    pub(super) circuit: Circuit,
    pub(super) metrics: Arc<BackendMetrics>,
    /// Wakes the supervisor before its interval is over.
    pub(super) suspect: Notify,
}

impl Exchange {
    /// That of a backend of which nothing is known yet.
    pub(super) fn new(metrics: Arc<BackendMetrics>) -> Arc<Self> {
        Arc::new(Self { circuit: metrics.circuit(), metrics, suspect: Notify::new() })
    }

    /// What errors and metrics call the backend.
    pub(super) fn name(&self) -> &'static str {
        self.metrics.name
    }

    /// Whether a command may be sent. `why` says why the circuit may be open, if that is known.
    ///
    /// # Errors
    /// It may not: the circuit is open.
    pub(super) fn let_through(
        &self,
        why: impl FnOnce() -> Option<String>,
    ) -> Result<(), BackendError> {
        if self.circuit.lets_through() {
            return Ok(());
        }
        self.metrics.error(Kind::CircuitOpen);
        let why = why().map_or_else(String::new, |why| format!(" ({why})"));
        let cause = format!("its circuit is open{why}").into();
        Err(BackendError::Unavailable { backend: self.name(), cause })
    }

    /// The command was not sent, or the backend says that it cannot do it now.
    pub(super) fn unavailable(&self, cause: impl Into<Cause>) -> BackendError {
        self.metrics.error(Kind::Unavailable);
        BackendError::Unavailable { backend: self.name(), cause: cause.into() }
    }

    /// The backend has understood the command, and will not do it.
    pub(super) fn refused(&self, cause: impl Into<Cause>) -> BackendError {
        self.metrics.error(Kind::Refused);
        BackendError::Refused { backend: self.name(), cause: cause.into() }
    }

    /// The reply was lost: the supervisor looks at once.
    pub(super) fn unknown(&self, kind: Kind, cause: impl Into<Cause>) -> BackendError {
        self.suspect.notify_one();
        self.metrics.error(kind);
        BackendError::Unknown { backend: self.name(), cause: cause.into() }
    }

    /// A command was answered, or not. A refusal is an answer, and so is that somebody else was first.
    pub(super) fn record<T>(
        &self,
        op: Op,
        started: Instant,
        result: Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        self.metrics.request(op, started.elapsed(), result.is_ok());
        self.circuit.record(!result.as_ref().is_err_and(BackendError::is_outage));
        result
    }

    /// Waits until the supervisor has to look again; false when every client is gone.
    pub(super) async fn until_due<T>(&self, is_up: bool, told: &watch::Sender<T>) -> bool {
        let pause = if is_up { PROBE_INTERVAL } else { RECONNECT_INTERVAL };
        tokio::select! {
            () = time::sleep(pause) => true,
            () = self.suspect.notified() => true,
            () = told.closed() => false,
        }
    }

    /// The supervisor has looked: says what has changed, and why, if that is known.
    pub(super) fn tell(&self, was_up: bool, is_up: bool, error: Option<&str>) {
        let backend = self.name();
        match (was_up, is_up) {
            (false, true) => {
                self.circuit.close();
                tracing::info!(backend, "it answers");
            }
            (true, false) => tracing::warn!(backend, error, "it is away"),
            _ => {}
        }
        self.metrics.up(is_up);
    }
}

/// What a client of Redis has no use for: its library measures the time.
#[cfg(any(feature = "etcd", feature = "sql", feature = "zookeeper"))]
impl Exchange {
    /// There was nobody to send the command to, which counts against the backend.
    pub(super) fn not_sent(&self, cause: impl Into<Cause>) -> BackendError {
        self.circuit.record(false);
        self.unavailable(cause)
    }

    /// Waits for a reply, for that long, and records what has come of the command. `classify` says what
    /// an error of the client's library means.
    pub(super) async fn observe<T, E>(
        &self,
        op: Op,
        timeout: Duration,
        reply: impl Future<Output = Result<T, E>>,
        classify: impl FnOnce(E) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let started = Instant::now();
        let result = match time::timeout(timeout, reply).await {
            Ok(reply) => reply.or_else(classify),
            Err(late) => Err(self.unknown(Kind::Timeout, late)),
        };
        self.record(op, started, result)
    }
}
