//! What a scenario found: one result, shown as text that fits a terminal, as JSON, or as a page.

mod entry;
pub mod picture;
pub mod provenance;
mod run;
pub mod timeline;

use std::fmt::{self, Display, Write as _};

use serde::Serialize;

pub use self::{
    entry::Entry,
    picture::Picture,
    provenance::{Host, ServerVersion},
    run::{Run, Runs},
    timeline::Timeline,
};

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

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            writeln!(f, "{part}")?;
        }
        let checks = self.parts.iter().flat_map(|part| &part.checks);
        let (mut yes, mut all) = (0, 0);
        for check in checks {
            yes += usize::from(check.met == Met::Yes);
            all += 1;
        }
        writeln!(f, "{}: {yes} of {all} as expected", self.scenario)
    }
}

impl Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for Check { claim, seen, met } in &self.checks {
            let mark = match met {
                Met::Yes => "yes",
                Met::No => "NO",
                Met::Unknown => "?",
            };
            write_wrapped(f, &format!("  {mark:<4}"), &format!("{claim}: {seen}"))?;
        }
        for figure in &self.figures {
            write_wrapped(f, "      ", &figure.to_string())?;
        }
        for picture in &self.pictures {
            if let Picture::Timeline(timeline) = picture {
                write!(f, "{timeline}")?;
            }
        }
        Ok(())
    }
}

impl Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, unit, samples } = self;
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        let [Some(least), Some(most)] = [sorted.first(), sorted.last()] else { return Ok(()) };
        let median = sorted[sorted.len() / 2];
        match samples.len() {
            1 => write!(f, "{name}: {median:.1} {unit} (measured once)"),
            many => write!(f, "{name}: {median:.1} {unit} ({least:.1} to {most:.1}, {many} times)"),
        }
    }
}

/// Writes a text after a mark, in lines that fit.
fn write_wrapped(f: &mut fmt::Formatter<'_>, mark: &str, text: &str) -> fmt::Result {
    let mut line = mark.to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH && line.len() > mark.len() {
            writeln!(f, "{}", line.trim_end())?;
            line = " ".repeat(mark.len());
        }
        let gap = if line.len() > mark.len() { " " } else { "" };
        write!(line, "{gap}{word}")?;
    }
    writeln!(f, "{}", line.trim_end())
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

    #[test]
    fn text_fits_a_terminal() {
        let mut part = Part::new("a part");
        part.check("word ".repeat(50), "x".repeat(30), true);
        part.measure("how long", "ms", vec![3.0, 1.0, 2.0]);
        part.measure("nothing", "ms", Vec::new());
        let text = Report { parts: vec![part], ..Report::new("test") }.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.contains("how long: 2.0 ms (1.0 to 3.0, 3 times)"), "{text}");
        assert!(!text.contains("nothing"), "{text}");
        assert!(text.ends_with("test: 1 of 1 as expected\n"), "{text}");
    }
}
