//! Scenarios: what can be seen of locks when something is done to their holders or their servers,
//! on the command line. Each is one file below `scenario/`, and gives a [`crate::report::Report`].

mod advise;
mod anomaly;
mod choose_ttl;
mod compare;
mod crash;
mod deadlock;
mod error;
mod expectation;
mod export;
mod ground;
mod holder;
mod leader;
mod oversell;
mod partition;
mod pause;
mod processes;
mod progress;
mod race;
mod recorded;
mod retry;
mod run_all;
mod show;
mod timeline;

pub use self::error::ScenarioError;
use self::show::tell;
use crate::cli::{Config, Scenario};

/// Does what a scenario does, shows what was found, and gives the exit code that says how it ended.
///
/// # Errors
/// It could not be done.
pub async fn run(config: &Config, scenario: &Scenario) -> Result<u8, ScenarioError> {
    match scenario {
        Scenario::Buyers => race::buyers::run(config).await.map(|()| 0),
        Scenario::Candidate(candidacy) => {
            leader::candidate::run(config, candidacy).await.map(|()| 0)
        }
        Scenario::Oversell(args) => tell(&args.run.report, oversell::run(config, args)).await,
        Scenario::Deadlock(args) => tell(&args.run.report, deadlock::run(config, args)).await,
        Scenario::Crash(args) => tell(&args.run.report, crash::run(config, args)).await,
        Scenario::Retry(args) => tell(&args.run.report, retry::run(config, args)).await,
        Scenario::Pause(args) => tell(&args.run.report, pause::run(config, args)).await,
        Scenario::Compare(args) => tell(&args.report, compare::run(config, args)).await,
        Scenario::RunAll(args) => tell(&args.run.report, run_all::run(config, args)).await,
        Scenario::Leader(args) => tell(&args.report, leader::run(config, args)).await,
        Scenario::Partition(args) => tell(&args.report, partition::run(config, args)).await,
        Scenario::Anomaly(args) => tell(&args.report, anomaly::run(config, args)).await,
        Scenario::Advise(args) => tell(&args.report, advise::run(config, args)).await,
        Scenario::ChooseTtl(args) => tell(&args.report, choose_ttl::run(config, args)).await,
    }
}
