//! Text in lines that fit a terminal.

use std::fmt;

use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// How wide text may be.
pub const WIDTH: usize = 80;

/// Writes a text in lines that fit, the first of which is written up to the indent already.
pub fn wrap(f: &mut fmt::Formatter<'_>, indent: usize, text: &str) -> fmt::Result {
    // Nothing in a text may move the cursor.
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let options = Options::new(WIDTH - indent)
        .word_separator(WordSeparator::AsciiSpace)
        // A flag or a name is found again as it is.
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    let lines = textwrap::wrap(&words.join(" "), options).join(&format!("\n{:indent$}", ""));
    writeln!(f, "{lines}")
}
