//! `locklab retry`: what losers do, compared at the same load.

use serde_json::json;
use tokio::time::{Duration, Instant};

use super::{
    expectation::{Conditions, Promise, judge},
    race,
    recorded::Recorded,
};
use crate::{
    cli::{Config, Expect, RetryArgs},
    lab::Lab,
    measure::sample,
    report::{
        Part, Picture, Report, Run, Table,
        picture::{Group, Groups, Line, Lines},
    },
    scenario::{
        error::ScenarioError,
        ground::{self, open},
        progress::Progress,
        race::plan::{Plan, shuffle},
    },
};
use locklab_locks::wait::{Patience, Policy};

/// What back-off starts from, as in the PHP lab.
const BASE: Duration = Duration::from_millis(100);
/// What no delay exceeds, as in the PHP lab.
const CAP: Duration = Duration::from_secs(5);
/// How long a buyer waits at most: the number of retries is to end it.
const WAIT: Duration = Duration::from_secs(45);

/// Has the same buyers race once with each policy.
///
/// # Errors
/// The configuration is not valid, or the store is not there.
pub async fn run(config: &Config, args: &RetryArgs) -> Result<Report, ScenarioError> {
    let lab = open(config, &[args.lock], args.concurrency).await?;
    let mut report = Report::new("retry");
    report.servers = lab.backends().versions().await;
    let seed = args.run.seed;
    report.seed = Some(seed);
    let RetryArgs { lock, concurrency, stock, delay, ttl, processes, .. } = *args;
    let mut part = Part::new(format!(
        "{}: {concurrency} buyers of {stock}, at most {} retries, ttl {ttl:?}",
        lock.row().name,
        args.max_retries
    ));
    let conditions = Conditions {
        processes,
        buyers: concurrency.into(),
        stock,
        work: delay,
        ttl,
        are_patient: true,
    };
    let promise = Promise::of(Expect::Listed, lock, &conditions);
    if let Some(reason) = lab.backends().reason_against(lock.row()) {
        part.unknown(promise.claim(), reason);
    } else {
        let rounds = u64::from(args.run.runs) * args.policies().count() as u64;
        let bar = Progress::bar(rounds, "retry");
        // Round by round, so that whatever else the machine does hits all policies.
        for number in 1..=args.run.runs {
            for policy in args.policies() {
                bar.say(format!("losers do {}, run {number}", policy.name()));
                let seed = seed.wrapping_add(u64::from(number) - 1);
                let run = once(&lab, config, args, policy, seed, &mut part).await;
                let run = part.known(run).map(|run| Run { run: number, ..run });
                report.runs.0.extend(run);
                bar.tick();
            }
        }
        if !report.runs.0.is_empty() {
            judge(&mut part, promise, &conditions, &report.runs.0);
        }
        show(&mut part, args, &report.runs.0);
    }
    lab.close(Instant::now()).await;
    report.parts.push(part);
    Ok(report)
}

async fn once(
    lab: &Lab,
    config: &Config,
    args: &RetryArgs,
    policy: Policy,
    seed: u64,
    part: &mut Part,
) -> Result<Run, ScenarioError> {
    let product = ground::product("retry", args.lock)?;
    lab.shop().reset(&product, args.stock, Some(args.lock)).await?;
    let plan = |buyer| {
        let mut plan = Plan::new(buyer, args.lock, &product);
        (plan.order.delay, plan.order.ttl) = (args.delay, args.ttl);
        plan.order.patience = Patience {
            policy,
            base: BASE,
            cap: CAP,
            max_retries: args.max_retries,
            wait: WAIT,
            ..Patience::default()
        };
        plan
    };
    let mut plans: Vec<Plan> = (0..args.concurrency).map(plan).collect();
    shuffle(&mut plans, seed);
    let entries = race::run(lab, config, plans, args.processes).await?;
    let recorded = Recorded::of(lab, &product, args.lock).await?;
    part.evidence.push(recorded.json(json!({ "retry": policy.name() })));
    let run = Run::new(args.lock.row().name, &recorded.tally, recorded.audit(), entries);
    Ok(Run { retry: policy.name(), processes: args.processes, ..run })
}

/// What the runs of each policy come to.
fn show(part: &mut Part, args: &RetryArgs, runs: &[Run]) {
    let of = |policy: Policy| runs.iter().filter(move |run| run.retry == policy.name());
    let entries = |policy| of(policy).flat_map(|run| &run.entries);
    let columns =
        ["retry", "took ms", "sold", "retries/buyer", "wait p50 ms", "p99", "sigma ms", "Jain"];
    let row = |policy: Policy| {
        let took: Vec<f64> = of(policy).map(|run| run.duration_ms).collect();
        let sold: Vec<f64> = of(policy).map(|run| run.sold as f64).collect();
        let waits: Vec<f64> = entries(policy).map(|entry| entry.wait_ms).collect();
        let ends: Vec<f64> = entries(policy).map(|entry| entry.duration_ms).collect();
        let retries: Vec<f64> = entries(policy).map(|entry| f64::from(entry.retries)).collect();
        vec![
            policy.name().to_owned(),
            format!("{:.0}", sample::median(&took)),
            format!("{:.0}", sample::median(&sold)),
            format!("{:.1}", sample::mean(&retries)),
            format!("{:.1}", sample::quantile(&waits, 0.5)),
            format!("{:.1}", sample::quantile(&waits, 0.99)),
            format!("{:.1}", sample::deviation(&ends)),
            format!("{:.2}", sample::jain(&ends)),
        ]
    };
    part.tables.push(Table {
        title: "What losers do (medians over runs; fairness over all purchases)".to_owned(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: args.policies().map(row).collect(),
    });
    for policy in args.policies() {
        let took = of(policy).map(|run| run.duration_ms).collect();
        part.measure(format!("{}: until all had an answer", policy.name()), "ms", took);
    }
    let group = |policy: Policy| Group {
        name: policy.name().to_owned(),
        samples: entries(policy).map(|entry| entry.wait_ms).collect(),
    };
    part.pictures.push(Picture::Distribution(Groups {
        title: "How long buyers waited".to_owned(),
        unit: "ms",
        groups: args.policies().map(group).collect(),
    }));
    let line = |policy: Policy| {
        let Some(run) = of(policy).next() else {
            return Line { name: policy.name().to_owned(), points: Vec::new() };
        };
        let began_ns = run.entries.iter().map(|entry| entry.began_ns).min().unwrap_or_default();
        let mut ended: Vec<_> =
            run.entries.iter().map(|entry| (entry.ended_ns, entry.retries)).collect();
        ended.sort_unstable();
        let mut sum = 0;
        let points = ended.into_iter().map(|(at_ns, retries)| {
            sum += retries;
            (at_ns.saturating_sub(began_ns) as f64 / 1e6, f64::from(sum))
        });
        Line { name: policy.name().to_owned(), points: points.collect() }
    };
    part.pictures.push(Picture::Lines(Lines {
        title: "Retries of all buyers who have their answer, first run".to_owned(),
        x: "ms since the start",
        y: "retries",
        lines: args.policies().map(line).collect(),
    }));
}
