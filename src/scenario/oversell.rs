//! `locklab oversell`: buyers come at the same instant for fewer units than there are buyers. How
//! many are sold, under which strategy?

use std::io::{self, Write};

use serde_json::json;

use super::{
    error::ScenarioError,
    expectation::{Conditions, Promise, judge},
    export,
    ground::Ground,
    progress::Progress,
    race::Race,
    recorded::Recorded,
    timeline::processes_of,
};
use crate::{
    cli::{Config, OversellArgs},
    order::Order,
    outcome::Outcome,
    report::{Part, Picture, Report, Run, RunEntry, picture::Group},
    strategy::StrategyId,
};
use locklab_locks::wait::{Patience, Policy};

/// How often a race is run again that has shown nothing.
const RACES_MAX: u32 = 20;

/// Has buyers race under one strategy after the other.
pub async fn run(config: &Config, args: &OversellArgs) -> Result<Report, ScenarioError> {
    let (locks, seed) = (args.locks(), args.run.seed);
    if let Some(path) = &args.output {
        export::check(path)?;
    }
    let ground = Ground::open(config, &locks, args.concurrency).await?;
    let mut report = ground.report("oversell", Some(seed)).await;
    for &lock in &locks {
        let (part, runs) = sell(&ground, args, lock, seed).await;
        report.parts.push(part);
        report.runs.0.extend(runs);
    }
    ground.close().await;
    if let Some(path) = &args.output {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // As the PHP lab named them.
        export::write(&report, |run, which| match locks.len() {
            1 => path.with_file_name(format!("{which}{name}")),
            _ => path.with_file_name(format!("{}_{which}{name}", run.strategy)),
        })?;
    }
    report.parts.push(side_by_side(&report.runs.0, locks.len()));
    Ok(report)
}

/// Runs under one strategy, and whether they are as expected.
async fn sell(
    ground: &Ground,
    args: &OversellArgs,
    lock: StrategyId,
    seed: u64,
) -> (Part, Vec<Run>) {
    let OversellArgs { stock, concurrency, delay, ttl, retry, processes, .. } = *args;
    let name = lock.row().name;
    let spread = if processes == 1 { String::new() } else { format!(", {processes} processes") };
    let mut part = Part::new(format!(
        "{name}: {concurrency} buyers of {stock}, work {delay:?}, ttl {ttl:?}{spread}"
    ));
    let conditions = Conditions {
        processes,
        buyers: concurrency.into(),
        stock,
        work: delay,
        ttl,
        are_patient: retry != Policy::None,
    };
    let promise = Promise::of(args.expect(), lock, &conditions);
    let mut runs: Vec<Run> = Vec::new();
    if !ground.allows(lock, &mut part, promise.claim()) {
        return (part, runs);
    }
    let mut timeline = None;
    for number in 1..=args.run.runs {
        let what = format!("{concurrency} buyers of {stock} under {name}, run {number}");
        let spinner = Progress::spinner(what);
        let seed = seed.wrapping_add(u64::from(number) - 1);
        let is_vain = conditions.buyers <= conditions.stock;
        let shows = |recorded: &Recorded| is_vain || promise.can_be_judged(&recorded.tally);
        let raced = race(ground, args, (lock, number, seed), &mut part, shows).await;
        drop(spinner);
        let Some((races, entries, recorded)) = part.known(raced) else { continue };
        if !args.run.report.quiet && !args.run.report.json {
            tell(&entries);
        }
        let is_first_oversold =
            recorded.tally.oversold() > 0 && runs.iter().all(|run| !run.oversold);
        if timeline.is_none() || is_first_oversold {
            timeline = recorded.timeline(processes_of(&entries));
        }
        let run = recorded.run(entries);
        runs.push(Run { run: number, races, processes, retry: retry.name(), ..run });
    }
    if !runs.is_empty() {
        judge(&mut part, promise, &conditions, &runs);
    }
    part.pictures.extend(timeline.map(Picture::Timeline));
    (part, runs)
}

/// Races until one of them shows something: how many there were, what became of each purchase of
/// the last, and what was recorded of it.
async fn race(
    ground: &Ground,
    args: &OversellArgs,
    (lock, run, seed): (StrategyId, u32, u64),
    part: &mut Part,
    shows: impl Fn(&Recorded) -> bool,
) -> Result<(u32, Vec<RunEntry>, Recorded), ScenarioError> {
    let OversellArgs { delay, ttl, retry: policy, processes, .. } = *args;
    let (units, buyers) = (args.stock, args.concurrency);
    let race = Race { scenario: "oversell", lock, units, buyers, processes, seed };
    let tune = |order| {
        let patience = Patience { policy, ..Patience::default() };
        Order { delay, ttl, patience, ..order }
    };
    let mut races = 1;
    loop {
        let (entries, recorded) = race.run(ground, tune).await?;
        let conditions = json!({ "run": run, "race": races, "lock": lock.row().name });
        part.evidence.push(recorded.json(conditions));
        if shows(&recorded) || races == RACES_MAX {
            return Ok((races, entries, recorded));
        }
        races += 1;
    }
}

/// Says what became of each purchase, as the PHP lab did.
fn tell(entries: &[RunEntry]) {
    let mut err = io::stderr().lock();
    for entry in entries {
        let outcome = <&str>::from(entry.outcome);
        // Whoever started this need not read it.
        writeln!(
            err,
            "  {outcome:<11} {:<9} stock {} -> {}  {:.1} ms",
            entry.process_id, entry.stock_before, entry.stock_after, entry.duration_ms
        )
        .ok();
    }
}

/// All runs in one table.
fn side_by_side(runs: &[Run], strategies: usize) -> Part {
    let mut part = Part::new("What was sold");
    let columns = ["strategy", "tries", "sold", "sold out", "no lock", "other", "contention", "ms"];
    let ended = |run: &Run| {
        let (sold_out, busy) = (run.count(Outcome::SoldOut), run.count(Outcome::Busy));
        vec![
            run.strategy.to_owned(),
            run.total_attempts.to_string(),
            run.successes.to_string(),
            sold_out.to_string(),
            busy.to_string(),
            (run.failures - sold_out - busy).to_string(),
            format!("{:.0} %", run.contention_rate * 100.0),
            format!("{:.1}", run.duration_ms),
        ]
    };
    part.table("How purchases ended", &columns, runs.iter().map(ended).collect());
    let columns = ["strategy", "on sale", "sold", "left", "oversold", "lost updates"];
    let counted = |run: &Run| {
        let units =
            [run.initial_stock, run.sold, run.final_stock, run.units_oversold, run.lost_updates];
        let units = units.iter().map(i64::to_string);
        [run.strategy.to_owned()].into_iter().chain(units).collect()
    };
    part.table("Units, by the ledger", &columns, runs.iter().map(counted).collect());
    let groups = |sample: fn(&Run) -> Vec<f64>| {
        let mut groups: Vec<Group> = Vec::new();
        for run in runs {
            match groups.iter_mut().find(|group| group.name == run.strategy) {
                Some(group) => group.samples.extend(sample(run)),
                None => groups.push(Group::new(run.strategy, sample(run))),
            }
        }
        groups
    };
    let took = groups(|run| run.entries.iter().map(|entry| entry.duration_ms).collect());
    part.pictures.push(Picture::distribution("How long purchases took", "ms", took));
    if strategies > 1 {
        let oversold = groups(|run| vec![run.units_oversold as f64]);
        part.pictures.push(Picture::bars("Units sold that were not there", "units", oversold));
    }
    part
}
