//! What scenarios stand on: servers, products that nobody else has, and waiting for what is to come
//! about.

use tokio::time::{self, Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::{error::ScenarioError, progress::Progress};
use crate::{
    cli::{Config, Embed},
    lab::Lab,
    product::Product,
    report::{Part, Report, Run},
    strategy::StrategyId,
};
use locklab_locks::token::Token;

/// How long anything may take that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// What to do when it took longer, or went another way than planned.
pub const AGAIN: &str = "see what else keeps the machine busy, and run it again";

/// The servers of a scenario.
pub struct Ground {
    /// A lab on these servers.
    pub lab: Lab,
    /// How the lab is configured, and every process that the scenario starts.
    pub config: Config,
}

impl Ground {
    /// Opens a lab with what these strategies need, and room for so many records of a product.
    pub async fn open(
        config: &Config,
        strategies: &[StrategyId],
        records: u32,
    ) -> Result<Self, ScenarioError> {
        let rows = strategies.iter().map(|id| id.row());
        let embeds = rows.flat_map(|row| [row.backend, row.store.into()]).map(Embed::of).collect();
        let config = config.clone().keeping(records.saturating_mul(2)).embedding(embeds);
        let lab = Lab::open(&config, CancellationToken::new()).await?;
        Ok(Self { lab, config })
    }

    /// A report of a scenario that has found nothing yet.
    pub async fn report(&self, scenario: &'static str, seed: Option<u64>) -> Report {
        let servers = self.lab.backends().versions().await;
        Report { seed, servers, ..Report::new(scenario) }
    }

    /// Whether a strategy can be used. If it cannot, the part says why nothing is known of a claim.
    pub fn allows(&self, lock: StrategyId, part: &mut Part, claim: &str) -> bool {
        let reason = self.lab.backends().reason_against(lock.row());
        if let Some(reason) = &reason {
            part.unknown(claim, reason);
        }
        reason.is_none()
    }

    /// Puts units of a product on sale that nobody else has.
    pub async fn put_on_sale(
        &self,
        scenario: &str,
        lock: StrategyId,
        units: u64,
    ) -> Result<Product, ScenarioError> {
        let product = product(scenario, lock)?;
        self.lab.shop().reset(&product, units, Some(lock)).await?;
        Ok(product)
    }

    /// Has something shown of each of these strategies, one after the other: a part, and its runs.
    pub async fn show_each(
        config: &Config,
        (scenario, records, seed): (&'static str, u32, u64),
        locks: &[StrategyId],
        show: impl AsyncFn(&Self, StrategyId, &Progress) -> (Part, Vec<Run>),
    ) -> Result<Report, ScenarioError> {
        let ground = Self::open(config, locks, records).await?;
        let mut report = ground.report(scenario, Some(seed)).await;
        let bar = Progress::bar(locks.len() as u64, scenario);
        for &lock in locks {
            let (part, runs) = show(&ground, lock, &bar).await;
            report.parts.push(part);
            report.runs.0.extend(runs);
            bar.tick();
        }
        ground.close().await;
        Ok(report)
    }

    /// Closes the lab, and ends the servers that it has started.
    pub async fn close(self) {
        self.lab.close(Instant::now()).await;
    }
}

/// A product that nobody else has: two runs at once must not meet.
pub fn product(scenario: &str, lock: StrategyId) -> Result<Product, ScenarioError> {
    named(&format!("{scenario}-{}-{}", lock.row().name, &Token::random().as_str()[..8]))
}

/// The product with this name.
pub fn named(name: &str) -> Result<Product, ScenarioError> {
    name.parse().map_err(|_| ScenarioError::NotMeasured(format!("no product {name}")))
}

/// Looks again and again until there is something to see.
pub async fn poll<T>(
    what: &str,
    look: impl AsyncFn() -> Result<Option<T>, ScenarioError>,
) -> Result<T, ScenarioError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = time::timeout_at(deadline, look()).await.unwrap_or(Ok(None))? {
            return Ok(seen);
        }
        if Instant::now() >= deadline {
            return Err(ScenarioError::NotMeasured(format!(
                "waited {} s in vain until {what}: {AGAIN}",
                PATIENCE.as_secs()
            )));
        }
        time::sleep(Duration::from_millis(5)).await;
    }
}
