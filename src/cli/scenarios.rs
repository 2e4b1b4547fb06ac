//! The scenarios, each with its flags, and the flags of an election.

use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use tokio::time::Duration;

use super::{
    advise::AdviseArgs,
    anomaly::AnomalyArgs,
    choose_ttl::ChooseTtlArgs,
    compare::CompareArgs,
    output::OutputArgs,
    parsers::positive_duration,
    partition::PartitionArgs,
    race::{CrashArgs, DeadlockArgs, OversellArgs, PauseArgs, RetryArgs},
    run_all::RunAllArgs,
};
use crate::{product::Product, strategy::StrategyId};

/// A scenario, or a process that one starts. Whoever adds one has to say what it runs:
/// `scenario::run` does not compile without an arm for each.
#[derive(Debug, Clone, Subcommand)]
pub enum Scenario {
    /// Have buyers race for the last units, and show whether more are sold than there are
    Oversell(OversellArgs),
    /// Have buyers take the same locks in opposite orders, and show how long they block each other
    Deadlock(DeadlockArgs),
    /// Kill the holder of a lock, or let it work for longer than its lease, and show what the next
    /// does
    Crash(CrashArgs),
    /// Compare what losers can do, from giving up to waiting in line
    Retry(RetryArgs),
    /// Measure every strategy with every way to wait, at the same load: what each costs
    Compare(CompareArgs),
    /// Stop the process of a holder until its lease is over: the ghost that writes late
    Pause(PauseArgs),
    /// Do all of that, as the PHP lab did
    RunAll(RunAllArgs),
    /// A process of buyers
    #[command(hide = true)]
    Buyers,
    /// Have processes elect a leader, kill, stop and depose it, and show who led and who believed
    /// so
    Leader(LeaderArgs),
    /// A process that stands for election
    #[command(hide = true)]
    Candidate(Candidacy),
    /// Stop, kill and cut off servers of Redlock while purchases run, make holders stale, and show
    /// what became of the purchases; on private servers
    Partition(PartitionArgs),
    /// Show what goes wrong with locks of Postgres and MySQL, each beside what goes well
    Anomaly(AnomalyArgs),
    /// Say which strategies fit your case, and show them at work; asks for what the flags do not
    /// say
    Advise(AdviseArgs),
    /// Choose a ttl from hold times: how often each would be outlasted, predicted and tried out
    ///
    /// Hold times are those of your own system (--holds FILE), or are measured here. What no sample
    /// shows is not in them: pauses for garbage collection, SIGSTOP, a network that hangs. A ttl
    /// makes violations rare, only fencing makes them harmless.
    ChooseTtl(ChooseTtlArgs),
}

/// The locks under which a leader can be elected: all that are renewed. The last is the control.
const ELECTING: [&str; 4] = ["fenced", "etcd", "zookeeper", "watchdog"];

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

    /// How it is told.
    #[command(flatten)]
    pub report: OutputArgs,
}

impl LeaderArgs {
    /// The locks to elect under.
    pub fn locks(&self) -> impl Iterator<Item = StrategyId> {
        let all = StrategyId::all().filter(|id| ELECTING.contains(&id.row().name));
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
    PossibleValuesParser::new(ELECTING).try_map(|name| name.parse::<StrategyId>())
}

/// Shorter, and nobody would lead long enough to do anything; longer, and no election would end.
fn term(text: &str) -> Result<Duration, String> {
    let term = positive_duration(text)?;
    let is_valid = (Duration::from_millis(100)..=Duration::from_secs(30)).contains(&term);
    is_valid.then_some(term).ok_or_else(|| "expected 100ms to 30s".to_owned())
}
