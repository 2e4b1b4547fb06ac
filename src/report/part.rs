//! A part of a report: what was expected of it, and what was seen and measured.

use std::fmt::{self, Display};

use serde::Serialize;

use super::{picture::Picture, summary::Summary, table::Table};

/// A part of a scenario, with a verdict of its own.
#[derive(Debug, Default, Serialize)]
pub struct Part {
    /// What was done.
    pub title: String,
    /// What was expected, and what was seen.
    pub checks: Vec<Check>,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// What was seen, in columns.
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
    /// What was measured.
    pub name: String,
    /// In which unit.
    pub unit: &'static str,
    /// Every sample.
    pub samples: Vec<f64>,
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

    /// Figures or words in columns, of which the first names the rows.
    pub fn table(&mut self, title: impl Into<String>, columns: &[&str], rows: Vec<Vec<String>>) {
        self.tables.push(Table::new(title, columns, rows));
    }

    /// Something was measured; without samples, nothing was.
    pub fn measure(&mut self, name: impl Into<String>, unit: &'static str, samples: Vec<f64>) {
        if !samples.is_empty() {
            self.figures.push(Figure { name: name.into(), unit, samples });
        }
    }
}

impl Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, unit, samples } = self;
        let Some(Summary { least, median, most, count }) = Summary::of(samples) else {
            return Ok(());
        };
        match count {
            1 => write!(f, "{name}: {median:.1} {unit} (measured once)"),
            many => write!(f, "{name}: {median:.1} {unit} ({least:.1} to {most:.1}, {many} times)"),
        }
    }
}
