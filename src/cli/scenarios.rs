//! The scenarios, each with its flags.

use clap::Subcommand;

use super::{
    advise::AdviseArgs,
    anomaly::AnomalyArgs,
    choose_ttl::ChooseTtlArgs,
    compare::CompareArgs,
    leader::{Candidacy, LeaderArgs},
    partition::PartitionArgs,
    race::{CrashArgs, DeadlockArgs, OversellArgs, PauseArgs, RetryArgs},
    run_all::RunAllArgs,
};

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
