//! Buyers who race: what each is to do, and what became of it. They race in tasks of this process, or
//! spread over real ones.

pub mod buyers;

use std::sync::Arc;

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};

use self::buyers::{Said, Told};
use super::{ScenarioError, processes::Processes};
use crate::{
    cli::Config,
    fault::{Fault, Faults},
    lab::Lab,
    measure::{clock, cpu},
    order::Order,
    product::{Item, Product},
    report::Entry,
    strategy::StrategyId,
    token::Token,
    wait::Patience,
};

/// Said of a process that was still needed; its own standard error says why.
const GONE: &str = "a process of buyers has ended";
/// From the word to the start: time in which the word comes to everybody.
const START: Duration = Duration::from_millis(20);

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
    #[must_use]
    pub fn new(buyer: u32, strategy: StrategyId, product: &Product) -> Self {
        let order = Order {
            id: Token::random(),
            items: vec![Item { product: product.clone(), quantity: 1 }],
            key: None,
            run_id: None,
            strategy,
            delay: Duration::from_millis(1),
            ttl: Duration::from_secs(5),
            extensions: 0,
            patience: Patience::default(),
            faults: Faults::default(),
        };
        Self { buyer, order, faults: Vec::new(), after: Duration::ZERO, until: None }
    }
}

impl Plan {
    /// What it buys first.
    #[must_use]
    pub fn product(&self) -> Product {
        self.order.items.first().map(|item| item.product.clone()).unwrap_or_default()
    }

    /// How long it may take by itself.
    fn longest(&self) -> Duration {
        let Order { delay, patience, .. } = &self.order;
        self.after + self.until.unwrap_or_default() + patience.wait + *delay
    }
}

/// Draws from a seed what is random about buyers: in which order they come, and how long they wait.
pub fn shuffle(plans: &mut [Plan], seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    for plan in plans.iter_mut() {
        plan.order.patience.seed = rng.random();
    }
    plans.shuffle(&mut rng);
}

/// A product that is nobody else's: two runs at once must not meet.
///
/// # Errors
/// The name does not fit.
pub fn product(scenario: &str, strategy: StrategyId) -> Result<Product, ScenarioError> {
    let name = format!("{scenario}-{}-{}", strategy.row().name, &Token::random().as_str()[..8]);
    name.parse().map_err(|_| ScenarioError::NotMeasured(format!("no product {name}")))
}

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

/// Deals plans to processes, one after the other.
#[must_use]
pub fn spread(plans: Vec<Plan>, processes: u32) -> Vec<Vec<Plan>> {
    let mut hands = vec![Vec::new(); processes.max(1) as usize];
    let count = hands.len();
    for (index, plan) in plans.into_iter().enumerate() {
        hands[index % count].push(plan);
    }
    hands.retain(|hand| !hand.is_empty());
    hands
}

/// Buyers in processes of their own.
pub struct Crew {
    processes: Processes<Told>,
    /// How many buyers have yet to tell what became of them.
    out: usize,
    entries: Vec<Entry>,
}

impl Crew {
    /// Starts a process for each hand of plans; all are ready when this returns.
    ///
    /// # Errors
    /// One could not be started.
    pub async fn start(
        lab: &Lab,
        config: &Config,
        hands: Vec<Vec<Plan>>,
    ) -> Result<Self, ScenarioError> {
        let mut processes = Processes::new(lab, config)?;
        let longest = hands.iter().flatten().map(Plan::longest).max();
        processes.allow(longest.unwrap_or_default());
        for _ in 0..hands.len() {
            processes.start(&["buyers".to_owned()])?;
        }
        let mut crew = Self { processes, out: 0, entries: Vec::new() };
        crew.deal(hands).await?;
        Ok(crew)
    }

    /// Says what the buyers of each process are to do next; all know when this returns.
    ///
    /// # Errors
    /// One has ended.
    pub async fn deal(&mut self, hands: Vec<Vec<Plan>>) -> Result<(), ScenarioError> {
        let count = hands.len();
        for (index, plans) in hands.into_iter().enumerate() {
            self.out += plans.len();
            self.processes.say(index, &Said::Plans(plans)).await?;
        }
        let mut ready = 0;
        let see = |_, told: Option<Told>| {
            ready += usize::from(matches!(told, Some(Told::Ready)));
            let is_over = told.is_none() || ready == count;
            is_over.then(|| told.map(|_| ()).ok_or_else(|| GONE.to_owned()))
        };
        let are_ready = self.processes.until("every process of buyers is ready", see).await?;
        are_ready.map_err(ScenarioError::NotMeasured)
    }

