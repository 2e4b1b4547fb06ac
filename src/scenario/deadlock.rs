//! `locklab deadlock`: processes in a circle, each of which wants two products, and has what its
//! neighbour wants. Sorted, the same orders never wait in a circle.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::time::Duration;

use super::{
    error::ScenarioError,
    ground::{self, AGAIN, Ground},
    holder,
    race::{
        self,
        plan::{Plan, shuffled},
    },
    recorded::Recorded,
    timeline::{FirstLease, processes_of},
};
use crate::{
    cli::{Config, DeadlockArgs},
    outcome::Outcome,
    product::{Item, Product},
    report::{Part, Picture, Report, Run, RunEntry},
    stock::ledger::Tally,
    strategy::{Expected, Family, StrategyId},
};
use locklab_locks::{
    fault::{Action, Fault},
    step::Step,
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
enum EndsWait {
    /// Nothing has to: nobody waits for anybody.
    Nothing,
    /// The end of a lease, or of patience.
    Lease,
    /// The database notices it, and undoes what one of them did.
    Database,
}

impl EndsWait {
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
pub async fn run(config: &Config, args: &DeadlockArgs) -> Result<Report, ScenarioError> {
    if let Some(lock) = args.lock.iter().find(|lock| !lock.row().sells_carts) {
        let carts = StrategyId::all().map(StrategyId::row).filter(|row| row.sells_carts);
        let carts: Vec<&str> = carts.map(|row| row.name).collect();
        let (name, valid) = (lock.row().name, carts.join(", "));
        let text =
            format!("--lock {name}: it sells one product at a time; expected one of {valid}");
        return Err(ScenarioError::Usage(text));
    }
    let (order, seed) = (if args.mitigate { "sorted" } else { "opposite orders" }, args.run.seed);
    let asked = ("deadlock", RECORDS, seed);
    Ground::show_each(config, asked, &args.lock, async |ground, lock, progress| {
        let name = lock.row().name;
        let (mut runs, mut part) = (
            Vec::new(),
            Part::new(format!(
                "{name}: {} processes, two locks each, in {order}, ttl {:?}",
                args.processes, args.ttl
            )),
        );
        if !ground.allows(lock, &mut part, "everybody is served or gives up") {
            return (part, runs);
        }
        for number in 1..=args.run.runs {
            progress.say(format!("{order} under {name}, run {number}"));
            let seed = seed.wrapping_add(u64::from(number) - 1);
            let run = circle(ground, args, (lock, number), seed, &mut part).await;
            runs.extend(part.known(run));
        }
        let entries = runs.iter().flat_map(|run: &Run| &run.entries);
        let took = entries.map(|entry| entry.duration_ms).collect();
        part.measure("until a process had both, or gave up", "ms", took);
        (part, runs)
    })
    .await
}

async fn circle(
    ground: &Ground,
    args: &DeadlockArgs,
    (lock, number): (StrategyId, u32),
    seed: u64,
    part: &mut Part,
) -> Result<Run, ScenarioError> {
    let base = ground::product("deadlock", lock)?;
    let names = (0..args.processes).map(|index| ground::named(&format!("{base}-{index}")));
    let products = names.collect::<Result<Vec<Product>, _>>()?;
    for product in &products {
        ground.lab.shop().reset(product, args.processes.into(), Some(lock)).await?;
    }
    let plans = shuffled(args.processes, seed, |buyer| plan(args, lock, &products, buyer));
    let entries = race::run(ground, plans, args.processes).await?;
    let mut all = Vec::new();
    for (index, product) in products.iter().enumerate() {
        let recorded = Recorded::of(&ground.lab, product, lock).await?;
        if number == 1 {
            part.pictures.extend(recorded.timeline(processes_of(&entries)).map(|mut timeline| {
                timeline.title = format!("Who held the lock of product {index}");
                Picture::Timeline(timeline)
            }));
        }
        part.evidence.push(recorded.json(json!({ "run": number, "lock": lock.row().name })));
        all.push(recorded);
    }
    let first: Vec<FirstLease> = all.iter().filter_map(Recorded::first_lease).collect();
    let is_circle = first.len() == all.len() && is_circle(&first);
    judge(part, args, lock, &entries, is_circle);
    let held = all.iter().flat_map(Recorded::held_ms).collect();
    part.measure(format!("run {number}: each lock was held"), "ms", held);
    let is_ok = all.iter().all(|recorded| recorded.verdict.ok);
    let sold: i64 = all.iter().map(|recorded| recorded.tally.sold).sum();
    let told = entries.iter().filter(|entry| entry.success).count();
    let seen = format!("{told} told that they have both, {sold} units sold");
    // Without exclusion, what is sold may be sold twice: that is another scenario.
    if !matches!(lock.row().expected, Expected::Oversells | Expected::ExactOnOneServer) {
        let claim = "who has both is sold both, and nobody else anything";
        part.check(claim, seen, is_ok && sold == 2 * told as i64);
    }
    let units = i64::from(args.processes * args.processes);
    let tally = Tally { initial: units, stock: units - sold, sold };
    let audits: Vec<Value> = all.iter().map(Recorded::audit).collect();
    let run =
        Run::new(lock.row().name, &tally, json!({ "ok": is_ok, "products": audits }), entries);
    Ok(Run { run: number, processes: args.processes, retry: "fixed", ..run })
}

/// What a buyer is to do: to want its own product, and that of its neighbour.
fn plan(args: &DeadlockArgs, lock: StrategyId, products: &[Product], buyer: u32) -> Plan {
    let index = buyer as usize;
    let two = [&products[index], &products[(index + 1) % products.len()]];
    let mut items = two.map(|product| Item { product: product.clone(), quantity: 1 }).to_vec();
    if args.mitigate {
        items.sort_by(|one, other| one.product.cmp(&other.product));
    }
    let mut plan = Plan::new(buyer, lock, &products[index]);
    (plan.order.items, plan.order.ttl, plan.order.delay) = (items, args.ttl, WORK);
    plan.order.patience = holder::asking(BASE, args.ttl + SLACK);
    let step = holder::first_of(lock, &[Step::Acquire, Step::LockRow, Step::Read, Step::Take]);
    plan.faults.extend(step.map(|step| Fault { action: Action::Pause(PAUSE), step }));
    plan
}

/// Whether they waited in a circle: each was granted one lock, and all of those stood when the last
/// of them asked for another.
fn is_circle(first: &[FirstLease]) -> bool {
    let owners: BTreeSet<&str> = first.iter().map(|lease| lease.order_id.as_str()).collect();
    let asked_ns = first.iter().map(|lease| lease.from_ns).max().unwrap_or_default();
    let asked_ns = asked_ns + PAUSE.as_nanos() as u64;
    owners.len() == first.len() && first.iter().all(|lease| lease.until_ns > asked_ns)
}

fn judge(
    part: &mut Part,
    args: &DeadlockArgs,
    lock: StrategyId,
    entries: &[RunEntry],
    is_circle: bool,
) {
    let seen: Vec<String> = entries
        .iter()
        .map(|entry| {
            let (outcome, name) = (<&str>::from(entry.outcome), &entry.process_id);
            format!("{name} {outcome} after {:.0} ms", entry.duration_ms)
        })
        .collect();
    let seen = seen.join("; ");
    let ends = EndsWait::of(lock);
    let claim = match ends {
        _ if args.mitigate => "everybody gets both, and nobody waits in a circle",
        EndsWait::Nothing => "everybody gets both: nothing is held while something is wanted",
        EndsWait::Lease => "control: all block each other until a lease, or patience, is over",
        EndsWait::Database => {
            "control: the database finds the circle, and undoes what one has done"
        }
    };
    if let Some(entry) = entries.iter().find(|entry| !entry.is_decided()) {
        let error = entry.error.as_deref().unwrap_or_default();
        return part.unknown(claim, format!("{seen}: {error}"));
    }
    let all_sold = entries.iter().all(|entry| entry.success);
    let is_undone = |entry: &&RunEntry| entry.retries > 0 || entry.outcome == Outcome::Conflict;
    let undone = entries.iter().filter(is_undone).count();
    let is_outlived = entries.iter().any(|entry| entry.ttl_violated);
    let ttl_ms = args.ttl.as_secs_f64() * 1e3;
    let blocked = entries.iter().filter(|entry| entry.wait_ms >= ttl_ms).count();
    match (args.mitigate, ends) {
        (true, EndsWait::Lease) if !is_circle && (!all_sold || is_outlived) => {
            let why = "leases ended before the work was done: give more with --ttl";
            part.unknown(claim, format!("{seen}: {why}"));
        }
        (true, EndsWait::Lease) => part.check(claim, seen, all_sold && !is_circle),
        (true, EndsWait::Database) => {
            part.check(claim, format!("{seen}; {undone} undone"), all_sold && undone == 0);
        }
        (_, EndsWait::Nothing) => part.check(claim, seen, all_sold),
        (false, EndsWait::Lease) if !is_circle => {
            let why = "they did not come to hold one lock each at once: give more with --ttl, or";
            part.unknown(claim, format!("{seen}: {why} {AGAIN}"));
        }
        (false, EndsWait::Lease) => part.check(claim, seen, blocked == entries.len()),
        (false, EndsWait::Database) => {
            part.check(claim, format!("{seen}; {undone} undone"), undone > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leases in ms: who, from, until.
    fn leases(of: &[(&str, u64, u64)]) -> Vec<FirstLease> {
        let lease = |(id, from, until): &(&str, u64, u64)| FirstLease {
            order_id: (*id).to_owned(),
            from_ns: from * 1_000_000,
            until_ns: until * 1_000_000,
        };
        of.iter().map(lease).collect()
    }

    #[test]
    fn a_circle_is_one_lock_each_while_everybody_asks_for_another() {
        assert!(is_circle(&leases(&[("a", 100, 1_100), ("b", 110, 1_110)])));
        assert!(!is_circle(&leases(&[("a", 100, 350), ("a", 200, 350)])), "one has both");
        assert!(!is_circle(&leases(&[("a", 100, 150), ("b", 110, 160)])), "they end before");
        assert!(!is_circle(&leases(&[("a", 100, 300), ("b", 310, 500)])), "one after the other");
    }
}
