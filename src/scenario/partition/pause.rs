//! A whole server stands still: its buyers have looked at their leases for the last time, and have
//! not written yet. Another server sells meanwhile. Then it goes on.

use std::{io, sync::Arc};

use futures_util::future::join_all;
use hyper::{Method, StatusCode};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::{self, Duration};

use super::{
    farm::{Farm, Wanted},
    scene::Scene,
};
use crate::{
    client::{self, ask},
    embedded::{Embedded, locklab},
    order::Order,
    outcome::Outcome,
    product::Product,
    report::{Part, Picture},
    scenario::{
        error::ScenarioError,
        ground::{AGAIN, PATIENCE, poll},
        holder::asking,
        progress::Progress,
        recorded::Recorded,
    },
    strategy::{Expected, StrategyId},
};

/// How long buyers stand still by themselves, so that the server can be stopped meanwhile.
const PAUSE: Duration = Duration::from_secs(5);
/// How often the other server's buyers try.
const BASE: Duration = Duration::from_millis(50);

/// A stopped server's writes land, or are refused.
pub async fn pause(scene: &Scene<'_>, part: &mut Part) -> Result<(), ScenarioError> {
    let farm = scene.open(Wanted { all: true, ..scene.wanted() }).await?;
    let mut locks = Vec::new();
    let controls = [StrategyId::Safe, StrategyId::Redlock];
    for lock in controls.into_iter().chain(Scene::fenced()) {
        match farm.labs[0].backends().reason_against(lock.row()) {
            Some(reason) => part.unknown(scene.claim(&claim(lock)), reason),
            None => locks.push(lock),
        }
    }
    let names: Vec<&str> = locks.iter().map(|lock| lock.row().name).collect();
    let what = format!("pause: a server is stopped that sells under {}", names.join(", "));
    let _progress = Progress::spinner(what);
    let is_ready = async |at| client::check(at).await.is_ok();
    let stale = locklab::start(&farm.environment, is_ready).await?;
    let fresh = Arc::clone(farm.labs[0].shop());
    for &lock in &locks {
        fresh.reset(&product(lock), 1, Some(lock)).await?;
    }
    let purchases = locks.iter().map(|&lock| {
        let (address, path) = (stale.address(), path(scene, lock, &product(lock)));
        tokio::spawn(async move { ask(address, Method::POST, &path).await })
    });
    let purchases: Vec<_> = purchases.collect();
    until_paused(&stale, locks.len()).await?;
    stale.signal(Signal::SIGSTOP).map_err(io::Error::from)?;
    let sales = locks.iter().map(|&lock| {
        let (shop, ttl, patience) = (Arc::clone(&fresh), scene.args.ttl, asking(BASE, PATIENCE));
        let order = Order { ttl, patience, ..Order::of(lock, product(lock)) };
        async move { shop.purchase(&order).await }
    });
    let sales = join_all(sales).await;
    stale.signal(Signal::SIGCONT).map_err(io::Error::from)?;
    let replies = time::timeout(PATIENCE, join_all(purchases)).await;
    let replies = replies.map_err(|_| {
        ScenarioError::NotMeasured(format!(
            "the server that was stopped did not answer again; {AGAIN}"
        ))
    })?;
    for ((lock, sale), reply) in locks.into_iter().zip(sales).zip(replies) {
        let (status, body) = reply.map_err(io::Error::other)?.map_err(io::Error::other)?;
        let reply: Value = serde_json::from_slice(&body).map_err(io::Error::other)?;
        // Whoever asks a server has it bring to the store what it has recorded.
        let audit = format!("/audit/{}?lock={}", product(lock), lock.row().name);
        ask(stale.address(), Method::GET, &audit).await.map_err(io::Error::other)?;
        judge(scene, part, &farm, (lock, sale.outcome, status, &reply)).await?;
    }
    stale.stop().await;
    farm.close().await;
    Ok(())
}

/// What became of both buyers under a lock.
async fn judge(
    scene: &Scene<'_>,
    part: &mut Part,
    farm: &Farm,
    (lock, fresh, status, reply): (StrategyId, Outcome, StatusCode, &Value),
) -> Result<(), ScenarioError> {
    let recorded = Recorded::of_all(&farm.labs, &product(lock), lock).await?;
    let stale = reply["outcome"].as_str().unwrap_or("no outcome");
    let seen = format!(
        "the stopped buyer: {stale}; the other: {}; {}",
        <&str>::from(fresh),
        recorded.numbers()
    );
    let is_as_expected = if is_fenced(lock) {
        stale == "fenced" && recorded.is_exact(1)
    } else {
        stale == "sold" && recorded.tally.oversold() == 1
    };
    let is_as_expected = is_as_expected && fresh == Outcome::Sold;
    part.check(scene.claim(&claim(lock)), seen, is_as_expected);
    if lock.row().name == "redlock" {
        part.pictures.extend(recorded.timeline(|_| None).map(Picture::Timeline));
    }
    let conditions = json!({ "lock": lock.row().name, "reply": reply, "status": status.as_u16() });
    part.evidence.push(recorded.json(conditions));
    Ok(())
}

/// What is sold under a lock, while others sell other things.
fn product(lock: StrategyId) -> Product {
    lock.row().name.parse().unwrap_or_default()
}

fn is_fenced(lock: StrategyId) -> bool {
    lock.row().expected == Expected::ExactAlways
}

fn claim(lock: StrategyId) -> String {
    let name = lock.row().name;
    if is_fenced(lock) {
        format!("`{name}`: the stale write is refused as `fenced`, the unit sold once")
    } else {
        format!("control, `{name}`: the stale write lands, the unit is sold twice")
    }
}

/// One purchase that stands still after its last look at the lease.
fn path(scene: &Scene<'_>, lock: StrategyId, product: &Product) -> String {
    let (ttl, pause) = (scene.args.ttl.as_micros(), PAUSE.as_millis());
    let name = lock.row().name;
    format!("/purchase?product={product}&lock={name}&ttl={ttl}us&fault=pause:{pause}ms@write")
}

/// Waits until so many purchases of a server stand still, as its metrics have it.
async fn until_paused(server: &Embedded, count: usize) -> Result<(), ScenarioError> {
    let expected = format!("locklab_faults_active{{fault=\"pause\"}} {count}");
    poll("every buyer of the server stands still", async || {
        let reply = ask(server.address(), Method::GET, "/metrics").await;
        let (_, body) = reply.map_err(io::Error::other)?;
        let metrics = String::from_utf8_lossy(&body);
        Ok(metrics.lines().any(|line| line == expected).then_some(()))
    })
    .await
}