    /// The processor time that its processes have used so far, as far as the operating system tells.
    #[must_use]
    pub fn cpu(&self) -> Option<Duration> {
        (0..self.processes.count()).map(|index| cpu::of(self.processes.pid(index))).sum()
    }

    /// Gives the word: all start at the same instant.
    ///
    /// # Errors
    /// One does not read any more.
    pub async fn go(&mut self) -> Result<(), ScenarioError> {
        let at_ns = clock::now_ns() + START.as_nanos() as u64;
        for index in 0..self.processes.count() {
            self.processes.say(index, &Said::Start { at_ns }).await?;
        }
        Ok(())
    }

    /// Waits until a buyer stands still, as a fault asked.
    ///
    /// # Errors
    /// None did in time.
    pub async fn standing(&mut self) -> Result<(), ScenarioError> {
        let (out, entries) = (&mut self.out, &mut self.entries);
        let see = |_, told| match told {
            Some(Told::Standing) => Some(Ok(())),
            Some(Told::Ready) => None,
            Some(told @ Told::Ended(_)) => {
                keep(told, out, entries);
                let ended = entries.last().map_or("nothing", |entry| entry.outcome.into());
                Some(Err(format!("a buyer was to stand still, but ended: {ended}")))
            }
            None => Some(Err(GONE.to_owned())),
        };
        let stands = self.processes.until("a buyer stands still", see).await?;
        stands.map_err(ScenarioError::NotMeasured)
    }

    /// Does to a process what a signal does. One that is killed tells nothing more.
    ///
    /// # Errors
    /// The operating system refused.
    pub fn signal(&self, index: usize, signal: Signal) -> Result<(), ScenarioError> {
        self.processes.signal(index, signal)
    }

    /// Waits until every buyer has told what became of it.
    ///
    /// # Errors
    /// One did not in time.
    pub async fn entries(&mut self) -> Result<Vec<Entry>, ScenarioError> {
        let (out, entries) = (&mut self.out, &mut self.entries);
        let see = |_, told: Option<Told>| {
            let Some(told) = told else { return Some(Err(GONE.to_owned())) };
            keep(told, out, entries);
            (*out == 0).then_some(Ok(()))
        };
        let ended = self.processes.until("every buyer has ended", see).await?;
        ended.map_err(ScenarioError::NotMeasured)?;
        Ok(std::mem::take(&mut self.entries))
    }

    /// Waits until the processes have brought to the store what they recorded, and have ended.
    ///
    /// # Errors
    /// One does not end.
    pub async fn end(self) -> Result<(), ScenarioError> {
        self.processes.end().await
    }
}

fn keep(told: Told, out: &mut usize, entries: &mut Vec<Entry>) {
    if let Told::Ended(of_one) = told {
        entries.extend(of_one);
        *out -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shuffled(seed: u64) -> Vec<(u32, u64)> {
        let plan = |buyer| Plan::new(buyer, StrategyId::default(), &Product::default());
        let mut plans: Vec<Plan> = (0..20).map(plan).collect();
        shuffle(&mut plans, seed);
        plans.iter().map(|plan| (plan.buyer, plan.order.patience.seed)).collect()
    }

    #[test]
    fn a_seed_gives_the_same_buyers_again() {
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
    }

    #[test]
    fn every_plan_goes_to_one_process() {
        let plan = |buyer| Plan::new(buyer, StrategyId::default(), &Product::default());
        let hands = spread((0..5).map(plan).collect(), 3);
        let buyers: Vec<Vec<u32>> =
            hands.iter().map(|hand| hand.iter().map(|plan| plan.buyer).collect()).collect();
        assert_eq!(buyers, [vec![0, 3], vec![1, 4], vec![2]]);
        assert_eq!(spread((0..2).map(plan).collect(), 9).len(), 2, "none has nothing to do");
    }

    /// What a process is told is what was meant.
    #[test]
    fn plans_survive_the_way_to_another_process() {
        let mut plan = Plan::new(3, StrategyId::default(), &Product::default());
        plan.faults.push("pause:5ms@write".parse().unwrap());
        plan.order.patience.base = Duration::from_micros(1_500);
        let line = serde_json::to_string(&plan).unwrap();
        let read: Plan = serde_json::from_str(&line).unwrap();
        assert_eq!(format!("{read:?}"), format!("{plan:?}"));
    }
}
