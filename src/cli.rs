//! The command line: every flag with its environment variable, default and unit. Nothing else
//! reads the environment.

mod advise;
mod anomaly;
mod choose_ttl;
mod compare;
mod config;
mod databases;
mod embed;
mod leader;
mod manual;
mod output;
mod parsers;
mod partition;
mod race;
mod run_all;
mod scenarios;
mod secret;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use self::advise::{AdviseArgs, Change, DoubleSale, Runs, Spread, Value, WANTING_MAX, values};
pub use self::anomaly::{AnomalyArgs, AnomalyName};
pub use self::choose_ttl::ChooseTtlArgs;
pub use self::compare::CompareArgs;
pub use self::config::{Config, LogFormat, RedisMode};
pub use self::databases::DatabaseArgs;
pub use self::embed::Embed;
pub use self::leader::{Candidacy, LeaderArgs};
pub use self::manual::{CompletionsArgs, ManArgs};
pub use self::output::OutputArgs;
pub use self::partition::{How, PartName, PartitionArgs, Via};
pub use self::race::{
    CrashArgs, DeadlockArgs, Expect, OversellArgs, PauseArgs, RetryArgs, RunArgs,
};
pub use self::run_all::{RunAllArgs, Simulation};
pub use self::scenarios::Scenario;
pub use self::secret::Secret;

/// The exit code for invalid usage or configuration: `EX_USAGE` of sysexits.h.
pub const EXIT_USAGE: u8 = 64;

/// The exit code for what did not work.
pub const EXIT_FAILURE: u8 = 1;

/// What follows all help.
const EXIT_CODES: &str = "Exit codes: 0 all went well, and as expected; 1 it did not; 2 something \
                          could not be measured; 64 invalid usage.";

/// Sells one scarce item over HTTP under whichever distributed lock you name, and tells the truth
/// about what happened.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// What the server needs to know.
    #[command(flatten)]
    pub config: Config,
    /// What to do; without it, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Cli {
    /// Reads the command line.
    ///
    /// # Errors
    /// It is not valid, or it asks for help.
    pub fn read() -> Result<Self, clap::Error> {
        let mut command = Self::command_line();
        let matches = command.try_get_matches_from_mut(std::env::args_os())?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }

    /// What the command line may be: every subcommand takes every flag of the configuration.
    #[must_use]
    pub fn command_line() -> clap::Command {
        manual::with_inherited_flags(Self::command().mut_args(|flag| flag.global(true)))
    }
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Serve over HTTP (the default)
    Serve,
    /// Ask the server at --listen whether it is ready
    Healthcheck,
    /// Show what can be seen of locks.
    #[command(flatten)]
    Scenario(Scenario),
    /// Print a script by which a shell completes flags and subcommands
    ///
    /// For this session of bash: source <(locklab completions bash). For all of them, write it
    /// where the shell looks for completions: ~/.local/share/bash-completion/completions/locklab
    /// for bash, ~/.config/fish/completions/locklab.fish for fish, a file _locklab in a folder of
    /// $fpath for zsh.
    Completions(CompletionsArgs),
    /// Print the manual page, or write one of each subcommand
    ///
    /// To read it: locklab man | man -l -
    Man(ManArgs),
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command_line().debug_assert();
    }
}
