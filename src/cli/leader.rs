//! The flags of `locklab leader`, and of its candidates.

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use tokio::time::Duration;

use super::{output::OutputArgs, parsers::positive_duration};
use crate::{product::Product, strategy::StrategyId};

/// The locks under which a leader can be elected: all that are renewed. The last is the control.
const ELECTING: [StrategyId; 4] =
    [StrategyId::Fenced, StrategyId::Etcd, StrategyId::Zookeeper, StrategyId::Watchdog];

/// What `locklab leader` is to do.
#[derive(Debug, Clone, Args)]
pub struct LeaderArgs {
    /// The lock to elect under; may be repeated [default: all]
    #[arg(long, value_delimiter = ',', value_parser = electing())]
    lock: Vec<StrategyId>,

    /// Processes that stand for election at once
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=20))]
    pub candidates: u8,

    /// How often a leader is killed, stopped and told to resign under each lock
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=20))]
    pub rounds: u8,

    /// How long a leader leads without being renewed, 100ms to 30s (a bare number is in ms)
    #[arg(long, default_value = "2s", value_parser = term)]
    pub ttl: Duration,

    /// How long a leader's piece of work takes (a bare number is in ms)
    #[arg(long, default_value = "200ms", value_parser = positive_duration)]
    pub work: Duration,

    /// How the report is told.
    #[command(flatten)]
    pub report: OutputArgs,
}

impl LeaderArgs {
    /// The locks to elect under.
    pub fn locks(&self) -> impl Iterator<Item = StrategyId> {
        let all = StrategyId::all().filter(|id| ELECTING.contains(id));
        all.filter(|id| self.lock.is_empty() || self.lock.contains(id))
    }
}

/// What a candidate stands for.
#[derive(Debug, Clone, Args)]
pub struct Candidacy {
    /// The lock
    #[arg(long, value_parser = electing())]
    pub lock: StrategyId,

    /// What the leader sells
    #[arg(long)]
    pub product: Product,

    /// How long it leads without being renewed
    #[arg(long, value_parser = term)]
    pub ttl: Duration,

    /// How long its work takes
    #[arg(long, value_parser = positive_duration)]
    pub work: Duration,
}

fn electing() -> impl TypedValueParser<Value = StrategyId> {
    PossibleValuesParser::new(ELECTING.map(<&str>::from)).try_map(|name| name.parse::<StrategyId>())
}

/// Shorter, and nobody would lead long enough to do anything; longer, and no election would end.
fn term(text: &str) -> Result<Duration, String> {
    let term = positive_duration(text)?;
    let is_valid = (Duration::from_millis(100)..=Duration::from_secs(30)).contains(&term);
    is_valid.then_some(term).ok_or_else(|| "expected 100ms to 30s".to_owned())
}
