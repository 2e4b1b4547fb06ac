//! Tables, and how they are written in text: never wider than a terminal.

use std::fmt::{self, Display};

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, TableStyle};
use serde::Serialize;

use super::wrap::WIDTH;

/// How far text is from the left.
const INDENT: usize = 2;
/// Between columns: one of a line in the head, and one of padding.
const GAP: usize = 2;
/// Words are broken that are longer.
const WORD_MAX: usize = 24;

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

impl Table {
    /// A table with these heads.
    #[must_use]
    pub fn new(title: impl Into<String>, columns: &[&str], rows: Vec<Vec<String>>) -> Self {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Self { title: title.into(), columns, rows }
    }
}

/// Columns that do not fit are shown below the others, beside the names of the rows again.
impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for columns in self.stretches() {
            let mut table = comfy_table::Table::new();
            let line = LineStyle::none().fill('─').junction('─');
            table.load_style(TableStyle::new().header_separator(line));
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width((WIDTH - INDENT) as u16);
            table.set_header(columns.iter().map(|&column| clean(&self.columns[column])));
            for row in &self.rows {
                let cell =
                    |&column: &usize| row.get(column).map_or_else(String::new, |it| clean(it));
                table.add_row(columns.iter().map(cell));
            }
            for (shown, &column) in table.column_iter_mut().zip(&columns) {
                shown.set_padding((0, 1));
                if self.has_numbers(column) {
                    shown.set_cell_alignment(CellAlignment::Right);
                }
            }
            for line in table.lines() {
                writeln!(f, "{:INDENT$}{}", "", line.trim_end())?;
            }
        }
        Ok(())
    }
}

impl Table {
    /// Columns that fit beside each other, each time with the first.
    fn stretches(&self) -> Vec<Vec<usize>> {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let words = cells.chain([&self.columns[column]]).flat_map(|it| it.split_whitespace());
            words.map(|word| word.chars().count()).max().unwrap_or(0).min(WORD_MAX) + GAP
        };
        let mut stretches: Vec<Vec<usize>> = Vec::new();
        let mut room = 0;
        for column in 1..self.columns.len() {
            match stretches.last_mut().filter(|_| room >= width(column)) {
                Some(stretch) => stretch.push(column),
                None => {
                    stretches.push(vec![0, column]);
                    room = WIDTH.saturating_sub(INDENT + width(0));
                }
            }
            room = room.saturating_sub(width(column));
        }
        if stretches.is_empty() && !self.columns.is_empty() {
            stretches.push(vec![0]);
        }
        stretches
    }

    /// Whether a column is one of figures, which are compared digit by digit.
    pub(super) fn has_numbers(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().filter_map(|row| row.get(column)).peekable();
        cells.peek().is_some()
            && cells.all(|it| it.starts_with(|c: char| c.is_ascii_digit() || "–-?".contains(c)))
    }
}

/// Nothing in a cell may move the cursor.
fn clean(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: usize, head: &str, cell: &str) -> Table {
        Table {
            title: "a table".to_owned(),
            columns: (0..columns).map(|column| format!("{head}{column}")).collect(),
            rows: vec![vec![cell.to_owned(); columns]; 3],
        }
    }

    #[test]
    fn no_table_is_wider_than_a_terminal() {
        let long = "x".repeat(500);
        let words = "some words and more ".repeat(20);
        for columns in [0, 1, 2, 3, 12, 50] {
            for cell in ["1", "", "12345.6 ms", &long, &words, "日本語日本語日本語", "\x1b[31m\t\n"]
            {
                for head in ["c", "a rather long head of column ", &long] {
                    let text = table(columns, head, cell).to_string();
                    // A character of Japanese takes two columns.
                    let width = |line: &str| {
                        line.chars()
                            .map(|c| 1 + usize::from(('\u{3000}'..'\u{a000}').contains(&c)))
                            .sum()
                    };
                    let widest: usize = text.lines().map(width).max().unwrap_or(0);
                    assert!(widest <= WIDTH, "{columns} columns of {cell:?}: {widest}\n{text}");
                    assert!(!text.contains('\x1b'), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn every_cell_is_shown() {
        let mut table = table(12, "column-", "1");
        table.rows[1] = (0..12).map(|column| format!("cell-{column}-of-the-row")).collect();
        let text = table.to_string();
        for column in 0..12 {
            assert!(text.contains(&format!("column-{column}")), "{text}");
            assert!(text.contains(&format!("cell-{column}-of-the-row")), "{text}");
        }
        assert!(text.matches("cell-0-of-the-row").count() > 1, "rows are named again: {text}");
    }
}
