//! What is to come out of a race, and whether it did.

use tokio::time::Duration;

use crate::{
    cli::Expect,
    report::{Part, Run},
    stock::Tally,
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
        let oversells = match expected {
            Expected::Oversells => true,
            Expected::OversellsOrSticks | Expected::ExactWithinTtl => outlasts,
            Expected::ExactOnOneServer => processes > 1,
            Expected::ExactWhileRenewed
            | Expected::ExactWhileConnected
            | Expected::Exact
            | Expected::ExactAlways
            | Expected::ExactInLayers => false,
        };
        if oversells { Self::Oversell } else { Self::Exact }
    }

    /// Whether a race has shown anything: nobody may have got anything, as when the votes of Redlock are
    /// split among all, and what goes wrong now and then may not have gone wrong.
    #[must_use]
    pub fn can_be_judged(self, tally: &Tally) -> bool {
        match self {
            Self::Exact => tally.sold > 0,
            Self::Oversell => tally.oversold() > 0,
        }
    }

    /// The promise in words.
    #[must_use]
    pub fn claim(self) -> &'static str {
        match self {
            Self::Exact => "no unit is sold twice, and every sale is accounted for",
            Self::Oversell => "units are sold twice, and that is caught",
        }
    }
}

/// What runs came to, in words.
fn tell(runs: &[Run]) -> String {
    let range = |number: fn(&Run) -> i64| {
        let (least, most) = (runs.iter().map(number).min(), runs.iter().map(number).max());
        match (least.unwrap_or_default(), most.unwrap_or_default()) {
            (least, most) if least == most => most.to_string(),
            (least, most) => format!("{least} to {most}"),
        }
    };
    let count = if runs.len() == 1 { String::new() } else { format!("{} runs: ", runs.len()) };
    let (sold, initial) = (range(|run| run.sold), range(|run| run.initial_stock));
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
    format!("{count}{sold} sold of {initial}, {oversold} oversold, {found}{races}")
}

/// Holds runs to what was promised.
pub fn judge(part: &mut Part, promise: Promise, conditions: &Conditions, runs: &[Run]) {
    let seen = tell(runs);
    let is_exact = |run: &Run| run.audit["ok"] == true && !run.oversold;
    match promise {
        Promise::Exact if runs.iter().any(|run| run.sold == 0) => {
            part.unknown(
                promise.claim(),
                format!("{seen}: where nothing is sold, nothing can show"),
            );
        }
        Promise::Exact => part.check(promise.claim(), seen, runs.iter().all(is_exact)),
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
