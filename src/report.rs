//! What a scenario found: one result, shown as text that fits a terminal, as JSON, or as a page.

mod draw;
mod entry;
mod html;
pub mod picture;
pub mod provenance;
mod run;
pub mod summary;
mod table;
mod text;
pub mod timeline;

use std::fmt::Display;

use serde::Serialize;

pub use self::{
    entry::Entry,
    html::page,
    picture::Picture,
    provenance::Host,
    run::{Run, Runs, numbers},
    text::Text,
    timeline::Timeline,
};
pub use crate::backends::version::ServerVersion;

/// How wide text may be.
pub const WIDTH: usize = 80;

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

/// A part of a scenario, with a verdict of its own.
#[derive(Debug, Default, Serialize)]
pub struct Part {
    /// What was done.
    pub title: String,
    /// What was expected, and what was seen.
    pub checks: Vec<Check>,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// The same side by side.
    pub tables: Vec<Table>,
    /// What can be seen of it.
    pub pictures: Vec<Picture>,
    /// What was recorded, as it was recorded.
    pub evidence: Vec<serde_json::Value>,
}

/// Something that was expected.
#[derive(Debug, Serialize)]
pub struct Check {
    /// What was expected.
    pub claim: String,
    /// What was seen.
    pub seen: String,
    /// Whether that is what was expected.
    pub met: Met,
}

/// Whether something is as expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Met {
    /// It is.
    Yes,
    /// It could not be measured.
    Unknown,
    /// It is not.
    No,
}

/// Something that was measured, several times if possible.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// What.
    pub name: String,
    /// In which unit.
    pub unit: &'static str,
    /// Every sample.
    pub samples: Vec<f64>,
}

/// Figures or words in columns.
#[derive(Debug, Serialize)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// The heads of its columns, with units.
    pub columns: Vec<String>,
    /// Its rows, each as wide as the head; the first cell names the row.
    pub rows: Vec<Vec<String>>,
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
}

impl Part {
    /// A part that has found nothing yet.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// Something was expected, and is so or is not.
    pub fn check(&mut self, claim: impl Into<String>, seen: impl Display, is_met: bool) {
        let met = if is_met { Met::Yes } else { Met::No };
        self.checks.push(Check { claim: claim.into(), seen: seen.to_string(), met });
    }

    /// Something was expected, and could not be measured.
    pub fn unknown(&mut self, claim: impl Into<String>, why: impl Display) {
        let check = Check { claim: claim.into(), seen: why.to_string(), met: Met::Unknown };
        self.checks.push(check);
    }

    /// What something came to; if it did not, nothing can be said.
    pub fn known<T>(&mut self, result: Result<T, impl Display>) -> Option<T> {
        match result {
            Ok(known) => Some(known),
            Err(error) => {
                self.unknown("it can be measured", error);
                None
            }
        }
    }

    /// Something was measured; without samples, nothing was.
    pub fn measure(&mut self, name: impl Into<String>, unit: &'static str, samples: Vec<f64>) {
        if !samples.is_empty() {
            self.figures.push(Figure { name: name.into(), unit, samples });
        }
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
