//! The log: quiet while all is well, a line for each purchase that failed or was slow.

use std::io::Read;

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::Value;

use crate::server::Server;

/// Stops the server and returns what it has logged.
async fn log(mut server: Server) -> String {
    let mut log = server.log.take().unwrap();
    server.signal(Signal::SIGTERM);
    server.ended().await;
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    text
}

/// The same, of what is said about purchases, parsed.
async fn purchases(server: Server) -> Vec<Value> {
    let text = log(server).await;
    let parse = |line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}"));
    let lines = text.lines().map(parse);
    lines.filter(|line| line["message"].as_str().unwrap().contains("purchase")).collect()
}

fn json(arguments: &[&str]) -> Server {
    Server::start_unread(&[&["--log-format", "json"], arguments].concat())
}

/// Losing the race is no failure, and breaking the stock is what some strategies are there for.
#[tokio::test]
async fn quiet_while_all_is_well() {
    let server = json(&["--log-slow", "60s"]);
    for query in ["lock=none", "lock=safe&ttl=1ms&delay=5ms", "lock=optimistic", "lock=queue"] {
        server.race(30, query).await;
    }
    server.post("/purchase?product=absent").await;
    server.post("/purchase?quantity=many").await;
    assert_eq!(purchases(server).await, Vec::<Value>::new());
}

#[tokio::test]
async fn who_fails_is_logged_with_the_reason() {
    let server = json(&[]);
    let request = server.request(Method::POST, "/purchase?lock=safe&fault=crash@work");
    server.exchange(request.header("x-run-id", "night.7")).await;
    let lines = purchases(server).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = &lines[0];
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["message"], "a purchase failed");
    assert_eq!(line["lock"], "safe");
    assert_eq!(line["product"], "default");
    assert_eq!(line["outcome"], "error");
    assert_eq!(line["run_id"], "night.7");
    assert!(line["reason"].as_str().unwrap().contains("work"), "{line}");
    assert!(line["duration_ms"].is_number() && line["order_id"].is_string(), "{line}");
}

#[tokio::test]
async fn who_is_slow_is_logged() {
    let server = json(&["--log-slow", "50ms"]);
    server.post("/purchase?lock=safe&delay=60ms").await;
    let lines = purchases(server).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["level"], &lines[0]["outcome"]), (&"INFO".into(), &"sold".into()));
    assert!(lines[0]["work_ms"].as_f64().unwrap() >= 60.0, "{lines:?}");
    assert_eq!(lines[0].get("reason"), None);
}

/// A flood of failures is a handful of lines, and says how many there were besides.
#[tokio::test]
async fn a_flood_is_bounded() {
    let server = json(&[]);
    server.race(200, "lock=none&fault=crash@read").await;
    let lines = purchases(server).await;
    let unlogged = lines.iter().filter_map(|line| line["unlogged"].as_u64()).sum::<u64>();
    assert!(lines.len() < 200 && lines.len() as u64 + unlogged <= 200, "{} lines", lines.len());
}

/// Where every purchase is slow, the one that fails is logged nevertheless.
#[tokio::test]
async fn slow_purchases_do_not_hide_a_failure() {
    let server = json(&["--log-slow", "0"]);
    server.race(50, "lock=none").await;
    server.post("/purchase?lock=none&fault=crash@read").await;
    let lines = purchases(server).await;
    assert!(lines.iter().any(|line| line["level"] == "WARN"), "{lines:?}");
}

#[tokio::test]
async fn for_people_by_default() {
    let server = Server::start_unread(&[]);
    let request = server.request(Method::POST, "/purchase?lock=none&fault=crash@read");
    server.exchange(request.header("x-run-id", "r-1")).await;
    let text = log(server).await;
    let line = text.lines().find(|line| line.contains("a purchase failed")).unwrap();
    assert!(line.contains("WARN") && line.contains("run_id=\"r-1\""), "{line}");
    assert!(!line.contains('\u{1b}'), "no colours where nobody sees them: {line:?}");
}

/// A run id that would not be safe in a log line is refused.
#[tokio::test]
async fn run_ids_are_checked_and_recorded() {
    let server = Server::start(&[]);
    server.reset("p", 3).await;
    server.reset("queued", 1).await;
    for bad in ["", "a b", "a/b", &"x".repeat(65)] {
        let request = server.request(Method::POST, "/purchase?product=p").header("x-run-id", bad);
        let reply = server.exchange(request).await;
        assert_eq!(reply.status, 400, "{bad}");
        assert_eq!(reply.json["parameter"], "X-Run-Id");
    }
    for lock in ["safe", "optimistic"] {
        let path = format!("/purchase?product=p&lock={lock}");
        let request = server.request(Method::POST, &path).header("x-run-id", lock);
        assert_eq!(server.exchange(request).await.outcome(), "sold");
    }
    server.post("/purchase?product=p&lock=none").await;
    let history = server.get("/history/p").await.text;
    for line in history.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let expected = if line["lock"] == "none" { Value::Null } else { line["lock"].clone() };
        assert_eq!(line["run_id"], expected, "{line}");
    }
    assert_eq!(server.audit("p").await["sold"], 3);
    // Also what the consumer records, which may be another server.
    let request = server.request(Method::POST, "/purchase?product=queued&lock=queue");
    server.exchange(request.header("x-run-id", "q")).await;
    let history = server.get("/history/queued").await.text;
    assert_eq!(history.lines().count(), history.matches("\"run_id\":\"q\"").count(), "{history}");
}
