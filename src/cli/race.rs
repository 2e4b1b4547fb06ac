//! The flags of scenarios in which buyers race.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use strum::VariantArray;
use tokio::time::Duration;

use super::{
    output::OutputArgs,
    parsers::{each_once, policy, processes, random, strategy, ttl, work, work_in_micros},
};
use crate::{stock::STOCK_MAX, strategy::StrategyId};
use locklab_locks::wait::Policy;

/// The most buyers at once.
const BUYERS_MAX: i64 = 2_000;
/// How often a scenario runs, from what random things are drawn, and how its report is told.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// How often everything is done
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,

    /// What the order of buyers and their random delays are drawn from; random, and shown, without
    /// it
    #[arg(long, value_name = "NUMBER", default_value_t = random(), hide_default_value = true)]
    pub seed: u64,

    /// How the report is told.
    #[command(flatten)]
    pub report: OutputArgs,
}

/// What is to come out of a race.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Expect {
    /// No unit is sold twice
    Exact,
    /// Units are sold twice, and that is caught: the negative control
    Oversell,
    /// What the strategy is listed to do, under these conditions
    Listed,
}

/// What `locklab oversell` is to do.
#[derive(Debug, Clone, Args)]
pub struct OversellArgs {
    /// The strategy to sell under; several, separated by commas, are tried in turn
    #[arg(long, default_value = "none", value_delimiter = ',', hide_possible_values = true,
          value_parser = strategy(), conflicts_with = "all")]
    pub(super) lock: Vec<StrategyId>,

    /// Try every strategy in turn
    #[arg(long)]
    pub all: bool,

    /// Units on sale
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=STOCK_MAX))]
    pub stock: u64,

    /// Buyers, who all come at the same instant
    #[arg(long, default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=BUYERS_MAX))]
    pub concurrency: u32,

    /// Work between read and write (a bare number is in µs)
    #[arg(long, default_value = "5000", value_parser = work_in_micros)]
    pub delay: Duration,

    /// How long a lease lasts (a bare number is in ms)
    #[arg(long, default_value = "5s", value_parser = ttl)]
    pub ttl: Duration,

    /// What a buyer does who does not get the lock
    #[arg(long, default_value = "none", value_parser = policy())]
    pub retry: Policy,

    /// What is to come out [default: exact; with --all, listed]
    #[arg(long, value_enum)]
    pub(super) expect: Option<Expect>,

    /// Write what became of every purchase to this file, as JSON; with several strategies or runs,
    /// to files of that name with the strategy and the run before it
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Operating system processes that the buyers are spread over
    #[arg(long, default_value_t = 1, value_parser = processes())]
    pub processes: u32,

    /// How often the scenario runs, and how its report is told.
    #[command(flatten)]
    pub run: RunArgs,
}

impl OversellArgs {
    /// The strategies to sell under.
    #[must_use]
    pub fn locks(&self) -> Vec<StrategyId> {
        // In the order of the list, and what is named twice is done once.
        StrategyId::all().filter(|id| self.all || self.lock.contains(id)).collect()
    }

    /// What is to come out.
    #[must_use]
    pub fn expect(&self) -> Expect {
        self.expect.unwrap_or(if self.all { Expect::Listed } else { Expect::Exact })
    }
}

/// What `locklab deadlock` is to do.
#[derive(Debug, Clone, Args)]
pub struct DeadlockArgs {
    /// Both take their locks in the same order, so that nobody waits in a circle
    #[arg(long)]
    pub mitigate: bool,

    /// Processes, each of which wants what its neighbour has
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..=10))]
    pub processes: u32,

    /// How long a lease lasts (a bare number is in ms)
    #[arg(long, default_value = "3000", value_parser = ttl)]
    pub ttl: Duration,

    /// The strategy whose locks they take; several, separated by commas, are tried in turn
    #[arg(long, default_value = "safe", value_delimiter = ',', hide_possible_values = true,
          value_parser = strategy())]
    pub lock: Vec<StrategyId>,

    /// How often the scenario runs, and how its report is told.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What `locklab crash` is to do.
#[derive(Debug, Clone, Args)]
pub struct CrashArgs {
    /// The holder does not crash: its work takes longer than its lease
    #[arg(long)]
    pub ttl_edge: bool,

    /// How long a lease lasts (a bare number is in ms)
    #[arg(long, default_value = "2000", value_parser = ttl)]
    pub ttl: Duration,

    /// With --ttl-edge: how long the holder works (a bare number is in ms)
    #[arg(long, default_value = "3000", value_parser = work)]
    pub work: Duration,

    /// The strategy; several, separated by commas, are tried in turn
    #[arg(long, default_value = "safe", value_delimiter = ',', hide_possible_values = true,
          value_parser = strategy())]
    pub lock: Vec<StrategyId>,

    /// How often the scenario runs, and how its report is told.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What `locklab retry` is to do.
#[derive(Debug, Clone, Args)]
pub struct RetryArgs {
    /// Buyers, who all come at the same instant
    #[arg(long, default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..=BUYERS_MAX))]
    pub concurrency: u32,

    /// Units on sale
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=STOCK_MAX))]
    pub stock: u64,

    /// Tries of a buyer after the first
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub max_retries: u32,

    /// How long a lease lasts (a bare number is in ms)
    #[arg(long, default_value = "2000", value_parser = ttl)]
    pub ttl: Duration,

    /// Work between read and write (a bare number is in µs)
    #[arg(long, default_value = "1000", value_parser = work_in_micros)]
    pub delay: Duration,

    /// The strategy to sell under
    #[arg(long, default_value = "safe", hide_possible_values = true, value_parser = strategy())]
    pub lock: StrategyId,

    /// What losers do; several, separated by commas, are tried in turn [default: all]
    #[arg(long, value_delimiter = ',', value_parser = policy())]
    pub(super) retry: Vec<Policy>,

    /// Operating system processes that the buyers are spread over
    #[arg(long, default_value_t = 1, value_parser = processes())]
    pub processes: u32,

    /// How often the scenario runs, and how its report is told.
    #[command(flatten)]
    pub run: RunArgs,
}

impl RetryArgs {
    /// What losers do, each once and in turn.
    pub fn policies(&self) -> impl Iterator<Item = Policy> {
        let all =
            Policy::VARIANTS.iter().filter(|it| self.retry.is_empty() && **it != Policy::None);
        all.copied().chain(each_once(&self.retry))
    }
}

/// What `locklab pause` is to do.
#[derive(Debug, Clone, Args)]
pub struct PauseArgs {
    /// How long a lease lasts (a bare number is in ms)
    #[arg(long, default_value = "1000", value_parser = ttl)]
    pub ttl: Duration,

    /// The strategy; several, separated by commas, are tried in turn
    #[arg(long, default_value = "safe,watchdog,fenced", value_delimiter = ',',
          hide_possible_values = true, value_parser = strategy())]
    pub lock: Vec<StrategyId>,

    /// How often the scenario runs, and how its report is told.
    #[command(flatten)]
    pub run: RunArgs,
}
