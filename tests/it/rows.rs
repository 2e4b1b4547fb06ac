//! Strategies that sell by a transaction: `postgres-row`, `mysql-row` and `postgres-optimistic`.

use futures_util::future::{join, join_all};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection, Executor};

use crate::{
    proxy::Proxy,
    redis_server::{Farm, Redis},
    server::{Reply, Server, count, until},
    sql_servers::{MySql, Postgres},
};

const PAUSED: &str = "locklab_faults_active{fault=\"pause\"}";
/// Both strategies that lock rows.
const ROWS: [&str; 2] = ["postgres-row", "mysql-row"];
const POOLS: [&str; 4] = ["--postgres-pool-size", "30", "--mysql-pool-size", "30"];

async fn farm() -> Farm {
    let (redis, postgres, mysql) =
        tokio::join!(Redis::start(), Postgres::shared(), MySql::shared());
    Farm { postgres, mysql, ..Farm::bare(redis) }
}

/// The verdict over what that strategy sells.
async fn audit(server: &Server, product: &str, lock: &str) -> Value {
    server.get(&format!("/audit/{product}?lock={lock}")).await.json
}

fn error(reply: &Reply) -> &str {
    reply.json["error"].as_str().or(reply.json["detail"].as_str()).unwrap_or_default()
}

/// The control: with the row lock left out, the same transactions oversell.
#[tokio::test]
async fn without_the_row_lock_they_oversell() {
    let farm = farm().await;
    let server = farm.server(&POOLS);
    for lock in ROWS {
        server.reset("p", 1).await;
        let query = format!("product=p&lock={lock}&delay=1s&wait=25s");
        let replies = server.race(20, &query).await;
        assert_eq!((count(&replies, "sold"), count(&replies, "sold_out")), (1, 19), "{lock}");
        server.reset("p", 1).await;
        let replies = server.race(20, &format!("{query}&fault=skip@lock-row")).await;
        let (sold, audit) = (count(&replies, "sold"), audit(&server, "p", lock).await);
        assert!(sold > 1, "{lock} was not caught overselling");
        assert_eq!((&audit["sold"], &audit["oversold"]), (&sold.into(), &(sold - 1).into()));
        assert_eq!(audit["ok"], false, "{audit}");
    }
}

/// Another program keeps the row: who waits long enough is told so, in the words of the database.
#[tokio::test]
async fn a_row_that_somebody_else_keeps_is_busy() {
    let farm = farm().await;
    let server = farm.server(&[]);
    server.reset("p", 2).await;
    let keep = "SELECT stock FROM locklab_products WHERE product = 'p' FOR UPDATE";
    let (mut postgres, mut mysql) = join(farm.postgres.connect(), farm.mysql.connect()).await;
    let mut in_postgres = postgres.begin().await.unwrap();
    in_postgres.execute(keep).await.unwrap();
    let mut in_mysql = mysql.begin().await.unwrap();
    in_mysql.execute(keep).await.unwrap();
    for (lock, code) in [
        ("postgres-row", "55P03"),
        ("mysql-row", "1205"),
        ("layered", "55P03"),
        ("postgres-optimistic", "55P03"),
    ] {
        for retry in ["none", "jitter"] {
            let buy = format!("/purchase?product=p&lock={lock}&wait=500ms&retry={retry}");
            if lock == "postgres-optimistic" && retry == "jitter" {
                continue;
            }
            let reply = server.post(&buy).await;
            assert_eq!((reply.status, reply.outcome()), (StatusCode::OK, "busy"), "{lock}");
            assert!(error(&reply).contains(code), "{lock}, {retry}: {}", reply.text);
        }
    }
    in_postgres.rollback().await.unwrap();
    in_mysql.rollback().await.unwrap();
    for lock in ROWS {
        let reply = server.post(&format!("/purchase?product=p&lock={lock}")).await;
        assert_eq!(reply.outcome(), "sold", "{lock}: {}", reply.text);
    }
}

