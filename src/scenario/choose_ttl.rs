//! `locklab choose-ttl`: how often each ttl would be outlasted by its holder, from hold times that
//! were measured, which ttl keeps that below a risk, and what comes of some of them when they are
//! tried out.

mod estimate;
mod holds;
mod judge;
mod known;
mod purchases;

use tokio::time::Duration;

use self::{
    holds::{Source, Work},
    known::{Known, WORK_CUT, ttl},
    purchases::millis,
};
use crate::{
    cli::{ChooseTtlArgs, Config},
    measure::sample,
    report::{Part, Report},
    scenario::{error::ScenarioError, ground::Ground, progress::Progress},
    strategy::StrategyId,
};

/// How many purchases show what each adds to its work, by how many buyers at once.
const ADDED_SAMPLES: usize = 80;
const ADDED_BUYERS: u32 = 8;
/// How much work is drawn for a unit on sale: some is done for units that are sold already, or is
/// lost.
const WORKS_PER_UNIT: usize = 4;
/// The 50th, 90th and 99th percentile.
const TRIED: [(&str, f64); 3] = [("the p50", 0.5), ("the p90", 0.9), ("the p99", 0.99)];

/// Chooses a ttl, and tries some out.
pub async fn run(config: &Config, args: &ChooseTtlArgs) -> Result<Report, ScenarioError> {
    let seed = args.seed;
    let source = match &args.holds {
        Some(path) => Source::Given(holds::read(path)?),
        None => Source::Drawn(Work::between(args.work_p50, args.work_p99)?),
    };
    // Nobody reads what is recorded of purchases: the receipts say it all.
    let mut config = config.clone();
    config.history = 0;
    let ground = Ground::open(&config, &[args.lock], 0).await?;
    let mut report = ground.report("choose-ttl", Some(seed)).await;
    let parts = choose(&ground, args, &source, seed).await;
    ground.close().await;
    report.parts = parts?;
    Ok(report)
}

async fn choose(
    ground: &Ground,
    args: &ChooseTtlArgs,
    source: &Source,
    seed: u64,
) -> Result<Vec<Part>, ScenarioError> {
    let (lock, mut rng) = (args.lock, holds::rng(seed));
    let name = lock.row().name;
    if let Some(reason) = ground.lab.backends().reason_against(lock.row()) {
        return Err(ScenarioError::NotMeasured(reason));
    }
    let (known, first) = match source {
        Source::Given(given) => {
            let mut part = Part::new(format!("How long the lock is held: {} samples", given.len()));
            part.measure("hold time", "ms", given.clone());
            let added = added(ground, lock, &mut part).await?;
            let works = given.iter().map(|hold| (hold - added).clamp(0.0, millis(WORK_CUT)));
            (Known::new(args, given.clone(), works.collect(), true), part)
        }
        Source::Drawn(work) => {
            let _spinner = Progress::spinner(format!("{} purchases under {name}", args.samples));
            let works = work.draw(args.samples as usize, &mut rng);
            let purchases = purchases::measure(ground, lock, &works, args.concurrency).await?;
            let works: Vec<f64> = works.into_iter().map(millis).collect();
            let title =
                format!("How long {name} is held: {} purchases (seed {seed})", args.samples);
            let mut part = Part::new(title);
            judge::undisturbed(&mut part, &purchases, args.samples);
            part.measure("work that was drawn", "ms", works.clone());
            let holds: Vec<f64> = purchases.iter().map(|purchase| purchase.held_ms).collect();
            part.measure("hold time", "ms", holds.clone());
            (Known::new(args, holds, works, false), part)
        }
    };
    let mut parts = vec![judge::quantiles(&known, first)];
    let (part, chosen) = judge::risks(&known);
    parts.push(part);
    let most = if known.is_whole { WORK_CUT } else { Duration::MAX };
    let title = format!("What came of some of them, {} units each (seed {seed})", args.purchases);
    let mut part = Part::new(title);
    let mut tried = Vec::new();
    let candidates = candidates(&known, chosen);
    let bar = Progress::bar(candidates.len() as u64, "choose-ttl");
    for (which, ttl) in candidates {
        if ttl >= most {
            tried.push((which, ttl, None));
            continue;
        }
        bar.say(format!("purchases under {name} with a ttl of {ttl:?}"));
        let count = args.purchases as usize * WORKS_PER_UNIT;
        let works = match source {
            Source::Drawn(work) => work.draw(count, &mut rng),
            Source::Given(_) => holds::resample(&known.works, count, &mut rng),
        };
        let outcome = purchases::contend(ground, lock, &works, ttl, args.purchases).await?;
        tried.push((which, ttl, Some(outcome)));
        bar.tick();
    }
    judge::tried(&known, &tried, &mut part);
    parts.push(part);
    Ok(parts)
}

/// What a purchase under this lock takes besides its work, in the median: hold times of others have
/// that in them already, so it must not come twice.
async fn added(ground: &Ground, lock: StrategyId, part: &mut Part) -> Result<f64, ScenarioError> {
    let works = [Duration::from_millis(1); ADDED_SAMPLES];
    let purchases = purchases::measure(ground, lock, &works, ADDED_BUYERS).await?;
    let added: Vec<f64> =
        purchases.iter().map(|purchase| purchase.held_ms - purchase.work_ms).collect();
    part.measure("what a purchase adds here", "ms", added.clone());
    Ok(sample::median(&added))
}

/// What is tried out. The first is the control: most purchases outlast it.
fn candidates(known: &Known, chosen: Option<Duration>) -> Vec<(&'static str, Duration)> {
    let half = Duration::from_millis((known.quantile(0.5) / 2.0) as u64);
    let mut all = vec![("half of the p50", half.max(Duration::from_millis(1)))];
    all.extend(TRIED.map(|(name, q)| (name, ttl(known.quantile(q)))));
    all.extend(chosen.map(|chosen| ("recommended", chosen)));
    all
}
