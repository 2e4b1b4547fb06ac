//! `locklab oversell`: buyers come at the same instant for fewer units than there are buyers. How many
//! are sold, under which strategy?

use std::io::{self, Write};

use serde_json::json;
use tokio::time::Instant;

use super::{
    expectation::{Conditions, Promise, judge},
    export, race,
    recorded::Recorded,
};
use crate::{
    cli::{Config, OversellArgs},
    lab::Lab,
    outcome::Outcome,
    report::{
        Entry, Part, Picture, Report, Run, Table,
        picture::{Group, Groups},
    },
    scenario::{
        error::ScenarioError,
        ground::{self, open},
        progress::Progress,
        race::plan::{Plan, shuffle},
    },
    strategy::StrategyId,
};
use locklab_locks::wait::{Patience, Policy};

/// How often a race is run again that has shown nothing.
const RACES_MAX: u32 = 20;

/// Has buyers race under one strategy after the other.
///
/// # Errors
/// The configuration is not valid, the store is not there, or a file could not be written.
pub async fn run(config: &Config, args: &OversellArgs) -> Result<Report, ScenarioError> {
    let locks = args.locks();
    if let Some(path) = &args.output {
        export::check(path)?;
    }
    let lab = open(config, &locks, args.concurrency).await?;
    let mut report = Report::new("oversell");
    report.servers = lab.backends().versions().await;
    report.seed = Some(args.run.seed);
    for &lock in &locks {
        let (part, runs) = sell(&lab, config, args, lock, report.seed.unwrap_or_default()).await;
        report.parts.push(part);
        report.runs.0.extend(runs);
    }
    lab.close(Instant::now()).await;
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
    lab: &Lab,
    config: &Config,
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
    if let Some(reason) = lab.backends().reason_against(lock.row()) {
        part.unknown(promise.claim(), reason);
        return (part, Vec::new());
    }
    let mut runs: Vec<Run> = Vec::new();
    let mut timeline = None;
    for number in 1..=args.run.runs {
        let spinner = Progress::spinner(format!(
            "{concurrency} buyers of {stock} under {name}, run {number}"
        ));
        let seed = seed.wrapping_add(u64::from(number) - 1);
        let mut races = 1;
        let raced = loop {
            let raced = race(lab, config, args, lock, seed).await;
            let Some((entries, recorded)) = part.known(raced) else { break None };
            part.evidence
                .push(recorded.json(json!({ "run": number, "race": races, "lock": name })));
            let is_vain = conditions.buyers <= conditions.stock;
            if promise.can_be_judged(&recorded.tally) || is_vain || races == RACES_MAX {
                break Some((entries, recorded));
            }
            races += 1;
        };
        drop(spinner);
        let Some((entries, recorded)) = raced else { continue };
        if !args.run.report.quiet && !args.run.report.json {
            tell(&entries);
        }
        let whose = |id: &str| {
            let of_order = entries.iter().find(|entry| entry.order_id == id);
            of_order.map(|entry| entry.process_id.clone())
        };
        if timeline.is_none()
            || recorded.tally.oversold() > 0 && runs.iter().all(|run| !run.oversold)
        {
            timeline = recorded.timeline(whose);
        }
        let run = Run::new(name, &recorded.tally, recorded.audit(), entries);
        runs.push(Run { run: number, races, processes, retry: retry.name(), ..run });
    }
    if !runs.is_empty() {
        judge(&mut part, promise, &conditions, &runs);
    }
    part.pictures.extend(timeline.map(Picture::Timeline));
    (part, runs)
}

/// One race; what became of each purchase, and what was recorded.
async fn race(
    lab: &Lab,
    config: &Config,
    args: &OversellArgs,
    lock: StrategyId,
    seed: u64,
) -> Result<(Vec<Entry>, Recorded), ScenarioError> {
    let product = ground::product("oversell", lock)?;
    lab.shop().reset(&product, args.stock, Some(lock)).await?;
    let plan = |buyer| {
        let mut plan = Plan::new(buyer, lock, &product);
        (plan.order.delay, plan.order.ttl) = (args.delay, args.ttl);
        plan.order.patience = Patience { policy: args.retry, ..Patience::default() };
        plan
    };
    let mut plans: Vec<Plan> = (0..args.concurrency).map(plan).collect();
    shuffle(&mut plans, seed);
    let entries = race::run(lab, config, plans, args.processes).await?;
    let recorded = Recorded::of(lab, &product, lock).await?;
    Ok((entries, recorded))
}

/// Says what became of each purchase, as the PHP lab did.
fn tell(entries: &[Entry]) {
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
    let table = |title: &str, columns: &[&str], row: fn(&Run) -> Vec<String>| Table {
        title: title.to_owned(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        rows: runs.iter().map(row).collect(),
    };
    let columns = ["strategy", "tries", "sold", "sold out", "no lock", "other", "contention", "ms"];
    part.tables.push(table("How purchases ended", &columns, |run| {
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
    }));
    let columns = ["strategy", "on sale", "sold", "left", "oversold", "lost updates"];
    part.tables.push(table("Units, by the ledger", &columns, |run| {
        let units =
            [run.initial_stock, run.sold, run.final_stock, run.units_oversold, run.lost_updates];
        let units = units.iter().map(i64::to_string);
        [run.strategy.to_owned()].into_iter().chain(units).collect()
    }));
    let groups = |sample: fn(&Run) -> Vec<f64>| {
        let mut groups: Vec<Group> = Vec::new();
        for run in runs {
            match groups.iter_mut().find(|group| group.name == run.strategy) {
                Some(group) => group.samples.extend(sample(run)),
                None => groups.push(Group { name: run.strategy.to_owned(), samples: sample(run) }),
            }
        }
        groups
    };
    part.pictures.push(Picture::Distribution(Groups {
        title: "How long purchases took".to_owned(),
        unit: "ms",
        groups: groups(|run| run.entries.iter().map(|entry| entry.duration_ms).collect()),
    }));
    if strategies > 1 {
        part.pictures.push(Picture::Bars(Groups {
            title: "Units sold that were not there".to_owned(),
            unit: "units",
            groups: groups(|run| vec![run.units_oversold as f64]),
        }));
    }
    part
}
