//! The flags of `locklab advise`: the user's case.

use clap::{Args, ValueEnum};
use serde::Serialize;
use strum::IntoStaticStr;
use tokio::time::Duration;

use super::{
    output::OutputArgs,
    parsers::{positive_duration, random},
};
use crate::strategy::server::Backend;
use locklab_locks::duration;

/// The most who want the same thing at once.
pub const WANTING_MAX: u32 = 1_000_000;

/// What `locklab advise` is told. What is absent is asked, if there is a terminal.
#[derive(Debug, Clone, Args)]
pub struct AdviseArgs {
    /// How long the work between read and write takes, typically (a bare number is in ms)
    #[arg(long, value_parser = duration::parse_flag)]
    pub work: Option<Duration>,

    /// The longest that it may take, pauses of the process included (a bare number is in ms)
    #[arg(long, value_parser = duration::parse_flag)]
    pub worst: Option<Duration>,

    /// How many want the same thing at once
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(WANTING_MAX)))]
    pub buyers: Option<u32>,

    /// What it costs when two hold the lock at once
    #[arg(long, value_enum)]
    pub double_sale: Option<DoubleSale>,

    /// In how many processes they come
    #[arg(long, value_enum)]
    pub processes: Option<Spread>,

    /// What is changed under the lock
    #[arg(long, value_enum)]
    pub change: Option<Change>,

    /// What you run, or would run, separated by commas [default: any]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub servers: Option<Vec<Runs>>,

    /// How long a lease lasts, and so how long others wait for a holder that died (a bare number is
    /// in ms); `locklab choose-ttl` measures what it should be
    #[arg(long, default_value = "5s", value_parser = positive_duration)]
    pub ttl: Duration,

    /// What the order of buyers and their random delays are drawn from; random, and shown, without
    /// it
    #[arg(long, value_name = "NUMBER", default_value_t = random(), hide_default_value = true)]
    pub seed: u64,

    /// How the report is told.
    #[command(flatten)]
    pub report: OutputArgs,
}

/// What it costs when two hold the lock at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, IntoStaticStr, Serialize)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum DoubleSale {
    /// Work is done twice now and then, and nobody minds
    Annoying,
    /// It is damage that somebody has to repair
    Costly,
    /// It must not happen
    Forbidden,
}

/// In how many processes buyers come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, IntoStaticStr, Serialize)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Spread {
    /// All in one
    One,
    /// In several, on one machine or on many
    Many,
}

/// What is changed under the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, IntoStaticStr, Serialize)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Change {
    /// A number in a store: units, seats, credits
    Counter,
    /// A row in a database
    Row,
    /// Something outside of them that cannot refuse a write: a mail, a machine, somebody's API
    Outside,
}

/// A kind of server that somebody runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Runs {
    /// One Redis
    Redis,
    /// Three Redis or more, independent of each other
    Redlock,
    /// An etcd cluster
    Etcd,
    /// A ZooKeeper ensemble
    Zookeeper,
    /// A PostgreSQL
    Postgres,
    /// A MySQL or MariaDB
    Mysql,
}

impl Runs {
    /// What strategies call it.
    #[must_use]
    pub fn backend(self) -> Backend {
        match self {
            Self::Redis => Backend::Redis,
            Self::Redlock => Backend::Redlock,
            Self::Etcd => Backend::Etcd,
            Self::Zookeeper => Backend::ZooKeeper,
            Self::Postgres => Backend::Postgres,
            Self::Mysql => Backend::MySql,
        }
    }
}

/// A value of a flag.
#[derive(Debug, Clone)]
pub struct Value<T> {
    /// The value.
    pub value: T,
    /// Its name on the command line.
    pub name: String,
    /// What it means.
    pub help: String,
}

/// The values of a flag.
#[must_use]
pub fn values<T: ValueEnum>() -> Vec<Value<T>> {
    let values = T::value_variants().iter().filter_map(|value| {
        let shown = value.to_possible_value()?;
        let help = shown.get_help().map(ToString::to_string).unwrap_or_default();
        Some(Value { value: value.clone(), name: shown.get_name().to_owned(), help })
    });
    values.collect()
}
