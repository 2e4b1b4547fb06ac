//! The flags of `locklab compare`.

use clap::Args;
use tokio::time::Duration;

use super::{
    output::OutputArgs,
    parsers::{each_once, policy, positive_duration, processes, random, strategy, work_in_micros},
};
use crate::strategy::StrategyId;
use locklab_locks::wait::Policy;

/// What losers do, if nobody says: one of each kind. The others are variants of a back-off.
const POLICIES: [Policy; 5] =
    [Policy::None, Policy::Fixed, Policy::Jitter, Policy::Notify, Policy::Fifo];
/// The shortest and the longest time for which one combination is measured.
const MEASURED: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(20);
/// The most buyers: each of them comes again and again.
const BUYERS_MAX: i64 = 200;

/// What `locklab compare` is to do.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// The strategies to sell under, separated by commas [default: all]
    #[arg(long, value_delimiter = ',', hide_possible_values = true, value_parser = strategy())]
    lock: Vec<StrategyId>,

    /// What losers do, each under every strategy, separated by commas
    /// [default: none,fixed,jitter,notify,fifo]
    #[arg(long, value_delimiter = ',', value_parser = policy())]
    retry: Vec<Policy>,

    /// Buyers of one product, each of whom comes again as soon as it has its answer
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=BUYERS_MAX))]
    pub concurrency: u32,

    /// How long they buy, in each run of each combination (a bare number is in ms)
    #[arg(long, default_value = "500ms", value_parser = measured)]
    pub duration: Duration,

    /// Work between read and write (a bare number is in µs)
    #[arg(long, default_value = "1ms", value_parser = work_in_micros)]
    pub delay: Duration,

    /// How long a lease lasts (a bare number is in ms)
    #[arg(long, default_value = "2s", value_parser = positive_duration)]
    pub ttl: Duration,

    /// What the delays of losers start from (a bare number is in ms)
    #[arg(long, default_value = "5ms", value_parser = positive_duration)]
    pub base: Duration,

    /// What no delay of a loser exceeds (a bare number is in ms)
    #[arg(long, default_value = "100ms", value_parser = positive_duration)]
    pub cap: Duration,

    /// Operating system processes that the buyers are spread over
    #[arg(long, default_value_t = 1, value_parser = processes())]
    pub processes: u32,

    /// How often each combination is measured, in rounds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,

    /// What the order of combinations and random delays are drawn from; random, and shown, without
    /// it
    #[arg(long, value_name = "NUMBER", default_value_t = random(), hide_default_value = true)]
    pub seed: u64,

    /// How the report is told.
    #[command(flatten)]
    pub report: OutputArgs,
}

impl CompareArgs {
    /// The strategies, each once.
    #[must_use]
    pub fn locks(&self) -> Vec<StrategyId> {
        if self.lock.is_empty() { StrategyId::all().collect() } else { each_once(&self.lock) }
    }

    /// What losers do, each once.
    #[must_use]
    pub fn policies(&self) -> Vec<Policy> {
        each_once(if self.retry.is_empty() { &POLICIES } else { &self.retry })
    }
}

fn measured(text: &str) -> Result<Duration, String> {
    let duration = positive_duration(text)?;
    let valid = || format!("expected a duration in {MEASURED:?}");
    MEASURED.contains(&duration).then_some(duration).ok_or_else(valid)
}
