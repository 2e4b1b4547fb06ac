//! The candidates: real processes, and what is done to them.

use nix::{sys::signal::Signal, unistd::Pid};
use tokio::time::Duration;

use super::{
    blow::{Blow, Late, Struck},
    candidate::Told,
};
use crate::{
    cli::LeaderArgs,
    measure::clock,
    product::Product,
    report::timeline::Mark,
    scenario::{error::ScenarioError, ground::Ground, processes::Processes},
    shop::term::Career,
    strategy::StrategyId,
};

/// How often a leader is stopped until it is stopped in the middle of its work.
const STOPS_MAX: u32 = 3;

/// An election: the candidates of one product.
pub struct Election {
    candidates: Processes<Told>,
    /// How another one is started.
    arguments: [String; 5],
    /// What was done to each.
    marks: Vec<Vec<Mark>>,
    leader: usize,
    from_ns: u64,
}

/// What is left of an election: who there was, and what was done to them.
pub struct Ended {
    pub from_ns: u64,
    pub until_ns: u64,
    pub lanes: Vec<(Pid, Vec<Mark>)>,
}

impl Election {
    /// Starts candidates, and waits until one of them leads.
    pub async fn start(
        ground: &Ground,
        args: &LeaderArgs,
        strategy: StrategyId,
        product: &Product,
    ) -> Result<Self, ScenarioError> {
        let (ttl, work) = (args.ttl.as_micros(), args.work.as_micros());
        let mut election = Self {
            candidates: Processes::new(&ground.lab, &ground.config)?,
            arguments: [
                "candidate".to_owned(),
                format!("--lock={}", strategy.row().name),
                format!("--product={product}"),
                format!("--ttl={ttl}us"),
                format!("--work={work}us"),
            ],
            marks: Vec::new(),
            leader: 0,
            from_ns: clock::now_ns(),
        };
        for _ in 0..args.candidates {
            election.join().await?;
        }
        let works = |_: usize, told: &Told| told.career == Some(Career::Done);
        election.until("a leader has done a piece of work", works).await?;
        Ok(election)
    }

    /// One more candidate, which stands when this returns; there may be a leader by then.
    async fn join(&mut self) -> Result<(), ScenarioError> {
        let index = self.candidates.start(&self.arguments)?;
        self.marks.push(Vec::new());
        self.until("a candidate stands", |by, told| by == index && told.career.is_none()).await?;
        Ok(())
    }

    /// Waits until a candidate tells something.
    async fn until(
        &mut self,
        what: &str,
        mut is_it: impl FnMut(usize, &Told) -> bool,
    ) -> Result<Told, ScenarioError> {
        let leader = &mut self.leader;
        let see = |by, told: Option<Told>| {
            let told = told?;
            if matches!(told.career, Some(Career::Elected { .. })) {
                *leader = by;
            }
            is_it(by, &told).then_some(told)
        };
        self.candidates.until(what, see).await
    }

    fn mark(&mut self, letter: char) -> u64 {
        let at_ns = clock::now_ns();
        self.marks[self.leader].push(Mark { at_ns, letter });
        at_ns
    }

    /// Does something to the leader, and waits until another one leads and has done some work.
    pub async fn strike(&mut self, blow: Blow) -> Result<Struck, ScenarioError> {
        match blow {
            Blow::Kill => {
                let at_ns = self.mark('K');
                self.candidates.signal(self.leader, Signal::SIGKILL)?;
                let gap = self.followed(at_ns).await?;
                self.join().await?;
                Ok(Struck { blow, gap, late: None })
            }
            Blow::Resign => {
                let at_ns = self.mark('R');
                self.candidates.dismiss(self.leader);
                let gap = self.followed(at_ns).await?;
                self.join().await?;
                Ok(Struck { blow, gap, late: None })
            }
            Blow::Stop => {
                let mut stops = 1;
                loop {
                    let (gap, late) = self.stop().await?;
                    if late != Late::Missed || stops == STOPS_MAX {
                        return Ok(Struck { blow, gap, late: Some(late) });
                    }
                    stops += 1;
                }
            }
        }
    }

    /// Stops the leader in the middle of its work, until another one has done some.
    async fn stop(&mut self) -> Result<(Duration, Late), ScenarioError> {
        let (seen_ns, leader) = (clock::now_ns(), self.leader);
        let begins = |by: usize, told: &Told| {
            by == leader && told.career == Some(Career::Begun) && told.at_ns > seen_ns
        };
        self.until("the leader begins a piece of work", begins).await?;
        let at_ns = self.mark('S');
        self.candidates.signal(leader, Signal::SIGSTOP)?;
        let followed = self.followed(at_ns).await;
        let resumed_ns = clock::now_ns();
        self.marks[leader].push(Mark { at_ns: resumed_ns, letter: 'C' });
        self.candidates.signal(leader, Signal::SIGCONT)?;
        let gap = followed?;
        let is_late = |by: usize, told: &Told| {
            let ends = matches!(told.career, Some(Career::Done | Career::Fenced | Career::Deposed));
            by == leader && ends && told.at_ns > resumed_ns
        };
        let told = self.until("the stopped leader goes on", is_late).await?;
        let late = match told.career {
            Some(Career::Done) => Late::Accepted,
            Some(Career::Fenced) => Late::Fenced,
            _ => Late::Missed,
        };
        Ok((gap, late))
    }

    /// Waits until somebody was elected after an instant; how long that took.
    async fn followed(&mut self, since_ns: u64) -> Result<Duration, ScenarioError> {
        let is_next = |_: usize, told: &Told| {
            matches!(told.career, Some(Career::Elected { .. })) && told.at_ns > since_ns
        };
        let told = self.until("somebody else is elected", is_next).await?;
        let leader = self.leader;
        let works = |by: usize, told: &Told| by == leader && told.career == Some(Career::Done);
        self.until("the new leader works", works).await?;
        Ok(Duration::from_nanos(told.at_ns - since_ns))
    }

    /// Has everybody resign, and waits until what they recorded has come to the store.
    pub async fn end(self) -> Result<Ended, ScenarioError> {
        let until_ns = clock::now_ns();
        let pids = (0..self.candidates.count()).map(|index| self.candidates.pid(index));
        let lanes = pids.zip(self.marks).collect();
        self.candidates.end().await?;
        Ok(Ended { from_ns: self.from_ns, until_ns, lanes })
    }
}
