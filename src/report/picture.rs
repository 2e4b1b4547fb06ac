//! Pictures as data: what is drawn, and nothing about how.

use serde::Serialize;

use super::timeline::Timeline;

/// Something to look at. Text shows only timelines.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Picture {
    /// Who had something, and when.
    Timeline(Timeline),
    /// How samples are distributed: of each group, which part is at most so much.
    Distribution(Groups),
    /// Samples side by side: of each group the median, the least and the most.
    Bars(Groups),
    /// One quantity against another.
    Lines(Curves),
}

impl Picture {
    /// How the samples of groups are distributed.
    #[must_use]
    pub fn distribution(title: &str, unit: &'static str, groups: Vec<Group>) -> Self {
        Self::Distribution(Groups { title: title.to_owned(), unit, groups })
    }

    /// The samples of groups side by side.
    #[must_use]
    pub fn bars(title: &str, unit: &'static str, groups: Vec<Group>) -> Self {
        Self::Bars(Groups { title: title.to_owned(), unit, groups })
    }
}

/// Groups of samples in one unit.
#[derive(Debug, Serialize)]
pub struct Groups {
    /// What is shown.
    pub title: String,
    /// In which unit the samples are.
    pub unit: &'static str,
    /// The groups, in the order in which they are shown.
    pub groups: Vec<Group>,
}

/// Samples with a name.
#[derive(Debug, Serialize)]
pub struct Group {
    /// Whose samples they are.
    pub name: String,
    /// All of them, in no order.
    pub samples: Vec<f64>,
}

impl Group {
    /// Samples by a name.
    #[must_use]
    pub fn new(name: &str, samples: Vec<f64>) -> Self {
        Self { name: name.to_owned(), samples }
    }
}

/// Lines over two axes.
#[derive(Debug, Serialize)]
pub struct Curves {
    /// What is shown.
    pub title: String,
    /// What lies across, with its unit.
    pub x: &'static str,
    /// What goes up, with its unit.
    pub y: &'static str,
    /// The lines.
    pub lines: Vec<Curve>,
}

/// A line.
#[derive(Debug, Serialize)]
pub struct Curve {
    /// Of what.
    pub name: String,
    /// Through which points, from the left.
    pub points: Vec<(f64, f64)>,
}
