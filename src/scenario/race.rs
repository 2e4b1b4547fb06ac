//! Buyers who race, in tasks of this process or spread over real ones, and what became of them.

pub mod buyers;
pub mod crew;
pub mod plan;

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;

use self::{
    crew::{Crew, START},
    plan::{Plan, spread},
};
use super::error::ScenarioError;
use crate::{cli::Config, lab::Lab, report::Entry};

/// Has buyers race, in so many processes: with one, in this one. What became of each purchase, in the
/// order of buyers.
///
/// # Errors
/// A process could not be started, or did not answer.
pub async fn run(
    lab: &Lab,
    config: &Config,
    plans: Vec<Plan>,
    processes: u32,
) -> Result<Vec<Entry>, ScenarioError> {
    let mut entries = if processes <= 1 {
        let start = Instant::now() + START;
        let buyers = plans.into_iter().map(|plan| {
            let (shop, metrics) = (Arc::clone(lab.shop()), Arc::clone(lab.faults()));
            tokio::spawn(async move { buyers::buy(&shop, &metrics, plan, start).await })
        });
        let entries = join_all(buyers).await.into_iter().collect::<Result<Vec<_>, _>>();
        entries.map_err(std::io::Error::other)?.concat()
    } else {
        let mut crew = Crew::start(lab, config, spread(plans, processes)).await?;
        crew.go().await?;
        let entries = crew.entries().await?;
        crew.end().await?;
        entries
    };
    entries.sort_by_key(|entry| (entry.buyer, entry.began_ns));
    Ok(entries)
}
