//! The configuration: what a server needs to know, and every scenario that starts servers.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use tokio::time::Duration;

use super::{
    databases::DatabaseArgs,
    embed::Embed,
    parsers::{address, micros, positive_duration, ratio},
    secret::Secret,
};
use crate::{stock::STOCK_MAX, strategy::server::Backend};
use locklab_locks::{duration, wires};

/// The flags of servers, in help.
pub(super) const SERVERS: &str = "Servers";
/// The flags that only a server over HTTP needs.
pub(super) const SERVING: &str = "Serving";
/// The flags of what a server tells about itself.
pub(super) const LOGS: &str = "Logs and traces";
/// The configuration.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = SERVERS)]
pub struct Config {
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "LOCKLAB_LISTEN", default_value = "127.0.0.1:8080", help_heading = SERVING,
          value_parser = address)]
    pub listen: SocketAddr,

    /// The Redis that holds stock and locks: redis://[user:password@]host:port[/db]; without it, or
    /// empty, a private one is started
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    redis_url: Option<Secret>,

    /// The nodes of Redlock, three to nine independent Redis, separated by commas
    #[arg(long, env = "REDLOCK_URLS", hide_env_values = true, value_delimiter = ',')]
    redlock_urls: Vec<Secret>,

    /// The longest wait for a node of Redlock, to connect and to answer (a bare number is in ms)
    #[arg(long, env = "LOCKLAB_REDLOCK_TIMEOUT", default_value = "50ms", hide_short_help = true,
          value_parser = positive_duration)]
    pub redlock_timeout: Duration,

    /// How long a node of Redlock that has lost its memory does not vote: the longest ttl; 0 lets
    /// it vote at once, and two buyers hold one lock
    #[arg(long, env = "LOCKLAB_REDLOCK_RESTART_DELAY", default_value = "60s",
          hide_short_help = true, value_parser = duration::parse_flag)]
    pub redlock_restart_delay: Duration,

    /// Whether nobody has ever used the nodes that are named; see `RedlockOptions::are_new`
    #[arg(skip)]
    pub redlock_new: bool,

    /// The members of an etcd cluster, http://host:port, separated by commas
    #[arg(long, env = "ETCD_ENDPOINTS", hide_env_values = true, value_delimiter = ',')]
    etcd_endpoints: Vec<String>,

    /// The longest wait for etcd, to connect and to answer: a write waits for the disks of most
    /// members (a bare number is in ms)
    #[arg(long, env = "LOCKLAB_ETCD_TIMEOUT", default_value = "2s", hide_short_help = true,
          value_parser = positive_duration)]
    pub etcd_timeout: Duration,

    /// The servers of a ZooKeeper ensemble, host:port, separated by commas; /root at the end is the
    /// node below which all locks are
    #[arg(long, env = "ZOOKEEPER_HOSTS")]
    zookeeper_hosts: Option<String>,

    /// The longest wait for ZooKeeper, to connect and to answer: a write waits for the disks of
    /// most servers (a bare number is in ms)
    #[arg(long, env = "LOCKLAB_ZOOKEEPER_TIMEOUT", default_value = "2s", hide_short_help = true,
          value_parser = positive_duration)]
    pub zookeeper_timeout: Duration,

    /// How long a session with ZooKeeper, and the locks held under it, outlive a locklab that has
    /// died; ZooKeeper has the last word, and no lease lasts longer (a bare number is in ms)
    #[arg(long, env = "LOCKLAB_ZOOKEEPER_SESSION_TIMEOUT", default_value = "6s",
          hide_short_help = true, value_parser = positive_duration)]
    pub zookeeper_session_timeout: Duration,

    /// The databases that some strategies sell from.
    #[command(flatten)]
    pub databases: DatabaseArgs,

    /// Servers to start privately where no URL names others, separated by commas; empty means none
    #[arg(long, env = "LOCKLAB_EMBED", value_delimiter = ',')]
    embed: Vec<Embed>,

    /// How commands share connections; pooled is an exhibit of unfair queueing
    #[arg(long, env = "LOCKLAB_REDIS_MODE", default_value = "multiplexed", hide_short_help = true)]
    pub redis_mode: RedisMode,

    /// Connections to Redis with --redis-mode pooled
    #[arg(long, env = "LOCKLAB_REDIS_POOL_SIZE", default_value_t = 10, hide_short_help = true,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub redis_pool_size: u32,

    /// The longest wait for a connection to a backend, and for a reply (a bare number is in ms)
    #[arg(long, env = "LOCKLAB_COMMAND_TIMEOUT", default_value = "500ms", hide_short_help = true,
          value_parser = positive_duration)]
    pub command_timeout: Duration,

    /// Units of the product "default" to put on sale at the start, unless it is on sale already
    #[arg(long, env = "LOCKLAB_STOCK", default_value_t = 100, help_heading = SERVING,
          value_parser = clap::value_parser!(u64).range(0..=STOCK_MAX))]
    pub stock: u64,

    /// Purchases in flight at once; more are answered with 503
    #[arg(long, env = "LOCKLAB_MAX_IN_FLIGHT", default_value_t = 4_096, help_heading = SERVING,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_in_flight: u32,

    /// Records of purchases that are kept of each of a hundred products; 0 records nothing
    #[arg(long, env = "LOCKLAB_HISTORY", default_value_t = 1_000, help_heading = SERVING,
          value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub history: u32,

    /// Tickets that may wait in the queue of a product; more are answered with 429
    #[arg(long, env = "LOCKLAB_QUEUE_MAX", default_value_t = 1_000, help_heading = SERVING,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub queue_max: u32,

    /// How long to finish what is under way when told to stop (a bare number is in ms)
    #[arg(long, env = "LOCKLAB_DRAIN_TIMEOUT", default_value = "10s", help_heading = SERVING,
          value_parser = duration::parse_flag)]
    pub drain_timeout: Duration,

    /// Makes /reset and fault= demand this as a bearer token; empty means none
    #[arg(long, env = "LOCKLAB_ADMIN_TOKEN", hide_env_values = true, help_heading = SERVING)]
    admin_token: Option<Secret>,

    /// What to log: error, warn, info, debug, trace, or a tracing filter
    #[arg(long, env = "LOCKLAB_LOG", default_value = "info", help_heading = LOGS)]
    pub log: String,

    /// How to log
    #[arg(long, env = "LOCKLAB_LOG_FORMAT", default_value = "human", help_heading = LOGS)]
    pub log_format: LogFormat,

    /// Log purchases that take at least this long (a bare number is in ms)
    #[arg(long, env = "LOCKLAB_LOG_SLOW", default_value = "1s", help_heading = LOGS,
          value_parser = duration::parse_flag)]
    pub log_slow: Duration,

    /// Where a collector takes OpenTelemetry traces, as OTLP over HTTP: http://host:4318
    #[arg(long, env = "LOCKLAB_OTLP_ENDPOINT", hide_env_values = true, help_heading = LOGS)]
    otlp_endpoint: Option<Secret>,

    /// Which part of purchases to trace, from 0 to 1, unless their traceparent decides
    #[arg(long, env = "LOCKLAB_OTLP_SAMPLE", default_value_t = 1.0, help_heading = LOGS,
          value_parser = ratio)]
    pub otlp_sample: f64,
}

