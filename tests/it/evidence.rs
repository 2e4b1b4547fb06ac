//! Histories and verdicts of real purchases: what is recorded, and what is made of it, across servers.

use locklab::strategy::{Expected, Family, table::STRATEGIES};
use locklab_locks::step::Step;
use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::{
    redis_server::Redis,
    server::{Server, count, until},
};

async fn two_servers() -> (Redis, [Server; 2]) {
    let redis = Redis::start().await;
    let servers = ["a", "b"].map(|_| Server::start(&["--redis-url", &redis.url()]));
    (redis, servers)
}

/// What was recorded, line by line.
async fn history(server: &Server, product: &str) -> Vec<Value> {
    let reply = server.get(&format!("/history/{product}")).await;
    assert_eq!(reply.header("content-type"), "application/jsonl");
    reply.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn types(history: &[Value]) -> Vec<&str> {
    history.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

fn overlaps(audit: &Value) -> [u64; 3] {
    ["grants", "beliefs", "effects"].map(|kind| audit["overlaps"][kind].as_u64().unwrap())
}

/// Recording what others did is no change of the stock: nobody's transaction fails of it.
#[tokio::test]
async fn records_are_no_conflict() {
    let server = Server::start(&[]);
    server.reset("p", 5).await;
    let (buyer, other) = tokio::join!(
        server.post("/purchase?product=p&lock=optimistic&delay=500ms"),
        server.post("/purchase?product=p&lock=safe&fault=crash@read"),
    );
    assert_eq!(other.outcome(), "error", "it changes nothing, and is recorded");
    assert_eq!(buyer.outcome(), "sold");
}

/// A sale step by step, whatever the strategy; the reply names the order that the history is about.
#[tokio::test]
async fn a_purchase_is_recorded_step_by_step() {
    let server = Server::full(&[]).await;
    for strategy in STRATEGIES {
        let name = strategy.name;
        server.reset(name, 5).await;
        let reply = server.post(&format!("/purchase?product={name}&lock={name}&quantity=2")).await;
        let events = history(&server, name).await;
        let expected: &[&str] = match (strategy.family, name) {
            (Family::Lock, _) | (_, "queue") => {
                &["invoke", "granted", "read", "written", "released", "ok"]
            }
            _ if strategy.steps.contains(&Step::Read) => &["invoke", "read", "written", "ok"],
            _ => &["invoke", "written", "ok"],
        };
        assert_eq!(types(&events), expected, "{name}");
        for event in &events {
            assert_eq!(event["order_id"], reply.json["order_id"], "{name}");
            assert_eq!(event["lock"], name);
        }
        let written = events.iter().find(|event| event["type"] == "written").unwrap();
        assert_eq!((&written["quantity"], &written["stock"]), (&2.into(), &3.into()), "{name}");
        assert_eq!(written["fencing_token"], reply.json["fencing_token"], "{name}");
        let mut last = 0;
        for event in &events {
            let at = event["at_ns"].as_u64().unwrap();
            assert!(at >= last && event["since_ns"].as_u64().unwrap_or(at) <= at, "{event}");
            last = at;
        }
        let audit = server.audit(name).await;
        assert_eq!((&audit["ok"], &audit["events"]), (&true.into(), &expected.len().into()));
        assert_eq!((overlaps(&audit), &audit["unknown"]), ([0, 0, 0], &0.into()), "{audit}");
        assert_eq!(audit["gaps"], Value::Array(Vec::new()), "{name}");
    }
}

/// A ghost at one server, the next holder at another: their beliefs overlap whatever the lock. What
/// the store let them do is what distinguishes locks.
#[tokio::test]
async fn beliefs_overlap_across_servers() {
    let (redis, [here, there]) = two_servers().await;
    for (lock, ok) in [("safe", false), ("naive", false), ("fenced", true)] {
        here.reset(lock, 9).await;
        let buy = format!("/purchase?product={lock}&lock={lock}");
        let ghost = format!("{buy}&ttl=200ms&fault=pause:3s@before-write");
        let next = async {
            until("the ghost has the lock", async || here.attempts(lock).await > 0.0).await;
            until("its lease has run out", async || !redis.is_locked(lock).await).await;
            there.post(&buy).await
        };
        let (ghost, next) = tokio::join!(here.post(&ghost), next);
        let ghost_ends = if ok { "fenced" } else { "sold" };
        assert_eq!((ghost.outcome(), next.outcome()), (ghost_ends, "sold"), "{lock}");
        for server in [&here, &there] {
            let audit = server.audit(lock).await;
            let effects = u64::from(!ok);
            assert_eq!((&audit["ok"], overlaps(&audit)), (&ok.into(), [0, 1, effects]), "{audit}");
            let evidence = audit["evidence"].as_array().unwrap();
            assert!(evidence.iter().any(|line| line.as_str().unwrap().starts_with("beliefs")));
        }
        let servers: std::collections::BTreeSet<String> =
            history(&here, lock).await.iter().map(|event| event["server"].to_string()).collect();
        assert_eq!(servers.len(), 2, "{lock}: both servers recorded");
    }
}

/// A mutex promises to two servers' buyers that each is alone: its grants overlap.
#[tokio::test]
async fn grants_of_two_mutexes_overlap() {
    let (_redis, [here, there]) = two_servers().await;
    here.reset("p", 9).await;
    let buy = "/purchase?product=p&lock=mutex&delay=1s";
    let (one, other) = tokio::join!(here.post(buy), there.post(buy));
    assert_eq!((one.outcome(), other.outcome()), ("sold", "sold"));
    // Each brings to the store what it has recorded when it is asked.
    here.audit("p").await;
    let audit = there.audit("p").await;
    assert_eq!((&audit["ok"], overlaps(&audit)), (&false.into(), [1, 1, 1]), "{audit}");
}

/// Fifty buyers at once: what the ledger says of a race, its history says as well.
#[tokio::test]
async fn the_history_agrees_with_the_ledger() {
    let server = Server::full(&[]).await;
    for strategy in STRATEGIES {
        let name = strategy.name;
        server.reset(name, 10).await;
        let delay = if strategy.expected == Expected::Oversells { "200ms" } else { "1ms" };
        let query = format!("product={name}&lock={name}&delay={delay}&retry=jitter&base=5ms");
        let replies = server.race(50, &query).await;
        let events = history(&server, name).await;
        let ended = |how: &str| events.iter().filter(|event| event["type"] == how).count();
        assert_eq!(ended("invoke"), 50, "{name}");
        assert_eq!(ended("ok"), count(&replies, "sold"), "{name}");
        assert_eq!(ended("ok") + ended("fail"), 50, "{name}: nothing is unknown");
        let audit = server.audit(name).await;
        let is_exact = strategy.expected != Expected::Oversells;
        assert_eq!(audit["ok"], is_exact, "{audit}");
        assert_eq!(overlaps(&audit)[2] == 0, is_exact, "{audit}");
        assert_eq!(overlaps(&audit)[..2], [0, 0], "nobody was promised to be alone: {audit}");
        assert_eq!(audit["gaps"], Value::Array(Vec::new()), "{name}");
    }
}

/// A lost reply and a killed server are unknown, and the verdict holds either way.
#[tokio::test]
async fn unknown_is_not_failed() {
    let (redis, [dying, other]) = two_servers().await;
    other.reset("p", 9).await;
    let lost = other.post("/purchase?product=p&lock=safe&ttl=100ms&fault=drop-reply@write").await;
    assert_eq!(lost.outcome(), "unavailable");
    let audit = other.audit("p").await;
    assert_eq!((&audit["unknown"], &audit["sold"]), (&1.into(), &1.into()), "{audit}");
    assert_eq!(audit["ok"], true, "it was sold, and nobody was told otherwise: {audit}");
    until("the lease has ended", async || !redis.is_locked("p").await).await;
    let path = "/purchase?product=p&lock=safe&delay=60s";
    let kill = async {
        let granted = async || {
            let events = history(&other, "p").await;
            events.iter().filter(|event| event["type"] == "granted").count() == 2
        };
        until("its grant is recorded", granted).await;
        dying.signal(Signal::SIGKILL);
    };
    let (dead, ()) = tokio::join!(dying.request(Method::POST, path).send(), kill);
    assert!(dead.is_err(), "the server died");
    let audit = other.audit("p").await;
    assert_eq!((&audit["unknown"], &audit["ok"]), (&2.into(), &true.into()), "{audit}");
}

/// A store that loses a sale which a buyer was told of is found out.
#[tokio::test]
async fn a_lost_sale_is_found() {
    let (redis, [server, _]) = two_servers().await;
    server.reset("p", 9).await;
    assert_eq!(server.post("/purchase?product=p&lock=safe").await.outcome(), "sold");
    assert_eq!(server.audit("p").await["ok"], true);
    // As after a failover to a replica that had not heard of it.
    let () = redis.send(&["HSET", "ledger:p", "sold", "0"]).await;
    let () = redis.send(&["SET", "inventory:p", "9"]).await;
    let audit = server.audit("p").await;
    assert_eq!(audit["ok"], false, "{audit}");
    assert!(audit["evidence"][0].as_str().unwrap().starts_with("lost sales"), "{audit}");
}

/// The history is bounded, and says what it has dropped; with `--history 0`, there is none.
#[tokio::test]
async fn the_history_is_bounded() {
    let server = Server::start(&["--history", "5"]);
    server.reset("p", 100).await;
    for _ in 0..12 {
        assert_eq!(server.post("/purchase?product=p&lock=atomic").await.outcome(), "sold");
    }
    let audit = server.audit("p").await;
    assert_eq!((&audit["ok"], &audit["sold"]), (&true.into(), &12.into()), "{audit}");
    assert!(audit["gaps"][0].as_str().unwrap().contains("7 of its records"), "{audit}");
    assert_eq!(history(&server, "p").await.len(), 5 * 3);
    server.reset("p", 100).await;
    assert!(history(&server, "p").await.is_empty(), "a reset starts afresh");
    let silent = Server::start(&["--history", "0"]);
    silent.reset("p", 9).await;
    assert_eq!(silent.post("/purchase?product=p&lock=safe").await.outcome(), "sold");
    assert!(history(&silent, "p").await.is_empty());
    assert_eq!(silent.audit("p").await["ok"], true);
}

/// The number of histories is bounded. While all of them are in use, there is none for another
/// product, and its verdict says so; when one has rested, its place is taken.
#[tokio::test]
async fn histories_are_bounded_in_number() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    let buy = async |product: usize| {
        server.reset(&format!("p{product}"), 9).await;
        server.post(&format!("/purchase?product=p{product}&lock=atomic")).await;
        history(&server, &format!("p{product}")).await.len()
    };
    for product in 0..100 {
        assert_eq!(buy(product).await, 3, "p{product}");
    }
    // All were used just now, whatever the time.
    let () = redis
        .send(&[
            "EVAL",
            "for _, h in ipairs(redis.call('ZRANGE', 'histories', 0, -1)) do \
        redis.call('ZADD', 'histories', redis.call('TIME')[1], h) end",
            "0",
        ])
        .await;
    assert_eq!(buy(100).await, 0);
    let gap = server.audit("p100").await["gaps"][0].to_string();
    assert!(gap.contains("1 of its records"), "{gap}");
    let () = redis.send(&["ZADD", "histories", "0", "history:p7"]).await;
    assert_eq!(buy(101).await, 3);
    let kept: Vec<String> = redis.send(&["KEYS", "history:*"]).await;
    assert_eq!((kept.len(), kept.contains(&"history:p7".to_owned())), (100, false));
}

/// What other checkers read: one operation per line, each with at most one completion.
#[tokio::test]
async fn a_history_for_other_checkers() {
    let server = Server::start(&[]);
    server.reset("p", 9).await;
    server.race(5, "product=p&lock=fenced&retry=notify").await;
    let reply = server.get("/history/p?format=edn").await;
    assert_eq!(reply.header("content-type"), "application/edn");
    let operations: Vec<edn_format::Value> =
        reply.text.lines().map(|line| edn_format::parse_str(line).unwrap()).collect();
    let of_type = |name: &str| {
        let types = operations.iter().map(|operation| {
            let edn_format::Value::Map(operation) = operation else { panic!("{operation:?}") };
            let key = edn_format::Value::Keyword(edn_format::Keyword::from_name("type"));
            operation[&key] == edn_format::Value::Keyword(edn_format::Keyword::from_name(name))
        });
        types.filter(|is| *is).count()
    };
    assert_eq!((of_type("invoke"), of_type("fail"), of_type("info")), (25, 0, 0), "five each");
    assert_eq!(of_type("ok"), 25);
    let bad = server.get("/history/p?format=xml").await;
    assert_eq!((bad.status, &bad.json["parameter"]), (StatusCode::BAD_REQUEST, &"format".into()));
    assert_eq!(server.get("/history/never").await.status, StatusCode::NOT_FOUND);
}

/// A lease whose release was left to others is not held against the lock service.
#[tokio::test]
async fn a_lease_that_was_given_up_overlaps_nobody() {
    let server = Server::start(&["--command-timeout", "200ms"]);
    for (lock, step) in [("fenced", "raise-bar"), ("safe", "release")] {
        server.reset(lock, 9).await;
        let buy = format!("/purchase?product={lock}&lock={lock}&ttl=60s");
        server.post(&format!("{buy}&fault=drop-reply@{step}")).await;
        let next = server.post(&format!("{buy}&retry=notify&wait=60s")).await;
        assert_eq!(next.outcome(), "sold", "{lock}: {}", next.text);
        let audit = server.audit(lock).await;
        assert_eq!((&audit["ok"], overlaps(&audit)), (&true.into(), [0, 0, 0]), "{audit}");
    }
}
