//! What one buyer is to do.

use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use serde::{Deserialize, Serialize};
use tokio::time::Duration;

use crate::{order::Order, product::Product, strategy::StrategyId};
use locklab_locks::fault::Fault;

/// What one buyer is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Which buyer, from 0.
    pub buyer: u32,
    /// What to buy, and how. It is the first one's name; later ones have names of their own.
    pub order: Order,
    /// What is to go wrong.
    pub faults: Vec<Fault>,
    /// How long after the start it begins.
    pub after: Duration,
    /// Until how long after the start it buys again and again; once, if absent.
    pub until: Option<Duration>,
}

impl Plan {
    /// One purchase of one unit, with no patience.
    pub fn new(buyer: u32, strategy: StrategyId, product: &Product) -> Self {
        let order = Order::of(strategy, product.clone());
        Self { buyer, order, faults: Vec::new(), after: Duration::ZERO, until: None }
    }

    /// How long it may take by itself.
    pub fn longest(&self) -> Duration {
        let Order { delay, patience, .. } = &self.order;
        self.after + self.until.unwrap_or_default() + patience.wait + *delay
    }
}

/// A plan for each of so many buyers. In which order they come, and how long they wait, is drawn
/// from a seed.
pub fn shuffled(buyers: u32, seed: u64, plan: impl Fn(u32) -> Plan) -> Vec<Plan> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut plans: Vec<Plan> = (0..buyers).map(plan).collect();
    for plan in &mut plans {
        plan.order.patience.seed = rng.random();
    }
    plans.shuffle(&mut rng);
    plans
}

/// Deals plans to processes, one after the other.
pub fn spread(plans: Vec<Plan>, processes: u32) -> Vec<Vec<Plan>> {
    let mut hands = vec![Vec::new(); processes.max(1) as usize];
    let count = hands.len();
    for (index, plan) in plans.into_iter().enumerate() {
        hands[index % count].push(plan);
    }
    hands.retain(|hand| !hand.is_empty());
    hands
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(buyer: u32) -> Plan {
        Plan::new(buyer, StrategyId::default(), &Product::default())
    }

    #[test]
    fn a_seed_gives_the_same_buyers_again() {
        let buyers = |seed| {
            let plans = shuffled(20, seed, plan).into_iter();
            plans.map(|plan| (plan.buyer, plan.order.patience.seed)).collect::<Vec<_>>()
        };
        assert_eq!(buyers(1), buyers(1));
        assert_ne!(buyers(1), buyers(2));
    }

    #[test]
    fn every_plan_goes_to_one_process() {
        let hands = spread((0..5).map(plan).collect(), 3);
        let buyers: Vec<Vec<u32>> =
            hands.iter().map(|hand| hand.iter().map(|plan| plan.buyer).collect()).collect();
        assert_eq!(buyers, [vec![0, 3], vec![1, 4], vec![2]]);
        assert_eq!(spread((0..2).map(plan).collect(), 9).len(), 2, "none has nothing to do");
    }

    /// What a process is told is what was meant.
    #[test]
    fn plans_survive_the_way_to_another_process() {
        let mut plan = plan(3);
        plan.faults.push("pause:5ms@write".parse().unwrap());
        plan.order.patience.base = Duration::from_micros(1_500);
        let line = serde_json::to_string(&plan).unwrap();
        let read: Plan = serde_json::from_str(&line).unwrap();
        assert_eq!(format!("{read:?}"), format!("{plan:?}"));
    }
}
