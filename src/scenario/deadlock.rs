//! `locklab deadlock`: processes in a circle, each of which wants two products, and has what its neighbour
//! wants. Sorted, the same orders never wait in a circle.

use serde_json::json;
use tokio::time::{Duration, Instant};

use super::{
    Progress, ScenarioError, holder, open,
    race::{self, Plan},
    recorded::Recorded,
};
use crate::{
    cli::{Config, DeadlockArgs},
    fault::{Action, Fault, Step},
    lab::Lab,
    order::{Item, Outcome},
    product::Product,
    report::{Entry, Part, Picture, Report, Run},
    strategy::{Expected, Family, StrategyId},
};

/// Before each lock, so that everybody has one when they want the other.
const PAUSE: Duration = Duration::from_millis(100);
/// How often they ask for the other.
const BASE: Duration = Duration::from_millis(50);
/// The work, once they have both.
const WORK: Duration = Duration::from_millis(50);
/// How much longer than a lease they wait, as in the PHP lab.
const SLACK: Duration = Duration::from_secs(2);
/// Records that are kept of a product.
const RECORDS: u32 = 1_000;

/// What ends the wait in a circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// Nothing has to: nobody waits for anybody.
    Nothing,
    /// The end of a lease, or of patience.
    Lease,
    /// The database notices it, and undoes what one of them did.
    Database,
}

impl Ends {
    fn of(strategy: StrategyId) -> Self {
        let row = strategy.row();
        match (row.family, row.expected) {
            (Family::LockFree, _) if row.locks_rows() => Self::Database,
            (Family::LockFree, _) | (_, Expected::Oversells | Expected::ExactOnOneServer) => {
                Self::Nothing
            }
            _ => Self::Lease,
        }
    }
}

/// Does it under one strategy after the other.
///
/// # Errors
/// The configuration is not valid, the store is not there, or a strategy sells no carts.
pub async fn run(config: &Config, args: &DeadlockArgs) -> Result<Report, ScenarioError> {
    if let Some(lock) = args.lock.iter().find(|lock| !lock.row().sells_carts) {
        let carts = StrategyId::all().map(StrategyId::row).filter(|row| row.sells_carts);
        let carts: Vec<&str> = carts.map(|row| row.name).collect();
        let (name, valid) = (lock.row().name, carts.join(", "));
        let text =
            format!("--lock {name}: it sells one product at a time; expected one of {valid}");
        return Err(ScenarioError::Usage(text));
    }
    let lab = open(config, &args.lock, RECORDS).await?;
    let mut report = Report::new("deadlock");
    report.servers = lab.backends().versions().await;
    report.seed = Some(args.run.seed());
    let order = if args.mitigate { "sorted" } else { "opposite orders" };
    let bar = Progress::bar(args.lock.len() as u64, "deadlock");
    for &lock in &args.lock {
        let name = lock.row().name;
        let mut part = Part::new(format!(
            "{name}: {} processes, two locks each, in {order}, ttl {:?}",
            args.processes, args.ttl
        ));
        if let Some(reason) = lab.backends().reason_against(lock.row()) {
            part.unknown("everybody is served or gives up", reason);
        } else {
            let mut took = Vec::new();
            for number in 1..=args.run.runs {
                bar.say(format!("{order} under {name}, run {number}"));
                let seed = report.seed.unwrap_or_default().wrapping_add(u64::from(number) - 1);
                let run = circle(&lab, config, args, (lock, number), seed, &mut part).await;
                let Some(run) = part.known(run) else { continue };
                took.extend(run.entries.iter().map(|entry| entry.duration_ms));
                report.runs.0.push(run);
            }
            part.measure("until a process had both, or gave up", "ms", took);
        }
        report.parts.push(part);
        bar.tick();
    }
    lab.close(Instant::now()).await;
    Ok(report)
}

