//! `Idempotency-Key`: the same key gets the same answer, and there is never a second sale.

use futures_util::future::join_all;
use locklab::strategy::table::STRATEGIES;
use locklab_locks::step::Step;
use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    redis_server::{Farm, Redis},
    server::{Reply, Server, until},
};

async fn buy(server: &Server, query: &str, key: &str) -> Reply {
    let request = server.request(Method::POST, &format!("/purchase?{query}"));
    server.exchange(request.header("idempotency-key", key)).await
}

/// What an answer consists of; times belong to each request.
const ANSWER: [&str; 9] = [
    "success",
    "lock_acquired",
    "stock_before",
    "stock_after",
    "error",
    "outcome",
    "lock",
    "order_id",
    "fencing_token",
];

fn assert_same(first: &Reply, second: &Reply) {
    for member in ANSWER {
        assert_eq!(first.json[member], second.json[member], "{member}: {}", second.text);
    }
}

fn was_repeated(reply: &Reply) -> bool {
    reply.header("idempotency-replayed") == "true"
}

async fn sold(server: &Server, product: &str) -> i64 {
    server.audit(product).await["sold"].as_i64().unwrap()
}

/// Sent twice, bought once; another key, or a reset, buys again.
#[tokio::test]
async fn the_same_key_gets_the_same_answer() {
    let server = Server::full(&[]).await;
    for strategy in STRATEGIES {
        let name = strategy.name;
        server.reset(name, 5).await;
        let query = format!("product={name}&lock={name}&quantity=2");
        let first = buy(&server, &query, "one").await;
        assert_eq!(first.outcome(), "sold", "{name}: {}", first.text);
        assert!(!was_repeated(&first));
        let again = buy(&server, &query, "one").await;
        assert!(was_repeated(&again), "{name}");
        assert_same(&first, &again);
        assert!(again.json["ttl_violated"].is_null(), "that is no part of the answer");
        assert_eq!(sold(&server, name).await, 2, "{name}");
        let quoted = buy(&server, &query, "\"one\"").await;
        assert_same(&first, &quoted);
        assert_eq!(buy(&server, &query, "two").await.outcome(), "sold");
        assert_eq!(sold(&server, name).await, 4, "{name}");
        let short = buy(&server, &query, "three").await;
        assert_eq!(short.outcome(), "sold_out");
        assert_same(&short, &buy(&server, &query, "three").await);
        server.reset(name, 5).await;
        assert!(!was_repeated(&buy(&server, &query, "one").await), "{name}: a reset forgets");
        assert_eq!(sold(&server, name).await, 2, "{name}");
    }
    let series = "locklab_purchases_repeated_total";
    assert_eq!(server.metric(series).await, 3.0 * STRATEGIES.len() as f64);
}

/// The reply to the sale is lost: the buyer asks again and learns that it was sold, once.
#[tokio::test]
async fn a_lost_reply_is_found_again() {
    let server = Server::full(&[]).await;
    for strategy in STRATEGIES {
        let name = strategy.name;
        let sale = [Step::Write, Step::Take];
        let step = strategy.steps.iter().find(|step| sale.contains(step)).unwrap().name();
        server.reset(name, 5).await;
        let query = format!("product={name}&lock={name}&ttl=5s");
        let lost = buy(&server, &format!("{query}&fault=drop-reply@{step}"), "k").await;
        if lost.status == StatusCode::OK {
            // Whoever can find out by itself what became of the sale need not ask the buyer to.
            assert_eq!((strategy.name, lost.outcome()), ("queue", "sold"));
        } else {
            assert_eq!(lost.outcome(), "unavailable", "{name}: {}", lost.text);
        }
        let found = buy(&server, &query, "k").await;
        assert!(found.outcome() == "sold" && was_repeated(&found), "{name}: {}", found.text);
        assert_eq!(found.json["stock_after"], 4, "{name}");
        assert_same(&found, &buy(&server, &query, "k").await);
        assert_eq!(sold(&server, name).await, 1, "{name}");
    }
}

/// Sent at the same instant to two servers: one of them sells, and all get its answer.
#[tokio::test]
async fn the_same_key_at_the_same_time() {
    let farm = Farm::start().await;
    let servers = ["a", "b"].map(|_| farm.server(&[]));
    for strategy in STRATEGIES {
        let name = strategy.name;
        for race in 0..3 {
            servers[0].reset(name, 20).await;
            let (query, key) = (format!("product={name}&lock={name}"), format!("race-{race}"));
            let replies = join_all((0..20).map(|n| buy(&servers[n % 2], &query, &key))).await;
            for reply in &replies {
                assert_eq!(reply.outcome(), "sold", "{name}: {}", reply.text);
                assert_same(&replies[0], reply);
            }
            let first = replies.iter().filter(|reply| !was_repeated(reply)).count();
            assert_eq!((first, sold(&servers[1], name).await), (1, 1), "{name}");
        }
    }
}