/// How commands share connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RedisMode {
    /// All commands are pipelined over one connection.
    Multiplexed,
    /// Every command checks a connection out of a bb8 pool: an exhibit of unfair queueing.
    Pooled,
}

impl From<RedisMode> for wires::redis::RedisMode {
    fn from(mode: RedisMode) -> Self {
        match mode {
            RedisMode::Multiplexed => Self::Multiplexed,
            RedisMode::Pooled => Self::Pooled,
        }
    }
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

    /// This configuration, with these servers started where no URL names others.
    #[must_use]
    pub fn embedding(self, embed: Vec<Embed>) -> Self {
        Self { embed, ..self }
    }

    /// This configuration, with at least so many records kept of each product.
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

/// What a scenario needs that breaks its servers, and sells from several Locklabs.
impl Config {
    /// This configuration with these servers, and no others.
    #[must_use]
    pub fn with_servers(&self, servers: &[(Backend, String)]) -> Self {
        let named =
            |backend| servers.iter().find(|(it, _)| *it == backend).map(|(_, urls)| urls.clone());
        let all = |backend| -> Vec<String> {
            named(backend).iter().flat_map(|urls| urls.split(',')).map(str::to_owned).collect()
        };
        Self {
            redis_url: named(Backend::Redis).map(Secret),
            redlock_urls: all(Backend::Redlock).into_iter().map(Secret).collect(),
            etcd_endpoints: all(Backend::Etcd),
            zookeeper_hosts: named(Backend::ZooKeeper),
            databases: DatabaseArgs {
                postgres_url: named(Backend::Postgres).map(Secret),
                mysql_url: named(Backend::MySql).map(Secret),
                ..self.databases.clone()
            },
            embed: Vec::new(),
            ..self.clone()
        }
    }

