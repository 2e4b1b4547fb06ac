//! Wait policies against a real lock: losers come back, in time, and not for nobody.

use locklab::wait::Policy;
use reqwest::Method;
use strum::VariantArray;

use crate::{
    redis_server::Redis,
    server::{Server, count, until},
};

/// With every policy but `none`, as many buyers as there are units all get one in the end.
#[tokio::test]
async fn losers_come_back() {
    const BUYERS: usize = 10;
    let server = Server::start(&[]);
    for policy in Policy::VARIANTS.iter().filter(|policy| **policy != Policy::None) {
        let name = policy.name();
        for lock in ["safe", "mutex", "optimistic"] {
            let product = format!("{lock}-{name}");
            server.reset(&product, BUYERS as u64).await;
            let query = format!(
                "product={product}&lock={lock}&retry={name}&base=5ms&cap=50ms&max_retries=1000&wait=60s"
            );
            let replies = server.race(BUYERS, &query).await;
            assert_eq!(count(&replies, "sold"), BUYERS, "{product}");
            let retries = replies.iter().filter_map(|reply| reply.json["retries"].as_u64());
            assert!(retries.sum::<u64>() > 0, "{product}: somebody had to come back");
        }
        let series =
            format!("locklab_lock_acquisition_retries_count{{lock=\"safe\",retry=\"{name}\"}}");
        assert_eq!(server.metric(&series).await, BUYERS as f64);
    }
    let acquired = "locklab_lock_acquisitions_total{lock=\"safe\",outcome=\"acquired\"}";
    let policies = Policy::VARIANTS.len() - 1;
    assert_eq!(server.metric(acquired).await, (policies * BUYERS) as f64);
}

/// A deadline, and a number of retries, end the wait: the loser is busy, and says how often it
/// tried and how long.
#[tokio::test]
async fn patience_ends() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    server.reset("p", 1).await;
    let () = redis.send(&["SET", "lock:p", "a stranger"]).await;
    let buy = "/purchase?product=p&lock=safe&retry=fixed&base=20ms";
    let reply = server.post(&format!("{buy}&max_retries=3")).await;
    assert_eq!((reply.outcome(), &reply.json["retries"]), ("busy", &3.into()));
    assert!(reply.json["wait_ms"].as_f64().unwrap() >= 60.0, "{}", reply.text);
    let reply = server.post(&format!("{buy}&max_retries=1000&wait=100ms")).await;
    assert_eq!(reply.outcome(), "busy");
    assert!(reply.json["retries"].as_u64().unwrap() < 1000, "{}", reply.text);
    assert_eq!(server.metric("locklab_lock_waiters{lock=\"safe\"}").await, 0.0);
}

/// A client that hangs up while it waits is no longer waited for: it does not buy later.
#[tokio::test]
async fn a_client_that_hangs_up_stops_waiting() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    server.reset("p", 1).await;
    let () = redis.send(&["SET", "lock:p", "a stranger"]).await;
    let path = "/purchase?product=p&lock=safe&retry=fixed&base=50ms&max_retries=1000&wait=60s";
    let waiters = "locklab_lock_waiters{lock=\"safe\"}";
    {
        let request = server.request(Method::POST, path).send();
        let waits = async || server.metric(waiters).await == 1.0;
        tokio::select! {
            reply = request => panic!("nothing to wait for: {reply:?}"),
            () = until("the buyer waits", waits) => {}
        }
    }
    until("nobody waits", async || server.metric(waiters).await == 0.0).await;
    let () = redis.send(&["DEL", "lock:p"]).await;
    assert_eq!(server.audit("p").await["sold"], 0);
}
