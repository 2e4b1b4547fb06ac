//! One run of a race as data: the members of the PHP lab's export, and more.

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::entry::RunEntry;
use crate::{outcome::Outcome, stock::ledger::Tally};

/// What became of every purchase of a run.
#[derive(Debug, Serialize)]
pub struct Run {
    /// The strategy.
    pub strategy: &'static str,
    /// What losers did.
    pub retry: &'static str,
    /// Which of the runs, from 1.
    pub run: u32,
    /// Races that it took until one showed something.
    pub races: u32,
    /// Over how many processes the buyers were spread.
    pub processes: u32,
    /// Units on sale.
    pub initial_stock: i64,
    /// What the stock says in the end; updates may have been lost.
    pub final_stock: i64,
    /// How many purchases there were.
    pub total_attempts: usize,
    /// Purchases whose buyers were told that they have the unit.
    pub successes: usize,
    /// The others.
    pub failures: usize,
    /// Whether more was sold than there was.
    pub oversold: bool,
    /// Units really sold, by the ledger.
    pub sold: i64,
    /// Units sold beyond what there was, by the ledger.
    pub units_oversold: i64,
    /// Units sold that the stock still has, because a write overwrote their sale.
    pub lost_updates: i64,
    /// Part of the purchases that did not get the lock.
    pub contention_rate: f64,
    /// From the start of the first purchase to the end of the last.
    pub duration_ms: f64,
    /// The verdict over what was recorded.
    pub audit: Value,
    /// Each purchase.
    pub entries: Vec<RunEntry>,
}

/// Every run of a report.
#[derive(Debug, Default)]
pub struct Runs(pub Vec<Run>);

impl Run {
    /// Sums up what became of purchases.
    #[must_use]
    pub fn new(
        strategy: &'static str,
        tally: &Tally,
        audit: Value,
        entries: Vec<RunEntry>,
    ) -> Self {
        let successes = entries.iter().filter(|entry| entry.success).count();
        let locked_out = entries.iter().filter(|entry| entry.outcome == Outcome::Busy).count();
        let began = entries.iter().map(|entry| entry.began_ns).min().unwrap_or_default();
        let ended = entries.iter().map(|entry| entry.ended_ns).max().unwrap_or_default();
        Self {
            strategy,
            retry: "none",
            run: 1,
            races: 1,
            processes: 1,
            initial_stock: tally.initial,
            final_stock: tally.stock,
            total_attempts: entries.len(),
            successes,
            failures: entries.len() - successes,
            oversold: tally.oversold() > 0,
            sold: tally.sold,
            units_oversold: tally.oversold(),
            lost_updates: tally.lost_updates(),
            contention_rate: locked_out as f64 / entries.len().max(1) as f64,
            duration_ms: ended.saturating_sub(began) as f64 / 1e6,
            audit,
            entries,
        }
    }

    /// The numbers, in words.
    #[must_use]
    pub fn numbers(&self) -> String {
        let Self { initial_stock: initial, final_stock: stock, sold, .. } = *self;
        numbers(&Tally { initial, stock, sold }, self.audit["ok"] == true)
    }

    /// How many purchases ended so.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.entries.iter().filter(|entry| entry.outcome == outcome).count()
    }

    /// How many purchases were not decided: a server failed.
    #[must_use]
    pub fn undecided(&self) -> usize {
        self.entries.iter().filter(|entry| !entry.is_decided()).count()
    }
}

/// What was sold of a product, and what the audit says of it, in words.
#[must_use]
pub fn numbers(tally: &Tally, ok: bool) -> String {
    let Tally { initial, sold, .. } = tally;
    let found = if ok { "audit ok" } else { "audit NOT ok" };
    // What is oversold is lost from the stock as well; else it is what the audit found.
    let lost = match (tally.oversold(), tally.lost_updates()) {
        (0, 1..) => format!("lost updates: {}, ", tally.lost_updates()),
        _ => String::new(),
    };
    format!("{sold} sold of {initial}, {} oversold, {lost}{found}", tally.oversold())
}

/// All runs as `runs`; of a single one, its members as well, for whoever reads the PHP lab's
/// export.
impl Serialize for Runs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Members<'a> {
            #[serde(flatten)]
            single: Option<&'a Run>,
            #[serde(skip_serializing_if = "<[Run]>::is_empty")]
            runs: &'a [Run],
        }
        let single = if let [single] = &self.0[..] { Some(single) } else { None };
        Members { single, runs: &self.0 }.serialize(serializer)
    }
}
