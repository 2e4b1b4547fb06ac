//! Buyers who race, in tasks of this process or spread over real ones, and what became of them.

pub mod buyers;
pub mod crew;
pub mod plan;

use std::{io, sync::Arc};

use futures_util::future::join_all;
use tokio::time::Instant;

use self::{
    crew::{Crew, START},
    plan::{Plan, shuffled, spread},
};
use super::{error::ScenarioError, ground::Ground, recorded::Recorded};
use crate::{order::Order, report::RunEntry, strategy::StrategyId};

/// A race for a product that nobody else has.
#[derive(Debug, Clone, Copy)]
pub struct Race {
    /// Which scenario it belongs to.
    pub scenario: &'static str,
    /// The strategy.
    pub lock: StrategyId,
    /// Units on sale.
    pub units: u64,
    /// Buyers, each of whom wants one unit.
    pub buyers: u32,
    /// Over how many processes the buyers are spread.
    pub processes: u32,
    /// What the order of buyers, and their delays, are drawn from.
    pub seed: u64,
}

impl Race {
    /// Has it take place once; what became of each purchase, and what was recorded. `tune` says
    /// what is special about the orders.
    pub async fn run(
        self,
        ground: &Ground,
        tune: impl Fn(Order) -> Order,
    ) -> Result<(Vec<RunEntry>, Recorded), ScenarioError> {
        let product = ground.put_on_sale(self.scenario, self.lock, self.units).await?;
        let plans = shuffled(self.buyers, self.seed, |buyer| {
            let plan = Plan::new(buyer, self.lock, &product);
            Plan { order: tune(plan.order), ..plan }
        });
        let entries = run(ground, plans, self.processes).await?;
        let recorded = Recorded::of(&ground.lab, &product, self.lock).await?;
        Ok((entries, recorded))
    }
}

/// Has buyers race, in so many processes: with one, in this one. What became of each purchase, in
/// the order of buyers.
pub async fn run(
    ground: &Ground,
    plans: Vec<Plan>,
    processes: u32,
) -> Result<Vec<RunEntry>, ScenarioError> {
    let mut entries = if processes <= 1 {
        let start = Instant::now() + START;
        let buyers = plans.into_iter().map(|plan| {
            let (shop, metrics) = (Arc::clone(ground.lab.shop()), Arc::clone(ground.lab.faults()));
            tokio::spawn(async move { buyers::buy(&shop, &metrics, plan, start).await })
        });
        let entries = join_all(buyers).await.into_iter().collect::<Result<Vec<_>, _>>();
        entries.map_err(io::Error::other)?.concat()
    } else {
        let mut crew = Crew::start(ground, spread(plans, processes)).await?;
        let entries = crew.race().await?;
        crew.end().await?;
        entries
    };
    entries.sort_by_key(|entry| (entry.buyer, entry.began_ns));
    Ok(entries)
}