/// One statement that meets a row which somebody keeps is busy, and sells nothing later.
#[tokio::test]
async fn one_statement_waits_no_longer_than_for_an_answer() {
    let farm = farm().await;
    let server = farm.server(&["--sql-timeout", "1s"]);
    server.reset("p", 2).await;
    let mut keeper = farm.postgres.connect().await;
    let mut kept = keeper.begin().await.unwrap();
    let keep = "SELECT stock FROM locklab_products WHERE product = 'p' FOR UPDATE";
    kept.execute(keep).await.unwrap();
    let buy = "/purchase?product=p&lock=postgres-atomic";
    let reply = server.post(buy).await;
    assert_eq!((reply.status, reply.outcome()), (StatusCode::OK, "busy"), "{}", reply.text);
    assert!(error(&reply).contains("55P03"), "{}", reply.text);
    kept.rollback().await.unwrap();
    assert_eq!(server.post(buy).await.outcome(), "sold");
    assert_eq!(audit(&server, "p", "postgres-atomic").await["sold"], 1);
}

/// Many wait for one row, the last of them for too long: none of them for an answer that never comes.
#[tokio::test]
async fn whoever_waits_too_long_in_a_queue_for_a_row_is_busy() {
    let farm = farm().await;
    let server = farm.server(&["--sql-timeout", "30s"]);
    server.reset("p", 20).await;
    for lock in ROWS {
        let query = format!("product=p&lock={lock}&delay=1s&wait=2s");
        let replies = server.race(8, &query).await;
        let (sold, busy) = (count(&replies, "sold"), count(&replies, "busy"));
        assert!(sold > 0 && busy > 0 && sold + busy == 8, "{lock}: {sold} sold, {busy} busy");
    }
}

/// Carts in opposite orders, at the same instant.
async fn carts(server: &Server, buyers: usize, parameters: &str) -> Vec<Reply> {
    let names: Vec<String> = (0..8).map(|number| format!("p{number}")).collect();
    let item = |name: &String| json!({"product_id": name, "quantity": 1});
    let there: Vec<Value> = names.iter().map(item).collect();
    let back: Vec<Value> = there.iter().rev().cloned().collect();
    let bodies = [there, back].map(|items| json!({"items": items}));
    let path = format!("/purchase?{parameters}");
    let each = (0..buyers).map(|buyer| server.post_json(&path, &bodies[buyer % 2]));
    join_all(each).await
}

/// In the order in which they were given, carts deadlock: the database undoes one, and it is told why, or
/// tries again until it is sold. In sorted order none ever does.
#[tokio::test]
async fn carts_deadlock_as_given_and_never_sorted() {
    let farm = farm().await;
    let server = farm.server(&POOLS);
    for (lock, code) in [("postgres-row", "40P01"), ("mysql-row", "1213")] {
        for product in 0..8 {
            server.reset(&format!("p{product}"), 10_000).await;
        }
        let given = format!("lock={lock}&order=given&wait=25s");
        let (mut rounds, mut sold) = (0, 0);
        until("there is a deadlock", async || {
            let replies = carts(&server, 4, &given).await;
            (rounds, sold) = (rounds + 1, sold + count(&replies, "sold"));
            let mut undone = replies.iter().filter(|reply| reply.outcome() != "sold").peekable();
            let is_found = undone.peek().is_some();
            for reply in undone {
                assert_eq!((reply.status, reply.outcome()), (StatusCode::OK, "conflict"), "{lock}");
                assert!(error(reply).contains(code), "{lock}: {}", reply.text);
            }
            is_found
        })
        .await;
        for _ in 0..rounds + 2 {
            // Postgres looks for deadlocks once a second, and undoes one cart at a time.
            let again = format!("{given}&retry=jitter&max_retries=1000");
            let replies = carts(&server, 2, &again).await;
            assert_eq!(count(&replies, "sold"), 2, "{lock}: {:?}", replies[0].text);
            let sorted = format!("lock={lock}&order=sorted&wait=25s");
            let replies = carts(&server, 8, &sorted).await;
            assert_eq!(count(&replies, "sold"), 8, "{lock}: {:?}", replies[0].text);
            sold += 10;
        }
        for product in ["p0", "p7"] {
            let audit = audit(&server, product, lock).await;
            assert_eq!((&audit["sold"], &audit["oversold"]), (&sold.into(), &0.into()), "{lock}");
        }
    }
}

