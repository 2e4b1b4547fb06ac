//! What is to come out of a race, and whether it did.

use tokio::time::Duration;

use crate::{
    cli::Expect,
    report::{Part, Run},
    strategy::{Expected, StrategyId},
};

/// What a race is run under.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    /// Processes that the buyers are spread over.
    pub processes: u32,
    /// Buyers.
    pub buyers: u64,
    /// Units on sale.
    pub stock: u64,
    /// How long their work takes.
    pub work: Duration,
    /// How long their leases last.
    pub ttl: Duration,
    /// Whether losers try again, and so come when a lease has ended.
    pub are_patient: bool,
}

/// What is to come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// No unit is sold twice, whatever happens: each run has to show it.
    Exact,
    /// The same, as long as no lease is outlived.
    ExactWithinTtl,
    /// Units are sold twice: one run is enough to show it.
    Oversell,
}

impl Promise {
    /// What is expected of a strategy.
    #[must_use]
    pub fn of(expect: Expect, strategy: StrategyId, conditions: &Conditions) -> Self {
        match expect {
            Expect::Exact => Self::Exact,
            Expect::Oversell => Self::Oversell,
            Expect::Listed => Self::listed(strategy.row().expected, conditions),
        }
    }

    /// What a strategy is listed to do under these conditions.
    fn listed(expected: Expected, conditions: &Conditions) -> Self {
        let Conditions { processes, work, ttl, are_patient, .. } = *conditions;
        let outlasts = work > ttl && are_patient;
        match expected {
            Expected::Oversells => Self::Oversell,
            Expected::OversellsOrSticks | Expected::ExactWithinTtl if outlasts => Self::Oversell,
            Expected::OversellsOrSticks | Expected::ExactWithinTtl => Self::ExactWithinTtl,
            Expected::ExactOnOneServer if processes > 1 => Self::Oversell,
            Expected::ExactOnOneServer
            | Expected::ExactWhileRenewed
            | Expected::ExactWhileConnected
            | Expected::Exact
            | Expected::ExactAlways
            | Expected::ExactInLayers => Self::Exact,
        }
    }

    /// The promise in words.
    #[must_use]
    pub fn claim(self) -> &'static str {
        match self {
            Self::Exact | Self::ExactWithinTtl => {
                "no unit is sold twice, and every sale is accounted for"
            }
            Self::Oversell => "units are sold twice, and that is caught",
        }
    }
}

/// What runs came to, in words: those with which the audit is content, and the others.
fn tell(runs: &[Run]) -> String {
    if let [run] = runs {
        return run.numbers();
    }
    let told = [true, false].into_iter().filter_map(|ok| {
        let of: Vec<&Run> = runs.iter().filter(|run| (run.audit["ok"] == true) == ok).collect();
        let initial = of.first()?.initial_stock;
        let sold = range(of.iter().map(|run| run.sold));
        let oversold = range(of.iter().map(|run| run.units_oversold));
        let (count, found) = (of.len(), if ok { "audit ok" } else { "audit NOT ok" });
        let runs = if count == 1 { "run" } else { "runs" };
        Some(format!("{count} {runs}: {sold} sold of {initial}, {oversold} oversold, {found}"))
    });
    told.collect::<Vec<_>>().join("; ")
}

/// From the least to the most.
fn range(numbers: impl Iterator<Item = i64> + Clone) -> String {
    match (numbers.clone().min().unwrap_or_default(), numbers.max().unwrap_or_default()) {
        (least, most) if least == most => most.to_string(),
        (least, most) => format!("{least} to {most}"),
    }
}

/// Holds runs to what was promised.
pub fn judge(part: &mut Part, promise: Promise, conditions: &Conditions, runs: &[Run]) {
    let seen = tell(runs);
    let is_exact = |run: &Run| run.audit["ok"] == true && !run.oversold;
    let is_outlived = |run: &Run| run.entries.iter().any(|entry| entry.ttl_violated);
    let mut inexact = runs.iter().filter(|run| !is_exact(run)).peekable();
    match promise {
        Promise::ExactWithinTtl if inexact.peek().is_some() && inexact.all(is_outlived) => {
            let why = "leases were outlived, although the work takes less: give more with --ttl";
            part.unknown(promise.claim(), format!("{seen}; {why}"));
        }
        Promise::Exact | Promise::ExactWithinTtl => {
            let all_are_exact = runs.iter().all(is_exact);
            if all_are_exact && runs.iter().any(|run| run.sold == 0) {
                let why = "where nothing is sold, nothing can show";
                part.unknown(promise.claim(), format!("{seen}: {why}"));
            } else {
                part.check(promise.claim(), seen, all_are_exact);
            }
        }
        Promise::Oversell if conditions.buyers <= conditions.stock => {
            let why = "there are as many units as buyers: give fewer with --stock";
            part.unknown(promise.claim(), why);
        }
        Promise::Oversell => {
            let is_caught = |run: &Run| run.oversold && run.audit["ok"] == false;
            part.check(promise.claim(), seen, runs.iter().any(is_caught));
        }
    }
    let undecided: usize = runs.iter().map(Run::undecided).sum();
    if undecided > 0 {
        let errors = runs.iter().flat_map(|run| &run.entries).filter(|entry| !entry.is_decided());
        let first = errors.filter_map(|entry| entry.error.clone()).next().unwrap_or_default();
        part.unknown("every purchase is decided", format!("{undecided} are not: {first}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{report::Met, stock::Tally};

    const CONDITIONS: Conditions = Conditions {
        processes: 1,
        buyers: 2,
        stock: 1,
        work: Duration::from_millis(1),
        ttl: Duration::from_millis(1),
        are_patient: true,
    };

    fn run(sold: i64) -> Run {
        let tally = Tally { initial: 1, stock: 1 - sold, sold };
        Run::new("safe", &tally, json!({ "ok": sold <= 1 }), Vec::new())
    }

    fn met(promise: Promise, sold: &[i64]) -> Met {
        let mut part = Part::new("test");
        let runs: Vec<Run> = sold.iter().map(|sold| run(*sold)).collect();
        judge(&mut part, promise, &CONDITIONS, &runs);
        part.checks[0].met
    }

    #[test]
    fn one_run_that_oversells_breaks_the_promise_whatever_others_show() {
        for promise in [Promise::Exact, Promise::ExactWithinTtl] {
            assert_eq!(met(promise, &[1, 1]), Met::Yes);
            assert_eq!(met(promise, &[1, 0]), Met::Unknown);
            assert_eq!(met(promise, &[2, 0]), Met::No);
            assert_eq!(met(promise, &[2, 1]), Met::No);
        }
        assert_eq!(met(Promise::Oversell, &[2, 1]), Met::Yes);
        assert_eq!(met(Promise::Oversell, &[1, 1]), Met::No);
    }

    #[test]
    fn several_runs_are_told_in_ranges() {
        assert_eq!(tell(&[run(1)]), "1 sold of 1, 0 oversold, audit ok");
        let told = tell(&[run(1), run(3), run(0), run(2)]);
        let sound = "2 runs: 0 to 1 sold of 1, 0 oversold, audit ok";
        let unsound = "2 runs: 2 to 3 sold of 1, 1 to 2 oversold, audit NOT ok";
        assert_eq!(told, format!("{sound}; {unsound}"));
    }
}