/// The server dies after the sale and before its reply: another one knows the answer.
#[tokio::test]
async fn a_dead_servers_answer_is_known() {
    let farm = Farm::start().await;
    for strategy in STRATEGIES {
        let after = [Step::AfterWrite, Step::AfterTake];
        let step = strategy.steps.iter().find(|step| after.contains(step)).unwrap().name();
        let (dying, other) = (farm.server(&[]), farm.server(&[]));
        let name = strategy.name;
        other.reset(name, 5).await;
        let query = format!("product={name}&lock={name}");
        let path = format!("/purchase?{query}&fault=pause:60s@{step}");
        let request = dying.request(Method::POST, &path).header("idempotency-key", "k").send();
        let kill = async {
            until("it is sold", async || sold(&other, name).await == 1).await;
            dying.signal(Signal::SIGKILL);
        };
        let (reply, ()) = tokio::join!(request, kill);
        assert!(reply.is_err(), "the server died");
        let found = buy(&other, &query, "k").await;
        assert!(found.outcome() == "sold" && was_repeated(&found), "{name}: {}", found.text);
        assert_eq!(sold(&other, name).await, 1, "{name}");
    }
}

/// An answer that sold nothing stands as well: the buyer has to mean it when it tries again.
#[tokio::test]
async fn losing_is_an_answer_too() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    server.reset("p", 5).await;
    let () = redis.send(&["SET", "lock:p", "a stranger"]).await;
    let query = "product=p&lock=safe";
    let first = buy(&server, query, "k").await;
    assert_eq!(first.outcome(), "busy");
    let () = redis.send(&["DEL", "lock:p"]).await;
    let again = buy(&server, query, "k").await;
    assert!(was_repeated(&again));
    assert_same(&first, &again);
    assert_eq!(buy(&server, query, "another").await.outcome(), "sold");
}

/// A purchase that came to no answer may be tried again under the same key.
#[tokio::test]
async fn no_answer_is_kept_of_an_outage() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url(), "--command-timeout", "200ms"]);
    server.reset("p", 5).await;
    let broken = buy(&server, "product=p&lock=safe&fault=drop-reply@acquire", "k").await;
    assert_eq!(broken.outcome(), "unavailable");
    until("the claim is released", async || !redis.is_locked("p").await).await;
    let again = buy(&server, "product=p&lock=safe", "k").await;
    assert!(again.outcome() == "sold" && !was_repeated(&again), "{}", again.text);
}

/// A key that is in use, one that names another order, and what is no key at all.
#[tokio::test]
async fn what_a_key_is_not_good_for() {
    let server = Server::start(&[]);
    server.reset("p", 5).await;
    let slow = buy(&server, "product=p&lock=safe&delay=3s", "k");
    let impatient = async {
        until("it is being carried out", async || {
            server.metric("locklab_requests_in_flight").await > 0.0
        })
        .await;
        buy(&server, "product=p&lock=safe&delay=3s&wait=50ms", "k").await
    };
    let (slow, impatient) = tokio::join!(slow, impatient);
    assert_eq!((slow.outcome(), impatient.status), ("sold", StatusCode::CONFLICT));
    assert!(!impatient.header("retry-after").is_empty(), "{}", impatient.text);
    for other in ["product=p&lock=safe&quantity=2", "product=p&lock=fenced"] {
        let reply = buy(&server, other, "k").await;
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", reply.text);
        assert!(reply.json["detail"].as_str().unwrap().contains("safe: 1 p"), "{}", reply.text);
    }
    for bad in ["", "a b", "\"", &"x".repeat(129)] {
        let reply = buy(&server, "product=p", bad).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{bad:?}: {}", reply.text);
        assert_eq!(reply.json["parameter"], "Idempotency-Key");
    }
    let request = server.request(Method::POST, "/purchase?product=p");
    let twice = request.header("idempotency-key", "a").header("idempotency-key", "b");
    assert_eq!(server.exchange(twice).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(sold(&server, "p").await, 1);
}

/// A cart has one key for all of it, whichever order its locks are taken in.
#[tokio::test]
async fn a_cart_has_one_answer() {
    let server = Server::full(&[]).await;
    for strategy in STRATEGIES.iter().filter(|strategy| strategy.sells_carts) {
        let name = strategy.name;
        server.reset("a", 5).await;
        server.reset("b", 5).await;
        let send = async |items: [&str; 2], order: &str| {
            let items = items.map(|product| json!({"product_id": product}));
            let path = format!("/purchase?lock={name}&order={order}");
            let request = server.request(Method::POST, &path).json(&json!({ "items": items }));
            server.exchange(request.header("idempotency-key", "k")).await
        };
        let first = send(["b", "a"], "given").await;
        assert_eq!(first.outcome(), "sold", "{name}: {}", first.text);
        let again = send(["b", "a"], "given").await;
        assert!(was_repeated(&again), "{name}");
        assert_same(&first, &again);
        assert_eq!(first.json["items"], again.json["items"], "{name}");
        let other = send(["a", "b"], "sorted").await;
        assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}: it is another order");
        assert_eq!((sold(&server, "a").await, sold(&server, "b").await), (1, 1), "{name}");
    }
}
