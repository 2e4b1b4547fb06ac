//! What `proc.rs` gives where there is no `/proc`: nothing is known.

use nix::unistd::Pid;
use tokio::time::Duration;

/// The processor time of another process is unknown.
#[must_use]
pub fn cpu(_: Pid) -> Option<Duration> {
    None
}

/// Which processes another one has started is unknown.
#[must_use]
pub fn children(_: Pid) -> Vec<Pid> {
    Vec::new()
}

/// What its maker calls the processor is unknown.
#[must_use]
pub fn processor() -> Option<String> {
    None
}

/// How much memory there is, is unknown.
#[must_use]
pub fn memory_mib() -> Option<u64> {
    None
}

/// Nothing names this machine since its last start.
#[must_use]
pub fn boot_id() -> Option<String> {
    None
}
