//! A buyer in a process of its own who holds the lock and stands still, so that something can be
//! done to that process; and the buyers who come meanwhile.

use nix::sys::signal::Signal;
use tokio::time::{Duration, Instant};

use super::{
    error::ScenarioError,
    ground::Ground,
    race::{buyers, crew::Crew, plan::Plan},
};
use crate::{measure::clock, report::RunEntry, strategy::StrategyId};
use locklab_locks::{
    fault::{Action, Fault},
    step::Step,
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
    pub async fn start(
        ground: &Ground,
        mut plan: Plan,
        step: Step,
        length: Duration,
    ) -> Result<Self, ScenarioError> {
        plan.faults.push(Fault { action: Action::Pause(length), step });
        let mut crew = Crew::start(ground, vec![vec![plan]]).await?;
        let began_ns = clock::now_ns();
        crew.go().await?;
        crew.standing().await?;
        Ok(Self { crew, began_ns })
    }

    /// Does to its process what a signal does; when that was.
    pub fn signal(&self, signal: Signal) -> Result<u64, ScenarioError> {
        self.crew.signal(0, signal)?;
        Ok(clock::now_ns())
    }

    /// What became of its purchase, when it goes on.
    pub async fn entry(mut self) -> Result<RunEntry, ScenarioError> {
        let entries = self.crew.entries().await?;
        self.crew.end().await?;
        only(entries, "the holder")
    }

    /// Waits until its process has ended.
    pub async fn end(self) -> Result<(), ScenarioError> {
        self.crew.end().await
    }
}

/// The first of these steps that a strategy has.
pub fn first_of(strategy: StrategyId, steps: &[Step]) -> Option<Step> {
    steps.iter().copied().find(|step| strategy.row().steps.contains(step))
}

/// One purchase of this process, now. It has to be decided, for which its servers have to be there.
pub async fn buy(ground: &Ground, plan: Plan) -> Result<RunEntry, ScenarioError> {
    let (shop, faults) = (ground.lab.shop(), ground.lab.faults());
    let entry = only(buyers::buy(shop, faults, plan, Instant::now()).await, "a purchase")?;
    if entry.is_decided() {
        return Ok(entry);
    }
    let why = entry.error.unwrap_or_default();
    Err(ScenarioError::NotMeasured(format!("a purchase was not decided: {why}")))
}

fn only(entries: Vec<RunEntry>, whose: &str) -> Result<RunEntry, ScenarioError> {
    let first = entries.into_iter().next();
    first.ok_or_else(|| ScenarioError::NotMeasured(format!("{whose} told nothing")))
}

/// Asks again and again for so long, and once if that is no time at all.
pub fn asking(base: Duration, wait: Duration) -> Patience {
    let policy = if wait.is_zero() { Policy::None } else { Policy::Fixed };
    Patience { policy, base, wait, max_retries: u32::MAX, ..Patience::default() }
}
