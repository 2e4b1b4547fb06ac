//! What scenarios stand on: their servers, products of their own, and waiting for what is to come about.

use tokio::time::{self, Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::error::ScenarioError;
use crate::{
    cli::{Config, Embed},
    lab::Lab,
    product::Product,
    strategy::StrategyId,
};
use locklab_locks::token::Token;

/// How long anything may take that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// What to do when it took longer, or went another way than planned.
pub const AGAIN: &str = "see what else keeps the machine busy, and run it again";

/// A lab with what these strategies need, and room for so many records of a product.
///
/// # Errors
/// The configuration is not valid, or a server is not there.
pub async fn open(
    config: &Config,
    strategies: &[StrategyId],
    records: u32,
) -> Result<Lab, ScenarioError> {
    let rows = strategies.iter().map(|id| id.row());
    let embeds = rows.flat_map(|row| [row.backend, row.store.into()]).map(Embed::of).collect();
    let config = config.clone().keeping(records.saturating_mul(2)).embedding(embeds);
    Ok(Lab::open(&config, CancellationToken::new()).await?)
}

/// Looks again and again until there is something to see.
///
/// # Errors
/// There was nothing in time, or looking failed.
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

/// A product that is nobody else's: two runs at once must not meet.
///
/// # Errors
/// The name does not fit.
pub fn product(scenario: &str, strategy: StrategyId) -> Result<Product, ScenarioError> {
    let name = format!("{scenario}-{}-{}", strategy.row().name, &Token::random().as_str()[..8]);
    name.parse().map_err(|_| ScenarioError::NotMeasured(format!("no product {name}")))
}
