//! One buyer holds a lock and works. Meanwhile, something happens to a server that granted it, and
//! another buyer wants it as well.

use std::{io, sync::Arc};

use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    farm::{Farm, Wanted},
    scene::Scene,
};
use crate::{
    cli::How,
    embedded::clock::Clock,
    history::EventKind,
    order::{Order, receipt::Receipt},
    outcome::Outcome,
    product::Product,
    report::{Part, Picture},
    scenario::{
        error::ScenarioError, ground::poll, holder::asking, progress::Progress, recorded::Recorded,
    },
    shop::Shop,
    strategy::StrategyId,
};
use locklab_locks::lock::Votes;

/// The nodes that are cut off when the first buyer comes, and the third of the three that remain.
const CUT: [usize; 2] = [3, 4];
const THIRD: usize = 2;
/// How often the second buyer tries.
const BASE: Duration = Duration::from_millis(20);
/// Beyond the ttl, how far clocks step.
const BEYOND: Duration = Duration::from_secs(5);

/// What happens while the first buyer works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Nothing,
    /// The third node crashes, and is started again with nothing in it.
    NodeCrashes,
    /// The clock of the third node steps.
    NodeSteps,
    /// The clock of the Redis that has the stock steps.
    StockSteps,
}

/// What became of both buyers.
struct Meeting {
    first: Receipt,
    second: Receipt,
    recorded: Recorded,
}

impl Meeting {
    fn describe(&self) -> String {
        let tell = |receipt: &Receipt| {
            let outcome = <&str>::from(receipt.outcome);
            receipt.votes.map_or_else(
                || outcome.to_owned(),
                |Votes { granted, refused, failed }| {
                    format!("{outcome} ({granted} votes, {refused} against, {failed} failed)")
                },
            )
        };
        let (first, second) = (tell(&self.first), tell(&self.second));
        format!("first {first}; second {second}; {}", self.recorded.numbers())
    }

    /// Whether two buyers held the lock at once, and both sold the one unit.
    fn is_sold_twice(&self) -> bool {
        let both = [&self.first, &self.second].map(|it| it.outcome) == [Outcome::Sold; 2];
        both && self.recorded.verdict.overlaps.grants > 0 && self.recorded.tally.oversold() == 1
    }

    /// Whether the second buyer was kept out.
    fn is_kept_out(&self) -> bool {
        self.first.outcome == Outcome::Sold
            && self.second.outcome == Outcome::Busy
            && self.recorded.is_exact(1)
    }
}

/// A node that has voted crashes and forgets: with the delay, it does not vote again in time.
pub async fn restart(scene: &Scene<'_>, part: &mut Part) -> Result<(), ScenarioError> {
    let ms = scene.args.restart_delay.as_millis();
    for (is_control, delay) in [(true, Duration::ZERO), (false, scene.args.restart_delay)] {
        let what = format!("restart: a node forgets, restart delay {} ms", delay.as_millis());
        let _progress = Progress::spinner(what);
        let mut farm = scene.farm(Wanted { restart_delay: delay, ..scene.wanted() }, part).await?;
        let seen = meet(scene, &mut farm, StrategyId::Redlock, Harm::NodeCrashes).await?;
        if is_control {
            let claim = "control, restart delay 0: two holders, and both sell the unit";
            part.check(scene.claim(claim), seen.describe(), seen.is_sold_twice());
            part.pictures.extend(seen.recorded.timeline(|_| None).map(Picture::Timeline));
        } else {
            let claim = format!("restart delay {ms} ms: the second buyer gets nothing");
            part.check(scene.claim(&claim), seen.describe(), seen.is_kept_out());
        }
        let delay_ms = delay.as_millis() as u64;
        part.evidence.push(seen.recorded.json(json!({ "restart_delay_ms": delay_ms })));
        farm.close().await;
    }
    Ok(())
}

