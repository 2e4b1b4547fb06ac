//! Redis away, hanging, and back: what buyers are told, and that nothing is left behind.

use std::process::Stdio;

use locklab::strategy::{server::Store, table::STRATEGIES};
use reqwest::StatusCode;
use serde_json::json;
use tokio::process::Command;

use crate::{
    proxy::Proxy,
    redis_server::{Farm, Monitor, Redis},
    server::{Server, count, until},
};

/// A Redis that hangs: 503 with Retry-After for every strategy that sells from it, then recovery
/// without a restart.
#[tokio::test]
async fn a_redis_that_hangs() {
    let farm = Farm::start().await;
    let server = farm.server(&[]);
    server.reset("p", 10).await;
    farm.redis.hang();
    for strategy in STRATEGIES.iter().filter(|it| it.store == Store::Redis) {
        let reply = server.post(&format!("/purchase?product=p&lock={}", strategy.name)).await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{}", strategy.name);
        assert_eq!((reply.header("retry-after"), reply.outcome()), ("1", "unavailable"));
    }
    until("readiness says so", async || {
        server.get("/readyz").await.status == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    for path in ["/reset?product=p", "/stock/p", "/audit/p"] {
        let reply = server.get(path).await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(reply.header("retry-after"), "1", "{path}");
    }
    assert_eq!(server.get("/livez").await.status, StatusCode::OK, "alive nevertheless");
    assert_eq!(server.metric("locklab_backend_up{backend=\"redis\"}").await, 0.0);
    let strategies = server.get("/strategies").await.json;
    assert_eq!(strategies["strategies"][0]["available"], false);

    farm.redis.wake();
    until("it recovers", async || server.get("/readyz").await.status == StatusCode::OK).await;
    server.reset("q", 1).await;
    assert_eq!(server.post("/purchase?product=q").await.outcome(), "sold");
}

/// After a few commands without an answer the circuit is open: buyers are told at once, nothing is
/// sent, and the first answer afterwards closes it again.
#[tokio::test]
async fn the_circuit_opens_and_closes() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url(), "--command-timeout", "100ms"]);
    server.reset("p", 10).await;
    let state = async |state: &str| {
        let series = format!("locklab_circuit_state{{backend=\"redis\",state=\"{state}\"}}");
        server.metric(&series).await
    };
    assert_eq!((state("closed").await, state("open").await), (1.0, 0.0));
    redis.hang();
    until("buyers are told that it is open", async || {
        let reply = server.post("/purchase?product=p").await;
        assert_eq!(
            (reply.status, reply.header("retry-after")),
            (StatusCode::SERVICE_UNAVAILABLE, "1")
        );
        reply.json["detail"].as_str().unwrap().contains("circuit is open")
    })
    .await;
    let half_open = "locklab_circuit_transitions_total{backend=\"redis\",to=\"half_open\"}";
    until("it lets somebody through to see", async || {
        server.post("/purchase?product=p").await;
        server.metric(half_open).await >= 1.0
    })
    .await;
    let refused = "locklab_backend_errors_total{backend=\"redis\",kind=\"circuit_open\"}";
    assert!(server.metric(refused).await > 0.0);
    redis.wake();
    until("it sells again", async || {
        server.post("/purchase?product=p").await.json["outcome"] == "sold"
    })
    .await;
    assert_eq!((state("closed").await, state("open").await), (1.0, 0.0));
    for to in ["open", "half_open", "closed"] {
        let series = format!("locklab_circuit_transitions_total{{backend=\"redis\",to=\"{to}\"}}");
        assert!(server.metric(&series).await >= 1.0, "{to}");
    }
    assert_eq!(server.get("/readyz").await.json["backends"][0]["circuit"], "closed");
}

