//! The flags of `locklab run-all`, and what it stands for.

use std::path::PathBuf;

use clap::Args;
use tokio::time::Duration;

use super::{
    output::OutputArgs,
    parsers::processes,
    race::{CrashArgs, DeadlockArgs, Expect, OversellArgs, RetryArgs, RunArgs},
};
use crate::strategy::StrategyId;
use locklab_locks::wait::Policy;

/// What `locklab run-all` is to do.
#[derive(Debug, Clone, Args)]
pub struct RunAllArgs {
    /// Write what became of every purchase of the races for one unit into this folder, as JSON;
    /// with several runs, to files with the run before their names
    #[arg(long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,

    /// Operating system processes that the buyers are spread over
    #[arg(long, default_value_t = 1, value_parser = processes())]
    pub processes: u32,

    /// How often the scenario runs, and how its report is told.
    #[command(flatten)]
    pub run: RunArgs,
}

/// A simulation of the PHP lab, with its figures.
#[derive(Debug, Clone)]
pub enum Simulation {
    /// Buyers race.
    Oversell(OversellArgs),
    /// Buyers wait in a circle.
    Deadlock(DeadlockArgs),
    /// A holder is killed, or works for too long.
    Crash(CrashArgs),
    /// Losers try again.
    Retry(RetryArgs),
}

impl RunAllArgs {
    /// What the PHP lab did, with its figures.
    #[must_use]
    pub fn parts(&self) -> Vec<Simulation> {
        let run = &self.run;
        let oversell = OversellArgs {
            lock: vec![StrategyId::None, StrategyId::Naive, StrategyId::Safe],
            all: false,
            stock: 1,
            concurrency: 50,
            delay: Duration::from_millis(5),
            ttl: Duration::from_secs(5),
            retry: Policy::None,
            expect: Some(Expect::Listed),
            output: None,
            processes: self.processes,
            // It told the numbers only.
            run: RunArgs {
                report: OutputArgs { quiet: true, ..run.report.clone() },
                ..run.clone()
            },
        };
        let deadlock = |mitigate| DeadlockArgs {
            mitigate,
            processes: 2,
            ttl: Duration::from_secs(3),
            lock: vec![StrategyId::Safe],
            run: run.clone(),
        };
        let crash = |ttl_edge, ttl_ms| CrashArgs {
            ttl_edge,
            ttl: Duration::from_millis(ttl_ms),
            work: Duration::from_secs(3),
            lock: vec![StrategyId::Safe],
            run: run.clone(),
        };
        let retry = RetryArgs {
            concurrency: 20,
            stock: 10,
            max_retries: 15,
            ttl: Duration::from_secs(2),
            delay: Duration::from_millis(1),
            lock: StrategyId::Safe,
            retry: vec![Policy::Fixed, Policy::Exponential, Policy::Jitter],
            processes: self.processes,
            run: run.clone(),
        };
        vec![
            Simulation::Oversell(oversell),
            Simulation::Deadlock(deadlock(false)),
            Simulation::Deadlock(deadlock(true)),
            Simulation::Crash(crash(false, 2_000)),
            Simulation::Crash(crash(true, 1_000)),
            Simulation::Retry(retry),
        ]
    }
}
