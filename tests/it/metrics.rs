//! The metrics: named as they should be, all there from the start, and true.

use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Stdio},
};

use locklab::{
    outcome::Outcome,
    strategy::{Family, table::STRATEGIES},
};
use reqwest::Method;
use serde_json::Value;
use strum::VariantArray;

use crate::{
    redis_server::Redis,
    server::{Server, count, until},
};

/// Prometheus' own linter has nothing to say, before and after traffic.
#[tokio::test]
async fn promtool_is_content() {
    let server = Server::start(&[]);
    for _ in 0..2 {
        let reply = server.get("/metrics").await;
        assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the tests need promtool; `make test` installs it");
        promtool.stdin.take().unwrap().write_all(reply.text.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.is_empty(), "{complaints}");
        server.race(20, "lock=safe").await;
    }
}

/// Every series is there before anything has happened, at 0.
#[tokio::test]
async fn every_series_starts_at_zero() {
    let server = Server::start(&["--stock", "0"]);
    for strategy in STRATEGIES {
        let lock = strategy.name;
        for outcome in Outcome::VARIANTS.iter().map(<&str>::from) {
            let series =
                format!("locklab_purchases_total{{lock=\"{lock}\",outcome=\"{outcome}\"}}");
            assert_eq!(server.metric(&series).await, 0.0);
        }
        for name in ["units_sold", "units_oversold", "lost_updates"] {
            let series = format!("locklab_{name}_total{{lock=\"{lock}\"}}");
            assert_eq!(server.metric(&series).await, 0.0);
        }
        if strategy.family == Family::Lock {
            for stage in ["work", "write", "release"] {
                let name = "locklab_lock_ttl_violations_total";
                let series = format!("{name}{{lock=\"{lock}\",stage=\"{stage}\"}}");
                assert_eq!(server.metric(&series).await, 0.0);
            }
            for series in [
                format!("locklab_lock_hold_seconds_count{{lock=\"{lock}\"}}"),
                format!("locklab_lock_ambiguous_acquires_total{{lock=\"{lock}\"}}"),
                format!("locklab_lock_orphans_total{{lock=\"{lock}\",cause=\"dropped\"}}"),
                format!("locklab_lock_renewals_total{{lock=\"{lock}\",outcome=\"lost\"}}"),
            ] {
                assert_eq!(server.metric(&series).await, 0.0);
            }
        }
    }
    // There are no nodes here.
    assert_eq!(server.metric("locklab_redlock_voters").await, 0.0);
    let series = "http_server_request_duration_seconds_count{http_request_method=\"POST\",\
                  http_route=\"/purchase\",http_response_status_code=\"503\"}";
    assert_eq!(server.metric(series).await, 0.0);
}

/// What is counted is what happened.
#[tokio::test]
async fn counts_are_true() {
    let server = Server::start(&[]);
    server.reset("p", 3).await;
    let replies = server.race(40, "product=p&lock=none").await;
    let sold = count(&replies, "sold");
    let audit = server.audit("p").await;
    let value = async |series: &str| server.metric(series).await as usize;
    assert_eq!(value("locklab_purchases_total{lock=\"none\",outcome=\"sold\"}").await, sold);
    assert_eq!(value("locklab_units_sold_total{lock=\"none\"}").await, sold);
    let oversold = value("locklab_units_oversold_total{lock=\"none\"}").await;
    assert_eq!(Value::from(oversold), audit["oversold"]);
    let lost_updates = value("locklab_lost_updates_total{lock=\"none\"}").await;
    assert!(lost_updates > 0, "a race for three units loses updates");
    // The default product was put on sale at the start, without a reset.
    assert_eq!(value("locklab_resets_total").await, 1);
    assert!(server.metric("locklab_last_reset_timestamp_seconds").await > 1e9);

    server.reset("p", 1).await;
    let replies = server.race(40, "product=p&lock=safe&delay=20ms").await;
    let attempts = async |outcome: &str| {
        value(&format!("locklab_lock_attempts_total{{lock=\"safe\",outcome=\"{outcome}\"}}")).await
    };
    assert_eq!(attempts("contended").await, count(&replies, "busy"));
    assert_eq!(attempts("acquired").await, 40 - count(&replies, "busy"));
    let released = "locklab_lock_releases_total{lock=\"safe\",outcome=\"released\"}";
    assert_eq!(value(released).await, attempts("acquired").await);
    let holds = "locklab_lock_hold_seconds_count{lock=\"safe\"}";
    assert_eq!(value(holds).await, attempts("acquired").await);
    let waits = "locklab_lock_wait_seconds_count{lock=\"safe\",outcome=\"contended\"}";
    assert_eq!(value(waits).await, attempts("contended").await);
}

