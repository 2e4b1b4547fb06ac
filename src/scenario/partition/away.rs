//! Nodes go away while purchases run, and come back.

use locklab_locks::{
    lock::Votes,
    wait::{Patience, Policy},
};
use std::sync::Arc;

use serde_json::json;
use strum::VariantArray;
use tokio::time::Duration;

use super::{
    crowd::{Attempt, Crowd},
    farm::Farm,
    scene::Scene,
};
use crate::{
    cli::How,
    order::Order,
    outcome::Outcome,
    product::Product,
    report::Part,
    scenario::{error::ScenarioError, progress::Progress, recorded::Recorded},
    strategy::StrategyId,
};

/// How many purchases are watched of which each has to fail.
const WATCHED: usize = 20;
/// Nodes that are a minority, and a majority, of five.
const MINORITY: usize = 2;
const MAJORITY: usize = 3;

/// How long a buyer works: longer than it takes to break a node, for all of them together.
const WORK: Duration = Duration::from_millis(10);

/// What was seen.
struct Outage {
    /// Purchases that began after the nodes had gone away.
    began: Vec<Attempt>,
    /// Those among them that ended before the nodes were back, if that was waited for.
    ended: Vec<Attempt>,
    /// From when the nodes were brought back to the end of the first sale.
    recovery: Option<Duration>,
    recorded: Recorded,
}

/// Two of five nodes go away, and everything is sold; with three, nothing is.
pub async fn minority(
    scene: &Scene<'_>,
    farm: &mut Farm,
    how: How,
    part: &mut Part,
) -> Result<(), ScenarioError> {
    let units = scene.args.purchases;
    let progress = Progress::spinner(format!("minority: {MINORITY} nodes {}", past(how)));
    let seen = go_away(scene, farm, how, MINORITY).await?;
    let sold: Vec<&Attempt> = seen.began.iter().filter(|it| it.outcome == Outcome::Sold).collect();
    let claim = format!("two of five {}: purchases go on", past(how));
    part.check(scene.claim(&claim), outcomes(&seen.began), !sold.is_empty());
    let expected = Votes { granted: MAJORITY, refused: 0, failed: MINORITY };
    let as_expected = sold.iter().filter(|it| it.votes == Some(expected)).count();
    let claim = "each had 3 votes, and 2 failed";
    let text = format!("{as_expected} of {}", sold.len());
    part.check(scene.claim(claim), text, as_expected == sold.len() && as_expected > 0);
    let is_exact = seen.recorded.is_exact(units);
    part.check(scene.claim("every unit is sold once"), seen.recorded.numbers(), is_exact);
    part.evidence.push(seen.recorded.json(json!({ "away": MINORITY, "how": past(how) })));

    progress.say(format!("minority: {MAJORITY} nodes {}, as the control", past(how)));
    let control = go_away(scene, farm, how, MAJORITY).await?;
    let sold = control.ended.iter().filter(|it| it.outcome == Outcome::Sold).count();
    let text = outcomes(&control.ended);
    part.check(scene.claim("control, three of five: nothing is sold"), text, sold == 0);
    part.evidence.push(control.recorded.json(json!({ "away": MAJORITY, "how": past(how) })));
    Ok(())
}

