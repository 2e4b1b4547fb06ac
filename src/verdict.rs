//! The verdict: a pure judgement over what was recorded.
//!
//! Three things are kept apart, because only the last is a bug of a shop whose store defends
//! itself:
//!
//! - *grants* overlap: the lock service let two in at once. It broke its promise.
//! - *beliefs* overlap: two buyers thought at once that they were alone. That is normal for a lease
//!   that ends by itself: a pause is enough.
//! - *effects* interleave: somebody sold between a buyer's read and its write.
//!
//! `ok` is about effects, and about whether buyers were told the truth. A fate that is unknown is
//! neither a sale nor a failure: whatever becomes of it, the verdict must hold.

mod effects;
mod findings;
mod leases;
#[cfg(test)]
mod pairs;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use serde::Serialize;
use utoipa::ToSchema;

use self::findings::Findings;
use crate::{
    history::{Record, trace::Traces},
    stock::ledger::Tally,
};

/// What a product's numbers and its history prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Every unit is accounted for, none was sold twice, no sale was lost, no effects interleaved,
    /// fencing tokens never went back, and no buyer was told that a sale had failed.
    pub ok: bool,
    /// Units sold beyond what there was.
    pub oversold: i64,
    /// Units that were sold and that the stock still has, because a write overwrote their sale.
    pub lost_updates: i64,
    /// What overlapped.
    pub overlaps: Overlaps,
    /// Sales under an older fencing token than one before; `None` if no sale carried a token.
    pub fencing: Option<u64>,
    /// Orders whose buyer was not told how they ended.
    pub unknown: u64,
    /// How many events were judged, each counted once.
    #[serde(skip)]
    pub events: u64,
    /// Each finding, in words. Overlaps of grants and of beliefs, and leases that were lost, are
    /// among them, but do not make `ok` false.
    pub evidence: Vec<String>,
    /// What the history cannot show.
    pub gaps: Vec<String>,
}

/// What overlapped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = OverlapsReply)]
pub struct Overlaps {
    /// Pairs of leases that stood at the same time: the lock service broke its promise.
    pub grants: u64,
    /// Pairs of holders who believed at the same time to be alone: normal for a lease that ends by
    /// itself.
    pub beliefs: u64,
    /// Sales between whose read and write somebody else sold.
    pub effects: u64,
}

/// A verdict beside the numbers that it is about, as reports tell it.
#[derive(Debug, Serialize)]
pub struct Audit<'a> {
    /// The numbers.
    #[serde(flatten)]
    pub tally: &'a Tally,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: &'a Verdict,
}

/// Judges a product.
///
/// `recorded` is how many records the history was ever given since the last reset; of those that it
/// has not any more, nothing is held against anybody.
///
/// The tally must have been read after the history: a sale is in the ledger before it is in the
/// history, so a younger history would show sales that an older tally lacks. And the history must
/// be that of the tally's reset, as the ledger counts afresh from each.
#[must_use]
pub fn judge(tally: &Tally, history: &[Record], recorded: u64) -> Verdict {
    let traces = Traces::new(history);
    let dropped = recorded.saturating_sub(history.len() as u64);
    let mut findings = Findings::default();
    let (oversold, lost_updates) = conserve(tally, &mut findings);
    let effects = effects::judge(tally, &traces, &mut findings);
    let ok = findings.is_empty();
    let (grants, beliefs) = leases::judge(&traces, &mut findings);
    Verdict {
        ok,
        oversold,
        lost_updates,
        overlaps: Overlaps { grants, beliefs, effects: effects.interleaved },
        fencing: effects.regressions,
        unknown: effects.unknown,
        events: traces.events(),
        evidence: findings.lines(),
        gaps: gaps(&traces, recorded, dropped, effects.unexplained),
    }
}

/// Judges conservation: sold + left = initial, and sold ≤ initial. "Sold" is the ledger's number;
/// the stock, which lost updates leave too high, is what it is judged against.
fn conserve(tally: &Tally, findings: &mut Findings) -> (i64, i64) {
    let Tally { initial, stock, sold } = *tally;
    let (expected, oversold, lost_updates) =
        (tally.expected(), tally.oversold(), tally.lost_updates());
    if oversold > 0 {
        findings.add("oversold", [format!("{sold} units sold of {initial}")]);
    }
    if lost_updates > 0 {
        let line = format!("the stock is {stock}, but {initial} − {sold} sold = {expected}");
        findings.add("lost updates", [line]);
    }
    if stock < expected {
        let line = format!(
            "the stock is {stock}, below {initial} − {sold} sold = {expected}; something other \
             than a purchase wrote to it"
        );
        findings.add("foreign write", [line]);
    }
    (oversold, lost_updates)
}

/// What the history cannot show.
fn gaps(traces: &Traces<'_>, recorded: u64, dropped: u64, unexplained: i64) -> Vec<String> {
    let mut gaps = Vec::new();
    if dropped > 0 {
        gaps.push(format!(
            "the history no longer has {dropped} of its records: what they held was not judged"
        ));
    } else if recorded == 0 && unexplained > 0 {
        gaps.push("nothing was recorded: only the ledger was judged".to_owned());
    } else if unexplained > 0 {
        gaps.push(format!(
            "{} sold that no order of this history explains: a server may have died before it \
             recorded them, or have yet to record them",
            findings::units(unexplained)
        ));
    }
    let clocks = leases::clocks(traces);
    if clocks > 1 {
        gaps.push(format!(
            "exclusive leases were recorded by {clocks} clocks that cannot be compared: whether \
             leases of different clocks overlapped was not judged"
        ));
    }
    gaps
}
