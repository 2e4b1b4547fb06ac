//! `locklab crash`: the process that holds a lock is killed, or works for longer than its lease lasts.
//! What does the next buyer do?

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::{Duration, Instant};

use super::{
    expectation::{Conditions, Promise, judge},
    holder::{self, Holder},
    race,
    recorded::Recorded,
};
use crate::{
    cli::{Config, CrashArgs, Expect},
    lab::Lab,
    report::{
        Entry, Part, Picture, Report, Run,
        timeline::{EXPIRY, Mark},
    },
    scenario::{error::ScenarioError, ground::open, progress::Progress, race::plan::Plan},
    strategy::{Expected, Family, StrategyId, server::Backend},
};
use locklab_locks::{fault::PAUSE_MAX, step::Step, wait::Patience};

/// Units on sale when the holder is killed, as in the PHP lab.
const UNITS: u64 = 5;
/// How often the next buyer asks for the lock.
const BASE: Duration = Duration::from_millis(10);
/// How much longer than a lease the next buyer waits: sessions outlive a ttl.
const SLACK: Duration = Duration::from_secs(15);
/// How much later than the holder the next buyer comes.
const LATER: Duration = Duration::from_millis(100);
/// Records that are kept of a product.
const RECORDS: u32 = 100;

/// What frees a lock whose holder is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frees {
    /// Nobody is kept out by it in the first place.
    Nobody,
    /// The end of its connection, which the server notices.
    Connection,
    /// The end of its session, which outlives it.
    Session,
    /// The end of its lease.
    Ttl,
}

impl Frees {
    fn of(strategy: StrategyId) -> Self {
        let row = strategy.row();
        match row.expected {
            Expected::Oversells | Expected::ExactOnOneServer => Self::Nobody,
            Expected::ExactWhileConnected => Self::Connection,
            _ if row.family == Family::LockFree && row.locks_rows() => Self::Connection,
            _ if row.steps.contains(&Step::Enqueue) => Self::Session,
            _ if row.family == Family::LockFree => Self::Nobody,
            _ if row.backend == Backend::ZooKeeper => Self::Session,
            _ => Self::Ttl,
        }
    }
}

/// Does it under one strategy after the other.
///
/// # Errors
/// The configuration is not valid, or the store is not there.
pub async fn run(config: &Config, args: &CrashArgs) -> Result<Report, ScenarioError> {
    let lab = open(config, &args.lock, RECORDS).await?;
    let mut report = Report::new("crash");
    report.servers = lab.backends().versions().await;
    report.seed = Some(args.run.seed);
    let bar = Progress::bar(args.lock.len() as u64, "crash");
    for &lock in &args.lock {
        let name = lock.row().name;
        let what = if args.ttl_edge { "works for too long" } else { "is killed" };
        bar.say(format!("a holder under {name} {what}"));
        let mut part = Part::new(if args.ttl_edge {
            format!("{name}: ttl {:?}, but the holder works for {:?}", args.ttl, args.work)
        } else {
            format!("{name}: the process of the holder is killed, ttl {:?}", args.ttl)
        });
        if let Some(reason) = lab.backends().reason_against(lock.row()) {
            part.unknown("the next buyer is served", reason);
        } else if args.ttl_edge {
            let runs = outlast(&lab, config, args, lock, &mut part).await;
            report.runs.0.extend(part.known(runs).unwrap_or_default());
        } else {
            let mut blocked = Vec::new();
            for run in 1..=args.run.runs {
                let killed = kill(&lab, config, args, lock, run, &mut part).await;
                blocked.extend(part.known(killed));
            }
            part.measure("from the kill until the next buyer had the lock", "ms", blocked);
        }
        report.parts.push(part);
        bar.tick();
    }
    lab.close(Instant::now()).await;
    Ok(report)
}

