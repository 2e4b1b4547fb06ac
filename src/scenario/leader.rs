//! Leader election: processes elect one of them, over and over, while the leader is killed, stopped and
//! told to resign. What each of them did is recorded beside the ledger, and judged from there.

mod blow;
pub mod candidate;
mod judge;
mod race;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::{blow::Blow, judge::judge, race::Race};
use crate::{
    cli::{Config, Embed, LeaderArgs},
    lab::Lab,
    product::Product,
    report::{Part, Report},
    scenario::{error::ScenarioError, ground::AGAIN, progress::Progress},
    strategy::StrategyId,
    token::Token,
};

/// Units on sale: more pieces of work than anybody does.
const UNITS: u64 = 1_000_000;

/// Elects leaders under one lock after the other.
///
/// # Errors
/// The configuration is not valid, or the stock's Redis is not there.
pub async fn run(config: &Config, args: &LeaderArgs) -> Result<Report, ScenarioError> {
    let embeds = args.locks().map(|id| Embed::of(id.row().backend)).collect();
    let config = config.clone().embedding(embeds);
    let progress = Progress::spinner("leader: servers are started");
    let lab = Lab::open(&config, CancellationToken::new()).await?;
    drop(progress);
    let mut report = Report::new("leader");
    report.servers = lab.backends().versions().await;
    for id in args.locks() {
        let mut part = Part::new(title(id));
        if let Err(error) = elect(&lab, &config, args, id, &mut part).await {
            part.unknown("elections took place", error);
        }
        report.parts.push(part);
    }
    lab.close(Instant::now()).await;
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
    lab: &Lab,
    config: &Config,
    args: &LeaderArgs,
    strategy: StrategyId,
    part: &mut Part,
) -> Result<(), ScenarioError> {
    // Says why it cannot be used, if it cannot.
    candidate::keeper(lab, strategy)?;
    let failed = |error: crate::error::BackendError| ScenarioError::NotMeasured(error.to_string());
    // Nobody else's: two runs at once must not meet.
    let name = format!("leader-{}-{}", strategy.row().name, &Token::random().as_str()[..8]);
    let product: Product =
        name.parse().map_err(|_| ScenarioError::NotMeasured(format!("no product {name}")))?;
    lab.shop().reset(&product, UNITS, Some(strategy)).await.map_err(failed)?;
    let mut race = Race::start(lab, config, args, strategy, &product).await?;
    let mut struck = Vec::new();
    let blows = [Blow::Kill, Blow::Stop, Blow::Resign];
    let what = format!("leader: elections under {}", strategy.row().name);
    let progress = Progress::bar(u64::from(args.rounds) * blows.len() as u64, what);
    for _ in 0..args.rounds {
        for blow in blows {
            struck.push(race.strike(blow).await?);
            progress.tick();
        }
    }
    let ended = race.end().await?;
    let evidence = lab.shop().evidence(&product, strategy.row().store).await.map_err(failed)?;
    let evidence = evidence.ok_or_else(|| {
        ScenarioError::NotMeasured(format!(
            "nothing is known any more of {product}: it was reset or its store restarted; {AGAIN}"
        ))
    })?;
    judge(part, strategy, &struck, &ended, &evidence);
    Ok(())
}
