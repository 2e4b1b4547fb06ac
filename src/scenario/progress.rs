//! What is being done, for whoever sits before a terminal: nobody else is told, and nothing stays
//! of it.

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Duration;

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(120);
/// No colours. The message comes last, so that it is what is cut off on a narrow terminal.
const SPINNER: &str = "{spinner} {elapsed} {msg}";
const BAR: &str = "{bar:24} {pos}/{len} {eta} left: {msg}";

/// A line on the terminal, until it is dropped.
pub struct Progress(ProgressBar);

impl Progress {
    /// Something that takes as long as it takes.
    pub fn spinner(what: impl Into<String>) -> Self {
        Self::show(ProgressBar::new_spinner(), SPINNER, what)
    }

    /// So many things, one after the other; see [`Self::tick`].
    pub fn bar(len: u64, what: impl Into<String>) -> Self {
        Self::show(ProgressBar::new(len), BAR, what)
    }

    fn show(bar: ProgressBar, template: &str, what: impl Into<String>) -> Self {
        // A template that is not valid would show as the default.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.into());
        if !bar.is_hidden() {
            bar.enable_steady_tick(TURN);
        }
        Self(bar)
    }

    /// Something else is being done.
    pub fn say(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }

    /// Another one is done.
    pub fn tick(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