/// Kills the process of a holder just before it writes; how long the next buyer waited, in ms.
async fn kill(
    lab: &Lab,
    config: &Config,
    args: &CrashArgs,
    lock: StrategyId,
    run: u32,
    part: &mut Part,
) -> Result<f64, ScenarioError> {
    let plan = holder::on_sale(lab, "crash", lock, UNITS).await?;
    let plan = |buyer| {
        let mut plan: Plan = plan(buyer);
        plan.order.ttl = args.ttl;
        plan
    };
    let step = holder::first_of(lock, &[Step::BeforeWrite, Step::Take]).unwrap_or(Step::Write);
    let dead = plan(0);
    let dead_id = dead.order.id.as_str().to_owned();
    let dead = Holder::start(lab, config, dead, step, PAUSE_MAX).await?;
    let before = holder::buy(lab, holder::patient(plan(1), BASE, Duration::ZERO)).await?;
    let killed_ns = dead.signal(Signal::SIGKILL)?;
    let at_once = holder::buy(lab, holder::patient(plan(2), BASE, Duration::ZERO)).await?;
    let next = holder::buy(lab, holder::patient(plan(3), BASE, args.ttl + SLACK)).await?;
    let began_ns = dead.began_ns;
    dead.end().await?;
    let product = plan(3).product();
    let recorded = Recorded::of(lab, &product, lock).await?;

    let has_ns = next.began_ns + (next.wait_ms * 1e6) as u64;
    let blocked_ms = has_ns.saturating_sub(killed_ns) as f64 / 1e6;
    let ttl_ms = args.ttl.as_secs_f64() * 1e3;
    let seen = format!(
        "while it lived: {}; at once after the kill: {}; then {} after {blocked_ms:.0} ms",
        outcome(&before),
        outcome(&at_once),
        outcome(&next)
    );
    let (is_served, kept_out) = (next.success, !before.success);
    let frees = Frees::of(lock);
    match frees {
        Frees::Nobody => {
            let claim = "nobody is kept out by the dead one: there is nothing to wait for";
            part.check(claim, seen, is_served && before.success && at_once.success);
        }
        Frees::Connection => {
            let claim = "the server frees the lock with its connection, before a ttl is over";
            if is_served && kept_out && blocked_ms >= ttl_ms {
                let why = "which may have been the ttl: give more with --ttl";
                part.unknown(claim, format!("{seen}, {why}"));
            } else {
                part.check(claim, seen, is_served && kept_out);
            }
        }
        Frees::Session => {
            let claim = "the next one is served when the session of the dead one is over";
            part.check(claim, seen, is_served && kept_out && !at_once.success);
        }
        Frees::Ttl => {
            // It was granted nothing before it began, so its lease lasts at least until then.
            let over_ns = began_ns + args.ttl.as_nanos() as u64;
            let claim = "the next one is served, and not before the lease is over";
            let early = [&before, &at_once].into_iter().filter(|entry| entry.success);
            if early.clone().count() > 0 && early.clone().all(|entry| entry.ended_ns > over_ns) {
                let why = "the lease may have been over when they came: give more with --ttl";
                part.unknown(claim, format!("{seen}; {why}"));
            } else {
                part.check(claim, seen, is_served && early.count() == 0 && has_ns >= over_ns);
            }
        }
    }
    let told = [&before, &at_once, &next].into_iter().filter(|entry| entry.success).count();
    let seen = format!("{told} told that they have it; {}", recorded.numbers());
    let (is_ok, sold) = (recorded.verdict.ok, recorded.tally.sold - told as i64);
    if lock.row().steps.contains(&Step::Enqueue) {
        // Its place in the queue outlives it.
        let claim = "what the dead one has ordered is served once, at most";
        part.check(claim, seen, is_ok && (0..=1).contains(&sold));
    } else {
        part.check("what the dead one did not finish is not sold", seen, is_ok && sold == 0);
    }
    if run == 1 {
        let buyers = [(&before, "while it lived"), (&at_once, "at once"), (&next, "the next")];
        let whose = |id: &str| {
            let name = if id == dead_id { "the dead" } else { "" };
            let of_buyer = buyers.iter().find(|(entry, _)| entry.order_id == id);
            Some(of_buyer.map_or(name, |(_, name)| name).to_owned())
        };
        part.pictures.extend(recorded.timeline(whose).map(|mut timeline| {
            // It may be before anything that is shown: the dead one waited in a queue, and is served.
            timeline.from_ns = timeline.from_ns.min(killed_ns);
            for lane in timeline.lanes.iter_mut().filter(|lane| lane.name == "the dead") {
                if frees == Frees::Connection {
                    // Its server has freed the lock with the connection, whatever its ttl was.
                    lane.spans.iter_mut().for_each(|it| it.until_ns = it.until_ns.min(killed_ns));
                    lane.marks.retain(|mark| mark.letter != EXPIRY);
                }
                lane.marks.push(Mark { at_ns: killed_ns, letter: 'K' });
            }
            if frees == Frees::Connection {
                let spans = timeline.lanes.iter().flat_map(|lane| &lane.spans);
                timeline.until_ns =
                    spans.map(|span| span.until_ns).chain([has_ns]).max().unwrap_or(has_ns);
                timeline.letters.retain(|(letter, _)| *letter != EXPIRY);
            }
            timeline.letters.push(('K', "killed"));
            Picture::Timeline(timeline)
        }));
    }
    let conditions = json!({ "run": run, "lock": lock.row().name, "killed_ns": killed_ns });
    part.evidence.push(recorded.json(conditions));
    Ok(blocked_ms)
}

