//! `locklab choose-ttl`: what is predicted from hold times, and what really comes of it.

use std::{
    fs,
    io::Write,
    process::{Output, Stdio},
};

use serde_json::Value;

use crate::server::command;

/// Runs it with these flags, and this as its standard input.
fn run(flags: &[&str], input: &str) -> Output {
    let mut command = command(&[&["choose-ttl"], flags].concat());
    // A busy machine is no fault.
    command.env("LOCKLAB_COMMAND_TIMEOUT", "5s").env("LOCKLAB_REDLOCK_TIMEOUT", "5s");
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    // Whoever refuses its flags does not read.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    child.wait_with_output().unwrap()
}

/// The exit code, and what it found.
fn report(flags: &[&str], input: &str) -> (i32, Value) {
    let output = run(&[&["--json"], flags].concat(), input);
    let report = serde_json::from_slice(&output.stdout);
    let report = report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), report)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// What was seen of each check whose claim contains this, and the verdict on it.
fn seen<'a>(part: &'a Value, claim: &str) -> Vec<(&'a str, &'a str)> {
    let checks = list(part, "checks").iter();
    let checks = checks.filter(|check| check["claim"].as_str().unwrap().contains(claim));
    checks.map(|it| (it["met"].as_str().unwrap(), it["seen"].as_str().unwrap())).collect()
}

/// The samples of a figure.
fn samples<'a>(part: &'a Value, figure: &str) -> &'a [Value] {
    let named = list(part, "figures").iter().find(|it| it["name"] == figure);
    list(named.unwrap_or_else(|| panic!("{figure}: {part:#}")), "samples")
}

const QUICK: [&str; 8] =
    ["--samples", "400", "--risk", "0.01", "--work-p99", "40ms", "--purchases", "40"];

/// Hold times are measured, a ttl is recommended, and shorter ones are violated as often as was
/// said.
#[test]
fn a_ttl_is_chosen_and_tried_out() {
    let (code, report) = report(&[&QUICK[..], &["--seed", "11"]].concat(), "");
    assert_eq!((code, &report["seed"]), (0, &Value::from(11)), "{report:#}");
    let [held, risks, tried] = list(&report, "parts") else { panic!("{report:#}") };
    let (holds, works) = (samples(held, "hold time"), samples(held, "work that was drawn"));
    assert_eq!((holds.len(), works.len()), (400, 400));
    let sum = |samples: &[Value]| samples.iter().filter_map(Value::as_f64).sum::<f64>();
    assert!(sum(holds) > sum(works), "the servers take time, too");
    let rows = list(&held["tables"][0], "rows");
    assert!(rows[3][2].as_str().unwrap().contains("2995 are needed"), "the p99.9: {rows:?}");
    assert_eq!(list(&risks["tables"][0], "rows").len(), 8);
    assert_eq!(list(&risks["pictures"][0], "lines").len(), 3);
    let recommended = seen(risks, "outlasted by at most 1.0 %");
    assert!(recommended[0].1.contains("only fencing makes them harmless"), "{recommended:?}");
    // Half of the p50, the three quantiles, and the one that is recommended.
    let evidence = list(tried, "evidence");
    assert_eq!((evidence.len(), seen(tried, "as often as predicted").len()), (5, 5), "{tried:#}");
    let violated =
        |it: &Value| list(it, "purchases").iter().filter(|it| it["violated"] == true).count();
    assert!(violated(&evidence[0]) >= 20, "the control: {tried:#}");
    assert!(evidence[0]["oversold"].as_i64().unwrap() > 0, "so units are sold twice: {tried:#}");
    assert!(violated(&evidence[0]) > violated(&evidence[4]), "{tried:#}");
}

/// Every lock that nobody renews. Redlock takes a part of each ttl for the drift of clocks.
#[test]
fn every_lock_that_ends_by_itself_is_tried_out() {
    for lock in ["naive", "redlock"] {
        let (code, report) = report(&[&QUICK[..], &["--lock", lock]].concat(), "");
        assert_eq!(code, 0, "{lock}: {report:#}");
        let tried = &report["parts"][2];
        assert_eq!(seen(tried, "as often as predicted").len(), 5, "{lock}: {tried:#}");
        assert!(tried["evidence"][0]["oversold"].as_i64().unwrap() > 0, "{lock}: {tried:#}");
    }
}