/// The connection is killed between the read and the commit: nothing is sold, and nobody is kept out.
#[tokio::test]
async fn a_connection_killed_before_its_commit_sells_nothing() {
    let farm = farm().await;
    let server = farm.server(&[]);
    for lock in ["postgres-row", "mysql-row", "layered"] {
        server.reset("p", 1).await;
        let path = format!("/purchase?product=p&lock={lock}&fault=pause:6s@work");
        let kill = async {
            until("it is at work", async || server.metric(PAUSED).await == 1.0).await;
            let killed = match lock {
                "mysql-row" => {
                    let open = "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx";
                    farm.mysql.end_sessions(&format!("id IN ({open})")).await
                }
                _ => farm.postgres.end_sessions("state = 'idle in transaction'").await as usize,
            };
            assert_eq!(killed, 1, "{lock}");
        };
        let (reply, ()) = join(server.post(&path), kill).await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{lock}: {}", reply.text);
        assert_eq!((reply.outcome(), reply.header("retry-after")), ("unavailable", "1"), "{lock}");
        let seen = audit(&server, "p", lock).await;
        assert_eq!(
            (&seen["sold"], &seen["stock"], &seen["unknown"]),
            (&json!(0), &json!(1), &json!(0))
        );
        until("the next buyer is served", async || {
            let next = server.post(&format!("/purchase?product=p&lock={lock}")).await;
            next.json["outcome"] == "sold"
        })
        .await;
    }
}

/// The reply to the COMMIT is lost, on demand or in the network: the buyer is told that it is not known, and the
/// ledger knows that it is sold.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_a_reply_is_unknown() {
    let farm = farm().await;
    let (redis, direct) = (farm.redis.url(), farm.server(&[]));
    for lock in ["postgres-row", "mysql-row", "postgres-optimistic", "layered"] {
        // As it goes over the wire, where READ COMMITTED is no COMMIT.
        let (flag, url, commit) = match lock {
            "mysql-row" => ("--mysql-url", &farm.mysql.url, "\x03COMMIT"),
            _ => ("--postgres-url", &farm.postgres.url, "\x0bCOMMIT\0"),
        };
        let address = url.split(['@', '/']).find(|part| part.contains("127.0.0.1:")).unwrap();
        let proxy = Proxy::start(address).await;
        let behind = url.replace(address, proxy.url.trim_start_matches("redis://"));
        let arguments = ["--redis-url", &redis, flag, &behind, "--sql-timeout", "1s"];
        let server = Server::start(&arguments);
        let buy = format!("/purchase?product=p&lock={lock}");
        for (how, fault) in [("on demand", "&fault=drop-reply@write"), ("in the network", "")] {
            direct.reset("p", 2).await;
            if fault.is_empty() {
                proxy.hold_reply_to(commit);
            }
            let reply = server.post(&format!("{buy}{fault}")).await;
            proxy.pass();
            let status = (reply.status, reply.outcome());
            let unavailable = (StatusCode::SERVICE_UNAVAILABLE, "unavailable");
            assert_eq!(status, unavailable, "{lock}, {how}: {}", reply.text);
            assert!(error(&reply).contains("unknown"), "{lock}, {how}: {}", reply.text);
            // What happened is in the ledger at once; the history comes when the database answers again.
            until("the history says that it is not known", async || {
                let seen = audit(&server, "p", lock).await;
                seen["sold"] == 1 && seen["unknown"] == 1
            })
            .await;
            let seen = audit(&direct, "p", lock).await;
            assert_eq!((&seen["stock"], &seen["ok"]), (&1.into(), &true.into()), "{lock}: {seen}");
        }
    }
}
