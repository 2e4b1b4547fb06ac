//! What is done to a leader, and what comes of it.

use tokio::time::Duration;

/// What is done to leaders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// It is killed, by SIGKILL.
    Kill,
    /// SIGSTOP in the middle of its work, and SIGCONT once another leads.
    Stop,
    /// It is told to give up leading.
    Resign,
}

/// What has been done to a leader.
#[derive(Debug, Clone, Copy)]
pub struct Struck {
    pub blow: Blow,
    /// Time until another one led.
    pub gap: Duration,
    /// Of a stopped one: what became of the work in which it was stopped.
    pub late: Option<Late>,
}

/// What becomes of work that a leader ends after another one leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// The store has taken it.
    Accepted,
    /// The store has refused it as that of an older leader.
    Fenced,
    /// It was not in the middle of any.
    Missed,
}
