//! The command line: every flag with its environment variable, default and unit. Nothing else
//! reads the environment.

mod advise;
mod anomaly;
mod choose_ttl;
mod compare;
mod databases;
mod embed;
mod manual;
mod output;
mod partition;
mod race;
mod scenarios;
mod secret;

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::time::Duration;

pub use self::advise::{AdviseArgs, Change, DoubleSale, Runs, Spread, Value, WANTING_MAX, values};
pub use self::anomaly::{AnomalyArgs, AnomalyName};
pub use self::choose_ttl::ChooseTtlArgs;
pub use self::compare::CompareArgs;
pub use self::databases::DatabaseArgs;
pub use self::embed::Embed;
pub use self::manual::{CompletionsArgs, ManArgs};
pub use self::output::OutputArgs;
pub use self::partition::{How, PartName, PartitionArgs, Via};
pub use self::race::{
    CrashArgs, DeadlockArgs, Expect, OversellArgs, PauseArgs, RetryArgs, RunAllArgs, RunArgs,
    Simulation,
};
pub use self::scenarios::{Candidacy, LeaderArgs, Scenario};
pub use self::secret::Secret;
use crate::{duration, stock::STOCK_MAX, wires::redis::RedisMode};

/// The exit code for invalid usage or configuration: `EX_USAGE` of sysexits.h.
pub const EXIT_USAGE: u8 = 64;

/// The flags of servers, in help.
const SERVERS: &str = "Servers";
/// The flags that only a server over HTTP needs.
const SERVING: &str = "Serving";
/// The flags of what a server tells about itself.
const LOGS: &str = "Logs and traces";
/// What follows all help.
const EXIT_CODES: &str = "Exit codes: 0 all went well, and as expected; 1 it did not; 2 something could \
                          not be measured; 64 invalid usage.";

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
    /// For this session of bash: source <(locklab completions bash). For all of them, write it where the
    /// shell looks for completions: ~/.local/share/bash-completion/completions/locklab for bash,
    /// ~/.config/fish/completions/locklab.fish for fish, a file _locklab in a folder of $fpath for zsh.
    Completions(CompletionsArgs),
    /// Print the manual page, or write one of each subcommand
    ///
    /// To read it: locklab man | man -l -
    Man(ManArgs),
}

