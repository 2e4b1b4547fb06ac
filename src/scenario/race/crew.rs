//! Buyers in processes of their own.

use nix::sys::signal::Signal;
use tokio::time::Duration;

use super::{
    buyers::{Said, Told},
    plan::Plan,
};
use crate::{
    measure::{clock, proc},
    report::RunEntry,
    scenario::{error::ScenarioError, ground::Ground, processes::Processes},
};

/// Said of a process that was still needed; its own standard error says why.
const GONE: &str = "a process of buyers has ended";
/// From the word to the start: time in which the word comes to everybody.
pub const START: Duration = Duration::from_millis(20);

/// Buyers in processes of their own.
pub struct Crew {
    processes: Processes<Told>,
    /// How many buyers have yet to tell what became of them.
    out: usize,
    entries: Vec<RunEntry>,
}

impl Crew {
    /// Starts a process for each hand of plans; all are ready when this returns.
    pub async fn start(ground: &Ground, hands: Vec<Vec<Plan>>) -> Result<Self, ScenarioError> {
        let mut processes = Processes::new(&ground.lab, &ground.config)?;
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

    /// The processor time that its processes have used so far, as far as the operating system
    /// tells.
    pub fn cpu(&self) -> Option<Duration> {
        (0..self.processes.count()).map(|index| proc::cpu(self.processes.pid(index))).sum()
    }

    /// Gives the word: all start at the same instant.
    pub async fn go(&mut self) -> Result<(), ScenarioError> {
        let at_ns = clock::now_ns() + START.as_nanos() as u64;
        for index in 0..self.processes.count() {
            self.processes.say(index, &Said::Start { at_ns }).await?;
        }
        Ok(())
    }

    /// Has all buyers do what they are to do, from the same instant on; what became of each
    /// purchase.
    pub async fn race(&mut self) -> Result<Vec<RunEntry>, ScenarioError> {
        self.go().await?;
        self.entries().await
    }

    /// Waits until a buyer stands still, as a fault asked.
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
    pub fn signal(&self, index: usize, signal: Signal) -> Result<(), ScenarioError> {
        self.processes.signal(index, signal)
    }

    /// Waits until every buyer has told what became of it.
    pub async fn entries(&mut self) -> Result<Vec<RunEntry>, ScenarioError> {
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
    pub async fn end(self) -> Result<(), ScenarioError> {
        self.processes.end().await
    }
}

fn keep(told: Told, out: &mut usize, entries: &mut Vec<RunEntry>) {
    if let Told::Ended(of_one) = told {
        entries.extend(of_one);
        *out -= 1;
    }
}
