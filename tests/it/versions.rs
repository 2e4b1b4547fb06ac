//! Versions of rows, and conflicts; and the pool, in which whoever sells from a database waits.

use locklab::strategy::{Strategy, server::Store};
use locklab_locks::step::Step;
use serde_json::Value;

use crate::{
    redis_server::{Farm, Redis},
    server::{Server, count, until},
    sql_servers::{MySql, Postgres, sellers},
};

const PAUSED: &str = "locklab_faults_active{fault=\"pause\"}";

async fn farm() -> Farm {
    let (redis, postgres, mysql) =
        tokio::join!(Redis::start(), Postgres::shared(), MySql::shared());
    Farm { postgres, mysql, ..Farm::bare(redis) }
}

/// The strategies that lock nothing at the read, and compare versions at the write.
fn comparers() -> impl Iterator<Item = &'static Strategy> {
    sellers().filter(|row| row.steps.contains(&Step::Read) && !row.locks_rows())
}

/// The verdict over what that strategy sells.
async fn audit(server: &Server, lock: &str) -> Value {
    server.get(&format!("/audit/p?lock={lock}")).await.json
}

/// Ten buyers who have all read the same: one is sold, and nine are told that somebody was faster; or they
/// come again, until all are sold.
#[tokio::test]
async fn conflicts_are_told_and_retried() {
    let farm = farm().await;
    let server = farm.server(&["--postgres-pool-size", "20", "--mysql-pool-size", "20"]);
    for lock in comparers().map(|row| row.name) {
        let query = format!("product=p&lock={lock}&wait=25s");
        server.reset("p", 10).await;
        let replies = server.race(10, &format!("{query}&delay=2s")).await;
        let (sold, lost) = (count(&replies, "sold"), count(&replies, "conflict"));
        assert_eq!(sold + lost, 10, "{lock}");
        assert!(lost > 0, "{lock}: nobody met anybody: this is no race");
        server.reset("p", 10).await;
        let again = "retry=jitter&base=20ms&max_retries=1000&delay=20ms";
        let replies = server.race(10, &format!("{query}&{again}")).await;
        assert_eq!(count(&replies, "sold"), 10, "{lock}");
        let retries: u64 = replies.iter().filter_map(|reply| reply.json["retries"].as_u64()).sum();
        assert!(retries > 0, "{lock}: nobody met anybody: this is no race");
        let counted = format!("locklab_purchase_retries_total{{lock=\"{lock}\"}}");
        assert_eq!(server.metric(&counted).await, retries as f64);
        let audit = audit(&server, lock).await;
        assert_eq!((&audit["sold"], &audit["ok"]), (&10.into(), &true.into()), "{audit}");
    }
}

/// The stock is changed, and changed back, between read and write: it is another version, and a conflict.
#[tokio::test]
async fn a_stock_that_was_changed_back_is_another_version() {
    let farm = farm().await;
    let server = farm.server(&[]);
    let change = |by: &str| {
        format!(
            "UPDATE locklab_products SET stock = stock {by}, version = version + 1 \
             WHERE product = 'p'"
        )
    };
    for &Strategy { name: lock, store, .. } in comparers() {
        server.reset("p", 5).await;
        let there_and_back = async {
            until("it has read", async || server.metric(PAUSED).await == 1.0).await;
            for by in ["- 1", "+ 1"] {
                match store {
                    Store::MySql => farm.mysql.run(&change(by)).await,
                    _ => farm.postgres.run(&change(by)).await,
                }
            }
        };
        let path = format!("/purchase?product=p&lock={lock}&fault=pause:5s@before-write");
        let (reply, ()) = tokio::join!(server.post(&path), there_and_back);
        assert_eq!(reply.outcome(), "conflict", "{}", reply.text);
        assert_eq!(audit(&server, lock).await["sold"], 0, "{lock}");
        // So does a reset to the same number.
        let reset = async {
            until("it has read", async || server.metric(PAUSED).await == 1.0).await;
            server.reset("p", 5).await;
        };
        let (reply, ()) = tokio::join!(server.post(&path), reset);
        assert_eq!(reply.outcome(), "conflict", "{}", reply.text);
        assert_eq!(audit(&server, lock).await["sold"], 0, "{lock}");
    }
}

async fn connections(server: &Server, state: &str) -> f64 {
    let labels = format!("backend=\"postgres\",state=\"{state}\"");
    server.metric(&format!("locklab_pool_connections{{{labels}}}")).await
}

/// Thirty buyers and three connections: how many are in use, how long they are waited for, and who got none
/// in time can be seen.
#[tokio::test]
async fn the_pool_can_be_seen() {
    let farm = farm().await;
    let server = farm.server(&["--postgres-pool-size", "3"]);
    let waits = "locklab_pool_wait_seconds_count{backend=\"postgres\"}";
    let seconds = "locklab_pool_wait_seconds_sum{backend=\"postgres\"}";
    let timeouts = "locklab_pool_timeouts_total{backend=\"postgres\"}";
    server.reset("p", 30).await;
    assert_eq!(server.metric(timeouts).await, 0.0);
    let before = (server.metric(waits).await, server.metric(seconds).await);
    let busy = async {
        until("all of them are in use", async || connections(&server, "used").await == 3.0).await;
    };
    let query = "product=p&lock=postgres-row&delay=50ms&wait=28s";
    let (replies, ()) = tokio::join!(server.race(30, query), busy);
    assert_eq!(count(&replies, "sold"), 30);
    assert!(server.metric(waits).await - before.0 >= 30.0);
    assert!(server.metric(seconds).await - before.1 >= 1.0, "they waited for each other");
    until("none of them is in use", async || connections(&server, "used").await == 0.0).await;
    assert!(connections(&server, "idle").await >= 1.0);
    server.reset("p", 30).await;
    let replies = server.race(30, "product=p&lock=postgres-row&delay=1s&wait=500ms").await;
    let busy: Vec<_> = replies.iter().filter(|reply| reply.outcome() == "busy").collect();
    assert_eq!(count(&replies, "sold") + busy.len(), 30);
    let cause = "no connection of its pool came free in time";
    let unlucky = busy.iter().filter(|reply| reply.text.contains(cause)).count();
    assert!(unlucky > 0, "{}", busy[0].text);
    assert!(server.metric(timeouts).await >= unlucky as f64);
}
