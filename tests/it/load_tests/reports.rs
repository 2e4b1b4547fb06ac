//! What the scripts are told, and what they tell: variables, servers that are not as expected, run
//! ids, and the files of a summary.

use std::fs;

use locklab::strategy::table::STRATEGIES;
use roxmltree::{Document, ParsingOptions};
use serde_json::{Value, json};

use super::{ABORTED, Relay, SCRIPT_EXCEPTION, THRESHOLD_CROSSED, k6, stub};
use crate::server::Server;

/// Refused before the first request, so that no server is needed.
#[tokio::test]
async fn bad_variables_are_refused() {
    for (script, variable, valid) in [
        ("oversell-test.js", "VUS=many", "a whole number from 1 to 10000"),
        ("oversell-test.js", "DELAY=fast", "a duration such as 250us, 5ms or 2s"),
        ("oversell-test.js", "BASE_URL=localhost", "an http(s) origin"),
        ("oversell-test.js", "GRAFANA_URL=javascript:alert(1)", "an http(s) address"),
        ("oversell-test.js", "RUN_ID=a b", "1 to 64 of the characters A-Z a-z 0-9 _ . -"),
        ("smoke-test.js", "LOCKS=safe,safee", "some of none,mutex,naive,safe"),
        ("strategy-comparison-test.js", "RETRY=often", "one of: none fixed exponential"),
        ("retry-comparison-test.js", "POLICIES=fifo,fifo", "each once"),
        ("ttl-violation-test.js", "DELAY=300ms", "at least twice TTL"),
        ("deadlock-test.js", "ORDER=random", "one of: sorted given"),
        ("crash-test.js", "TTL=forever", "a duration such as 5ms or 2s"),
        ("high-load-test.js", "DURATION=0s", "a duration such as 30s or 5m"),
        ("breakpoint-test.js", "MAX_RATE=1", "a whole number from 2 to"),
        ("spike-test.js", "SPIKE_RATE=-1", "a whole number from 1 to"),
        ("soak-test.js", "GROWTH_MB=0", "a whole number from 1 to"),
    ] {
        let run = k6("http://127.0.0.1:1", script, &[variable]).await;
        run.ended_with(SCRIPT_EXCEPTION).says(valid);
    }
}

#[tokio::test]
async fn a_server_that_cannot_do_it_is_named() {
    let server = Server::start(&[]);
    for (script, variables, words) in [
        ("oversell-test.js", &["LOCK=safee"][..], "LOCK must be one of: none mutex naive safe"),
        ("crash-test.js", &["STEP=lunch"], "fault"),
        ("deadlock-test.js", &["LOCK=queue"], "sells one product at a time"),
        ("ttl-violation-test.js", &["LOCKS=atomic"], "has no lease that could end"),
    ] {
        k6(&server.url, script, variables).await.ended_with(ABORTED).says(words);
    }
    let nobody = k6("http://127.0.0.1:1", "smoke-test.js", &[]).await;
    nobody.ended_with(ABORTED).says("no answer from http://127.0.0.1:1");
}

/// What a server with these strategies would answer to anything, after one purchase of one unit.
fn world(strategies: &[(&str, bool)]) -> Value {
    let strategy = |&(name, available): &(&str, bool)| json!({"name": name, "expected": "exact", "available": available, "reason": "<no> node"});
    let strategies: Vec<Value> = strategies.iter().map(strategy).collect();
    json!({
        "strategies": strategies, "outcome": "sold", "retries": 0, "wait_ms": 0, "ok": true,
        "ttl_violated": false, "initial": 1, "sold": 1, "oversold": 0, "lost_updates": 0,
    })
}

#[tokio::test]
async fn strategies_that_differ_from_the_servers_are_named() {
    let known: Vec<(&str, bool)> =
        STRATEGIES.iter().map(|strategy| (strategy.name, true)).collect();
    let fewer = stub::answering(world(&known[1..])).await;
    let run = k6(&fewer, "strategy-comparison-test.js", &[]).await.ended_with(ABORTED);
    run.says(&format!("this server has no strategy {}", known[0].0));
    let more = stub::answering(world(&[&known[..], &[("lease-by-mail", true)]].concat())).await;
    let run = k6(&more, "smoke-test.js", &[]).await.ended_with(ABORTED);
    run.says("strategies that are not compared: lease-by-mail");
    // Who names strategies wants these and no others.
    k6(&more, "smoke-test.js", &["LOCKS=safe"]).await.ended_with(0);
}

/// A strategy that is not available is left out and named, and nothing is said of what it did.
#[tokio::test]
async fn strategies_that_are_not_available_are_left_out() {
    let mut known: Vec<(&str, bool)> =
        STRATEGIES.iter().map(|strategy| (strategy.name, true)).collect();
    known[0].1 = false;
    let url = stub::answering(world(&known)).await;
    let run = k6(&url, "smoke-test.js", &["SUMMARY_HTML={folder}/it.html"]).await.ended_with(0);
    let run = run.says(&format!("{} was left out, it is not available: <no> node", known[0].0));
    let left_out = &run.report["rows"][0];
    assert_eq!((&left_out["purchases"], &left_out["ledger"]), (&json!(0), &json!(null)));
    let page = fs::read_to_string(run.folder.path().join("it.html")).unwrap();
    assert!(page.contains("&lt;no&gt; node") && !page.contains("<no>"), "{page}");
    let none: Vec<(&str, bool)> = known.iter().map(|(name, _)| (*name, false)).collect();
    let url = stub::answering(world(&none)).await;
    let run = k6(&url, "smoke-test.js", &[]).await.ended_with(ABORTED);
    run.says("none of these strategies is available");
}

/// The tags of every sample that k6 wrote down.
fn samples(text: &str) -> Vec<Value> {
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["type"] == "Point").collect()
}

