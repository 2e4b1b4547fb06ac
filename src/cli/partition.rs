//! The flags of `locklab partition`.

use clap::{Args, ValueEnum};
use tokio::time::Duration;

use super::{output::OutputArgs, parsers::positive_duration};
use locklab_locks::duration;

/// What is to be broken, and how.
#[derive(Debug, Clone, Args)]
pub struct PartitionArgs {
    /// What to do, repeated for several; without it, everything
    #[arg(long = "part", value_name = "PART")]
    parts: Vec<PartName>,

    /// How nodes go away in minority and majority, repeated for several; without it, every way
    #[arg(long = "how", value_name = "HOW")]
    hows: Vec<How>,

    /// How nodes are cut off: in network namespaces of their own, which takes root and ip, or by a
    /// proxy; auto takes namespaces if they are permitted
    #[arg(long, default_value = "auto")]
    pub via: Via,

    /// Units on sale while nodes go away, and come back
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(12..=10_000))]
    pub purchases: u64,

    /// Buyers at once
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub concurrency: u32,

    /// How long a lease lasts (a bare number is in ms)
    #[arg(long, default_value = "3s", value_parser = positive_duration)]
    pub ttl: Duration,

    /// How long a node that has lost its memory does not vote: at least the ttl, or 0, which lets
    /// it vote at once (a bare number is in ms)
    #[arg(long, default_value = "3s", value_parser = duration::parse_flag)]
    pub restart_delay: Duration,

    /// How often everything is done
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,

    /// How the report is told.
    #[command(flatten)]
    pub report: OutputArgs,
}

impl PartitionArgs {
    /// What to do.
    #[must_use]
    pub fn parts(&self) -> &[PartName] {
        if self.parts.is_empty() { PartName::value_variants() } else { &self.parts }
    }

    /// How nodes go away.
    #[must_use]
    pub fn hows(&self) -> &[How] {
        if self.hows.is_empty() { How::value_variants() } else { &self.hows }
    }
}

/// A part of the scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PartName {
    /// Two of five nodes go away: purchases go on. With three, none does.
    Minority,
    /// Three of five nodes go away, and come back.
    Majority,
    /// A node that voted for the holder crashes, and has forgotten it.
    Restart,
    /// A whole server stands still, just before its buyers write.
    Pause,
    /// The clock of a node steps.
    Clock,
}

/// How a node goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum How {
    /// It hangs: SIGSTOP.
    Stop,
    /// It crashes, and has forgotten everything when it is started again: SIGKILL.
    Kill,
    /// It runs, but nothing reaches it.
    Cut,
}

/// What nodes are behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Via {
    /// Namespaces if they are permitted, else a proxy.
    Auto,
    /// Network namespaces of their own.
    Namespaces,
    /// A proxy.
    Proxy,
}
