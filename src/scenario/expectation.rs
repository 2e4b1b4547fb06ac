//! What is to come out of a race, and whether it did.

use tokio::time::Duration;

use crate::{
    cli::Expect,
    report::{Part, Run},
    stock::ledger::Tally,
    strategy::{Expected, StrategyId},
};

/// What a race is run under.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    /// Processes that the buyers are spread over.
    pub processes: u32,
    /// How many buyers there are.
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
    /// No unit is sold twice for as long as no lease is outlived: each run has to show it.
    ExactWithinTtl,
    /// Units are sold twice: one run is enough to show it.
    Oversell,
}

impl Promise {
    /// What is expected of a strategy.
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

    /// Whether a race has shown anything: nobody may have got anything, as when the votes of
    /// Redlock are split among all, and what goes wrong now and then may not have gone wrong.
    pub fn can_be_judged(self, tally: &Tally) -> bool {
        match self {
            Self::Exact | Self::ExactWithinTtl => tally.sold > 0,
            Self::Oversell => tally.oversold() > 0,
        }
    }

    /// The promise in words.
    pub fn claim(self) -> &'static str {
        match self {
            Self::Exact | Self::ExactWithinTtl => {
                "no unit is sold twice, and every sale is accounted for"
            }
            Self::Oversell => "units are sold twice, and that is caught",
        }
    }
}

/// What runs came to, in words.
fn tell(runs: &[Run]) -> String {
    if let [run] = runs
        && run.races == 1
    {
        return run.numbers();
    }
    let range = |number: fn(&Run) -> i64| range(runs.iter().map(number));
    let count = if runs.len() == 1 { String::new() } else { format!("{} runs: ", runs.len()) };
    let (sold, initial) = (range(|run| run.sold), range(|run| run.initial_stock));
    // What is oversold is lost from the stock as well.
    let lost = match runs.iter().any(|run| !run.oversold && run.lost_updates > 0) {
        true => format!("lost updates: {}, ", range(|run| run.lost_updates)),
        false => String::new(),
    };
    let oversold = range(|run| run.units_oversold);
    let found = match runs.iter().filter(|run| run.audit["ok"] != true).count() {
        0 => "audit ok".to_owned(),
        bad if bad == runs.len() => "audit NOT ok".to_owned(),
        bad => format!("audit NOT ok in {bad}"),
    };
    let races = match runs.iter().map(|run| run.races).max() {
        Some(races) if races > 1 => format!(" (after {races} races)"),
        _ => String::new(),
    };
    format!("{count}{sold} sold of {initial}, {oversold} oversold, {lost}{found}{races}")
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
    use crate::report::Met;

    fn conditions() -> Conditions {
        let (work, ttl) = (Duration::from_millis(5), Duration::from_secs(5));
        Conditions { processes: 1, buyers: 50, stock: 1, work, ttl, are_patient: false }
    }

    fn listed(name: &str, conditions: &Conditions) -> Promise {
        Promise::of(Expect::Listed, name.parse().unwrap(), conditions)
    }

    #[test]
    fn what_is_listed_depends_on_the_conditions() {
        let calm = conditions();
        let spread = Conditions { processes: 2, ..calm };
        let late = Conditions { work: Duration::from_secs(6), are_patient: true, ..calm };
        for (name, in_calm, when_spread, when_late) in [
            ("none", Promise::Oversell, Promise::Oversell, Promise::Oversell),
            ("mutex", Promise::Exact, Promise::Oversell, Promise::Exact),
            ("safe", Promise::ExactWithinTtl, Promise::ExactWithinTtl, Promise::Oversell),
            ("naive", Promise::ExactWithinTtl, Promise::ExactWithinTtl, Promise::Oversell),
            ("watchdog", Promise::Exact, Promise::Exact, Promise::Exact),
            ("fenced", Promise::Exact, Promise::Exact, Promise::Exact),
            ("atomic", Promise::Exact, Promise::Exact, Promise::Exact),
        ] {
            let promises = [&calm, &spread, &late].map(|conditions| listed(name, conditions));
            assert_eq!(promises, [in_calm, when_spread, when_late], "{name}");
        }
        // Nobody comes after the lease has ended.
        let alone = Conditions { are_patient: false, ..late };
        assert_eq!(listed("safe", &alone), Promise::ExactWithinTtl);
    }

    fn run(sold: i64, ok: bool) -> Run {
        let tally = Tally { initial: 1, stock: 0, sold };
        Run::new("none", &tally, json!({ "ok": ok }), Vec::new())
    }

    fn met(promise: Promise, conditions: &Conditions, runs: &[Run]) -> Met {
        let mut part = Part::new("a race");
        judge(&mut part, promise, conditions, runs);
        part.checks.iter().map(|check| check.met).max().unwrap()
    }

    #[test]
    fn exact_is_for_every_run_and_oversold_for_one() {
        let at = conditions();
        for promise in [Promise::Exact, Promise::ExactWithinTtl] {
            let met = |runs: &[Run]| met(promise, &at, runs);
            assert_eq!(met(&[run(1, true), run(1, true)]), Met::Yes);
            assert_eq!(met(&[run(1, true), run(0, true)]), Met::Unknown);
            assert_eq!(met(&[run(2, false), run(0, true)]), Met::No);
            assert_eq!(met(&[run(1, true), run(2, false)]), Met::No);
        }
        assert_eq!(met(Promise::Exact, &at, &[run(1, false)]), Met::No, "an update was lost");
        assert_eq!(met(Promise::Exact, &at, &[run(0, true)]), Met::Unknown, "nothing was sold");
        assert_eq!(met(Promise::Oversell, &at, &[run(1, true), run(2, false)]), Met::Yes);
        assert_eq!(met(Promise::Oversell, &at, &[run(1, true)]), Met::No, "not caught");
        assert_eq!(met(Promise::Oversell, &at, &[run(2, true)]), Met::No, "the audit missed it");
        let enough = Conditions { stock: 50, ..at };
        assert_eq!(met(Promise::Oversell, &enough, &[run(1, true)]), Met::Unknown);
    }

    #[test]
    fn several_runs_are_told_in_ranges() {
        assert_eq!(tell(&[run(1, true)]), "1 sold of 1, 0 oversold, audit ok");
        let told = tell(&[run(1, true), run(3, false), run(0, true)]);
        assert_eq!(told, "3 runs: 0 to 3 sold of 1, 0 to 2 oversold, audit NOT ok in 1");
        let late = Run { races: 3, ..run(2, false) };
        assert_eq!(tell(&[late]), "2 sold of 1, 1 oversold, audit NOT ok (after 3 races)");
    }
}