/// A run has one id, which is on every sample, in every request, and in the report: the one that
/// was given, or made up, or that of k6's own flag, which wins.
#[tokio::test]
async fn every_run_has_an_id() {
    let server = Server::start(&[]);
    for (arguments, id) in [
        (&["RUN_ID=spring.sale_1-a"][..], Some("spring.sale_1-a")),
        (&[], None),
        (&["RUN_ID=lost", "--tag=testid=won"], Some("won")),
        (&["RUN_ID=kept", "--tag=other=tag"], Some("kept")),
    ] {
        let relay = Relay::start(&[&server.url]).await;
        let more = ["VUS=3", "--out=json={folder}/samples.json"];
        let run = k6(&relay.url, "oversell-test.js", &[&more, arguments].concat()).await;
        let run = run.ended_with(0);
        let run_id = run.report["run_id"].as_str().unwrap();
        assert!(id.is_none_or(|id| id == run_id), "{run_id}, not {id:?}");
        let link = format!("http://127.0.0.1:3000/d/locklab-k6?var-testid={run_id}&from=");
        assert!(run.report["grafana_url"].as_str().unwrap().starts_with(&link));
        let heard = relay.heard();
        let requests = heard.matches(" HTTP/1.1\r\n").count();
        assert!(requests > 3, "{heard}");
        let with_id = heard.matches(&format!("X-Run-Id: {run_id}\r\n")).count();
        assert_eq!(with_id, requests, "{run_id}: {heard}");
        let text = fs::read_to_string(run.folder.path().join("samples.json")).unwrap();
        let purchases: Vec<Value> =
            samples(&text).into_iter().filter(|it| it["metric"] == "purchases").collect();
        assert_eq!(purchases.len(), 3);
        for sample in purchases {
            let tags = &sample["data"]["tags"];
            assert_eq!(tags["testid"], run_id, "{sample}");
            assert_eq!(
                (&tags["lock"], &tags["retry"]),
                (&json!("safe"), &json!("none")),
                "{sample}"
            );
            assert!(tags["outcome"].is_string(), "{sample}");
        }
        run.says(&link);
    }
    let bad = k6(&server.url, "oversell-test.js", &["--tag=testid=a b"]).await;
    bad.ended_with(SCRIPT_EXCEPTION).says("the tag testid must be");
}

#[tokio::test]
async fn summaries_are_written_to_files() {
    let server = Server::start(&[]);
    let files = ["SUMMARY_HTML={folder}/it.html", "SUMMARY_JUNIT={folder}/it.xml", "LOCK=none"];
    let run = k6(&server.url, "oversell-test.js", &files).await.ended_with(THRESHOLD_CROSSED);
    let read = |name: &str| fs::read_to_string(run.folder.path().join(name)).unwrap();
    let (thresholds, crossed) = (&run.report["thresholds"], run.crossed());

    let xml = read("it.xml");
    let junit = Document::parse(&xml).unwrap();
    let named = |name: &'static str| junit.descendants().filter(move |it| it.has_tag_name(name));
    let cases: Vec<_> = named("testcase").collect();
    assert_eq!(cases.len(), thresholds.as_array().unwrap().len());
    assert_eq!(named("failure").count(), crossed.len());
    let suite = named("testsuite").next().unwrap();
    assert_eq!(suite.attribute("failures"), Some(&*crossed.len().to_string()));
    let link = named("property").find(|it| it.attribute("name") == Some("grafana_url")).unwrap();
    assert_eq!(link.attribute("value"), run.report["grafana_url"].as_str());

    // Well-formed as XML is more than HTML demands, and nothing is fetched from anywhere.
    let html = read("it.html");
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let page = Document::parse_with_options(&html, options).unwrap();
    let is_there = |name: &'static str| page.descendants().any(|it| it.has_tag_name(name));
    assert!(is_there("table") && !is_there("script") && !is_there("link"), "{html}");
    let address = page.descendants().find_map(|it| it.attribute("href")).unwrap();
    assert_eq!(Some(address), run.report["grafana_url"].as_str());
    let cells: Vec<_> = page.descendants().filter(|it| it.has_tag_name("td")).collect();
    let oversold = cells.iter().position(|it| it.text() == Some("units oversold")).unwrap();
    let shown = cells[oversold + 1].text().unwrap();
    assert_eq!(shown, run.report["ledger"]["oversold"].to_string());
}

/// A run that was cut short has measured nothing, and every file says so, whatever it was told.
#[tokio::test]
async fn a_run_that_was_cut_short_reports_nothing() {
    let server = Server::start(&[]);
    let files =
        ["SUMMARY_HTML={folder}/it.html", "SUMMARY_JUNIT={folder}/it.xml", "LOCK=<b title='\"&'>"];
    let run = k6(&server.url, "oversell-test.js", &files).await.ended_with(ABORTED);
    assert_eq!(run.report["ledger"], Value::Null);
    assert_eq!(run.report["latency_ms"], Value::Null);
    let xml = fs::read_to_string(run.folder.path().join("it.xml")).unwrap();
    let junit = Document::parse(&xml).unwrap();
    assert_eq!(junit.descendants().filter(|it| it.has_tag_name("error")).count(), 1);
    let suite = junit.descendants().find(|it| it.has_tag_name("testsuite")).unwrap();
    assert!(suite.attribute("name").unwrap().ends_with("lock=<b title='\"&'>"), "{xml}");
    let html = fs::read_to_string(run.folder.path().join("it.html")).unwrap();
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let page = Document::parse_with_options(&html, options).unwrap();
    assert!(!page.descendants().any(|it| it.has_tag_name("b")), "{html}");
    assert!(html.contains("Nothing was measured"), "{html}");
}
