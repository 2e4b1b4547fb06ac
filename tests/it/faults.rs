//! Faults on demand: each failure of the strategies, every time, not by luck.

use locklab::strategy::table::STRATEGIES;
use reqwest::StatusCode;

use crate::{
    redis_server::Redis,
    server::{Reply, Server, until},
};

async fn start() -> (Redis, Server) {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url(), "--command-timeout", "200ms"]);
    (redis, server)
}

/// Every strategy takes a fault at each of its steps, and the server outlives them all.
#[tokio::test]
async fn every_step_can_be_struck() {
    let server = Server::full(&["--command-timeout", "200ms"]).await;
    for strategy in STRATEGIES {
        let name = strategy.name;
        for step in strategy.steps.iter().map(|step| step.name()) {
            server.reset(name, 9).await;
            let buy = format!("/purchase?product={name}&lock={name}&fault");
            let paused = server.post(&format!("{buy}=pause:50ms@{step}")).await;
            assert_eq!(paused.outcome(), "sold", "{name} pauses at {step}");
            assert!(paused.json["duration_ms"].as_f64().unwrap() >= 50.0, "{}", paused.text);
            let crashed = server.post(&format!("{buy}=crash@{step}&ttl=500ms")).await;
            if name == "queue" && step != "enqueue" {
                // It is the consumer that dies there; the next one serves the ticket.
                assert_eq!(crashed.outcome(), "sold", "{step}: {}", crashed.text);
                continue;
            }
            assert_eq!(crashed.status, StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(crashed.outcome(), "error", "{name} crashes at {step}");
            assert!(crashed.json["detail"].as_str().unwrap().contains(step), "{}", crashed.text);
        }
    }
    let crashes: usize = STRATEGIES.iter().map(|it| it.steps.len()).sum();
    let series = "locklab_faults_injected_total{fault=\"crash\"}";
    assert_eq!(server.metric(series).await, crashes as f64);
}

/// A crash while the lock is held: with `safe` it ends with its ttl, with `naive` that crashed
/// between its two commands it never does.
#[tokio::test]
async fn a_crash_leaves_the_lock_to_its_ttl() {
    let (redis, server) = start().await;
    server.reset("p", 1).await;
    let buy = "/purchase?product=p&ttl=1s&lock";
    server.post(&format!("{buy}=safe&fault=crash@after-acquire")).await;
    let left: i64 = redis.send(&["PTTL", "lock:p"]).await;
    assert!((1..=1_000).contains(&left), "{left} ms left");
    assert_eq!(server.post(&format!("{buy}=safe")).await.outcome(), "busy");
    let orphans = "locklab_lock_orphans_total{lock=\"safe\",cause=\"crash\"}";
    assert_eq!(server.metric(orphans).await, 1.0);
    until("the ttl frees it", async || !redis.is_locked("p").await).await;
    assert_eq!(server.post(&format!("{buy}=safe")).await.outcome(), "sold");

    server.reset("p", 1).await;
    server.post(&format!("{buy}=naive&fault=crash@between-setnx-and-expire")).await;
    let left: i64 = redis.send(&["PTTL", "lock:p"]).await;
    assert_eq!(left, -1, "naive was not caught stuck for ever");
    assert_eq!(server.post(&format!("{buy}=naive")).await.outcome(), "busy");
}

/// A pause longer than the ttl: the ghost wakes up and writes, and both buyers sell the one unit.
#[tokio::test]
async fn a_pause_longer_than_the_ttl_oversells() {
    let (redis, server) = start().await;
    for lock in ["safe", "naive"] {
        server.reset(lock, 1).await;
        let buy = format!("/purchase?product={lock}&lock={lock}");
        let ghost = format!("{buy}&ttl=100ms&fault=pause:2s@before-write");
        let next = async {
            until("the ghost has the lock", async || server.attempts(lock).await > 0.0).await;
            until("its lease has run out", async || !redis.is_locked(lock).await).await;
            server.post(&buy).await
        };
        let (ghost, next) = tokio::join!(server.post(&ghost), next);
        assert_eq!((ghost.outcome(), next.outcome()), ("sold", "sold"), "{lock}");
        assert_eq!(ghost.json["ttl_violated"], true, "{lock}: {}", ghost.text);
        assert_eq!(server.audit(lock).await["oversold"], 1, "{lock} was not caught overselling");
    }
}

/// The same ghosts, by work and by pause, before their write and before they have raised the bar:
/// with fencing, they are refused, whoever came in between.
#[tokio::test]
async fn a_fenced_ghost_is_refused() {
    let (redis, server) = start().await;
    for ghostly in ["delay=2s", "fault=pause:2s@before-write", "fault=pause:2s@raise-bar"] {
        server.reset("p", 2).await;
        let buy = "/purchase?product=p&lock=fenced";
        let ghost = format!("{buy}&ttl=100ms&{ghostly}");
        let before = server.attempts("fenced").await;
        let next = async {
            let is_held = async || server.attempts("fenced").await > before;
            until("the ghost has the lock", is_held).await;
            until("its lease has run out", async || !redis.is_locked("p").await).await;
            server.post(buy).await
        };
        let (ghost, next) = tokio::join!(server.post(&ghost), next);
        assert_eq!((ghost.outcome(), next.outcome()), ("fenced", "sold"), "{ghostly}");
        let token = |reply: &Reply| reply.json["fencing_token"].as_u64().unwrap();
        assert!(token(&ghost) < token(&next), "{} before {}", ghost.text, next.text);
        let audit = server.audit("p").await;
        assert_eq!((&audit["sold"], &audit["ok"]), (&1.into(), &true.into()), "{ghostly}");
        let strict = server.post(&format!("{buy}&strict=true")).await;
        assert_eq!(strict.outcome(), "sold");
    }
    assert_eq!(server.metric("locklab_fencing_rejections_total{lock=\"fenced\"}").await, 3.0);
}

/// A ghost that nobody has followed is late, and harms nobody: its write is not refused.
#[tokio::test]
async fn a_fenced_ghost_without_a_follower_may_write() {
    let (_redis, server) = start().await;
    server.reset("p", 1).await;
    let reply = server.post("/purchase?product=p&lock=fenced&ttl=50ms&delay=300ms").await;
    assert_eq!((reply.outcome(), &reply.json["ttl_violated"]), ("sold", &true.into()));
    assert_eq!(server.audit("p").await["ok"], true);
}

/// Fencing tokens grow with each grant, across resets, and their counter never expires.
#[tokio::test]
async fn fencing_tokens_only_grow() {
    let (redis, server) = start().await;
    let mut last = 0;
    for _ in 0..3 {
        server.reset("p", 3).await;
        for _ in 0..3 {
            let reply = server.post("/purchase?product=p&lock=fenced").await;
            let token = reply.json["fencing_token"].as_u64().unwrap();
            assert!(token > last, "{token} after {last}");
            last = token;
        }
    }
    let ttl: i64 = redis.send(&["TTL", "fence:p"]).await;
    assert_eq!(ttl, -1);
}

/// An acquire whose reply is dropped has made this claim the holder: it is released by its token.
#[tokio::test]
async fn a_dropped_reply_to_an_acquire() {
    let (redis, server) = start().await;
    server.reset("p", 1).await;
    let buy = "/purchase?product=p&lock=safe&ttl=600s";
    let reply = server.post(&format!("{buy}&fault=drop-reply@acquire")).await;
    assert_eq!((reply.status, reply.outcome()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
    until("the lock is free", async || !redis.is_locked("p").await).await;
    assert_eq!(server.post(buy).await.outcome(), "sold");
}

/// A write whose reply is dropped has sold the unit: the buyer is told that it is unknown, the
/// ledger knows, and the lease is not given to the next one early.
#[tokio::test]
async fn a_dropped_reply_to_a_write() {
    let (redis, server) = start().await;
    server.reset("p", 1).await;
    let buy = "/purchase?product=p&lock=safe&ttl=600s&fault=drop-reply@write";
    let reply = server.post(buy).await;
    assert_eq!((reply.status, reply.outcome()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
    assert!(reply.json["detail"].as_str().unwrap().contains("unknown"), "{}", reply.text);
    let audit = server.audit("p").await;
    assert_eq!((&audit["sold"], &audit["ok"]), (&1.into(), &true.into()));
    assert!(redis.is_locked("p").await, "the write might still have been on its way");
    let taken = server.post("/purchase?product=p&lock=atomic&fault=drop-reply@take").await;
    assert_eq!(taken.outcome(), "unavailable");
}

/// A release whose reply is dropped has ended the lease: nobody needs to wait, and nobody else's
/// lock is freed by the second try.
#[tokio::test]
async fn a_dropped_reply_to_a_release() {
    let (redis, server) = start().await;
    server.reset("p", 1).await;
    let reply = server.post("/purchase?product=p&lock=safe&fault=drop-reply@release").await;
    assert_eq!(reply.outcome(), "sold");
    let unknown = "locklab_lock_releases_total{lock=\"safe\",outcome=\"unknown\"}";
    assert_eq!(server.metric(unknown).await, 1.0);
    let () = redis.send(&["SET", "lock:p", "a stranger"]).await;
    let releases = "locklab_backend_request_duration_seconds_count\
                    {backend=\"redis\",op=\"release\",outcome=\"ok\"}";
    let before = server.metric(releases).await;
    until("it is tried again", async || server.metric(releases).await > before).await;
    assert!(redis.is_locked("p").await);
}

/// A crash of somebody who does not hold the mutex frees nobody's.
#[tokio::test]
async fn a_bystander_that_crashes_frees_nothing() {
    let (_redis, server) = start().await;
    server.reset("p", 9).await;
    let holder = server.post("/purchase?product=p&lock=mutex&delay=2s");
    let others = async {
        let reads = "locklab_backend_request_duration_seconds_count\
                     {backend=\"redis\",op=\"read\",outcome=\"ok\"}";
        until("somebody holds it", async || server.metric(reads).await >= 1.0).await;
        server.post("/purchase?product=p&lock=mutex&fault=crash@acquire").await;
        server.post("/purchase?product=p&lock=mutex").await
    };
    let (holder, other) = tokio::join!(holder, others);
    assert_eq!((holder.outcome(), other.outcome()), ("sold", "busy"));
}

/// Once a product is sold under fencing tokens, a blind write without one is refused: it could be
/// anybody's, also that of a ghost of another strategy.
#[tokio::test]
async fn a_fenced_product_refuses_writes_without_a_token() {
    let (_redis, server) = start().await;
    server.reset("p", 9).await;
    assert_eq!(server.post("/purchase?product=p&lock=fenced").await.outcome(), "sold");
    assert_eq!(server.post("/purchase?product=p&lock=safe").await.outcome(), "fenced");
    server.reset("p", 9).await;
    assert_eq!(server.post("/purchase?product=p&lock=safe").await.outcome(), "sold");
}

/// Several faults of one purchase, from the query or as an array in the body.
#[tokio::test]
async fn several_faults() {
    let (_redis, server) = start().await;
    server.reset("p", 2).await;
    let query = "/purchase?product=p&fault=pause:50ms@read&fault=pause:50ms@write";
    let body =
        serde_json::json!({"product": "p", "fault": ["pause:50ms@read", "pause:50ms@write"]});
    for reply in [server.post(query).await, server.post_json("/purchase", &body).await] {
        assert_eq!(reply.outcome(), "sold");
        assert!(reply.json["duration_ms"].as_f64().unwrap() >= 100.0, "{}", reply.text);
    }
    assert_eq!(server.metric("locklab_faults_injected_total{fault=\"pause\"}").await, 4.0);
}
