//! `locklab compare`: every strategy with every way to wait, at the same load. What is expected of
//! each is what it promises; of speed, nothing is.

pub mod cell;
mod hand_off;
pub mod judge;
mod show;

use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};
use tokio::time::Duration;

use self::cell::{Cell, Load, Sample};
use super::{progress::Progress, race};
use crate::{
    cli::{CompareArgs, Config},
    report::{Part, Report},
    scenario::{error::ScenarioError, ground::Ground},
    strategy::StrategyId,
};
use locklab_locks::wait::Policy;

/// Purchases per second that are certainly recorded: some strategies sell more without work, and
/// then the report says how many records were dropped.
const RECORDS_PER_S: f64 = 10_000.0;
/// The fewest and the most records that are kept of a product.
const RECORDS: std::ops::RangeInclusive<f64> = 1_000.0..=50_000.0;

/// Measures all of them.
pub async fn run(config: &Config, args: &CompareArgs) -> Result<Report, ScenarioError> {
    let (locks, policies, seed) = (args.locks(), args.policies(), args.seed);
    let load = Load {
        buyers: args.concurrency,
        duration: args.duration,
        work: args.delay,
        ttl: args.ttl,
        base: args.base,
        cap: args.cap,
        processes: args.processes,
    };
    let ground = Ground::open(config, &locks, records(load.duration)).await?;
    let mut report = ground.report("compare", Some(seed)).await;
    let (mut parts, mut cells) = (Vec::new(), Vec::new());
    for &lock in &locks {
        let mut part = Part::new(title(lock, &load));
        if ground.allows(lock, &mut part, judge::promise(lock, &load).claim()) {
            cells.extend(policies.iter().map(|&policy| Cell { lock, policy }));
            if let Err(error) = warm_up(&ground, lock, &load).await {
                part.unknown("connections are made before anything is measured", error);
            }
        }
        parts.push((lock, part));
    }
    let (samples, failures) = measure(&ground, &load, (args.runs, seed), cells).await;
    ground.close().await;
    for (lock, mut part) in parts {
        let own: Vec<&Sample> = samples.iter().filter(|it| it.lock == lock.row().name).collect();
        let failed: Vec<&Failure> = failures.iter().filter(|it| it.cell.lock == lock).collect();
        if let Some(Failure { cell, run, error }) = failed.first() {
            let (count, name) = (failed.len(), cell.name());
            let why = format!("{count} could not be, the first {name}, run {run}: {error}");
            part.unknown("everything is measured", why);
        }
        if !own.is_empty() {
            judge::judge(&mut part, lock, &load, &own);
            show::figures(&mut part, &policies, &own);
            part.evidence.extend(own.iter().filter_map(|it| serde_json::to_value(it).ok()));
        }
        report.parts.push(part);
    }
    if !samples.is_empty() {
        report.parts.push(show::side_by_side(&locks, &policies, &samples));
    }
    Ok(report)
}

/// How many records of a product are kept.
pub fn records(duration: Duration) -> u32 {
    (duration.as_secs_f64() * RECORDS_PER_S).clamp(*RECORDS.start(), *RECORDS.end()) as u32
}

/// Has buyers make connections.
pub async fn warm_up(ground: &Ground, lock: StrategyId, load: &Load) -> Result<(), ScenarioError> {
    let cell = Cell { lock, policy: Policy::Fixed };
    race::run(ground, cell.warm_up(ground, load).await?, 1).await?;
    Ok(())
}

/// Measures round by round, so that whatever else the machine does hits all of them, and each time
/// in another order.
async fn measure(
    ground: &Ground,
    load: &Load,
    (runs, seed): (u32, u64),
    mut cells: Vec<Cell>,
) -> (Vec<Sample>, Vec<Failure>) {
    let (mut samples, mut failures) = (Vec::new(), Vec::new());
    let mut rng = SmallRng::seed_from_u64(seed);
    let bar = Progress::bar(u64::from(runs) * cells.len() as u64, "compare");
    for run in 1..=runs {
        cells.shuffle(&mut rng);
        for &cell in &cells {
            bar.say(format!("{}, run {run} of {runs}", cell.name()));
            let seed = seed.wrapping_add(run.into());
            match cell.measure(ground, load, run, seed).await {
                Ok(sample) => samples.push(sample),
                Err(error) => failures.push(Failure { cell, run, error }),
            }
            bar.tick();
        }
    }
    (samples, failures)
}

/// What could not be measured.
struct Failure {
    cell: Cell,
    run: u32,
    error: ScenarioError,
}

/// What is done under a strategy.
pub fn title(lock: StrategyId, load: &Load) -> String {
    let Load { buyers, duration, work, ttl, processes, .. } = load;
    let spread = if *processes == 1 { String::new() } else { format!(" in {processes} processes") };
    let name = lock.row().name;
    format!("{name}: {buyers} buyers{spread} for {duration:?}, work {work:?}, ttl {ttl:?}")
}