fn outcome(entry: &Entry) -> &'static str {
    entry.outcome.into()
}

/// A holder works for longer than its lease lasts; another one waits for it, in a process of its own.
async fn outlast(
    lab: &Lab,
    config: &Config,
    args: &CrashArgs,
    lock: StrategyId,
    part: &mut Part,
) -> Result<Vec<Run>, ScenarioError> {
    let CrashArgs { ttl, work, .. } = *args;
    let conditions = Conditions { processes: 2, buyers: 2, stock: 1, work, ttl, are_patient: true };
    let promise = Promise::of(Expect::Listed, lock, &conditions);
    let mut runs = Vec::new();
    for number in 1..=args.run.runs {
        let plan = holder::on_sale(lab, "crash", lock, 1).await?;
        let buyer = |buyer: u32| {
            let mut plan = holder::patient(plan(buyer), LATER, ttl + work + SLACK);
            (plan.order.ttl, plan.order.delay) = (ttl, work);
            plan.after = LATER * buyer;
            if buyer == 0 {
                plan.order.patience = Patience::default();
            }
            plan
        };
        let plans = vec![buyer(0), buyer(1)];
        let product = plans[0].product();
        let entries = race::run(lab, config, plans, 2).await?;
        let recorded = Recorded::of(lab, &product, lock).await?;
        if number == 1 {
            let names = ["the holder", "the next"];
            let whose = |id: &str| {
                let at = entries.iter().position(|entry| entry.order_id == id)?;
                names.get(at).map(|name| (*name).to_owned())
            };
            part.pictures.extend(recorded.timeline(whose).map(Picture::Timeline));
        }
        part.evidence.push(recorded.json(json!({ "run": number, "lock": lock.row().name })));
        let run = Run::new(lock.row().name, &recorded.tally, recorded.audit(), entries);
        runs.push(Run { run: number, processes: 2, retry: "fixed", ..run });
    }
    judge(part, promise, &conditions, &runs);
    let ends: Vec<&str> = runs.iter().filter_map(|run| run.entries.first()).map(outcome).collect();
    let late = runs.iter().filter(|run| run.entries.iter().any(|entry| entry.ttl_violated)).count();
    let (all, ends) = (runs.len(), ends.join(", "));
    let seen = format!("the holder's purchase: {ends}; leases outlived in {late} of {all} runs");
    let row = lock.row();
    let is_fenced = row.expected == Expected::ExactAlways;
    if work > ttl && Frees::of(lock) == Frees::Ttl && promise == Promise::Oversell {
        part.check("the holder works on after its lease is over", seen, late == all);
    } else if is_fenced && work > ttl {
        let told = runs.iter().filter_map(|run| run.entries.first());
        let is_refused = told.clone().all(|entry| !entry.success || !entry.ttl_violated);
        part.check("nothing is sold under a lease that is over", seen, is_refused);
    }
    Ok(runs)
}
