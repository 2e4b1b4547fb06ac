//! Findings in words: bounded, so that thousands of them can be read, and in the same order however
//! the history was shuffled.

use crate::history::trace::Traces;

/// The most findings of one kind that are told one by one.
pub(super) const TOLD_MAX: usize = 5;
/// Enough of a name to find it again.
const NAME_CHARS: usize = 8;

/// Findings, kind after kind.
#[derive(Debug, Default)]
pub(super) struct Findings {
    lines: Vec<String>,
}

impl Findings {
    /// Adds findings of a kind that were all put into words.
    pub(super) fn add(&mut self, kind: &str, lines: impl IntoIterator<Item = String>) {
        let mut lines = lines.into_iter();
        let told: Vec<String> = lines.by_ref().take(TOLD_MAX).collect();
        let count = (told.len() + lines.count()) as u64;
        self.tell(kind, told, count);
    }

    /// Adds `count` findings of a kind, of which some were put into words.
    pub(super) fn tell(&mut self, kind: &str, told: Vec<String>, count: u64) {
        let more = count - told.len() as u64;
        self.lines.extend(told.into_iter().map(|line| format!("{kind}: {line}")));
        if more > 0 {
            self.lines.push(format!("{kind}: and {more} more"));
        }
    }

    /// Whether nothing was found so far.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The findings.
    pub(super) fn lines(self) -> Vec<String> {
        self.lines
    }
}

/// An order as evidence names it: `3f2a9c01…`.
pub(super) fn short(order_id: &str) -> String {
    match order_id.char_indices().nth(NAME_CHARS) {
        Some((end, _)) => format!("{}…", &order_id[..end]),
        None => order_id.to_owned(),
    }
}

/// A buyer as evidence names it.
pub(super) fn who(order_id: &str, server: &str, lock: &str) -> String {
    format!("order {} (server {server}, {lock})", short(order_id))
}

/// A moment as evidence names it: milliseconds since the first event of its clock.
pub(super) fn ms(traces: &Traces<'_>, clock: &str, at_ns: u64) -> String {
    let since_us = traces.since_first(clock, at_ns) / 1_000;
    format!("{}.{:03} ms", since_us / 1_000, since_us % 1_000)
}

/// `1 unit`, `2 units`.
pub(super) fn units(count: i64) -> String {
    if count == 1 { "1 unit".to_owned() } else { format!("{count} units") }
}
