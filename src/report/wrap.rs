//! Text in lines that fit a terminal.

use std::fmt;

/// How wide text may be.
pub const WIDTH: usize = 80;

/// Writes a text in lines that fit, the first of which is written up to the indent already.
pub fn wrap(f: &mut fmt::Formatter<'_>, indent: usize, text: &str) -> fmt::Result {
    // Nothing in a text may move the cursor.
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let mut column = indent;
    for word in words.filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if column > indent {
            if column + 1 + length > WIDTH {
                write!(f, "\n{:indent$}", "")?;
                column = indent;
            } else {
                write!(f, " ")?;
                column += 1;
            }
        }
        for letter in word.chars() {
            if column == WIDTH {
                write!(f, "\n{:indent$}", "")?;
                column = indent;
            }
            write!(f, "{letter}")?;
            column += 1;
        }
    }
    writeln!(f)
}
