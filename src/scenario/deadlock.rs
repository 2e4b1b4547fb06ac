//! `locklab deadlock`: processes in a circle, each of which wants two products, and has what its neighbour
//! wants. Sorted, the same orders never wait in a circle.

use std::collections::BTreeSet;

use serde_json::json;
use tokio::time::{Duration, Instant};

use super::{holder, race, recorded::Recorded};
use crate::{
    cli::{Config, DeadlockArgs},
    lab::Lab,
    outcome::Outcome,
    product::{Item, Product},
    report::{Entry, Part, Picture, Report, Run},
    scenario::{
        error::ScenarioError,
        ground::{self, AGAIN, open},
        progress::Progress,
        race::plan::{Plan, shuffle},
        timeline::FirstLease,
    },
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
    report.seed = Some(args.run.seed);
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
    let base = ground::product("deadlock", lock)?;
    let mut products: Vec<Product> = Vec::new();
    for index in 0..count {
        let name = format!("{base}-{index}");
        let product: Product =
            name.parse().map_err(|_| ScenarioError::NotMeasured(format!("no product {name}")))?;
        lab.shop().reset(&product, count as u64, Some(lock)).await?;
        products.push(product);
    }
    let step = holder::first_of(lock, &[Step::Acquire, Step::LockRow, Step::Read, Step::Take]);
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
    shuffle(&mut plans, seed);
    let entries = race::run(lab, config, plans, args.processes).await?;
    let (mut audits, mut is_ok, mut sold) = (Vec::new(), true, 0);
    let (mut held, mut first) = (Vec::new(), Vec::new());
    for (index, product) in products.iter().enumerate() {
        let recorded = Recorded::of(lab, product, lock).await?;
        is_ok &= recorded.verdict.ok;
        held.extend(recorded.held_ms());
        first.extend(recorded.first_lease());
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
    let is_circle = first.len() == count && is_circle(&first);
    judge(part, args, lock, &entries, is_circle);
    part.measure(format!("run {number}: each lock was held"), "ms", held);
    let told = entries.iter().filter(|entry| entry.success).count();
    let seen = format!("{told} told that they have both, {sold} units sold");
    // Without exclusion, what is sold may be sold twice: that is another scenario.
    if !matches!(lock.row().expected, Expected::Oversells | Expected::ExactOnOneServer) {
        let claim = "who has both is sold both, and nobody else anything";
        part.check(claim, seen, is_ok && sold == 2 * told as i64);
    }
    let units = (count * count) as i64;
    let tally = crate::stock::ledger::Tally { initial: units, stock: units - sold, sold };
    let run =
        Run::new(lock.row().name, &tally, json!({ "ok": is_ok, "products": audits }), entries);
    Ok(Run { run: number, processes: args.processes, retry: "fixed", ..run })
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
    entries: &[Entry],
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
    let ends = Ends::of(lock);
    let claim = match ends {
        _ if args.mitigate => "everybody gets both, and nobody waits in a circle",
        Ends::Nothing => "everybody gets both: nothing is held while something is wanted",
        Ends::Lease => "control: all block each other until a lease, or patience, is over",
        Ends::Database => "control: the database finds the circle, and undoes what one has done",
    };
    if let Some(entry) = entries.iter().find(|entry| !entry.is_decided()) {
        let error = entry.error.as_deref().unwrap_or_default();
        return part.unknown(claim, format!("{seen}: {error}"));
    }
    let all_sold = entries.iter().all(|entry| entry.success);
    let is_undone = |entry: &&Entry| entry.retries > 0 || entry.outcome == Outcome::Conflict;
    let undone = entries.iter().filter(is_undone).count();
    let is_outlived = entries.iter().any(|entry| entry.ttl_violated);
    let ttl_ms = args.ttl.as_secs_f64() * 1e3;
    let blocked = entries.iter().filter(|entry| entry.wait_ms >= ttl_ms).count();
    match (args.mitigate, ends) {
        (true, Ends::Lease) if !is_circle && (!all_sold || is_outlived) => {
            let why = "leases ended before the work was done: give more with --ttl";
            part.unknown(claim, format!("{seen}: {why}"));
        }
        (true, Ends::Lease) => part.check(claim, seen, all_sold && !is_circle),
        (true, Ends::Database) => {
            part.check(claim, format!("{seen}; {undone} undone"), all_sold && undone == 0);
        }
        (_, Ends::Nothing) => part.check(claim, seen, all_sold),
        (false, Ends::Lease) if !is_circle => {
            let why = "they did not come to hold one lock each at once: give more with --ttl, or";
            part.unknown(claim, format!("{seen}: {why} {AGAIN}"));
        }
        (false, Ends::Lease) => part.check(claim, seen, blocked == entries.len()),
        (false, Ends::Database) => {
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