/// An acquire whose reply was lost may hold the lock, even long after: it is released by its token,
/// so that the next buyer need not wait for the ttl.
#[tokio::test]
async fn an_acquire_without_a_reply_leaves_no_lock() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(&redis.url()).await;
    let server = Server::start(&["--redis-url", &proxy.url, "--command-timeout", "100ms"]);
    server.reset("p", 10).await;
    proxy.hold_at("lock:p");
    let reply = server.post("/purchase?product=p&lock=safe&ttl=600s").await;
    assert_eq!(reply.outcome(), "unavailable");
    assert!(reply.json["detail"].as_str().unwrap().starts_with("acquire: "), "{}", reply.text);
    let unknown = "locklab_lock_attempts_total{lock=\"safe\",outcome=\"unknown\"}";
    assert_eq!(server.metric(unknown).await, 1.0);
    let orphans = "locklab_lock_orphans_total{lock=\"safe\",cause=\"unknown\"}";
    assert_eq!(server.metric(orphans).await, 1.0);
    assert!(!redis.is_locked("p").await, "nothing has arrived yet");
    proxy.pass();
    until("the next buyer is served", async || {
        server.get("/purchase?product=p&lock=safe").await.json["outcome"] == "sold"
    })
    .await;
    until("no key is left", async || !redis.is_locked("p").await).await;
}

/// One that arrives only after Redis has said that nothing is held: it is asked again. Over pooled
/// connections, for on a shared one the undo stays behind the acquire.
#[tokio::test]
async fn an_acquire_that_lands_after_its_undo_leaves_no_lock() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(&redis.url()).await;
    let server = Server::start(&["--redis-url", &proxy.url, "--redis-mode", "pooled"]);
    for (lock, acquire) in [("safe", "NX"), ("watchdog", "NX"), ("fenced", "fence:")] {
        server.reset(lock, 2).await;
        let buy = format!("/purchase?product={lock}&lock={lock}&ttl=600s");
        assert_eq!(server.post(&buy).await.outcome(), "sold", "and Redis knows the scripts");
        let undone = "locklab_backend_request_duration_seconds_count\
                      {backend=\"redis\",op=\"release\",outcome=\"ok\"}";
        let before = server.metric(undone).await;
        let mut monitor = Monitor::start(&redis).await;
        proxy.hold_at(acquire);
        assert_eq!(server.post(&buy).await.outcome(), "unavailable", "{lock}");
        until("it is undone", async || server.metric(undone).await > before).await;
        proxy.pass();
        until("it lands", async || {
            let named = monitor.named(&redis, lock).await;
            named.iter().any(|line| line.contains("\"SET\""))
        })
        .await;
        until("no lock is left", async || !redis.is_locked(lock).await).await;
    }
}