    /// The variables that give a process which this one starts its own configuration, but for what
    /// a child must not share. They are no flags, because everybody can see the flags of a process,
    /// and URLs hold passwords.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let nodes: Vec<&str> = self.redlock_urls.iter().map(Secret::expose).collect();
        let mut variables = self.databases.environment();
        variables.extend([
            // They use the servers that this process has started, and sell what it puts on sale.
            ("LOCKLAB_EMBED", String::new()),
            ("LOCKLAB_STOCK", "0".to_owned()),
            // Nobody but this process knows where they are.
            ("LOCKLAB_ADMIN_TOKEN", String::new()),
            ("REDIS_URL", Secret::text(self.redis_url.as_ref())),
            ("REDLOCK_URLS", nodes.join(",")),
            ("LOCKLAB_REDLOCK_TIMEOUT", micros(self.redlock_timeout)),
            ("LOCKLAB_REDLOCK_RESTART_DELAY", micros(self.redlock_restart_delay)),
            ("ETCD_ENDPOINTS", self.etcd_endpoints.join(",")),
            ("LOCKLAB_ETCD_TIMEOUT", micros(self.etcd_timeout)),
            ("ZOOKEEPER_HOSTS", self.zookeeper_hosts.clone().unwrap_or_default()),
            ("LOCKLAB_ZOOKEEPER_TIMEOUT", micros(self.zookeeper_timeout)),
            ("LOCKLAB_ZOOKEEPER_SESSION_TIMEOUT", micros(self.zookeeper_session_timeout)),
            ("LOCKLAB_REDIS_MODE", name(&self.redis_mode)),
            ("LOCKLAB_REDIS_POOL_SIZE", self.redis_pool_size.to_string()),
            ("LOCKLAB_COMMAND_TIMEOUT", micros(self.command_timeout)),
            ("LOCKLAB_MAX_IN_FLIGHT", self.max_in_flight.to_string()),
            ("LOCKLAB_HISTORY", self.history.to_string()),
            ("LOCKLAB_QUEUE_MAX", self.queue_max.to_string()),
            ("LOCKLAB_DRAIN_TIMEOUT", micros(self.drain_timeout)),
            ("LOCKLAB_LOG", self.log.clone()),
            ("LOCKLAB_LOG_FORMAT", name(&self.log_format)),
            ("LOCKLAB_LOG_SLOW", micros(self.log_slow)),
            ("LOCKLAB_OTLP_ENDPOINT", Secret::text(self.otlp_endpoint.as_ref())),
            ("LOCKLAB_OTLP_SAMPLE", self.otlp_sample.to_string()),
        ]);
        variables
    }
}

/// The name of a value on the command line.
fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default()
}
