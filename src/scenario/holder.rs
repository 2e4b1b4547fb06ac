//! A buyer in a process of its own who holds the lock and stands still, so that something can be done to
//! that process.

use nix::sys::signal::Signal;
use tokio::time::{Duration, Instant};

use super::race::buyers;
use crate::{
    cli::Config,
    fault::{Action, Fault},
    lab::Lab,
    measure::clock,
    report::Entry,
    scenario::{
        error::ScenarioError,
        ground,
        race::{crew::Crew, plan::Plan},
    },
    step::Step,
    strategy::StrategyId,
    wait::{Patience, Policy},
};

/// The process of a buyer who stands still.
pub struct Holder {
    crew: Crew,
    /// When it was told to begin: it was granted nothing before.
    pub began_ns: u64,
}

impl Holder {
    /// Starts it, and waits until it stands still at a step.
    ///
    /// # Errors
    /// It could not be started, or never came there.
    pub async fn start(
        lab: &Lab,
        config: &Config,
        mut plan: Plan,
        step: Step,
        length: Duration,
    ) -> Result<Self, ScenarioError> {
        plan.faults.push(Fault { action: Action::Pause(length), step });
        let mut crew = Crew::start(lab, config, vec![vec![plan]]).await?;
        let began_ns = clock::now_ns();
        crew.go().await?;
        crew.standing().await?;
        Ok(Self { crew, began_ns })
    }

    /// Does to its process what a signal does; when that was.
    ///
    /// # Errors
    /// The operating system refused.
    pub fn signal(&self, signal: Signal) -> Result<u64, ScenarioError> {
        self.crew.signal(0, signal)?;
        Ok(clock::now_ns())
    }

    /// What became of its purchase, when it goes on.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn entry(mut self) -> Result<Entry, ScenarioError> {
        let entries = self.crew.entries().await?;
        self.crew.end().await?;
        let entry = entries.into_iter().next();
        entry.ok_or_else(|| ScenarioError::NotMeasured("the holder told nothing".to_owned()))
    }

    /// Waits until its process has ended.
    ///
    /// # Errors
    /// It does not end.
    pub async fn end(self) -> Result<(), ScenarioError> {
        self.crew.end().await
    }
}

/// The first of these steps that a strategy has.
#[must_use]
pub fn first_of(strategy: StrategyId, steps: &[Step]) -> Option<Step> {
    steps.iter().copied().find(|step| strategy.row().steps.contains(step))
}

/// One purchase of this process, now.
///
/// # Errors
/// It was not decided: a server failed.
pub async fn buy(lab: &Lab, plan: Plan) -> Result<Entry, ScenarioError> {
    let entries = buyers::buy(lab.shop(), lab.faults(), plan, Instant::now()).await;
    let entry = entries.into_iter().next();
    let entry =
        entry.ok_or_else(|| ScenarioError::NotMeasured("a purchase told nothing".to_owned()))?;
    if entry.is_decided() {
        return Ok(entry);
    }
    let why = entry.error.unwrap_or_default();
    Err(ScenarioError::NotMeasured(format!("a purchase was not decided: {why}")))
}

/// A buyer who asks again and again for so long.
#[must_use]
pub fn patient(plan: Plan, base: Duration, wait: Duration) -> Plan {
    let policy = if wait.is_zero() { Policy::None } else { Policy::Fixed };
    let mut plan = plan;
    plan.order.patience =
        Patience { policy, base, wait, max_retries: u32::MAX, ..Patience::default() };
    plan
}

/// A plan for a product that is on sale.
///
/// # Errors
/// The store refused.
pub async fn on_sale(
    lab: &Lab,
    scenario: &str,
    strategy: StrategyId,
    units: u64,
) -> Result<impl Fn(u32) -> Plan, ScenarioError> {
    let product = ground::product(scenario, strategy)?;
    lab.shop().reset(&product, units, Some(strategy)).await?;
    Ok(move |buyer| Plan::new(buyer, strategy, &product))
}
