//! `locklab pause`: the process of a holder really stands still (SIGSTOP), just before it writes,
//! until its lease is over and somebody else has sold. Then it goes on: the ghost of Kleppmann's
//! "How to do distributed locking" (2016). Only a store that refuses it makes that harmless.

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::Duration;

use super::{
    error::ScenarioError,
    ground::{AGAIN, Ground},
    holder::{self, Holder},
    race::plan::Plan,
    recorded::Recorded,
};
use crate::{
    cli::{Config, PauseArgs},
    outcome::Outcome,
    report::{Part, Picture, Report, Run, RunEntry, timeline::Mark},
    strategy::{Expected, Family, StrategyId},
};
use locklab_locks::step::Step;

/// How long the ghost stands still by itself, so that its process can be stopped meanwhile.
const STANDS: Duration = Duration::from_secs(2);
/// How often the other buyer asks for the lock.
const BASE: Duration = Duration::from_millis(20);
/// How much longer than a lease it waits: sessions outlive a ttl.
const SLACK: Duration = Duration::from_secs(10);
/// Records that are kept of a product.
const RECORDS: u32 = 100;

/// What becomes of the ghost's write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LateWrite {
    /// It lands: the unit is sold twice.
    Lands,
    /// The store refuses it.
    Refused,
    /// Nobody else was let in, or what it does is one step at the store: the unit is sold once.
    Harmless,
}

impl LateWrite {
    /// What a strategy is listed to do.
    fn of(strategy: StrategyId) -> Self {
        match strategy.row().expected {
            Expected::Oversells
            | Expected::OversellsOrSticks
            | Expected::ExactOnOneServer
            | Expected::ExactWithinTtl
            | Expected::ExactWhileRenewed => Self::Lands,
            Expected::ExactAlways => Self::Refused,
            Expected::ExactWhileConnected | Expected::Exact | Expected::ExactInLayers => {
                Self::Harmless
            }
        }
    }

    fn claim(self) -> &'static str {
        match self {
            Self::Lands => "control: the ghost's write lands, the unit is sold twice",
            Self::Refused => "the ghost's write is refused as `fenced`, the unit sold once",
            Self::Harmless => "the ghost sells nothing that another one has: the unit is sold once",
        }
    }
}

/// Does it under one strategy after the other.
pub async fn run(config: &Config, args: &PauseArgs) -> Result<Report, ScenarioError> {
    let (ttl, asked) = (args.ttl, ("pause", RECORDS, args.run.seed));
    Ground::show_each(config, asked, &args.lock, async |ground, lock, progress| {
        let name = lock.row().name;
        let title = format!("{name}: a holder is stopped before its write, ttl {ttl:?}");
        let (mut part, mut runs) = (Part::new(title), Vec::new());
        if !ground.allows(lock, &mut part, LateWrite::of(lock).claim()) {
            return (part, runs);
        }
        for number in 1..=args.run.runs {
            progress.say(format!("a holder under {name} is stopped, run {number}"));
            let run = stop(ground, ttl, lock, number, &mut part).await;
            runs.extend(part.known(run));
        }
        (part, runs)
    })
    .await
}

/// Does it once.
pub async fn stop(
    ground: &Ground,
    ttl: Duration,
    lock: StrategyId,
    number: u32,
    part: &mut Part,
) -> Result<Run, ScenarioError> {
    let product = ground.put_on_sale("pause", lock, 1).await?;
    let mut ghost = Plan::new(0, lock, &product);
    ghost.order.ttl = ttl;
    let mut other = Plan::new(1, lock, &product);
    other.order.patience = holder::asking(BASE, ttl + SLACK);
    // Long enough to be seen, and short enough for its own lease.
    (other.order.ttl, other.order.delay) = (ttl, ttl / 4);
    let step = holder::first_of(lock, &[Step::Write, Step::Take]).unwrap_or(Step::Write);
    let ghost = Holder::start(ground, ghost, step, STANDS).await?;
    let stopped_ns = ghost.signal(Signal::SIGSTOP)?;
    if stopped_ns >= ghost.began_ns + STANDS.as_nanos() as u64 {
        let why = format!("the holder may have gone on before it was stopped; {AGAIN}");
        return Err(ScenarioError::NotMeasured(why));
    }
    let other = holder::buy(ground, other).await;
    let resumed_ns = ghost.signal(Signal::SIGCONT)?;
    let (other, ghost) = (other?, ghost.entry().await?);
    let recorded = Recorded::of(&ground.lab, &product, lock).await?;
    judge(part, lock, &ghost, &other, &recorded);
    if number == 1 {
        part.pictures.extend(picture(&recorded, &ghost, [('S', stopped_ns), ('C', resumed_ns)]));
    }
    part.evidence.push(recorded.json(json!({
        "run": number, "lock": lock.row().name, "stopped_ns": stopped_ns, "resumed_ns": resumed_ns,
    })));
    let run = recorded.run(vec![ghost, other]);
    Ok(Run { run: number, processes: 2, retry: "fixed", ..run })
}

/// Who held the lock, with what was done to the ghost.
fn picture(recorded: &Recorded, ghost: &RunEntry, done: [(char, u64); 2]) -> Option<Picture> {
    let name = |id: &str| if id == ghost.order_id { "ghost" } else { "other" };
    let mut timeline = recorded.timeline(|id| Some(name(id).to_owned()))?;
    for lane in timeline.lanes.iter_mut().filter(|lane| lane.name == "ghost") {
        // Before what is already there, which is drawn over them.
        lane.marks.splice(0..0, done.map(|(letter, at_ns)| Mark { at_ns, letter }));
    }
    timeline.letters.extend([('S', "stopped"), ('C', "goes on")]);
    Some(Picture::Timeline(timeline))
}

fn judge(
    part: &mut Part,
    lock: StrategyId,
    ghost: &RunEntry,
    other: &RunEntry,
    recorded: &Recorded,
) {
    let fate = LateWrite::of(lock);
    let (of_ghost, of_other) = (<&str>::from(ghost.outcome), <&str>::from(other.outcome));
    let seen = format!("the ghost: {of_ghost}; the other: {of_other}; {}", recorded.numbers());
    let is_so = match fate {
        LateWrite::Lands => ghost.success && other.success && recorded.tally.oversold() == 1,
        LateWrite::Refused => {
            ghost.outcome == Outcome::Fenced && other.success && recorded.is_exact(1)
        }
        LateWrite::Harmless => recorded.is_exact(1) && ghost.success != other.success,
    };
    part.check(fate.claim(), seen, is_so);
    let excludes = lock.row().family == Family::Lock && lock.row().expected != Expected::Oversells;
    if excludes && fate != LateWrite::Harmless {
        let beliefs = recorded.verdict.overlaps.beliefs;
        let pairs = if beliefs == 1 { "pair" } else { "pairs" };
        let seen = format!("{beliefs} {pairs} who believed at once to be alone");
        part.check("both believed to hold the lock: no lock can prevent that", seen, beliefs > 0);
    }
}
