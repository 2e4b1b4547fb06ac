//! `locklab crash`: the process that holds a lock is killed, or works for longer than its lease
//! lasts. What does the next buyer do?

use locklab_locks::{fault::PAUSE_MAX, step::Step, wait::Patience};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::Duration;

use super::{
    error::ScenarioError,
    expectation::{Conditions, Promise, judge},
    ground::Ground,
    holder::{self, Holder},
    race::{self, plan::Plan},
    recorded::Recorded,
};
use crate::{
    cli::{Config, CrashArgs, Expect},
    report::{
        Part, Picture, Report, Run, RunEntry,
        timeline::{EXPIRY, Mark},
    },
    strategy::{Expected, Family, StrategyId, server::Backend},
};

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
pub async fn run(config: &Config, args: &CrashArgs) -> Result<Report, ScenarioError> {
    let CrashArgs { ttl, work, ttl_edge, .. } = *args;
    let asked = ("crash", RECORDS, args.run.seed);
    Ground::show_each(config, asked, &args.lock, async |ground, lock, progress| {
        let name = lock.row().name;
        let what = if ttl_edge { "works for too long" } else { "is killed" };
        progress.say(format!("a holder under {name} {what}"));
        let (mut runs, mut part) = (
            Vec::new(),
            Part::new(if ttl_edge {
                format!("{name}: ttl {ttl:?}, but the holder works for {work:?}")
            } else {
                format!("{name}: the process of the holder is killed, ttl {ttl:?}")
            }),
        );
        if !ground.allows(lock, &mut part, "the next buyer is served") {
            return (part, runs);
        }
        if ttl_edge {
            let outlasted = outlast(ground, args, lock, &mut part).await;
            runs = part.known(outlasted).unwrap_or_default();
        } else {
            let mut blocked = Vec::new();
            for run in 1..=args.run.runs {
                let killed = kill(ground, ttl, lock, run, &mut part).await;
                blocked.extend(part.known(killed));
            }
            part.measure("from the kill until the next buyer had the lock", "ms", blocked);
        }
        (part, runs)
    })
    .await
}

/// Kills the process of a holder just before it writes; how long the next buyer waited, in ms.
async fn kill(
    ground: &Ground,
    ttl: Duration,
    lock: StrategyId,
    run: u32,
    part: &mut Part,
) -> Result<f64, ScenarioError> {
    let product = ground.put_on_sale("crash", lock, UNITS).await?;
    let plan = |buyer, wait| {
        let mut plan = Plan::new(buyer, lock, &product);
        (plan.order.ttl, plan.order.patience) = (ttl, holder::asking(BASE, wait));
        plan
    };
    let step = holder::first_of(lock, &[Step::BeforeWrite, Step::Take]).unwrap_or(Step::Write);
    // Where a purchase needs a connection of its own, or a place in a queue, it waits for that.
    let mut dead = plan(0, Duration::ZERO);
    dead.order.patience = Patience::default();
    let dead_id = dead.order.id.as_str().to_owned();
    let dead = Holder::start(ground, dead, step, PAUSE_MAX).await?;
    let before = holder::buy(ground, plan(1, Duration::ZERO)).await?;
    let killed_ns = dead.signal(Signal::SIGKILL)?;
    let at_once = holder::buy(ground, plan(2, Duration::ZERO)).await?;
    let next = holder::buy(ground, plan(3, ttl + SLACK)).await?;
    let began_ns = dead.began_ns;
    dead.end().await?;
    let recorded = Recorded::of(&ground.lab, &product, lock).await?;
    let has_ns = next.began_ns + (next.wait_ms * 1e6) as u64;
    let killed =
        Killed { lock, ttl, dead_id, began_ns, killed_ns, has_ns, before, at_once, next, recorded };
    killed.judge_wait(part);
    killed.judge_sales(part);
    if run == 1 {
        part.pictures.extend(killed.picture());
    }
    let conditions = json!({ "run": run, "lock": lock.row().name, "killed_ns": killed_ns });
    part.evidence.push(killed.recorded.json(conditions));
    Ok(killed.blocked_ms())
}

/// A holder that was killed, and the buyers who came before and after that.
struct Killed {
    lock: StrategyId,
    ttl: Duration,
    dead_id: String,
    /// When the dead one was told to begin.
    began_ns: u64,
    killed_ns: u64,
    /// When the next buyer had the lock.
    has_ns: u64,
    /// Who came while the dead one lived.
    before: RunEntry,
    /// Who came at once after it was killed, and did not wait.
    at_once: RunEntry,
    /// Who came then, and waited.
    next: RunEntry,
    recorded: Recorded,
}

impl Killed {
    fn blocked_ms(&self) -> f64 {
        self.has_ns.saturating_sub(self.killed_ns) as f64 / 1e6
    }

