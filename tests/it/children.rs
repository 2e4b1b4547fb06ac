//! The configuration of the processes that `locklab` starts from itself: what it was told, they
//! know.

use std::{collections::HashMap, ffi::OsStr, fs, process::Stdio};

use clap::Parser;
use locklab::cli::{Cli, Config};

use crate::{
    redis_server::Redis,
    server::{command, until},
};

/// A value of each flag that children share, other than its default, as they are told it.
const CHANGED: [(&str, &str); 26] = [
    ("redis-url", "redis://127.0.0.1:1"),
    ("redlock-urls", "redis://127.0.0.1:1,redis://127.0.0.1:2,redis://127.0.0.1:3"),
    ("redlock-timeout", "51000us"),
    ("redlock-restart-delay", "61000000us"),
    ("etcd-endpoints", "http://127.0.0.1:1,http://127.0.0.1:2"),
    ("etcd-timeout", "1900000us"),
    ("zookeeper-hosts", "127.0.0.1:1,127.0.0.1:2/root"),
    ("zookeeper-timeout", "1900000us"),
    ("zookeeper-session-timeout", "7000000us"),
    ("postgres-url", "postgres://user:hunter2@127.0.0.1:1/none"),
    ("postgres-pool-size", "11"),
    ("mysql-url", "mysql://user:hunter2@127.0.0.1:1/none"),
    ("mysql-pool-size", "12"),
    ("sql-timeout", "1900000us"),
    ("redis-mode", "pooled"),
    ("redis-pool-size", "13"),
    ("command-timeout", "1900000us"),
    ("max-in-flight", "4097"),
    ("history", "1001"),
    ("queue-max", "1001"),
    ("drain-timeout", "9000000us"),
    ("log", "warn"),
    ("log-format", "json"),
    ("log-slow", "900000us"),
    ("otlp-endpoint", "http://user:hunter2@127.0.0.1:4318"),
    ("otlp-sample", "0.5"),
];

/// The flags that children do not share, each with a value other than its default, what a child is
/// told instead, and why.
const NOT_SHARED: [(&str, &str, Option<&str>, &str); 4] = [
    ("listen", "127.0.0.1:1", None, "no two processes listen on one address"),
    ("embed", "all", Some(""), "the servers that their parent started are theirs"),
    ("stock", "101", Some("0"), "their parent says what is on sale"),
    ("admin-token", "hunter2", Some(""), "nobody else knows where they are"),
];

fn config(flags: &[String]) -> Config {
    let words = std::iter::once("locklab").chain(flags.iter().map(String::as_str));
    Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).config
}

/// A flag that is in neither list fails this: somebody has to decide whether children share it.
#[test]
fn every_flag_is_shared_or_said_why_not() {
    let line = Cli::command_line();
    let flags: Vec<_> = line.get_arguments().filter(|flag| flag.is_global_set()).collect();
    let shared = CHANGED.map(|(name, value)| (name, value, Some(value)));
    let own = NOT_SHARED.map(|(name, value, instead, _)| (name, value, instead));
    let known: Vec<_> = shared.into_iter().chain(own).collect();
    let changed = known.iter().map(|(name, value, _)| format!("--{name}={value}"));
    let parent = config(&changed.collect::<Vec<_>>());
    let told: HashMap<_, _> = parent.environment().into_iter().collect();
    let mut read = Vec::new();
    for flag in &flags {
        let name = flag.get_long().unwrap();
        let known = known.iter().find(|(it, ..)| *it == name);
        let (_, value, expected) = known.unwrap_or_else(|| panic!("do children share --{name}?"));
        assert_ne!(flag.get_default_values(), [OsStr::new(value)], "--{name} is to be changed");
        let variable = flag.get_env().and_then(OsStr::to_str).unwrap();
        assert_eq!(told.get(variable).map(String::as_str), *expected, "--{name}");
        read.extend(told.get(variable).map(|value| format!("--{name}={value}")));
    }
    assert_eq!(flags.len(), known.len(), "one of these is no flag any more: {known:?}");
    assert_eq!(read.len(), told.len(), "each variable is that of a flag: {told:?}");
    // A child that starts others in its turn tells them the same.
    let again: HashMap<_, _> = config(&read).environment().into_iter().collect();
    assert_eq!(again, told);
}

/// Processes of this name that another one has started, by their numbers.
fn children(parent: u32, subcommand: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{parent}/task")).unwrap();
    let children = threads
        .filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("children")).ok());
    let children: String = children.collect();
    let is_meant = |pid: &&str| words(pid, "cmdline").iter().any(|word| word == subcommand);
    children.split_whitespace().filter(is_meant).map(str::to_owned).collect()
}

/// What the operating system says of a process: its arguments, or its variables.
fn words(pid: &str, file: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    text.split('\0').map(str::to_owned).collect()
}

/// Buyers in processes of their own are told every flag, and no password as an argument.
#[tokio::test]
async fn buyers_know_what_their_parent_was_told() {
    let redis = Redis::start().await;
    let url = redis.url();
    let told = CHANGED.map(|(flag, value)| (flag, if flag == "redis-url" { &url } else { value }));
    let flags = told.map(|(flag, value)| format!("--{flag}={value}"));
    let race = ["oversell", "--processes=2", "--concurrency=2", "--delay=10s", "--quiet"];
    let flags: Vec<&str> = race.into_iter().chain(flags.iter().map(String::as_str)).collect();
    let mut parent = command(&flags).stdout(Stdio::null()).spawn().unwrap();
    let mut buyers = Vec::new();
    until("both processes of buyers run", async || {
        buyers = children(parent.id(), "buyers");
        buyers.len() == 2
    })
    .await;
    for buyer in &buyers {
        let (arguments, variables) = (words(buyer, "cmdline"), words(buyer, "environ"));
        assert!(!arguments.iter().any(|word| word.contains("hunter2")), "{arguments:?}");
        for (flag, value) in told {
            let is_told = variables.iter().any(|it| it.ends_with(&format!("={value}")));
            assert!(is_told, "--{flag}={value}: {variables:?}");
        }
    }
    parent.kill().unwrap();
    parent.wait().unwrap();
}
