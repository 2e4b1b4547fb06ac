//! `locklab pause`: the process of a holder really stands still (SIGSTOP), just before it writes, until
//! its lease is over and somebody else has sold. Then it goes on: the ghost of Kleppmann's "How to do
//! distributed locking" (2016). Only a store that refuses it makes that harmless.

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::{Duration, Instant};

use super::{
    holder::{self, Holder},
    recorded::Recorded,
};
use crate::{
    cli::{Config, PauseArgs},
    lab::Lab,
    outcome::Outcome,
    report::{Entry, Part, Picture, Report, Run, timeline::Mark},
    scenario::{
        error::ScenarioError,
        ground::{AGAIN, open},
        progress::Progress,
    },
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
enum Fate {
    /// It lands: the unit is sold twice.
    Lands,
    /// The store refuses it.
    Refused,
    /// Nobody else was let in, or what it does is one step at the store: the unit is sold once.
    Harmless,
}

impl Fate {
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
///
/// # Errors
/// The configuration is not valid, or the store is not there.
pub async fn run(config: &Config, args: &PauseArgs) -> Result<Report, ScenarioError> {
    let lab = open(config, &args.lock, RECORDS).await?;
    let mut report = Report::new("pause");
    report.servers = lab.backends().versions().await;
    report.seed = Some(args.run.seed);
    let bar = Progress::bar(args.lock.len() as u64, "pause");
    for &lock in &args.lock {
        let (name, fate) = (lock.row().name, Fate::of(lock));
        let title = format!("{name}: a holder is stopped before its write, ttl {:?}", args.ttl);
        let mut part = Part::new(title);
        if let Some(reason) = lab.backends().reason_against(lock.row()) {
            part.unknown(fate.claim(), reason);
            report.parts.push(part);
            bar.tick();
            continue;
        }
        for number in 1..=args.run.runs {
            bar.say(format!("a holder under {name} is stopped, run {number}"));
            let run = stop(&lab, config, args.ttl, lock, number, &mut part).await;
            report.runs.0.extend(part.known(run));
        }
        report.parts.push(part);
        bar.tick();
    }
    lab.close(Instant::now()).await;
    Ok(report)
}

/// Does it once.
///
/// # Errors
/// A process did not do what it was told, or the store could not be read.
pub(super) async fn stop(
    lab: &Lab,
    config: &Config,
    ttl: Duration,
    lock: StrategyId,
    number: u32,
    part: &mut Part,
) -> Result<Run, ScenarioError> {
    let plan = holder::on_sale(lab, "pause", lock, 1).await?;
    let mut ghost = plan(0);
    ghost.order.ttl = ttl;
    let mut other = holder::patient(plan(1), BASE, ttl + SLACK);
    // Long enough to be seen, and short enough for its own lease.
    (other.order.ttl, other.order.delay) = (ttl, ttl / 4);
    let product = ghost.product();
    let step = holder::first_of(lock, &[Step::Write, Step::Take]).unwrap_or(Step::Write);
    let ghost = Holder::start(lab, config, ghost, step, STANDS).await?;
    let stopped_ns = ghost.signal(Signal::SIGSTOP)?;
    if stopped_ns >= ghost.began_ns + STANDS.as_nanos() as u64 {
        let why = format!("the holder may have gone on before it was stopped; {AGAIN}");
        return Err(ScenarioError::NotMeasured(why));
    }
    let other = holder::buy(lab, other).await;
    let resumed_ns = ghost.signal(Signal::SIGCONT)?;
    let (other, ghost) = (other?, ghost.entry().await?);
    let recorded = Recorded::of(lab, &product, lock).await?;
    judge(part, lock, &ghost, &other, &recorded);
    let whose = |id: &str| {
        let is_ghost = id == ghost.order_id;
        Some(if is_ghost { "ghost" } else { "other" }.to_owned())
    };
    if number == 1 {
        part.pictures.extend(recorded.timeline(whose).map(|mut timeline| {
            let lanes = timeline.lanes.iter_mut().filter(|lane| lane.name == "ghost");
            let marks = [('S', stopped_ns), ('C', resumed_ns)];
            lanes.for_each(|lane| {
                // Before what is already there, which is drawn over them.
                lane.marks.splice(0..0, marks.map(|(letter, at_ns)| Mark { at_ns, letter }));
            });
            timeline.letters.extend([('S', "stopped"), ('C', "goes on")]);
            Picture::Timeline(timeline)
        }));
    }
    part.evidence.push(recorded.json(json!({
        "run": number, "lock": lock.row().name, "stopped_ns": stopped_ns, "resumed_ns": resumed_ns,
    })));
    let entries = vec![ghost, other];
    let run = Run::new(lock.row().name, &recorded.tally, recorded.audit(), entries);
    Ok(Run { run: number, processes: 2, retry: "fixed", ..run })
}

fn judge(part: &mut Part, lock: StrategyId, ghost: &Entry, other: &Entry, recorded: &Recorded) {
    let fate = Fate::of(lock);
    let (of_ghost, of_other) = (<&str>::from(ghost.outcome), <&str>::from(other.outcome));
    let seen = format!("the ghost: {of_ghost}; the other: {of_other}; {}", recorded.numbers());
    let is_so = match fate {
        Fate::Lands => ghost.success && other.success && recorded.tally.oversold() == 1,
        Fate::Refused => ghost.outcome == Outcome::Fenced && other.success && recorded.is_exact(1),
        Fate::Harmless => recorded.is_exact(1) && ghost.success != other.success,
    };
    part.check(fate.claim(), seen, is_so);
    let excludes = lock.row().family == Family::Lock && lock.row().expected != Expected::Oversells;
    if excludes && fate != Fate::Harmless {
        let beliefs = recorded.verdict.overlaps.beliefs;
        let pairs = if beliefs == 1 { "pair" } else { "pairs" };
        let seen = format!("{beliefs} {pairs} who believed at once to be alone");
        part.check("both believed to hold the lock: no lock can prevent that", seen, beliefs > 0);
    }
}
