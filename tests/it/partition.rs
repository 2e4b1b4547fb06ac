//! `locklab partition`: servers that are really broken, and what was recorded meanwhile.

use std::process::Command;

use serde_json::{Value, json};

use crate::server::command;

/// Runs it with these flags; its exit code, and what it found.
async fn partition(flags: &[&str]) -> (i32, Value) {
    let mut command = command(&[&["partition", "--json"], flags].concat());
    // A busy machine is no fault.
    command
        .env("LOCKLAB_ETCD_TIMEOUT", "5s")
        .env("LOCKLAB_ZOOKEEPER_TIMEOUT", "5s")
        .env("LOCKLAB_COMMAND_TIMEOUT", "5s");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let report = serde_json::from_slice(&output.stdout);
    let report = report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), report)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// The verdict on each check, by what its claim contains.
fn met<'a>(part: &'a Value, claim: &str) -> Vec<&'a str> {
    let checks = list(part, "checks").iter();
    let checks = checks.filter(|check| check["claim"].as_str().unwrap().contains(claim));
    checks.map(|check| check["met"].as_str().unwrap()).collect()
}

/// What was recorded of a product, under conditions that have this value.
fn recorded<'a>(part: &'a Value, condition: &str, value: &Value) -> &'a Value {
    let mut evidence = list(part, "evidence").iter();
    let is_meant = |it: &&Value| &it["conditions"][condition] == value;
    evidence.find(is_meant).unwrap_or_else(|| panic!("{condition} = {value}: {part:#}"))
}

/// How many orders of a history have an event of that type.
fn orders(recorded: &Value, kind: &str) -> usize {
    let has = |record: &&Value| list(record, "events").iter().any(|event| event["type"] == kind);
    let mut orders: Vec<_> = list(recorded, "history").iter().filter(has).collect();
    orders.dedup_by_key(|record| record["order_id"].clone());
    orders.len()
}

/// How many orders of a history ended so.
fn failed(recorded: &Value, outcome: &str) -> usize {
    let records = list(recorded, "history").iter();
    let events = records.flat_map(|record| list(record, "events"));
    events.filter(|event| event["type"] == "fail" && event["outcome"] == outcome).count()
}

/// Stopped, killed and cut off: with two nodes away, everything is sold, and with three, nothing.
#[tokio::test]
async fn a_minority_of_nodes_is_away() {
    let flags = ["--part", "minority", "--via", "proxy", "--purchases", "12"];
    let (code, report) = partition(&flags).await;
    assert_eq!(code, 0, "{report:#}");
    let part = &report["parts"][0];
    for how in ["stopped", "killed", "cut off"] {
        let claim = format!("two of five {how}: purchases go on");
        assert_eq!(met(part, &claim), ["yes"], "{how}");
    }
    assert_eq!(met(part, "3 votes, and 2 failed"), ["yes"; 3]);
    assert_eq!(met(part, "control, three of five: nothing is sold"), ["yes"; 3]);
    let evidence = list(part, "evidence");
    assert_eq!(evidence[0]["cut_by"], "a proxy");
    for recorded in &evidence[1..] {
        assert_eq!(recorded["audit"]["ok"], true, "{recorded:#}");
        assert_eq!((orders(recorded, "written"), orders(recorded, "ok")), (12, 12));
    }
}

/// Nobody is sold anything; afterwards, nobody the same; and nodes that forgot do not vote at once.
#[tokio::test]
async fn a_majority_of_nodes_is_away() {
    let flags = ["--part", "majority", "--via", "proxy", "--purchases", "12"];
    let (code, report) = partition(&flags).await;
    assert_eq!(code, 0, "{report:#}");
    let part = &report["parts"][0];
    assert_eq!(met(part, "every purchase is `unavailable`"), ["yes"; 3]);
    assert_eq!(met(part, "everything is sold, and nothing twice"), ["yes"; 3]);
    let figures = list(part, "figures");
    assert_eq!(figures.len(), 3, "{figures:#?}");
    let killed = figures.iter().find(|it| it["name"].as_str().unwrap().contains("killed")).unwrap();
    assert!(killed["samples"][0].as_f64().unwrap() >= 3_000.0, "the restart delay: {killed}");
    for recorded in &list(part, "evidence")[1..] {
        let tried = failed(recorded, "unavailable") + orders(recorded, "unknown");
        assert!(tried >= 20, "{tried} of the purchases that were watched");
        assert_eq!((orders(recorded, "written"), &recorded["audit"]["oversold"]), (12, &json!(0)));
    }
}

