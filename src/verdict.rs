//! The verdict: a pure judgement over what was recorded.

use crate::stock::Tally;

/// What a product's numbers prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Every unit is accounted for, and none was sold twice.
    pub ok: bool,
    /// Units sold beyond what there was.
    pub oversold: i64,
    /// Units that were sold and that the stock still has, because a write overwrote their sale.
    pub lost_updates: i64,
    /// Each finding, in words.
    pub evidence: Vec<String>,
}

/// Judges conservation: sold + left = initial, and sold ≤ initial. "Sold" is the ledger's number;
/// the stock, which lost updates leave too high, is what it is judged against.
#[must_use]
pub fn judge(tally: &Tally) -> Verdict {
    let Tally { initial, stock, sold } = *tally;
    let oversold = (sold - initial).max(0);
    // What the stock should be if every sale had been subtracted once.
    let expected = initial - sold;
    let lost_updates = (stock - expected).max(0);
    let mut evidence = Vec::new();
    if oversold > 0 {
        evidence.push(format!("oversold: {sold} units sold of {initial}"));
    }
    if lost_updates > 0 {
        evidence.push(format!(
            "lost updates: the stock is {stock}, but {initial} − {sold} sold = {expected}"
        ));
    }
    if stock < expected {
        evidence.push(format!(
            "foreign write: the stock is {stock}, below {initial} − {sold} sold = {expected}; \
             something other than a purchase wrote to it"
        ));
    }
    Verdict { ok: evidence.is_empty(), oversold, lost_updates, evidence }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(initial: i64, stock: i64, sold: i64) -> (bool, i64, i64) {
        let verdict = judge(&Tally { initial, stock, sold });
        assert_eq!(verdict.ok, verdict.evidence.is_empty());
        (verdict.ok, verdict.oversold, verdict.lost_updates)
    }

    #[test]
    fn conservation() {
        assert_eq!(judged(10, 10, 0), (true, 0, 0), "nothing sold");
        assert_eq!(judged(10, 7, 3), (true, 0, 0), "three sold");
        assert_eq!(judged(10, 0, 10), (true, 0, 0), "sold out");
        assert_eq!(judged(1, 0, 7), (false, 6, 6), "the race that the stock hides");
        assert_eq!(judged(10, 8, 3), (false, 0, 1), "a lost update without oversell");
        assert_eq!(judged(10, 6, 3), (false, 0, 0), "somebody else took a unit");
        assert_eq!(judged(1, -1, 2), (false, 1, 0), "an oversell that the stock shows");
    }
}