/// The configuration.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = SERVERS)]
pub struct Config {
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "LOCKLAB_LISTEN", default_value = "127.0.0.1:8080", global = true, help_heading = SERVING,
          value_parser = address)]
    pub listen: SocketAddr,

    /// The Redis that holds stock and locks: redis://[user:password@]host:port[/db]; without it, or
    /// empty, a private one is started
    #[arg(long, env = "REDIS_URL", hide_env_values = true, global = true)]
    redis_url: Option<Secret>,

    /// The nodes of Redlock, three to nine independent Redis, separated by commas
    #[arg(
        long,
        env = "REDLOCK_URLS",
        hide_env_values = true,
        global = true,
        value_delimiter = ','
    )]
    redlock_urls: Vec<Secret>,

    /// The longest wait for a node of Redlock, to connect and to answer (a bare number is in ms)
    #[arg(long, env = "LOCKLAB_REDLOCK_TIMEOUT", default_value = "50ms", global = true, hide_short_help = true,
          value_parser = positive_duration)]
    pub redlock_timeout: Duration,

    /// How long a node of Redlock that has lost its memory does not vote: the longest ttl; 0 lets it
    /// vote at once, and two buyers hold one lock
    #[arg(long, env = "LOCKLAB_REDLOCK_RESTART_DELAY", default_value = "60s", global = true, hide_short_help = true,
          value_parser = duration::parse_flag)]
    pub redlock_restart_delay: Duration,

    /// Whether nobody has ever used the nodes that are named; see `RedlockOptions::are_new`
    #[arg(skip)]
    pub redlock_new: bool,

    /// The members of an etcd cluster, http://host:port, separated by commas
    #[arg(
        long,
        env = "ETCD_ENDPOINTS",
        hide_env_values = true,
        global = true,
        value_delimiter = ','
    )]
    etcd_endpoints: Vec<String>,

    /// The longest wait for etcd, to connect and to answer: a write waits for the disks of most
    /// members (a bare number is in ms)
    #[arg(long, env = "LOCKLAB_ETCD_TIMEOUT", default_value = "2s", global = true, hide_short_help = true,
          value_parser = positive_duration)]
    pub etcd_timeout: Duration,

    /// The servers of a ZooKeeper ensemble, host:port, separated by commas; /root at the end is the node
    /// below which all locks are
    #[arg(long, env = "ZOOKEEPER_HOSTS", global = true)]
    zookeeper_hosts: Option<String>,

    /// The longest wait for ZooKeeper, to connect and to answer: a write waits for the disks of most
    /// servers (a bare number is in ms)
    #[arg(long, env = "LOCKLAB_ZOOKEEPER_TIMEOUT", default_value = "2s", global = true, hide_short_help = true,
          value_parser = positive_duration)]
    pub zookeeper_timeout: Duration,

    /// How long a session with ZooKeeper, and the locks held under it, outlive a locklab that has died;
    /// ZooKeeper has the last word, and no lease lasts longer (a bare number is in ms)
    #[arg(long, env = "LOCKLAB_ZOOKEEPER_SESSION_TIMEOUT", default_value = "6s", global = true, hide_short_help = true,
          value_parser = positive_duration)]
    pub zookeeper_session_timeout: Duration,

    /// The databases that some strategies sell from.
    #[command(flatten)]
    pub databases: DatabaseArgs,

    /// Servers to start privately where no URL names others, separated by commas; empty means none
    #[arg(long, env = "LOCKLAB_EMBED", global = true, value_delimiter = ',')]
    embed: Vec<Embed>,

    /// How commands share connections; pooled is an exhibit of unfair queueing
    #[arg(
        long,
        env = "LOCKLAB_REDIS_MODE",
        default_value = "multiplexed",
        global = true,
        hide_short_help = true
    )]
    pub redis_mode: RedisMode,

    /// Connections to Redis with --redis-mode pooled
    #[arg(long, env = "LOCKLAB_REDIS_POOL_SIZE", default_value_t = 10, global = true, hide_short_help = true,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub redis_pool_size: u32,

    /// The longest wait for a connection to a backend, and for a reply (a bare number is in ms)
    #[arg(long, env = "LOCKLAB_COMMAND_TIMEOUT", default_value = "500ms", global = true, hide_short_help = true,
          value_parser = positive_duration)]
    pub command_timeout: Duration,

    /// Units of the product "default" to put on sale at the start, unless it is on sale already
    #[arg(long, env = "LOCKLAB_STOCK", default_value_t = 100, global = true, help_heading = SERVING,
          value_parser = clap::value_parser!(u64).range(0..=STOCK_MAX))]
    pub stock: u64,

    /// Purchases in flight at once; more are answered with 503
    #[arg(long, env = "LOCKLAB_MAX_IN_FLIGHT", default_value_t = 4_096, global = true, help_heading = SERVING,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_in_flight: u32,

    /// Records of purchases that are kept of each of a hundred products; 0 records nothing
    #[arg(long, env = "LOCKLAB_HISTORY", default_value_t = 1_000, global = true, help_heading = SERVING,
          value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub history: u32,

    /// Tickets that may wait in the queue of a product; more are answered with 429
    #[arg(long, env = "LOCKLAB_QUEUE_MAX", default_value_t = 1_000, global = true, help_heading = SERVING,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub queue_max: u32,

    /// How long to finish what is under way when told to stop (a bare number is in ms)
    #[arg(long, env = "LOCKLAB_DRAIN_TIMEOUT", default_value = "10s", global = true, help_heading = SERVING,
          value_parser = duration::parse_flag)]
    pub drain_timeout: Duration,

    /// Makes /reset and fault= demand this as a bearer token; empty means none
    #[arg(long, env = "LOCKLAB_ADMIN_TOKEN", hide_env_values = true, global = true, help_heading = SERVING)]
    admin_token: Option<Secret>,

    /// What to log: error, warn, info, debug, trace, or a tracing filter
    #[arg(long, env = "LOCKLAB_LOG", default_value = "info", global = true, help_heading = LOGS)]
    pub log: String,

    /// How to log
    #[arg(long, env = "LOCKLAB_LOG_FORMAT", default_value = "human", global = true, help_heading = LOGS)]
    pub log_format: LogFormat,

    /// Log purchases that take at least this long (a bare number is in ms)
    #[arg(long, env = "LOCKLAB_LOG_SLOW", default_value = "1s", global = true, help_heading = LOGS,
          value_parser = duration::parse_flag)]
    pub log_slow: Duration,

    /// Where a collector takes OpenTelemetry traces, as OTLP over HTTP: http://host:4318
    #[arg(long, env = "LOCKLAB_OTLP_ENDPOINT", hide_env_values = true, global = true, help_heading = LOGS)]
    otlp_endpoint: Option<Secret>,

    /// Which part of purchases to trace, from 0 to 1, unless their traceparent decides
    #[arg(long, env = "LOCKLAB_OTLP_SAMPLE", default_value_t = 1.0, global = true, help_heading = LOGS,
          value_parser = ratio)]
    pub otlp_sample: f64,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One object per line.
    Json,
}