/// Overlaps are counted when they begin, and the peak outlasts the race until it is scraped.
#[tokio::test]
async fn overlaps_are_seen() {
    let server = Server::start(&[]);
    let overlaps = "locklab_critical_section_overlaps_total";
    for lock in ["safe", "none"] {
        server.reset("p", 5).await;
        server.race(20, &format!("product=p&lock={lock}&retry=notify&delay=5ms")).await;
        let peak =
            server.metric(&format!("locklab_critical_sections_peak{{lock=\"{lock}\"}}")).await;
        let overlaps = server.metric(&format!("{overlaps}{{lock=\"{lock}\"}}")).await;
        if lock == "safe" {
            assert_eq!((peak, overlaps), (1.0, 0.0));
        } else {
            assert!(peak > 1.0 && overlaps >= peak - 1.0, "{peak} at once, {overlaps} overlaps");
        }
        let inside = format!("locklab_critical_sections{{lock=\"{lock}\"}}");
        until("nobody is inside", async || server.metric(&inside).await == 0.0).await;
    }
    let handoffs = server.metric("locklab_lock_handoff_seconds_count{lock=\"safe\"}").await;
    assert!(handoffs >= 4.0, "{handoffs} handoffs among 20 buyers who wait");
}

/// A reply that was lost leaves an acquire that nobody knows the end of; a pause is seen while it
/// lasts.
#[tokio::test]
async fn faults_are_seen() {
    let server = Server::start(&[]);
    server.post("/purchase?lock=safe&fault=drop-reply@acquire").await;
    let ambiguous = "locklab_lock_ambiguous_acquires_total{lock=\"safe\"}";
    assert_eq!(server.metric(ambiguous).await, 1.0);
    let active = "locklab_faults_active{fault=\"pause\"}";
    let seen = until("the pause is seen", async || server.metric(active).await == 1.0);
    tokio::join!(server.post("/purchase?lock=none&fault=pause:1s@work"), seen);
    until("it has ended", async || server.metric(active).await == 0.0).await;
}

/// Redis says how many keys it has thrown away; those from before the server came are no news.
#[tokio::test]
async fn evictions_are_counted() {
    let redis = Redis::start().await;
    let evict = async || {
        redis.send::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]).await;
        redis.send::<()>(&["SET", "bulky", &"x".repeat(1 << 20)]).await;
        redis.send::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
        redis.send::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    };
    evict().await;
    let server = Server::start(&["--redis-url", &redis.url(), "--stock", "0"]);
    let evicted = "locklab_backend_evicted_keys_total{backend=\"redis\"}";
    assert_eq!(server.metric(evicted).await, 0.0);
    evict().await;
    until("the eviction is counted", async || server.metric(evicted).await > 0.0).await;
}

/// A client that hangs up gets no response, and is in the numbers all the same: as 499. What it
/// wanted goes on.
#[tokio::test]
async fn clients_that_hang_up_are_counted() {
    let server = Server::start(&[]);
    let requests = async |route: &str, status: u16| {
        let name = "http_server_request_duration_seconds_count";
        let labels = format!(
            "http_request_method=\"POST\",http_route=\"{route}\",http_response_status_code=\"{status}\""
        );
        server.metric(&format!("{name}{{{labels}}}")).await
    };
    assert_eq!((requests("/purchase", 499).await, requests("/reset", 499).await), (0.0, 0.0));
    let under_way = async || server.metric("locklab_requests_in_flight").await == 1.0;
    tokio::select! {
        reply = server.request(Method::POST, "/purchase?delay=3s").send() => panic!("too soon: {reply:?}"),
        () = until("it is under way", under_way) => {}
    }
    until("its client has gone", async || requests("/purchase", 499).await == 1.0).await;
    let sold = "locklab_purchases_total{lock=\"safe\",outcome=\"sold\"}";
    until("it is sold", async || server.metric(sold).await == 1.0).await;
    server.post("/purchase").await;
    assert_eq!((requests("/purchase", 499).await, requests("/purchase", 200).await), (1.0, 1.0));
}

/// Label values come from fixed lists: whatever is requested opens no new series.
#[tokio::test]
async fn requests_open_no_series() {
    let server = Server::start(&[]);
    let names = async || -> BTreeSet<String> {
        let text = server.get("/metrics").await.text;
        let series = text.lines().filter(|line| !line.starts_with('#'));
        series.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
    };
    server.get("/nothing").await;
    let before = names().await;
    for path in ["/nothing/else", "/stock/a", "/stock/b", "/purchase?product=c", "/%20"] {
        server.get(path).await;
    }
    for status_twice in ["/purchase", "/reset?product=d"] {
        server.post(status_twice).await;
    }
    assert_eq!(names().await.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[tokio::test]
async fn in_flight_falls_back_to_zero() {
    let server = Server::start(&[]);
    server.race(10, "lock=none").await;
    let gauge = "locklab_requests_in_flight";
    until("nothing is in flight", async || server.metric(gauge).await == 0.0).await;
}
