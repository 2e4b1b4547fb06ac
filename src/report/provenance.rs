//! Where figures come from: a report without that is hearsay.

use std::thread;

use jiff::{Timestamp, Unit};
use serde::Serialize;

use crate::measure::proc;

/// The machine on which a scenario ran. What it does not tell is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Host {
    /// The operating system and its kernel's release.
    pub system: Option<String>,
    /// The processor.
    pub processor: Option<String>,
    /// How many cores this process may use.
    pub cores: Option<usize>,
    /// How much memory there is, in MiB.
    pub memory_mib: Option<u64>,
}

impl Host {
    /// It in a few words.
    #[must_use]
    pub fn describe(&self) -> String {
        let Self { system, processor, cores, memory_mib } = self.clone();
        let known = [
            system,
            processor,
            cores.map(|cores| format!("{cores} cores")),
            memory_mib.map(|mib| format!("{mib} MiB")),
        ];
        let known: Vec<String> = known.into_iter().flatten().collect();
        if known.is_empty() { "unknown".to_owned() } else { known.join(", ") }
    }

    /// This machine.
    #[must_use]
    pub fn this() -> Self {
        let system = nix::sys::utsname::uname().ok().map(|name| {
            let parts = [name.sysname(), name.release(), name.machine()];
            parts.map(|part| part.to_string_lossy().into_owned()).join(" ")
        });
        Self {
            system,
            processor: proc::processor(),
            cores: thread::available_parallelism().ok().map(usize::from),
            memory_mib: proc::memory_mib(),
        }
    }
}

/// Now, to the second, as in RFC 3339.
pub(super) fn now() -> String {
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now).to_string()
}