/// A Redis that hangs during the work: the buyer is told at once, and the lease is released later.
#[tokio::test]
async fn a_redis_that_hangs_while_a_lease_is_held() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url(), "--command-timeout", "100ms"]);
    server.reset("p", 1).await;
    let reads = "locklab_backend_request_duration_seconds_count\
                 {backend=\"redis\",op=\"read\",outcome=\"ok\"}";
    let hang = async {
        until("the buyer works", async || server.metric(reads).await == 1.0).await;
        redis.hang();
    };
    let path = "/purchase?product=p&lock=safe&ttl=600s&delay=2s";
    let (reply, ()) = tokio::join!(server.post(path), hang);
    assert_eq!((reply.status, reply.outcome()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
    assert!(reply.json["detail"].as_str().unwrap().starts_with("write: "), "{}", reply.text);
    redis.wake();
    until("the lock is free", async || !redis.is_locked("p").await).await;
    // The write had been sent: it may stand, and the ledger says whether it does.
    let audit = server.audit("p").await;
    let sold = audit["sold"].as_i64().unwrap();
    assert_eq!((&audit["ok"], &audit["stock"]), (&json!(true), &json!(1 - sold)));
}

/// A server whose Redis is not there starts nevertheless, and sells once it comes.
#[tokio::test]
async fn a_redis_that_comes_later() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Server::start(&["--redis-url", &format!("redis://127.0.0.1:{port}")]);
    let reply = server.post("/purchase").await;
    assert_eq!((reply.status, reply.outcome()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
    let redis = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--save", "", "--bind", "127.0.0.1"])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until("it is ready", async || server.get("/readyz").await.status == StatusCode::OK).await;
    // The product that newcomers buy is on sale then, too.
    until("there is something to buy", async || {
        server.post("/purchase").await.status == StatusCode::OK
    })
    .await;
    drop(redis);
}

/// Why a Redis does not let us in is said, not only that it does not.
#[tokio::test]
async fn a_wrong_password_is_named() {
    let redis = Redis::start().await;
    let () = redis.send(&["CONFIG", "SET", "requirepass", "right"]).await;
    let url = redis.url().replace("redis://", "redis://:wrong@");
    let server = Server::start(&["--redis-url", &url]);
    let reply = server.post("/purchase").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    let detail = reply.json["detail"].as_str().unwrap();
    assert!(detail.to_lowercase().contains("password"), "{detail}");
    assert!(!detail.contains("wrong@") && !detail.contains("right"), "{detail}");
}

/// A Redis that restarts has forgotten its scripts: they are loaded again, and a purchase is not
/// failed for it.
#[tokio::test]
async fn forgotten_scripts_are_loaded_again() {
    let farm = Farm::start().await;
    let server = farm.server(&[]);
    for lock in STRATEGIES.iter().map(|row| row.name) {
        server.reset(lock, 1).await;
        let () = farm.redis.send(&["SCRIPT", "FLUSH", "SYNC"]).await;
        let reply = server.post(&format!("/purchase?product={lock}&lock={lock}")).await;
        assert_eq!(reply.outcome(), "sold", "{lock}: {}", reply.text);
    }
}

/// A Redis that refuses (here: a stock that is no number) is an error of the server, not a
/// sold-out shop and not an outage.
#[tokio::test]
async fn a_refusal_is_an_error() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    server.reset("p", 10).await;
    let () = redis.send(&["SET", "inventory:p", "plenty"]).await;
    for lock in ["safe", "atomic"] {
        let reply = server.post(&format!("/purchase?product=p&lock={lock}")).await;
        assert_eq!((reply.status, reply.outcome()), (StatusCode::INTERNAL_SERVER_ERROR, "error"));
    }
    assert!(!redis.is_locked("p").await, "the lease is released nevertheless");
    let () = redis.send(&["SET", "inventory:p", "10"]).await;
    assert_eq!(server.post("/purchase?product=p&lock=safe").await.outcome(), "sold");
}

/// A stock that stops being a number during the work: nothing is sold, and that is what is said.
#[tokio::test]
async fn a_refused_write_sells_nothing() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    server.reset("p", 10).await;
    let spoil = async {
        until("the buyer has the lock", async || redis.is_locked("p").await).await;
        let reads = "locklab_backend_request_duration_seconds_count\
                     {backend=\"redis\",op=\"read\",outcome=\"ok\"}";
        until("the buyer has read", async || server.metric(reads).await == 1.0).await;
        let () = redis.send(&["SET", "inventory:p", "plenty"]).await;
    };
    let (reply, ()) = tokio::join!(server.post("/purchase?product=p&delay=2s"), spoil);
    assert_eq!((reply.status, reply.outcome()), (StatusCode::INTERNAL_SERVER_ERROR, "error"));
    let sold: i64 = redis.send(&["HGET", "ledger:p", "sold"]).await;
    assert_eq!(sold, 0);
}

/// Pooled connections sell as exactly as the multiplexed one.
#[tokio::test]
async fn the_pooled_mode_sells_too() {
    let server = Server::start(&["--redis-mode", "pooled", "--redis-pool-size", "3"]);
    server.reset("p", 1).await;
    let replies = server.race(50, "product=p&lock=safe").await;
    assert_eq!(count(&replies, "sold"), 1);
    let pool = "locklab_pool_wait_seconds_count{backend=\"redis\"}";
    assert!(server.metric(pool).await > 0.0, "connections were checked out");
}
