//! Leader election: processes elect one of them, over and over, while the leader is killed, stopped
//! and told to resign. What each of them did is recorded beside the ledger, and judged from there.

mod blow;
pub mod candidate;
mod election;
mod judge;

use self::{blow::Blow, election::Election, judge::judge};
use super::{
    error::ScenarioError,
    ground::{self, AGAIN, Ground},
    progress::Progress,
};
use crate::{
    cli::{Config, LeaderArgs},
    report::{Part, Report},
    strategy::StrategyId,
};
use locklab_locks::error::BackendError;

/// Units on sale: more pieces of work than anybody does.
const UNITS: u64 = 1_000_000;
/// Records that are kept of an election: every piece of work is one.
const RECORDS: u32 = 5_000;

/// Elects leaders under one lock after the other.
pub async fn run(config: &Config, args: &LeaderArgs) -> Result<Report, ScenarioError> {
    let locks: Vec<StrategyId> = args.locks().collect();
    let progress = Progress::spinner("leader: servers are started");
    let ground = Ground::open(config, &locks, RECORDS).await?;
    drop(progress);
    let mut report = ground.report("leader", None).await;
    for lock in locks {
        let mut part = Part::new(title(lock));
        if let Err(error) = elect(&ground, args, lock, &mut part).await {
            part.unknown("elections took place", error);
        }
        report.parts.push(part);
    }
    ground.close().await;
    Ok(report)
}

fn title(strategy: StrategyId) -> String {
    let row = strategy.row();
    let place = <&str>::from(row.backend);
    match row.name {
        "fenced" => format!("fenced, renewed: leaders elected by {place}, with fencing tokens"),
        name if row.has_fencing_token() => {
            format!("{name}: leaders elected by {place}, with fencing tokens")
        }
        name => format!("{name}: leaders elected by {place}, without fencing tokens (the control)"),
    }
}

/// Elections under one lock.
async fn elect(
    ground: &Ground,
    args: &LeaderArgs,
    lock: StrategyId,
    part: &mut Part,
) -> Result<(), ScenarioError> {
    // Says why it cannot be used, if it cannot.
    candidate::keeper(&ground.lab, lock)?;
    let failed = |error: BackendError| ScenarioError::NotMeasured(error.to_string());
    let product = ground::product("leader", lock)?;
    let shop = ground.lab.shop();
    shop.reset(&product, UNITS, Some(lock)).await.map_err(failed)?;
    let mut election = Election::start(ground, args, lock, &product).await?;
    let mut struck = Vec::new();
    let blows = [Blow::Kill, Blow::Stop, Blow::Resign];
    let what = format!("leader: elections under {}", lock.row().name);
    let progress = Progress::bar(u64::from(args.rounds) * blows.len() as u64, what);
    for _ in 0..args.rounds {
        for blow in blows {
            struck.push(election.strike(blow).await?);
            progress.tick();
        }
    }
    let ended = election.end().await?;
    let evidence = shop.evidence(&product, lock.row().store).await.map_err(failed)?;
    let evidence = evidence.ok_or_else(|| {
        ScenarioError::NotMeasured(format!(
            "nothing is known any more of {product}: it was reset or its store restarted; {AGAIN}"
        ))
    })?;
    judge(part, lock, &struck, &ended, &evidence);
    Ok(())
}
