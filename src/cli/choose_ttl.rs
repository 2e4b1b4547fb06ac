//! The flags of `locklab choose-ttl`.

use std::path::PathBuf;

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use tokio::time::Duration;

use super::{
    output::OutputArgs,
    parsers::{positive_duration, random},
};
use crate::strategy::{Expected, StrategyId};

/// The longest median, and p99, of work: a run is to end.
const WORK_MAX: Duration = Duration::from_secs(2);

/// What a ttl is to be chosen from.
#[derive(Debug, Clone, Args)]
pub struct ChooseTtlArgs {
    /// Hold times of your own system, a duration a line (a bare number is in ms); - is the standard
    /// input; without it, they are measured here
    #[arg(long, value_name = "FILE",
          conflicts_with_all = ["samples", "work_p50", "work_p99", "concurrency"])]
    pub holds: Option<PathBuf>,

    /// How often the violation of a ttl is acceptable, as a part of all purchases
    #[arg(long, default_value_t = 0.001, value_parser = risk)]
    pub risk: f64,

    /// The lock, one with a ttl that nobody renews
    #[arg(long, default_value = "safe", value_parser = expiring())]
    pub lock: StrategyId,

    /// Purchases whose hold time is measured
    #[arg(long, default_value_t = 3_000,
          value_parser = clap::value_parser!(u32).range(20..=1_000_000))]
    pub samples: u32,

    /// The median of the work that is drawn, at most 2s (a bare number is in ms)
    #[arg(long, default_value = "10ms", value_name = "WORK", value_parser = work)]
    pub work_p50: Duration,

    /// Its 99th percentile, at most 2s; no work takes longer than ten times that
    #[arg(long, default_value = "60ms", value_name = "WORK", value_parser = work)]
    pub work_p99: Duration,

    /// Buyers at once while hold times are measured, each of a product of its own
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub concurrency: u32,

    /// Units that are sold under each ttl that is tried out
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(20..=10_000))]
    pub purchases: u32,

    /// What work is drawn from; random, and shown, without it
    #[arg(long, value_name = "NUMBER", default_value_t = random(), hide_default_value = true)]
    pub seed: u64,

    /// How the report is told.
    #[command(flatten)]
    pub report: OutputArgs,
}

/// The locks whose leases end by themselves.
fn expiring() -> impl TypedValueParser<Value = StrategyId> {
    let rows = StrategyId::all().map(StrategyId::row).filter(|row| {
        matches!(row.expected, Expected::ExactWithinTtl | Expected::OversellsOrSticks)
    });
    PossibleValuesParser::new(rows.map(|row| row.name)).try_map(|name| name.parse::<StrategyId>())
}

fn work(text: &str) -> Result<Duration, String> {
    let work = positive_duration(text)?;
    if work <= WORK_MAX { Ok(work) } else { Err("expected at most 2s".to_owned()) }
}

fn risk(text: &str) -> Result<f64, &'static str> {
    let risk = text.parse().ok().filter(|risk| (1e-6..=0.5).contains(risk));
    risk.ok_or("expected a number from 0.000001 to 0.5, such as 0.001 for one of a thousand")
}
