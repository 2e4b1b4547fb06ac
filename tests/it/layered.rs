//! `layered`: each of its layers is broken, and the next one alone prevents overselling.

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::{
    redis_server::{Farm, Redis},
    server::{Reply, Server, count, until},
    sql_servers::Postgres,
};

const BUYERS: usize = 20;
const PAUSED: &str = "locklab_faults_active{fault=\"pause\"}";
/// Leaves the row lock out.
const NO_ROW: &str = "fault=skip@lock-row";

/// Only what it needs.
async fn farm() -> Farm {
    let (redis, postgres) = tokio::join!(Redis::start(), Postgres::shared());
    Farm { postgres, ..Farm::bare(redis) }
}

fn buy(parameters: &str) -> String {
    format!("/purchase?product=p&lock=layered&{parameters}")
}

/// Units sold, units oversold, what is left, and the verdict.
async fn verdict(server: &Server) -> (i64, i64, i64, bool) {
    let audit = server.get("/audit/p?lock=layered").await.json;
    let number = |name: &str| audit[name].as_i64().unwrap_or_else(|| panic!("{audit}"));
    (number("sold"), number("oversold"), number("stock"), audit["ok"].as_bool().unwrap())
}

async fn reset(server: &Server, stock: u64) {
    let reply = server.post(&format!("/reset?product=p&stock={stock}&lock=layered")).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
}

fn error(reply: &Reply) -> &str {
    reply.json["error"].as_str().unwrap_or_else(|| panic!("no error: {}", reply.text))
}

/// As many orders with that key, at the same instant.
async fn orders(server: &Server, key: &str, path: &str) -> Vec<Reply> {
    let order = (0..BUYERS).map(|_| {
        let request = server.request(Method::POST, path).header("idempotency-key", key);
        server.exchange(request)
    });
    join_all(order).await
}

/// The lock expires during the work: the next buyer has it too, waits for the row, and finds it
/// sold out.
#[tokio::test]
async fn an_expired_lock_leaves_the_row_lock() {
    let farm = farm().await;
    let (server, other) = (farm.server(&[]), farm.server(&[]));
    reset(&server, 1).await;
    let slow = buy("ttl=100ms&fault=pause:4s@work");
    let next = async {
        until("the first has the row", async || server.metric(PAUSED).await == 1.0).await;
        until("its lock is over", async || !farm.redis.is_locked("p").await).await;
        other.post(&buy("ttl=60s&wait=30s")).await
    };
    let (first, second) = tokio::join!(server.post(&slow), next);
    assert_eq!((first.outcome(), second.outcome()), ("sold", "sold_out"), "{}", second.text);
    assert_eq!(first.json["ttl_violated"], true, "{}", first.text);
    assert_eq!(second.json["lock_acquired"], true, "{}", second.text);
    assert_eq!(verdict(&server).await, (1, 0, 0, true));
}

/// The row lock is left out: the lock alone keeps the others out.
#[tokio::test]
async fn a_forgotten_row_lock_leaves_the_lock() {
    let farm = farm().await;
    let server = farm.server(&[]);
    reset(&server, 5).await;
    let wait = "retry=notify&wait=25s&ttl=20s&max_retries=1000";
    let replies = server.race(BUYERS, &format!("product=p&lock=layered&{wait}&{NO_ROW}")).await;
    assert_eq!((count(&replies, "sold"), count(&replies, "sold_out")), (5, 15));
    assert_eq!(verdict(&server).await, (5, 0, 0, true));
    let skipped = "locklab_faults_injected_total{fault=\"skip\"}";
    assert!(server.metric(skipped).await >= 20.0, "it was left out");
}

/// Redis hangs, or is gone: buyers go on without its lock, are told so, and the row lock alone
/// sells exactly what there is, however they would have waited for the lock.
#[tokio::test]
async fn without_redis_the_row_lock_sells() {
    for how in ["hung", "gone"] {
        let farm = farm().await;
        let server = farm.server(&["--command-timeout", "300ms"]);
        reset(&server, 9).await;
        if how == "hung" {
            farm.redis.hang();
        } else {
            let pid: String = farm.redis.send(&["INFO", "server"]).await;
            let pid = pid.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap();
            let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
            nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
        }
        for retry in ["none", "fixed", "jitter", "notify", "fifo"] {
            let reply = server.post(&buy(&format!("wait=5s&retry={retry}"))).await;
            assert_eq!(reply.outcome(), "sold", "{how}, {retry}: {}", reply.text);
            assert_eq!(reply.json["lock_acquired"], false, "{how}, {retry}: {}", reply.text);
            let degraded = reply.json["degraded"].as_str().unwrap();
            assert!(degraded.contains("redis"), "{degraded}");
        }
        let strategies = server.get("/strategies").await.json;
        let available = |name: &str| {
            let mut rows = strategies["strategies"].as_array().unwrap().iter();
            rows.find(|row| row["name"] == name).unwrap()["available"].clone()
        };
        assert_eq!(available("layered"), true, "{how}");
        let query = "product=p&lock=layered&wait=25s&delay=5ms";
        let replies = server.race(BUYERS, query).await;
        assert_eq!((count(&replies, "sold"), count(&replies, "sold_out")), (4, 16), "{how}");
        assert!(replies.iter().all(|reply| reply.json["lock_acquired"] == false), "{how}");
        assert_eq!(verdict(&server).await, (9, 0, 0, true), "{how}");
        reset(&server, 1).await;
        assert_eq!(server.post(&buy("wait=5s")).await.outcome(), "sold", "{how}, after a reset");
        if how == "hung" {
            farm.redis.wake();
            until("Redis answers", async || server.get("/readyz").await.status == StatusCode::OK)
                .await;
            reset(&server, 1).await;
            let reply = server.post(&buy("wait=5s")).await;
            assert_eq!((reply.outcome(), &reply.json["lock_acquired"]), ("sold", &true.into()));
            assert!(reply.json["degraded"].is_null(), "{}", reply.text);
        }
    }
}