    /// Whether the lock became free when it was to.
    fn judge_wait(&self, part: &mut Part) {
        let Self { ttl, before, at_once, next, .. } = self;
        let blocked_ms = self.blocked_ms();
        let seen = format!(
            "while it lived: {}; at once after the kill: {}; then {} after {blocked_ms:.0} ms",
            outcome(before),
            outcome(at_once),
            outcome(next)
        );
        let (is_served, kept_out) = (next.success, !before.success);
        match Frees::of(self.lock) {
            Frees::Nobody => {
                let claim = "nobody is kept out by the dead one: there is nothing to wait for";
                part.check(claim, seen, is_served && before.success && at_once.success);
            }
            Frees::Connection => {
                let claim = "the server frees the lock with its connection, before a ttl is over";
                if is_served && kept_out && blocked_ms >= ttl.as_secs_f64() * 1e3 {
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
                let over_ns = self.began_ns + ttl.as_nanos() as u64;
                let claim = "the next one is served, and not before the lease is over";
                let early = [before, at_once].into_iter().filter(|entry| entry.success);
                let count = early.clone().count();
                if count > 0 && early.clone().all(|entry| entry.ended_ns > over_ns) {
                    let why = "the lease may have been over when they came: give more with --ttl";
                    part.unknown(claim, format!("{seen}; {why}"));
                } else {
                    let is_late = self.has_ns >= over_ns;
                    part.check(claim, seen, is_served && count == 0 && is_late);
                }
            }
        }
    }

    /// Whether units were sold to those alone who were told so.
    fn judge_sales(&self, part: &mut Part) {
        let Self { before, at_once, next, recorded, .. } = self;
        let told = [before, at_once, next].into_iter().filter(|entry| entry.success).count();
        let seen = format!("{told} told that they have it; {}", recorded.numbers());
        let (is_ok, sold) = (recorded.verdict.ok, recorded.tally.sold - told as i64);
        if self.lock.row().steps.contains(&Step::Enqueue) {
            // Its place in the queue outlives it.
            let claim = "what the dead one has ordered is served once, at most";
            part.check(claim, seen, is_ok && (0..=1).contains(&sold));
        } else {
            part.check("what the dead one did not finish is not sold", seen, is_ok && sold == 0);
        }
    }

    /// Who held the lock, and when its holder was killed.
    fn picture(&self) -> Option<Picture> {
        let (killed_ns, has_ns) = (self.killed_ns, self.has_ns);
        let buyers = [
            (&self.before, "while it lived"),
            (&self.at_once, "at once"),
            (&self.next, "the next"),
        ];
        let mut timeline = self.recorded.timeline(|id| {
            let name = if id == self.dead_id { "the dead" } else { "" };
            let of_buyer = buyers.iter().find(|(entry, _)| entry.order_id == id);
            Some(of_buyer.map_or(name, |(_, name)| name).to_owned())
        })?;
        // It may be before anything that is shown: the dead one waited in a queue, and is served.
        timeline.from_ns = timeline.from_ns.min(killed_ns);
        let is_freed = Frees::of(self.lock) == Frees::Connection;
        for lane in timeline.lanes.iter_mut().filter(|lane| lane.name == "the dead") {
            if is_freed {
                // Its server has freed the lock with the connection, whatever its ttl was.
                lane.spans.iter_mut().for_each(|it| it.until_ns = it.until_ns.min(killed_ns));
                lane.marks.retain(|mark| mark.letter != EXPIRY);
            }
            lane.marks.push(Mark { at_ns: killed_ns, letter: 'K' });
        }
        if is_freed {
            let spans = timeline.lanes.iter().flat_map(|lane| &lane.spans);
            timeline.until_ns =
                spans.map(|span| span.until_ns).chain([has_ns]).max().unwrap_or(has_ns);
            timeline.letters.retain(|(letter, _)| *letter != EXPIRY);
        }
        timeline.letters.push(('K', "killed"));
        Some(Picture::Timeline(timeline))
    }
}

fn outcome(entry: &RunEntry) -> &'static str {
    entry.outcome.into()
}

/// A holder works for longer than its lease lasts; another one waits for it, in a process of its
/// own.
async fn outlast(
    ground: &Ground,
    args: &CrashArgs,
    lock: StrategyId,
    part: &mut Part,
) -> Result<Vec<Run>, ScenarioError> {
    let CrashArgs { ttl, work, .. } = *args;
    let conditions = Conditions { processes: 2, buyers: 2, stock: 1, work, ttl, are_patient: true };
    let promise = Promise::of(Expect::Listed, lock, &conditions);
    let mut runs = Vec::new();
    for number in 1..=args.run.runs {
        let product = ground.put_on_sale("crash", lock, 1).await?;
        let buyer = |buyer: u32| {
            let mut plan = Plan::new(buyer, lock, &product);
            (plan.order.ttl, plan.order.delay, plan.after) = (ttl, work, LATER * buyer);
            if buyer > 0 {
                plan.order.patience = holder::asking(LATER, ttl + work + SLACK);
            }
            plan
        };
        let entries = race::run(ground, vec![buyer(0), buyer(1)], 2).await?;
        let recorded = Recorded::of(&ground.lab, &product, lock).await?;
        if number == 1 {
            let name = |id: &str| {
                let at = entries.iter().position(|entry| entry.order_id == id)?;
                ["the holder", "the next"].get(at).map(|name| (*name).to_owned())
            };
            part.pictures.extend(recorded.timeline(name).map(Picture::Timeline));
        }
        part.evidence.push(recorded.json(json!({ "run": number, "lock": lock.row().name })));
        let run = recorded.run(entries);
        runs.push(Run { run: number, processes: 2, retry: "fixed", ..run });
    }
    judge(part, promise, &conditions, &runs);
    let ends: Vec<&str> = runs.iter().filter_map(|run| run.entries.first()).map(outcome).collect();
    let late = runs.iter().filter(|run| run.entries.iter().any(|entry| entry.ttl_violated)).count();
    let (all, ends) = (runs.len(), ends.join(", "));
    let seen = format!("the holder's purchase: {ends}; leases outlived in {late} of {all} runs");
    let is_fenced = lock.row().expected == Expected::ExactAlways;
    if work > ttl && Frees::of(lock) == Frees::Ttl && promise == Promise::Oversell {
        part.check("the holder works on after its lease is over", seen, late == all);
    } else if is_fenced && work > ttl {
        let mut told = runs.iter().filter_map(|run| run.entries.first());
        let is_refused = told.all(|entry| !entry.success || !entry.ttl_violated);
        part.check("nothing is sold under a lease that is over", seen, is_refused);
    }
    Ok(runs)
}