/// The clock of a node steps past the ttl: its key ends early.
pub async fn clock(scene: &Scene<'_>, part: &mut Part) -> Result<(), ScenarioError> {
    let step = scene.args.ttl + BEYOND;
    let redlock = StrategyId::Redlock;
    let stepped = format!("the clock of one node steps by {} ms: two holders", step.as_millis());
    let control_claim = "control, no step: the second buyer gets nothing";
    let fenced_claim = |lock: StrategyId| {
        format!("`{}`, the clock of the stock's Redis steps: sold once", lock.row().name)
    };
    let wanted = Wanted { clocks: true, all: true, ..scene.wanted() };
    let mut farm = match scene.farm(wanted, part).await {
        Ok(farm) => farm,
        Err(ScenarioError::System(error)) if error.kind() == io::ErrorKind::NotFound => {
            let claims = [stepped, control_claim.to_owned()].into_iter();
            for claim in claims.chain(Scene::fenced().map(fenced_claim)) {
                part.unknown(scene.claim(&claim), &error);
            }
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let progress = Progress::spinner("clock: nothing steps, as the control");
    let control = meet(scene, &mut farm, redlock, Harm::Nothing).await?;
    progress.say("clock: the clock of a node steps");
    let seen = meet(scene, &mut farm, redlock, Harm::NodeSteps).await?;
    part.check(scene.claim(&stepped), seen.describe(), seen.is_sold_twice());
    part.pictures.extend(seen.recorded.timeline(|_| None).map(Picture::Timeline));
    part.check(scene.claim(control_claim), control.describe(), control.is_kept_out());
    let step_ms = step.as_millis() as u64;
    part.evidence.push(seen.recorded.json(json!({ "step_ms": step_ms })));
    part.evidence.push(control.recorded.json(json!({ "step_ms": 0 })));
    for lock in Scene::fenced() {
        let name = lock.row().name;
        let claim = fenced_claim(lock);
        if let Some(reason) = farm.labs[0].backends().reason_against(lock.row()) {
            part.unknown(scene.claim(&claim), reason);
            continue;
        }
        progress.say(format!("clock: the clock of the stock's Redis steps, under {name}"));
        let seen = meet(scene, &mut farm, lock, Harm::StockSteps).await?;
        part.check(scene.claim(&claim), seen.describe(), seen.recorded.is_exact(1));
        part.evidence.push(seen.recorded.json(json!({ "step_ms": step_ms, "lock": name })));
    }
    farm.close().await;
    Ok(())
}

/// Two buyers want one unit, at two servers. Two nodes cannot be reached when the first one comes,
/// and can be when the second one does.
async fn meet(
    scene: &Scene<'_>,
    farm: &mut Farm,
    lock: StrategyId,
    harm: Harm,
) -> Result<Meeting, ScenarioError> {
    let (ttl, product) = (scene.args.ttl, Product::default());
    let first = Arc::clone(farm.labs[0].shop());
    farm.until_back().await?;
    first.reset(&product, 1, Some(lock)).await?;
    let has_nodes = harm != Harm::StockSteps;
    if has_nodes {
        // They are asked nothing, so nothing that was meant for them can come late.
        for node in CUT {
            farm.nodes[node].go(How::Cut).await?;
        }
        for node in CUT {
            farm.until_seen(node, false).await?;
        }
    }
    let work = ttl * 4 / 5;
    let order = || Order { ttl, ..Order::of(lock, product.clone()) };
    let wanted = Order { delay: work, ..order() };
    let shop = Arc::clone(&first);
    let holder = tokio::spawn(async move { shop.purchase(&wanted).await });
    until_held(&first, &holder, &product, lock).await?;
    let ends = Instant::now() + work;
    match harm {
        Harm::Nothing => {}
        Harm::NodeCrashes => {
            farm.nodes[THIRD].go(How::Kill).await?;
            farm.nodes[THIRD].come_back(How::Kill).await?;
        }
        Harm::NodeSteps => step(farm.nodes[THIRD].clock.as_mut(), ttl)?,
        Harm::StockSteps => step(farm.clock.as_mut(), ttl)?,
    }
    if has_nodes {
        for node in CUT {
            farm.nodes[node].come_back(How::Cut).await?;
        }
        for node in [THIRD].into_iter().chain(CUT) {
            farm.until_seen(node, true).await?;
        }
    }
    // Until shortly before the first one writes.
    let wait = ends.saturating_duration_since(Instant::now()).saturating_sub(ttl / 10);
    if wait.is_zero() || holder.is_finished() {
        let why = "the first buyer had done before the second one came; give a longer --ttl";
        return Err(ScenarioError::NotMeasured(why.to_owned()));
    }
    let second = Order { patience: asking(BASE, wait), ..order() };
    let second = farm.labs[1].shop().purchase(&second).await;
    let first_ended = holder.await.map_err(io::Error::other)?;
    let recorded = Recorded::of_all(&farm.labs, &product, lock).await?;
    Ok(Meeting { first: first_ended, second, recorded })
}

/// Steps a clock past the end of every lease of this ttl.
fn step(clock: Option<&mut Clock>, ttl: Duration) -> io::Result<()> {
    clock.ok_or(io::ErrorKind::NotFound)?.step(ttl + BEYOND)
}

/// Waits until a purchase holds its lock, by the history.
async fn until_held(
    shop: &Shop,
    holder: &JoinHandle<Receipt>,
    product: &Product,
    lock: StrategyId,
) -> Result<(), ScenarioError> {
    poll("the first buyer holds the lock", async || {
        let has_ended = holder.is_finished();
        let evidence = shop.evidence(product, lock.row().store).await?;
        let records = evidence.iter().flat_map(|evidence| &evidence.history);
        let mut events = records.flat_map(|record| &record.events);
        if events.any(|event| matches!(event.kind, EventKind::Granted { .. })) {
            return Ok(Some(()));
        }
        if has_ended {
            let why = "the first buyer did not get the lock: the machine is too busy";
            return Err(ScenarioError::NotMeasured(why.to_owned()));
        }
        Ok(None)
    })
    .await
}