/// Redis is gone and the row lock is left out: the table refuses what there is not, and says by
/// which name.
#[tokio::test]
async fn without_both_the_table_refuses() {
    let farm = farm().await;
    let server = farm.server(&["--command-timeout", "300ms", "--postgres-pool-size", "30"]);
    reset(&server, 3).await;
    farm.redis.hang();
    let buyers = format!("product=p&lock=layered&wait=25s&delay=1s&{NO_ROW}");
    let replies = server.race(BUYERS, &buyers).await;
    let (sold, refused) = (count(&replies, "sold"), count(&replies, "conflict"));
    assert_eq!(sold, 3);
    assert!(refused > 0, "nobody met anybody: this is no race");
    assert_eq!(sold + refused + count(&replies, "sold_out"), BUYERS);
    for reply in replies.iter().filter(|reply| reply.outcome() == "conflict") {
        assert!(error(reply).contains("locklab_stock_not_negative"), "{}", reply.text);
        assert_eq!(reply.status, StatusCode::OK);
    }
    assert_eq!(
        farm.postgres.fetch::<i64>("SELECT stock FROM locklab_products WHERE product = 'p'").await,
        0
    );
    assert_eq!(
        farm.postgres.fetch::<i64>("SELECT count(*) FROM locklab_orders WHERE product = 'p'").await,
        3
    );
    let (sold, oversold, stock, _) = verdict(&server).await;
    assert_eq!((sold, oversold, stock), (3, 0, 0));
}

/// One order, sent twenty times at once, while nothing but its key protects it: one sale.
#[tokio::test]
async fn an_order_is_sold_once_without_both() {
    let farm = farm().await;
    let server = farm.server(&["--command-timeout", "300ms", "--postgres-pool-size", "30"]);
    reset(&server, 50).await;
    farm.redis.hang();
    for (key, faults) in [("one", NO_ROW), ("two", "")] {
        let path = buy(&format!("wait=25s&delay=100ms&{faults}"));
        let replies = orders(&server, key, &path).await;
        assert_eq!(count(&replies, "sold"), BUYERS, "{key}: {:?}", replies[0].text);
        let first = &replies[0].json;
        for reply in &replies {
            for member in ["order_id", "stock_before", "stock_after"] {
                assert_eq!(reply.json[member], first[member], "{member}: {}", reply.text);
            }
        }
        let replayed = |reply: &&Reply| reply.header("idempotency-replayed") == "true";
        assert_eq!(replies.iter().filter(replayed).count(), BUYERS - 1, "{key}");
    }
    assert_eq!(verdict(&server).await.0, 2);
    // Others changed the stock between read and write: who asks again is told what the first was.
    let (mut tellings, path) = (Vec::new(), buy(&format!("wait=25s&delay=1s&{NO_ROW}")));
    for round in ["first", "again"] {
        let each = (0..5).map(|buyer| {
            let key = format!("buyer {buyer}").replace(' ', "-");
            server.exchange(server.request(Method::POST, &path).header("idempotency-key", key))
        });
        let tell = |reply: &Reply| {
            assert_eq!(reply.outcome(), "sold", "{round}: {}", reply.text);
            ["order_id", "stock_before", "stock_after"].map(|member| reply.json[member].clone())
        };
        tellings.push(join_all(each).await.iter().map(tell).collect::<Vec<[Value; 3]>>());
    }
    assert_eq!(tellings[0], tellings[1]);
    assert_eq!(verdict(&server).await.0, 7);
}

/// A product of that name in Redis is another one, and so is its lock.
#[tokio::test]
async fn its_lock_is_not_that_of_safe() {
    let farm = farm().await;
    let server = farm.server(&[]);
    server.reset("p", 2).await;
    for (held, free) in [("layered", "safe"), ("safe", "layered")] {
        let holder = format!("/purchase?product=p&lock={held}&ttl=60s&fault=pause:4s@work");
        let meanwhile = async {
            until("it is at work", async || server.metric(PAUSED).await == 1.0).await;
            let exists = async |key: &str| farm.redis.send::<i64>(&["EXISTS", key]).await == 1;
            let keys = (exists("lock:p").await, exists("lock:postgres/p").await);
            assert_eq!(keys, (held == "safe", held == "layered"));
            let buy = |lock: &str| format!("/purchase?product=p&lock={lock}");
            let same = server.post(&buy(held)).await;
            (server.post(&buy(free)).await, same)
        };
        let (first, (other, same)) = tokio::join!(server.post(&holder), meanwhile);
        assert_eq!(first.outcome(), "sold", "{held}: {}", first.text);
        assert_eq!((other.outcome(), same.outcome()), ("sold", "busy"), "{}", other.text);
    }
}
