//! Who had something and when, as lanes of a picture in text.

use std::fmt::{self, Display};

use serde::Serialize;

use super::wrap::{WIDTH, wrap};

/// The letter of a unit that was sold.
pub const SOLD: char = 'W';
/// The letter of the write that sold a unit which was not there: pictures point at it.
pub const TOO_MUCH: char = 'X';
/// The letter of the end of a lease by its ttl.
pub const EXPIRY: char = 'T';

/// The longest name that is shown whole.
const NAME_MAX: usize = 30;

/// The most lanes of a picture in text.
const LANES_MAX: usize = 12;

/// Lanes over one stretch of time.
#[derive(Debug, Serialize)]
pub struct Timeline {
    /// What it shows.
    pub title: String,
    /// Where it begins, by CLOCK_MONOTONIC.
    pub from_ns: u64,
    /// Where it ends.
    pub until_ns: u64,
    /// What the shades mean, the darkest first.
    pub legend: Vec<(Shade, &'static str)>,
    /// What the letters of marks mean.
    pub letters: Vec<(char, &'static str)>,
    /// The lanes, from the top.
    pub lanes: Vec<Lane>,
}

/// What one process did.
#[derive(Debug, Serialize)]
pub struct Lane {
    /// Whose lane it is.
    pub name: String,
    /// From when until when, and what.
    pub spans: Vec<Span>,
    /// Instants at which something happened.
    pub marks: Vec<Mark>,
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Span {
    /// Where it begins, by CLOCK_MONOTONIC.
    pub from_ns: u64,
    /// Where it ends.
    pub until_ns: u64,
    /// What it is.
    pub shade: Shade,
}

/// Something that happened to a lane.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Mark {
    /// When, by CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// A letter for it.
    pub letter: char,
}

/// How a stretch is drawn; the later one is drawn over the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shade {
    /// Only believed.
    Believed,
    /// Granted by the lock service.
    Granted,
    /// At the same time as somebody else's: what a lock is there to prevent.
    Overlap,
}

impl Shade {
    /// What it is drawn with.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Believed => '░',
            Self::Granted => '█',
            Self::Overlap => '▓',
        }
    }
}

impl Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.lanes.iter().map(|lane| lane.name.chars().count()).max().unwrap_or(0);
        let names = names.min(NAME_MAX);
        let columns = WIDTH - (names + 5);
        let all = self.until_ns.saturating_sub(self.from_ns).max(1);
        let column = |at_ns: u64| {
            let since = at_ns.clamp(self.from_ns, self.until_ns) - self.from_ns;
            let column = u128::from(since) * columns as u128 / u128::from(all);
            (column as usize).min(columns - 1)
        };
        for Lane { name, spans, marks } in self.lanes.iter().take(LANES_MAX) {
            let mut cells = vec![' '; columns];
            let mut spans = spans.clone();
            spans.sort_by_key(|span| span.shade);
            for span in spans {
                cells[column(span.from_ns)..=column(span.until_ns)].fill(span.shade.letter());
            }
            for mark in marks {
                cells[column(mark.at_ns)] = mark.letter;
            }
            writeln!(f, "  {name:>names$.names$} |{}|", cells.iter().collect::<String>())?;
        }
        let more = self.lanes.len().saturating_sub(LANES_MAX);
        if more > 0 {
            writeln!(f, "  {:>names$}  and {more} more", "")?;
        }
        let end = match all as f64 / 1e6 {
            ms if ms < 1_000.0 => format!("{ms:.1} ms"),
            ms => format!("{:.1} s", ms / 1e3),
        };
        let width = columns.saturating_sub(1);
        writeln!(f, "  {:>names$}  0{:>width$}", "", end)?;
        let shades = self.legend.iter().map(|(shade, text)| (shade.letter(), text));
        let letters = self.letters.iter().map(|(letter, text)| (*letter, text));
        let legend: Vec<String> =
            shades.chain(letters).map(|(letter, text)| format!("{letter} {text}")).collect();
        let indent = names + 4;
        write!(f, "{:indent$}", "")?;
        wrap(f, indent, &legend.join("  "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_granted_is_drawn_over_what_was_believed() {
        let span = |from_ns, until_ns, shade| Span { from_ns, until_ns, shade };
        let lane = Lane {
            name: "p1".to_owned(),
            spans: vec![span(0, 100, Shade::Granted), span(0, 150, Shade::Believed)],
            marks: vec![Mark { at_ns: 199, letter: 'K' }],
        };
        let legend = vec![(Shade::Granted, "granted"), (Shade::Believed, "only believed")];
        let letters = vec![('K', "killed")];
        let (title, lanes) = ("who leads".to_owned(), vec![lane]);
        let timeline = Timeline { title, from_ns: 0, until_ns: 200, legend, letters, lanes };
        let text = timeline.to_string();
        let lane = text.lines().next().unwrap();
        let count = |letter| lane.chars().filter(|it| *it == letter).count();
        assert_eq!(lane.chars().count(), WIDTH, "{text}");
        assert!(count('█') > count('░') && count('░') > 10 && count('K') == 1, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn long_names_are_cut() {
        let lane = Lane { name: "long".repeat(50), spans: Vec::new(), marks: Vec::new() };
        let (title, legend) = ("who".to_owned(), vec![(Shade::Overlap, "two at once")]);
        let (letters, lanes) = (Vec::new(), vec![lane]);
        let timeline = Timeline { title, from_ns: 0, until_ns: 9, legend, letters, lanes };
        let text = timeline.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }
}
