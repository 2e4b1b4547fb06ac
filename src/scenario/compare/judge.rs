//! Whether strategies do what they are listed to do, when buyers come again and again. There is
//! always enough to sell, so units that are sold twice show as updates that are lost.

use super::cell::{Load, Sample};
use crate::{
    cli::Expect,
    report::Part,
    scenario::expectation::{Conditions, Promise},
    stock::STOCK_MAX,
    strategy::{Family, StrategyId},
};
use locklab_locks::wait::Policy;

/// What a strategy is listed to do under this load.
pub fn promise(lock: StrategyId, load: &Load) -> Promise {
    let conditions = Conditions {
        processes: load.processes,
        buyers: load.buyers.into(),
        stock: STOCK_MAX,
        work: load.work,
        ttl: load.ttl,
        // Who gives up comes again.
        are_patient: true,
    };
    Promise::of(Expect::Listed, lock, &conditions)
}

/// Holds what was measured to that.
pub fn judge(part: &mut Part, lock: StrategyId, load: &Load, samples: &[&Sample]) {
    let promise = promise(lock, load);
    let sold: i64 = samples.iter().map(|it| it.sold).sum();
    let lost: i64 = samples.iter().map(|it| it.lost_updates).sum();
    let oversold: i64 = samples.iter().map(|it| it.oversold).sum();
    let not_ok = samples.iter().filter(|it| !it.ok).count();
    let runs = match samples.len() {
        1 => "1 run".to_owned(),
        count => format!("{count} runs"),
    };
    let mut seen = format!("{sold} sold in {runs}, {oversold} oversold, {lost} sales overwritten");
    seen += &match not_ok {
        0 => ", audit ok".to_owned(),
        count => format!(", audit NOT ok in {count}"),
    };
    let gaps: Vec<&String> = samples.iter().flat_map(|it| it.gaps.first()).collect();
    if let Some(first) = gaps.first() {
        seen += &format!("; gaps in {} runs, the first: {first}", gaps.len());
    }
    let is_clean = not_ok == 0 && lost == 0 && oversold == 0;
    // The line of a process lets in one at a time, whatever the lock does.
    let is_in_line = lock.row().family == Family::Lock
        && load.processes == 1
        && samples.iter().all(|it| it.retry == Policy::Fifo.name());
    match promise {
        _ if sold == 0 => part.unknown(promise.claim(), "nothing was sold, so nothing can show"),
        _ if is_in_line && is_clean => {
            let why = "they come one after the other: give another --retry, or more --processes";
            part.unknown(promise.claim(), why);
        }
        Promise::ExactWithinTtl if !is_clean && samples.iter().any(|it| it.ttl_violated > 0) => {
            let why = "leases were outlived, although the work takes less: give more with --ttl";
            part.unknown(promise.claim(), format!("{seen}; {why}"));
        }
        Promise::Exact | Promise::ExactWithinTtl => part.check(promise.claim(), seen, is_clean),
        Promise::Oversell if load.buyers < 2 => {
            let why = "one buyer races with nobody: give more with --concurrency";
            part.unknown(promise.claim(), why);
        }
        Promise::Oversell => {
            let is_caught = |it: &&Sample| !it.ok && (it.lost_updates > 0 || it.oversold > 0);
            part.check(promise.claim(), seen, samples.iter().any(is_caught));
        }
    }
    let undecided: usize = samples.iter().map(|it| it.undecided).sum();
    if undecided > 0 {
        let first = samples.iter().find_map(|it| it.error.clone()).unwrap_or_default();
        part.unknown("every purchase is decided", format!("{undecided} are not: {first}"));
    }
}