/// The same in networks of the nodes' own, where that is permitted; where it is not, the reason is
/// told, and nothing is claimed.
#[tokio::test]
async fn nodes_have_networks_of_their_own() {
    let pair = ["--net", "ip", "link", "add", "one", "type", "veth", "peer", "name", "other"];
    let is_permitted = Command::new("unshare").args(pair).status().is_ok_and(|it| it.success());
    let flags = ["--part", "majority", "--how", "cut", "--via", "namespaces", "--runs", "2"];
    if !is_permitted {
        let output = command(&[&["partition"][..], &flags].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(!output.stderr.is_empty() && output.stdout.is_empty());
        return;
    }
    let (code, report) = partition(&flags).await;
    assert_eq!(code, 0, "{report:#}");
    let part = &report["parts"][0];
    assert_eq!(met(part, "every purchase is `unavailable`"), ["yes"; 2], "one for each run");
    assert_eq!(part["evidence"][0]["cut_by"], "namespaces");
    assert_eq!(list(&part["figures"][0], "samples").len(), 2);
}

/// A node that has forgotten its vote gives it to another: two holders, unless it waits.
#[tokio::test]
async fn a_node_forgets() {
    let flags = ["--part", "restart", "--via", "proxy", "--ttl", "6s", "--restart-delay", "6s"];
    let (code, report) = partition(&flags).await;
    assert_eq!(code, 0, "{report:#}");
    let part = &report["parts"][0];
    assert_eq!(met(part, "control, restart delay 0: two holders"), ["yes"]);
    assert_eq!(met(part, "the second buyer gets nothing"), ["yes"]);
    let control = recorded(part, "restart_delay_ms", &json!(0));
    assert_eq!((orders(control, "granted"), orders(control, "written")), (2, 2), "of one unit");
    assert_eq!(control["audit"]["overlaps"]["grants"], 1);
    let guarded = recorded(part, "restart_delay_ms", &json!(6_000));
    assert_eq!((orders(guarded, "granted"), orders(guarded, "written")), (1, 1));
    assert_eq!(list(&part["pictures"][0], "lanes").len(), 2);
}

/// Without its protection, the expectation is not met, and the exit code says so.
#[tokio::test]
async fn without_the_delay_it_is_not_as_expected() {
    let flags = ["--part", "restart", "--via", "proxy", "--ttl", "6s", "--restart-delay", "0"];
    let (code, report) = partition(&flags).await;
    assert_eq!(code, 1, "{report:#}");
    let part = &report["parts"][0];
    assert_eq!(met(part, "control, restart delay 0: two holders"), ["yes"]);
    assert_eq!(met(part, "the second buyer gets nothing"), ["no"]);
}

/// A whole server is stopped: without fencing, its late write lands; with it, it is refused.
#[tokio::test]
async fn a_server_stands_still() {
    let (code, report) = partition(&["--part", "pause", "--via", "proxy"]).await;
    assert_eq!(code, 0, "{report:#}");
    let part = &report["parts"][0];
    assert_eq!(met(part, "control, `safe`: the stale write lands"), ["yes"]);
    assert_eq!(met(part, "control, `redlock`: the stale write lands"), ["yes"]);
    for lock in ["safe", "redlock"] {
        let recorded = recorded(part, "lock", &json!(lock));
        assert_eq!((orders(recorded, "written"), failed(recorded, "fenced")), (2, 0), "{lock}");
        assert_eq!(recorded["audit"]["oversold"], 1, "{lock}");
    }
    for lock in ["fenced", "etcd", "zookeeper"] {
        assert_eq!(met(part, &format!("`{lock}`: the stale write is refused")), ["yes"]);
        let recorded = recorded(part, "lock", &json!(lock));
        assert_eq!((orders(recorded, "written"), failed(recorded, "fenced")), (1, 1), "{lock}");
        assert_eq!(recorded["conditions"]["reply"]["outcome"], "fenced");
    }
}

/// The clock of one node steps, and its key ends early: two holders. The store refuses the older
/// one, if there are fencing tokens.
#[tokio::test]
async fn a_clock_steps() {
    let (code, report) =
        partition(&["--part", "clock", "--via", "proxy", "--ttl", "4s", "--restart-delay", "4s"])
            .await;
    assert_eq!(code, 0, "{report:#}");
    let part = &report["parts"][0];
    assert_eq!(met(part, "the clock of one node steps by 9000 ms: two holders"), ["yes"]);
    assert_eq!(met(part, "control, no step: the second buyer gets nothing"), ["yes"]);
    let stepped = recorded(part, "step_ms", &json!(9_000));
    assert_eq!((orders(stepped, "granted"), orders(stepped, "written")), (2, 2), "of one unit");
    let control = recorded(part, "step_ms", &json!(0));
    assert_eq!((orders(control, "granted"), orders(control, "written")), (1, 1));
    let fenced = recorded(part, "lock", &json!("fenced"));
    assert_eq!((orders(fenced, "granted"), failed(fenced, "fenced")), (2, 1), "{fenced:#}");
    for lock in ["etcd", "zookeeper"] {
        let recorded = recorded(part, "lock", &json!(lock));
        assert_eq!((orders(recorded, "granted"), orders(recorded, "written")), (1, 1), "{lock}");
    }
}

/// What is not installed is not measured; what makes no sense is refused.
#[test]
fn exit_codes() {
    let partition = |flags: &[&str]| command(&[&["partition"], flags].concat());
    let nothing = partition(&[]).env("PATH", "/nowhere").output().unwrap();
    assert_eq!(nothing.status.code(), Some(2));
    let shown = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(shown.contains("redis-server"), "{shown}");
    for flags in [
        &["--part", "nonsense"][..],
        &["--how", "nicely"],
        &["--via", "magic"],
        &["--runs", "0"],
        &["--purchases", "11"],
        &["--ttl", "0"],
        &["--ttl", "3s", "--restart-delay", "1s"],
    ] {
        let output = partition(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{flags:?}");
        assert!(!output.stderr.is_empty(), "{flags:?}");
    }
}
