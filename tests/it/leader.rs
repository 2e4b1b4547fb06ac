//! `locklab leader`: elections that were really held, among processes that are really struck.

use std::{collections::BTreeSet, fs, process::Stdio};

use locklab::measure::proc;
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use procfs::process::Process;
use serde_json::Value;

use crate::server::{command, until};

/// Runs it with these flags; its exit code, and what it found.
async fn leader(flags: &[&str]) -> (i32, Value) {
    let mut command = command(&[&["leader", "--json"], flags].concat());
    // A busy machine is no fault.
    command.env("LOCKLAB_ETCD_TIMEOUT", "5s").env("LOCKLAB_ZOOKEEPER_TIMEOUT", "5s");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let report = serde_json::from_slice(&output.stdout);
    let report = report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), report)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// What happened to orders of a kind, by which process.
fn events<'a>(part: &'a Value, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let records = list(part, "evidence").iter().filter(|record| record.is_object());
    records.flat_map(move |record| {
        let events = list(record, "events").iter().filter(move |event| event["type"] == kind);
        events.map(|event| (record["server"].as_str().unwrap(), event))
    })
}

/// Under every lock with fencing tokens: the late work of a stopped leader is refused, and every
/// epoch is one process's. Without them, it is taken, and work is done twice. The lock service
/// keeps its promise in every case.
#[tokio::test]
async fn leaders_are_elected_and_struck() {
    let (code, report) =
        leader(&["--ttl", "1s", "--work", "400ms", "--zookeeper-session-timeout", "2s"]).await;
    assert_eq!(code, 0, "{report:#}");
    let parts = list(&report, "parts");
    assert_eq!(parts.len(), 4, "one for each lock");
    for part in parts {
        let title = part["title"].as_str().unwrap();
        assert!(list(part, "checks").iter().all(|check| check["met"] == "yes"), "{part:#}");
        let gaps: Vec<_> = list(part, "figures").iter().map(|figure| &figure["samples"]).collect();
        assert_eq!(gaps.len(), 3, "killed, stopped, resigned: {title}");
        let is_late = |event: &Value| event["outcome"] == "fenced";
        let fenced: Vec<_> = events(part, "fail").filter(|(_, event)| is_late(event)).collect();
        let written: Vec<_> = events(part, "written").map(|(_, event)| event).collect();
        let sold: BTreeSet<_> = written.iter().map(|event| event["stock"].as_u64()).collect();
        if title.contains("control") {
            assert!(fenced.is_empty(), "{title}");
            assert!(sold.len() < written.len(), "two leaders have done the same work: {title}");
            continue;
        }
        assert_eq!(fenced.len(), 1, "{title}");
        assert_eq!(sold.len(), written.len(), "all work is different: {title}");
        let late = fenced[0].0.split('-').next().unwrap();
        let lanes = list(&part["pictures"][0], "lanes");
        let stopped = lanes.iter().find(|lane| lane["name"] == format!("pid {late}")).unwrap();
        let marks: Vec<_> = list(stopped, "marks").iter().map(|mark| &mark["letter"]).collect();
        assert!(marks.contains(&&"S".into()) && marks.contains(&&"C".into()), "{title}: {marks:?}");
        let mut epochs: Vec<_> = events(part, "granted")
            .map(|(server, event)| (event["fencing_token"].as_u64().unwrap(), server))
            .collect();
        epochs.sort_unstable();
        epochs.dedup();
        let tokens: BTreeSet<_> = epochs.iter().map(|(token, _)| token).collect();
        assert_eq!(tokens.len(), epochs.len(), "one process each: {title}");
        assert!(tokens.len() >= 4, "the first, and one after each blow: {title}");
    }
}

/// What could not be measured is not called a success, nor a failure.
#[tokio::test]
async fn without_servers_nothing_is_measured() {
    let (code, report) =
        leader(&["--lock", "etcd", "--etcd-endpoints", "http://127.0.0.1:1"]).await;
    assert_eq!(code, 2, "{report:#}");
    let checks = list(&report["parts"][0], "checks");
    assert_eq!((checks.len(), &checks[0]["met"]), (1, &"unknown".into()));
    assert!(checks[0]["seen"].as_str().unwrap().contains("--etcd-endpoints"), "{report:#}");
}

/// Candidates wait for servers as long as they were told to. Whatever ends the command, none of
/// them goes on without it.
#[tokio::test]
async fn killed_it_leaves_no_candidate() {
    let flags = ["leader", "--lock", "fenced", "--ttl", "30s", "--command-timeout", "7s"];
    let mut child = command(&flags).stdout(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    let candidates = || {
        let children = proc::children(Pid::from_raw(pid.try_into().unwrap()));
        children.into_iter().filter(|pid| is_candidate(*pid)).collect::<Vec<_>>()
    };
    until("all candidates stand", async || candidates().len() == 3).await;
    let candidates = candidates();
    for pid in &candidates {
        let variables = fs::read(format!("/proc/{pid}/environ")).unwrap();
        let variables = String::from_utf8_lossy(&variables).into_owned();
        let is_told = variables.split('\0').any(|it| it == "LOCKLAB_COMMAND_TIMEOUT=7000000us");
        assert!(is_told, "a candidate waits for servers for another time");
    }
    signal::kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    until("they have ended", async || candidates.iter().all(|pid| !is_candidate(*pid))).await;
}

fn is_candidate(pid: Pid) -> bool {
    command_line(pid).contains("candidate")
}

/// Of a process that has ended, and whose end nobody was told: empty.
fn command_line(pid: Pid) -> String {
    let command = Process::new(pid.as_raw()).and_then(|process| process.cmdline());
    command.unwrap_or_default().join(" ")
}
