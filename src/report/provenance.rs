//! Where figures come from: a report without that is hearsay.

use std::{fs, thread};

use jiff::{Timestamp, Unit};
use serde::Serialize;

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
        let memory_kib = field("/proc/meminfo", "MemTotal")
            .and_then(|value| value.split(' ').next()?.parse::<u64>().ok());
        Self {
            system,
            processor: field("/proc/cpuinfo", "model name"),
            cores: thread::available_parallelism().ok().map(usize::from),
            memory_mib: memory_kib.map(|kib| kib / 1024),
        }
    }
}

/// Now, to the second, as in RFC 3339.
pub(super) fn now() -> String {
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now).to_string()
}

/// The first value of a name in one of Linux' tables.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let value =
        text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    value.map(|value| value.trim().to_owned())
}