/// Three of five nodes go away, and come back. Gives how long it took until something was sold
/// again, in ms.
pub async fn majority(
    scene: &Scene<'_>,
    farm: &mut Farm,
    how: How,
    part: &mut Part,
) -> Result<f64, ScenarioError> {
    let (units, delay) = (scene.args.purchases, scene.args.restart_delay);
    let _progress = Progress::spinner(format!("majority: {MAJORITY} nodes {}", past(how)));
    let seen = go_away(scene, farm, how, MAJORITY).await?;
    let is_met = seen.ended.iter().all(|it| it.outcome == Outcome::Unavailable);
    let claim = format!("three of five {}: every purchase is `unavailable`", past(how));
    part.check(scene.claim(&claim), outcomes(&seen.ended), is_met && !seen.ended.is_empty());
    let recovery = seen.recovery.unwrap_or_default();
    let ms = recovery.as_secs_f64() * 1e3;
    if how == How::Kill {
        let claim = format!("nodes that forgot do not vote for {} ms", delay.as_millis());
        let text = format!("the first sale after {ms:.0} ms");
        part.check(scene.claim(&claim), text, recovery >= delay);
    }
    let is_exact = seen.recorded.is_exact(units);
    let claim = "they are back: everything is sold, and nothing twice";
    part.check(scene.claim(claim), seen.recorded.numbers(), is_exact);
    part.evidence.push(seen.recorded.json(json!({ "away": MAJORITY, "how": past(how) })));
    Ok(ms)
}

/// Sells a product out; meanwhile, so many nodes go away, and come back.
async fn go_away(
    scene: &Scene<'_>,
    farm: &mut Farm,
    how: How,
    away: usize,
) -> Result<Outage, ScenarioError> {
    let (args, lock, product) = (scene.args, StrategyId::Redlock, Product::default());
    let shops: Vec<_> = farm.labs.iter().map(|lab| Arc::clone(lab.shop())).collect();
    shops[0].reset(&product, args.purchases, Some(lock)).await?;
    let (name, ttl) = (product.clone(), args.ttl);
    let order = move || {
        let (base, cap) = (Duration::from_millis(10), Duration::from_millis(100));
        let patience = Patience { policy: Policy::Jitter, base, cap, ..Patience::default() };
        Order { delay: WORK, ttl, patience, ..Order::of(lock, name.clone()) }
    };
    let mut crowd = Crowd::send(&shops, args.concurrency, &order);
    let sold = |attempts: &[Attempt]| {
        attempts.iter().filter(|attempt| attempt.outcome == Outcome::Sold).count()
    };
    let some = (args.purchases / 6) as usize;
    crowd.until("purchases run", |all| (sold(all) >= some).then_some(())).await?;
    let broken = farm.break_first(away, how).await?;
    let mut recovery = None;
    let ended = if away == MAJORITY {
        let ended = |all: &[Attempt]| {
            let since: Vec<_> = all.iter().filter(|it| it.began >= broken).cloned().collect();
            (since.len() >= WATCHED).then_some(since)
        };
        let ended = crowd.until("purchases were tried", ended).await?;
        let healed = farm.heal_first(away, how).await?;
        let first = |all: &[Attempt]| {
            let sales = all.iter().filter(|it| it.outcome == Outcome::Sold);
            sales.filter(|it| it.began >= broken).map(|it| it.ended).min()
        };
        let first = crowd.until("something is sold again", first).await?;
        recovery = Some(first.duration_since(healed));
        ended
    } else {
        Vec::new()
    };
    let attempts = crowd.leave().await?;
    if away == MINORITY {
        farm.heal_first(away, how).await?;
    }
    farm.until_back().await?;
    let recorded = Recorded::of_all(&farm.labs, &product, lock).await?;
    let began = attempts.into_iter().filter(|it| it.began >= broken).collect();
    Ok(Outage { began, ended, recovery, recorded })
}

/// How purchases ended, and how many of them.
fn outcomes(attempts: &[Attempt]) -> String {
    let count = |outcome| attempts.iter().filter(|it| it.outcome == outcome).count();
    let counts = Outcome::VARIANTS.iter().map(|&outcome| (outcome, count(outcome)));
    let counts = counts.filter(|(_, count)| *count > 0);
    let told = counts.map(|(outcome, count)| format!("{count} {}", <&str>::from(outcome)));
    told.collect::<Vec<_>>().join(", ")
}

/// What has happened to nodes, in a word.
pub fn past(how: How) -> &'static str {
    match how {
        How::Stop => "stopped",
        How::Kill => "killed",
        How::Cut => "cut off",
    }
}