impl Config {
    /// The Redis to connect to. Compose files pass variables that nobody has set as empty ones.
    #[must_use]
    pub fn redis_url(&self) -> Option<&Secret> {
        self.redis_url.as_ref().filter(|url| !url.expose().is_empty())
    }

    /// The nodes of Redlock; none if it is not to be had.
    #[must_use]
    pub fn redlock_urls(&self) -> Vec<&Secret> {
        self.redlock_urls.iter().filter(|url| !url.expose().is_empty()).collect()
    }

    /// The members of the etcd cluster; none if it is not to be had.
    #[must_use]
    pub fn etcd_endpoints(&self) -> Vec<String> {
        self.etcd_endpoints.iter().filter(|url| !url.is_empty()).cloned().collect()
    }

    /// The ZooKeeper ensemble, if there is to be one.
    #[must_use]
    pub fn zookeeper_hosts(&self) -> Option<&str> {
        self.zookeeper_hosts.as_deref().filter(|hosts| !hosts.is_empty())
    }

    /// Whether servers of this kind are to be started where no URL names others.
    #[must_use]
    pub fn embeds(&self, embed: Embed) -> bool {
        self.embed.iter().any(|it| *it == embed || *it == Embed::All)
    }

    /// The flags that make another Locklab wait for servers, and they for it, as long as this one.
    #[must_use]
    pub fn waits(&self) -> Vec<String> {
        let waits = [
            ("--command-timeout", self.command_timeout),
            ("--redlock-timeout", self.redlock_timeout),
            ("--redlock-restart-delay", self.redlock_restart_delay),
            ("--etcd-timeout", self.etcd_timeout),
            ("--zookeeper-timeout", self.zookeeper_timeout),
            ("--zookeeper-session-timeout", self.zookeeper_session_timeout),
            ("--sql-timeout", self.databases.sql_timeout),
        ];
        waits.map(|(flag, wait)| format!("{flag}={}us", wait.as_micros())).to_vec()
    }

    /// The same, with these started where no URL names others.
    #[must_use]
    pub fn embedding(self, embed: Vec<Embed>) -> Self {
        Self { embed, ..self }
    }

    /// The same, with at least so many records kept of each product.
    #[must_use]
    pub fn keeping(self, records: u32) -> Self {
        Self { history: self.history.max(records), ..self }
    }

    /// What `/reset` demands.
    #[must_use]
    pub fn admin_token(&self) -> Option<&Secret> {
        self.admin_token.as_ref().filter(|token| !token.expose().is_empty())
    }

    /// Where traces go, if they are to go anywhere.
    #[must_use]
    pub fn otlp_endpoint(&self) -> Option<&Secret> {
        self.otlp_endpoint.as_ref().filter(|url| !url.expose().is_empty())
    }
}

pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = duration::parse_flag(text)?;
    if duration.is_zero() { Err("expected more than 0".to_owned()) } else { Ok(duration) }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:8080 or [::1]:0")
}

fn ratio(text: &str) -> Result<f64, &'static str> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or("expected a number from 0 to 1")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::manual::command().debug_assert();
    }
}
