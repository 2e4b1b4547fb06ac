//! `locklab compare`: every strategy with every way to wait, on real servers.

use std::process::{Output, Stdio};

use locklab::strategy::StrategyId;
use locklab_locks::wait::Policy;
use serde_json::Value;
use strum::VariantArray;

use crate::{
    redis_server::Redis,
    server::{command, until},
};

async fn compare(arguments: &[&str]) -> Output {
    let mut command = command(&[&["compare", "--seed", "7"], arguments].concat());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// The report of a run that ends as expected.
async fn report(arguments: &[&str]) -> Value {
    let output = compare(&[&["--json"], arguments].concat()).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Each run of each combination is kept as it was measured; `none` loses updates, and nobody else does.
#[tokio::test]
async fn each_combination_is_measured_and_the_control_is_caught() {
    let load = ["--lock", "none,safe,atomic", "--retry", "none,notify"];
    let report = report(&[&load[..], &["--runs", "2", "--duration", "200ms"]].concat()).await;
    assert_eq!(report["seed"], 7);
    let (side_by_side, parts) = list(&report, "parts").split_last().unwrap();
    assert_eq!(parts.len(), 3);
    for part in parts {
        let samples = list(part, "evidence");
        assert_eq!(samples.len(), 4, "two runs of two ways to wait: {part:#}");
        for sample in samples {
            let sold = sample["sold"].as_i64().unwrap();
            assert!(sold > 0 && sample["undecided"] == 0, "{sample:#}");
            assert_eq!(list(sample, "waits_ms").len() as i64, sold);
            let units: f64 = list(sample, "units").iter().map(|it| it.as_f64().unwrap()).sum();
            assert_eq!(units, sold as f64);
            assert_eq!(list(sample, "units").len(), 8, "one figure for each buyer");
            assert!(sample["cpu_us"].as_f64().unwrap() > 0.0, "{sample:#}");
            assert!(sample["servers_cpu_us"].is_f64(), "its Redis is private: {sample:#}");
            assert!(sample["tries_per_sale"].as_f64().unwrap() >= 1.0, "{sample:#}");
            let has_leases = sample["lock"] == "safe";
            assert_eq!(!list(sample, "hand_offs_ms").is_empty(), has_leases, "{sample:#}");
            let lost = sample["lost_updates"].as_i64().unwrap();
            assert_eq!(lost > 0, sample["lock"] == "none", "{sample:#}");
            assert_eq!(sample["ok"], sample["lock"] != "none");
        }
    }
    let tables = list(side_by_side, "tables");
    for table in tables {
        assert_eq!(list(table, "rows").len(), 6, "{table:#}");
        for row in table["rows"].as_array().unwrap() {
            assert_eq!(row.as_array().unwrap().len(), list(table, "columns").len());
        }
    }
    let hand_off = |row: usize| tables[1]["rows"][row][2].as_str().unwrap();
    assert_eq!(
        [hand_off(0), hand_off(1)],
        ["–"; 2],
        "not 0: nobody knows, for `none` grants no lease"
    );
    assert_ne!(hand_off(3), "–");
    let kinds = list(side_by_side, "pictures").iter().map(|it| it["kind"].as_str().unwrap());
    let kinds: Vec<_> = kinds.collect();
    assert_eq!(kinds, ["bars", "bars", "distribution", "distribution", "bars", "bars"]);
}

/// Buyers in processes of their own race as those of one do. A mutex of one process cannot know of the
/// others; and what servers use that somebody else started is not known.
#[tokio::test]
async fn processes_share_the_load_and_named_servers_keep_their_secrets() {
    let redis = Redis::start().await;
    let load = ["--lock", "mutex,fenced", "--retry", "jitter", "--processes", "2"];
    let more = ["--runs", "1", "--duration", "1s", "--redis-url", &redis.url()];
    let report = report(&[&load[..], &more].concat()).await;
    for part in &list(&report, "parts")[..2] {
        let [sample] = list(part, "evidence") else { panic!("{part:#}") };
        let lost = sample["lost_updates"].as_i64().unwrap();
        assert_eq!(lost > 0, sample["lock"] == "mutex", "{sample:#}");
        assert!(sample["servers_cpu_us"].is_null(), "{sample:#}");
        assert!(sample["cpu_us"].as_f64().unwrap() > 0.0, "{sample:#}");
    }
}

/// A strategy without its server is not measured, and that is said; the others are.
#[tokio::test]
async fn what_cannot_be_measured_is_unknown() {
    let closed = ["--redlock-urls", "redis://127.0.0.1:1,redis://127.0.0.1:2,redis://127.0.0.1:3"];
    let load =
        ["--lock", "safe,redlock", "--retry", "notify", "--runs", "1", "--duration", "100ms"];
    let output = compare(&[&load[..], &closed, &["--json"]].concat()).await;
    assert_eq!(output.status.code(), Some(2));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let met = |part: &Value| list(part, "checks")[0]["met"].clone();
    let [safe, redlock, _] = list(&report, "parts") else { panic!("{report:#}") };
    assert_eq!((met(safe), met(redlock)), ("yes".into(), "unknown".into()));
    assert!(list(redlock, "evidence").is_empty());
}

/// A store that hangs while buyers come again and again: they end in time, and what was not measured is said.
#[tokio::test]
async fn a_store_that_hangs_ends_the_race() {
    let redis = Redis::start().await;
    let load = ["compare", "--lock", "safe", "--retry", "none", "--runs", "2", "--duration", "2s"];
    let mut command = command(&[&load[..], &["--json", "--redis-url", &redis.url()]].concat());
    command.env("LOCKLAB_COMMAND_TIMEOUT", "500ms").stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    until("they buy", async || {
        !redis.send::<Vec<String>>(&["KEYS", "lock:compare-*"]).await.is_empty()
    })
    .await;
    redis.hang();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let output = output.await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let check = &list(&list(&report, "parts")[0], "checks")[0];
    assert_eq!(
        (&check["claim"], &check["met"]),
        (&"everything is measured".into(), &"unknown".into())
    );
    assert!(check["seen"].as_str().unwrap().starts_with("2 could not be"), "{check:#}");
}

/// In line, even those without a lock come one after the other: that is no proof of the lock.
#[tokio::test]
async fn a_line_hides_what_a_lock_does_not_do() {
    let load = ["--lock", "none,safe", "--retry", "fifo", "--runs", "1", "--duration", "100ms"];
    let output = compare(&[&load[..], &["--json"]].concat()).await;
    assert_eq!(output.status.code(), Some(2));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for part in &list(&report, "parts")[..2] {
        let check = &list(part, "checks")[0];
        assert!(check["seen"].as_str().unwrap().contains("another --retry"), "{check:#}");
    }
}

#[tokio::test]
async fn text_fits_a_terminal() {
    let load = ["--lock", "none,postgres-optimistic", "--retry", "decorrelated", "--runs", "2"];
    let output = compare(&[&load[..], &["--duration", "100ms"]].concat()).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("postgres-optimistic: 8 buyers for 100ms"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn bad_input_names_what_is_valid() {
    let said = |arguments: &[&str]| {
        let output = command(&[&["compare"], arguments].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let locks = said(&["--lock", "safe,sfe"]);
    assert!(StrategyId::names().iter().all(|name| locks.contains(name)), "{locks}");
    let policies = said(&["--retry", "patiently"]);
    assert!(Policy::VARIANTS.iter().all(|it| policies.contains(it.name())), "{policies}");
    assert!(said(&["--duration", "1ms"]).contains("50ms..=20s"));
    assert!(said(&["--concurrency", "0"]).contains("1..=200"));
    assert!(said(&["--ttl", "0"]).contains("more than 0"));
}
