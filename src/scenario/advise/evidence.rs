//! What there is to show of a strategy in a case: a race under its load, and what becomes of a
//! holder that stands still.

use tokio::time::Duration;

use super::rules::Case;
use crate::{
    cli::{Change, Spread},
    measure::sample,
    report::{Met, Part},
    scenario::{
        compare::{
            self,
            cell::{Cell, Load, Sample},
            judge,
        },
        error::ScenarioError,
        ground::Ground,
        pause,
    },
    strategy::{Expected, Family, StrategyId},
};
use locklab_locks::wait::Policy;

/// How long buyers race under each strategy.
pub const RACE: Duration = Duration::from_secs(1);
/// Longer work is not waited for: with so much, the most that a lock lets through shows in the
/// time.
const WORK_MAX: Duration = Duration::from_millis(20);
/// More buyers say nothing new, and take the time from each other.
const BUYERS_MAX: u32 = 50;
/// Processes, where they are many.
const PROCESSES: u32 = 2;
/// No lease is shorter: a busy machine would outlast it.
const TTL_MIN: Duration = Duration::from_secs(1);
/// How long a lease lasts whose holder is stopped: it has to be waited for.
const PAUSE_TTL: Duration = Duration::from_secs(1);

/// What was seen of a strategy.
pub struct Shown {
    /// What came out of the race; absent if it could not be measured.
    pub race: Option<Sample>,
    /// What became of the stopped holder; absent if nothing is promised about that.
    pub paused: Option<Met>,
}

/// The load of a case, as far as it is done here.
pub fn load(case: &Case) -> Load {
    Load {
        buyers: case.buyers.min(BUYERS_MAX),
        duration: RACE,
        work: case.work.min(WORK_MAX),
        ttl: case.ttl.max(TTL_MIN),
        base: Duration::from_millis(5),
        cap: Duration::from_millis(100),
        processes: if case.processes == Spread::Many { PROCESSES } else { 1 },
    }
}

/// Where the load is not that of the case, in words.
pub fn scaled(case: &Case, load: &Load) -> String {
    let mut scaled = Vec::new();
    if load.work < case.work {
        scaled.push(format!("work of {:?} instead of {:?}", load.work, case.work));
    }
    if load.buyers < case.buyers {
        scaled.push(format!("{} buyers instead of {}", load.buyers, case.buyers));
    }
    if load.ttl > case.ttl {
        scaled.push(format!("a ttl of {:?} instead of {:?}", load.ttl, case.ttl));
    }
    if scaled.is_empty() { String::new() } else { format!("; scaled: {}", scaled.join(", ")) }
}

/// Shows a strategy at work.
pub async fn show(ground: &Ground, case: &Case, lock: StrategyId, seed: u64) -> (Part, Shown) {
    let (row, load) = (lock.row(), load(case));
    let title = compare::title(lock, &load);
    let mut part = Part::new(format!("Recorded now: {title}{}", scaled(case, &load)));
    let mut shown = Shown { race: None, paused: None };
    if let Some(reason) = ground.lab.backends().reason_against(row) {
        part.unknown(
            judge::promise(lock, &load).claim(),
            format!("it would fit, and is not measured: {reason}"),
        );
        return (part, shown);
    }
    let policy = match row.family {
        Family::LockFree => Policy::Jitter,
        Family::Lock if load.processes > 1 => Policy::Fifo,
        // In the line of one process, they would not race.
        Family::Lock => Policy::Notify,
    };
    let race = race(ground, Cell { lock, policy }, &load, seed).await;
    if let Some(sample) = part.known(race) {
        judge::judge(&mut part, lock, &load, &[&sample]);
        part.measure("sold", "units/s", vec![sample.sold_per_s]);
        let p99 = sample::quantile(&sample.waits_ms, 0.99);
        part.measure(
            "99 of 100 waited at most",
            "ms",
            vec![p99].into_iter().filter(|it| it.is_finite()).collect(),
        );
        part.evidence.extend(serde_json::to_value(&sample));
        shown.race = Some(sample);
    }
    if survives_pauses(case, lock) {
        shown.paused = Some(stop(ground, lock, &mut part).await);
    }
    (part, shown)
}

/// Shows what a lock cannot do: somebody else is let in while a holder stands still, and both
/// write.
pub async fn control(ground: &Ground, lock: StrategyId) -> Part {
    let name = lock.row().name;
    let mut part =
        Part::new(format!("Recorded now: {name}: a holder is stopped for longer than its lease"));
    if ground.allows(lock, &mut part, "a late write can be shown") {
        stop(ground, lock, &mut part).await;
    }
    part
}

async fn race(
    ground: &Ground,
    cell: Cell,
    load: &Load,
    seed: u64,
) -> Result<Sample, ScenarioError> {
    if load.processes == 1 {
        compare::warm_up(ground, cell.lock, load).await?;
    }
    cell.measure(ground, load, 1, seed).await
}

/// Whether a strategy is to withstand a holder that stands still, in this case.
fn survives_pauses(case: &Case, lock: StrategyId) -> bool {
    match lock.row().expected {
        Expected::Exact | Expected::ExactWhileConnected | Expected::ExactInLayers => true,
        // Outside, nobody compares its tokens.
        Expected::ExactAlways => case.change != Change::Outside,
        _ => false,
    }
}

/// Stops a holder. Whether what came out is what was promised, the worst of it.
async fn stop(ground: &Ground, lock: StrategyId, part: &mut Part) -> Met {
    let before = part.checks.len();
    let stopped = pause::stop(ground, PAUSE_TTL, lock, 1, part).await;
    part.known(stopped);
    part.checks[before..].iter().map(|check| check.met).max().unwrap_or(Met::Unknown)
}
