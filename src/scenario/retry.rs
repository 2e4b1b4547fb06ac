//! `locklab retry`: what losers do, compared at the same load.

use serde_json::json;
use tokio::time::Duration;

use super::{
    error::ScenarioError,
    expectation::{Conditions, Promise, judge},
    ground::Ground,
    progress::Progress,
    race::Race,
};
use crate::{
    cli::{Config, Expect, RetryArgs},
    measure::sample,
    order::Order,
    report::{
        Part, Picture, Report, Run, RunEntry,
        picture::{Curve, Curves, Group},
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
pub async fn run(config: &Config, args: &RetryArgs) -> Result<Report, ScenarioError> {
    let ground = Ground::open(config, &[args.lock], args.concurrency).await?;
    let seed = args.run.seed;
    let mut report = ground.report("retry", Some(seed)).await;
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
    if ground.allows(lock, &mut part, promise.claim()) {
        let rounds = u64::from(args.run.runs) * args.policies().count() as u64;
        let bar = Progress::bar(rounds, "retry");
        // Round by round, so that whatever else the machine does hits all policies.
        for number in 1..=args.run.runs {
            for policy in args.policies() {
                bar.say(format!("losers do {}, run {number}", policy.name()));
                let seed = seed.wrapping_add(u64::from(number) - 1);
                let run = once(&ground, args, policy, seed, &mut part).await;
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
    ground.close().await;
    report.parts.push(part);
    Ok(report)
}

async fn once(
    ground: &Ground,
    args: &RetryArgs,
    policy: Policy,
    seed: u64,
    part: &mut Part,
) -> Result<Run, ScenarioError> {
    let RetryArgs { lock, delay, ttl, max_retries, processes, .. } = *args;
    let (units, buyers) = (args.stock, args.concurrency);
    let race = Race { scenario: "retry", lock, units, buyers, processes, seed };
    let tune = |order| {
        let patience = Patience {
            policy,
            base: BASE,
            cap: CAP,
            max_retries,
            wait: WAIT,
            ..Patience::default()
        };
        Order { delay, ttl, patience, ..order }
    };
    let (entries, recorded) = race.run(ground, tune).await?;
    part.evidence.push(recorded.json(json!({ "retry": policy.name() })));
    Ok(Run { retry: policy.name(), processes, ..recorded.run(entries) })
}

/// What the runs of each policy come to.
fn show(part: &mut Part, args: &RetryArgs, runs: &[Run]) {
    let each: Vec<Policed<'_>> = args.policies().map(|policy| Policed::of(policy, runs)).collect();
    let columns =
        ["retry", "took ms", "sold", "retries/buyer", "wait p50 ms", "p99", "sigma ms", "Jain"];
    let title = "What losers do (medians over runs; fairness over all purchases)";
    part.table(title, &columns, each.iter().map(Policed::row).collect());
    for Policed { name, runs } in &each {
        let took = runs.iter().map(|run| run.duration_ms).collect();
        part.measure(format!("{name}: until all had an answer"), "ms", took);
    }
    let waits = each.iter().map(|it| Group::new(it.name, it.each(|entry| entry.wait_ms)));
    part.pictures.push(Picture::distribution("How long buyers waited", "ms", waits.collect()));
    part.pictures.push(Picture::Lines(Curves {
        title: "Retries of all buyers who have their answer, first run".to_owned(),
        x: "ms since the start",
        y: "retries",
        lines: each.iter().map(Policed::retries).collect(),
    }));
}

/// The runs of one policy.
struct Policed<'a> {
    name: &'static str,
    runs: Vec<&'a Run>,
}

impl<'a> Policed<'a> {
    fn of(policy: Policy, runs: &'a [Run]) -> Self {
        let name = policy.name();
        Self { name, runs: runs.iter().filter(|run| run.retry == name).collect() }
    }

    /// A number of each purchase.
    fn each(&self, number: impl Fn(&RunEntry) -> f64) -> Vec<f64> {
        self.runs.iter().flat_map(|run| &run.entries).map(number).collect()
    }

    fn row(&self) -> Vec<String> {
        let took: Vec<f64> = self.runs.iter().map(|run| run.duration_ms).collect();
        let sold: Vec<f64> = self.runs.iter().map(|run| run.sold as f64).collect();
        let waits = self.each(|entry| entry.wait_ms);
        let ends = self.each(|entry| entry.duration_ms);
        let retries = self.each(|entry| f64::from(entry.retries));
        vec![
            self.name.to_owned(),
            format!("{:.0}", sample::median(&took)),
            format!("{:.0}", sample::median(&sold)),
            format!("{:.1}", sample::mean(&retries)),
            format!("{:.1}", sample::quantile(&waits, 0.5)),
            format!("{:.1}", sample::quantile(&waits, 0.99)),
            format!("{:.1}", sample::deviation(&ends)),
            format!("{:.2}", sample::jain(&ends)),
        ]
    }

    /// How many retries there were in the first run, whenever a buyer had its answer.
    fn retries(&self) -> Curve {
        let entries = self.runs.first().map_or(&[][..], |run| &run.entries);
        let began_ns = entries.iter().map(|entry| entry.began_ns).min().unwrap_or_default();
        let mut ended: Vec<_> =
            entries.iter().map(|entry| (entry.ended_ns, entry.retries)).collect();
        ended.sort_unstable();
        let mut sum = 0;
        let points = ended.into_iter().map(|(at_ns, retries)| {
            sum += retries;
            (at_ns.saturating_sub(began_ns) as f64 / 1e6, f64::from(sum))
        });
        Curve { name: self.name.to_owned(), points: points.collect() }
    }
}
