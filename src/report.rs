//! What a scenario found: one result, shown as text that fits a terminal, as JSON, or as a page.

mod draw;
mod entry;
mod export;
pub mod html;
mod part;
pub mod picture;
pub mod provenance;
mod run;
pub mod summary;
mod table;
pub mod text;
pub mod timeline;
mod wrap;

use serde::Serialize;

pub use self::{
    entry::RunEntry,
    part::{Check, Figure, Met, Part},
    picture::Picture,
    provenance::Host,
    run::{Run, Runs, numbers},
    table::Table,
    timeline::Timeline,
};
use crate::backends::version::ServerVersion;

/// What a scenario found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Which scenario.
    pub scenario: &'static str,
    /// The version of Locklab.
    pub version: &'static str,
    /// The commit that it was built from.
    pub commit: &'static str,
    /// When it began, as in RFC 3339.
    pub timestamp: String,
    /// What the order of buyers, their delays and their work were drawn from, if anything was.
    pub seed: Option<u64>,
    /// Where it ran.
    pub host: Host,
    /// Which servers it ran against.
    pub servers: Vec<ServerVersion>,
    /// What became of every purchase, if that is what it is about.
    #[serde(flatten)]
    pub runs: Runs,
    /// Its parts, in the order in which they were done.
    pub parts: Vec<Part>,
}

impl Report {
    /// A report without parts.
    #[must_use]
    pub fn new(scenario: &'static str) -> Self {
        Self {
            scenario,
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("LOCKLAB_REVISION"),
            timestamp: provenance::now(),
            seed: None,
            host: Host::this(),
            servers: Vec::new(),
            runs: Runs::default(),
            parts: Vec::new(),
        }
    }

    /// Whether everything is as expected: the worst of all checks.
    #[must_use]
    pub fn met(&self) -> Met {
        let checks = self.parts.iter().flat_map(|part| &part.checks);
        checks.map(|check| check.met).max().unwrap_or(Met::Unknown)
    }

    /// How many checks are as expected, and how many there are.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let checks = || self.parts.iter().flat_map(|part| &part.checks);
        (checks().filter(|check| check.met == Met::Yes).count(), checks().count())
    }

    /// Where its figures come from, in a sentence.
    #[must_use]
    pub fn provenance(&self) -> String {
        let Self { version, commit, timestamp, seed, host, servers, .. } = self;
        let seed = seed.map_or_else(|| "none".to_owned(), |seed| seed.to_string());
        let servers: Vec<String> =
            servers.iter().map(|it| format!("{} {}", it.backend, it.version)).collect();
        let servers = if servers.is_empty() { "unknown".to_owned() } else { servers.join(", ") };
        format!(
            "seed: {seed}; locklab {version} ({commit}) at {timestamp}; host: {}; servers: {servers}",
            host.describe()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(met: &[Met]) -> Report {
        let mut part = Part::new("a part");
        for &met in met {
            part.checks.push(Check { claim: "it holds".to_owned(), seen: "so".to_owned(), met });
        }
        Report { parts: vec![part], ..Report::new("test") }
    }

    #[test]
    fn the_worst_check_decides() {
        assert_eq!(report(&[]).met(), Met::Unknown, "nothing was looked at");
        assert_eq!(report(&[Met::Yes, Met::Yes]).met(), Met::Yes);
        assert_eq!(report(&[Met::Yes, Met::Unknown]).met(), Met::Unknown);
        assert_eq!(report(&[Met::No, Met::Unknown, Met::Yes]).met(), Met::No);
    }
}
