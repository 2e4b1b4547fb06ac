//! What is proven by what buyers have read and done, and by the ledger.

use serde::Serialize;
use serde_json::{Value, json};

use super::purchase::{Did, Purchase};
use crate::{report::Part, stock::ledger::Tally};

/// How purchases are expected to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ends {
    /// One unit too many, by who took more to be free than there was.
    Misread,
    /// One unit too many, by two who worked at once, each on what there was.
    Overlap,
    /// Everything that there was is sold, and whoever came too late has seen so.
    TurnedAway,
    /// Everything that there was is sold, and whoever came too late was refused by the database.
    Failed,
}

impl Ends {
    /// Whether that is what happened.
    fn is_met(self, purchases: &[Purchase], tally: &Tally) -> bool {
        let is_exact = tally.initial > 0 && tally.sold == tally.initial;
        let is_oversold_by_one = tally.initial > 0 && tally.oversold() == 1;
        let all_sold = purchases.iter().all(|purchase| purchase.did == Did::Sold);
        let misread = purchases.iter().any(|Purchase { look, .. }| look.read > look.free);
        let turned_away = purchases.iter().any(|purchase| purchase.did == Did::TurnedAway);
        let failed = purchases.iter().any(|purchase| matches!(purchase.did, Did::Failed(_)));
        match self {
            Self::Misread => is_oversold_by_one && all_sold && misread,
            Self::Overlap => is_oversold_by_one && all_sold && !misread && purchases.len() > 1,
            Self::TurnedAway => is_exact && turned_away && !failed && !misread,
            Self::Failed => is_exact && failed && !turned_away,
        }
    }
}

/// What was done with one item, and how it ended.
pub struct Trial<'a> {
    /// What was expected.
    pub claim: &'a str,
    /// How the purchases are to end for that.
    pub ends: Ends,
    /// What happened before anybody decided.
    pub story: String,
    /// Every purchase that was tried.
    pub purchases: Vec<Purchase>,
    /// What the ledger says at the end.
    pub tally: Tally,
}

impl Trial<'_> {
    /// Adds the case to a part, with the steps by which the database was told of it.
    pub fn judge(self, part: &mut Part, steps: &[Value]) {
        let Self { claim, ends, story, purchases, tally } = self;
        let Tally { initial, sold, .. } = tally;
        let oversold = tally.oversold();
        let mut seen = vec![story];
        seen.extend(purchases.iter().map(Purchase::seen));
        seen.push(format!("{sold} sold of {initial}, {oversold} oversold"));
        part.check(claim, seen.join("; "), ends.is_met(&purchases, &tally));
        part.evidence.push(json!({
            "claim": claim, "expected": ends, "purchases": purchases, "steps": steps,
            "ledger": { "initial": initial, "sold": sold, "oversold": oversold },
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::anomaly::purchase::Look;

    fn purchase(read: i64, free: i64, did: Did) -> Purchase {
        Purchase { buyer: "first", session: 1, look: Look { read, free }, did }
    }

    fn tally(initial: i64, sold: i64) -> Tally {
        Tally { initial, stock: 0, sold }
    }

    /// Every way to end is met by its own evidence, and by no other.
    #[test]
    fn each_end_is_told_from_the_others() {
        let right = purchase(1, 1, Did::Sold);
        let stale = purchase(1, 0, Did::Sold);
        let away = purchase(0, 0, Did::TurnedAway);
        let failed = purchase(1, 1, Did::Failed("gone".to_owned()));
        let cases = [
            (vec![right.clone(), stale.clone()], tally(1, 2), vec![Ends::Misread]),
            (vec![right.clone(), away.clone()], tally(1, 1), vec![Ends::TurnedAway]),
            (vec![failed.clone(), right.clone()], tally(1, 1), vec![Ends::Failed]),
            // The ledger does not say what the buyers say.
            (vec![right.clone(), stale], tally(1, 1), vec![]),
            (vec![right.clone(), away.clone()], tally(1, 2), vec![]),
            (vec![right.clone(), right.clone()], tally(1, 2), vec![Ends::Overlap]),
            // Nothing was sold, or nothing was there: nothing is shown.
            (vec![failed, away], tally(1, 0), vec![]),
            (vec![right], tally(1, 1), vec![]),
            (vec![], tally(0, 0), vec![]),
        ];
        for (purchases, tally, expected) in cases {
            let all = [Ends::Misread, Ends::Overlap, Ends::TurnedAway, Ends::Failed];
            let met = all.into_iter().filter(|ends| ends.is_met(&purchases, &tally));
            assert_eq!(met.collect::<Vec<_>>(), expected, "{purchases:?} {tally:?}");
        }
    }
}