async fn circle(
    lab: &Lab,
    config: &Config,
    args: &DeadlockArgs,
    (lock, number): (StrategyId, u32),
    seed: u64,
    part: &mut Part,
) -> Result<Run, ScenarioError> {
    let count = args.processes as usize;
    let base = race::product("deadlock", lock)?;
    let mut products: Vec<Product> = Vec::new();
    for index in 0..count {
        let name = format!("{base}-{index}");
        let product: Product =
            name.parse().map_err(|_| ScenarioError::NotMeasured(format!("no product {name}")))?;
        lab.shop().reset(&product, count as u64, Some(lock)).await?;
        products.push(product);
    }
    let step = holder::last_step(lock, &[Step::Acquire, Step::LockRow, Step::Read, Step::Take]);
    let faults: Vec<Fault> =
        step.map(|step| Fault { action: Action::Pause(PAUSE), step }).into_iter().collect();
    let plan = |index: usize| {
        let plan = Plan::new(index as u32, lock, &base);
        let mut plan = holder::patient(plan, BASE, args.ttl + SLACK);
        let two = [&products[index], &products[(index + 1) % count]];
        let mut items = two.map(|product| Item { product: product.clone(), quantity: 1 }).to_vec();
        if args.mitigate {
            items.sort_by(|one, other| one.product.cmp(&other.product));
        }
        (plan.order.items, plan.order.ttl, plan.order.delay) = (items, args.ttl, WORK);
        plan.faults.clone_from(&faults);
        plan
    };
    let mut plans: Vec<Plan> = (0..count).map(plan).collect();
    race::shuffle(&mut plans, seed);
    let entries = race::run(lab, config, plans, args.processes).await?;
    let (mut audits, mut is_ok, mut sold) = (Vec::new(), true, 0);
    let mut held = Vec::new();
    for (index, product) in products.iter().enumerate() {
        let recorded = Recorded::of(lab, product, lock).await?;
        is_ok &= recorded.verdict.ok;
        held.extend(recorded.held_ms());
        sold += recorded.tally.sold;
        if number == 1 {
            let whose = |id: &str| {
                let of_order = entries.iter().find(|entry| entry.order_id == id);
                of_order.map(|entry| entry.process_id.clone())
            };
            part.pictures.extend(recorded.timeline(whose).map(|mut timeline| {
                timeline.title = format!("Who held the lock of product {index}");
                Picture::Timeline(timeline)
            }));
        }
        audits.push(recorded.audit());
        part.evidence.push(recorded.json(json!({ "run": number, "lock": lock.row().name })));
    }
    judge(part, args, lock, &entries);
    part.measure(format!("run {number}: each lock was held"), "ms", held);
    let told = entries.iter().filter(|entry| entry.success).count();
    let seen = format!("{told} told that they have both, {sold} units sold");
    // Without exclusion, what is sold may be sold twice: that is another scenario.
    if !matches!(lock.row().expected, Expected::Oversells | Expected::ExactOnOneServer) {
        let claim = "who has both is sold both, and nobody else anything";
        part.check(claim, seen, is_ok && sold == 2 * told as i64);
    }
    let units = (count * count) as i64;
    let tally = crate::stock::Tally { initial: units, stock: units - sold, sold };
    let run =
        Run::new(lock.row().name, &tally, json!({ "ok": is_ok, "products": audits }), entries);
    Ok(Run { run: number, processes: args.processes, retry: "fixed", ..run })
}

fn judge(part: &mut Part, args: &DeadlockArgs, lock: StrategyId, entries: &[Entry]) {
    let ttl_ms = args.ttl.as_secs_f64() * 1e3;
    let seen: Vec<String> = entries
        .iter()
        .map(|entry| {
            let (outcome, name) = (<&str>::from(entry.outcome), &entry.process_id);
            format!("{name} {outcome} after {:.0} ms", entry.duration_ms)
        })
        .collect();
    let seen = seen.join("; ");
    let blocked = entries.iter().filter(|entry| entry.wait_ms >= ttl_ms).count();
    let all_sold = entries.iter().all(|entry| entry.success);
    if args.mitigate {
        let claim = "everybody gets both, and nobody waits for as long as a lease lasts";
        part.check(claim, seen, all_sold && blocked == 0);
        return;
    }
    match Ends::of(lock) {
        Ends::Nothing => {
            let claim = "nobody waits for anybody: nothing is held while something is wanted";
            part.check(claim, seen, all_sold && blocked == 0);
        }
        Ends::Lease => {
            let claim = "control: all block each other until a lease, or patience, is over";
            part.check(claim, seen, blocked == entries.len());
        }
        Ends::Database => {
            let undone = |entry: &&Entry| entry.retries > 0 || entry.outcome == Outcome::Conflict;
            let victims = entries.iter().filter(undone).count();
            let claim = "control: the database finds the circle, and undoes what one has done";
            part.check(claim, format!("{seen}; {victims} undone"), victims > 0);
        }
    }
}