/// The same seed draws the same work, and another one does not. What is measured differs.
#[test]
fn a_seed_draws_the_same_work_again() {
    let drawn = |seed: &str| {
        let flags = ["--samples", "20", "--purchases", "20", "--risk", "0.5", "--seed", seed];
        let (code, report) = report(&flags, "");
        assert_eq!(code, 0, "{report:#}");
        samples(&report["parts"][0], "work that was drawn").to_vec()
    };
    let first = drawn("5");
    assert_eq!(first.len(), 20);
    assert_eq!(first, drawn("5"));
    assert_ne!(first, drawn("6"));
}

/// Hold times of another system, from a file and from a pipe. Work is drawn from them.
#[test]
fn hold_times_are_given() {
    let lines: String = (1..=300).map(|n| format!("{}us\n", 5_000 + n * 100)).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("holds");
    fs::write(&file, &lines).unwrap();
    for (path, input) in [(file.to_str().unwrap(), ""), ("-", lines.as_str())] {
        let flags = ["--holds", path, "--risk", "0.01", "--purchases", "40", "--seed", "3"];
        let (code, report) = report(&flags, input);
        assert_eq!(code, 0, "{report:#}");
        let [held, risks, tried] = list(&report, "parts") else { panic!("{report:#}") };
        let rows = list(&held["tables"][0], "rows");
        let quantiles: Vec<_> = rows.iter().map(|row| row[1].as_str().unwrap()).collect();
        assert_eq!(quantiles, ["20.0", "32.0", "34.7", "35.0", "35.0"]);
        assert_eq!(samples(held, "hold time").len(), 300);
        // The p99 is 34.7 ms, and lock services count whole ones: none of 300 outlasts that.
        let recommended = seen(risks, "outlasted by at most 1.0 %");
        assert!(recommended[0].1.starts_with("35ms is, 1 × the p99: 0 of 300"), "{recommended:?}");
        // What a purchase adds is in the samples already.
        let added = samples(held, "what a purchase adds here");
        let added: Vec<f64> = added.iter().map(|sample| sample.as_f64().unwrap()).collect();
        let median = locklab::measure::sample::median(&added);
        // Work is waited for in whole microseconds.
        let is_given = |work: f64| {
            let held_us = ((work + median) * 1e3).round();
            [-1.0, 0.0, 1.0].iter().any(|off| lines.contains(&format!("{}us\n", held_us + off)))
        };
        for purchase in list(tried, "evidence").iter().flat_map(|tried| list(tried, "purchases")) {
            let work = purchase["work_ms"].as_f64().unwrap();
            assert!(work == 0.0 || is_given(work), "{purchase}, {median} added");
        }
    }
}

/// What cannot be said is not said: too few samples for the risk, holds too long to be tried out.
#[test]
fn what_cannot_be_said_is_unknown() {
    let (code, few) = report(&["--holds", "-", "--purchases", "20"], "12ms\n15ms\n9ms\n");
    assert_eq!(code, 2, "{few:#}");
    let [(met, told)] = seen(&few["parts"][1], "outlasted by at most 0.10 %")[..] else {
        panic!("{few:#}")
    };
    assert_eq!(met, "unknown");
    assert!(told.contains("from 3 samples: at least 2995 are needed"), "{told}");
    let (code, long) = report(&["--holds", "-", "--risk", "0.5"], &"90s\n".repeat(10));
    assert_eq!(code, 2, "{long:#}");
    let [(met, told)] = seen(&long["parts"][2], "the control")[..] else { panic!("{long:#}") };
    assert!(met == "unknown" && told.contains("1s"), "{told}");
}

#[test]
fn bad_input_is_refused_with_its_line() {
    for (flags, input, told) in [
        (&["--holds", "-"][..], "12ms\nsoon\n", "line 2: \"soon\": expected a duration"),
        (&["--holds", "-"], "", "it has none"),
        (&["--holds", "/nowhere/holds"], "", "/nowhere/holds"),
        (&["--holds", "-", "--samples", "500"], "1\n", "cannot be used with"),
        (&["--lock", "fenced"], "", "[possible values: naive, safe, redlock]"),
        (&["--lock", "saef"], "", "a similar value exists: 'safe'"),
        (&["--risk", "0"], "", "such as 0.001"),
        (&["--work-p50", "60ms", "--work-p99", "10ms"], "", "at least the --work-p50"),
        (&["--work-p99", "1m"], "", "such as 250us, 5ms or 2s"),
        (&["--samples", "1"], "", "20..=1000000"),
    ] {
        let output = run(flags, input);
        let shown = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{flags:?}: {shown}");
        assert!(shown.contains(told), "{flags:?}: {shown}");
    }
}
