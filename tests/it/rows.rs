//! Strategies that sell the rows of a database: by a lock of the row, its version, or one step.

use futures_util::future::{join, join_all};
use locklab::strategy::{Strategy, server::Store};
use locklab_locks::step::Step;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection, Executor};

use crate::{
    proxy::Proxy,
    redis_server::{Farm, Redis},
    server::{Reply, Server, count, until},
    sql_servers::{MySql, Postgres, row_lockers, sellers},
};

const PAUSED: &str = "locklab_faults_active{fault=\"pause\"}";
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

/// The code with which its database says that a row was waited for long enough.
fn timed_out(row: &Strategy) -> &'static str {
    if row.store == Store::MySql { "1205" } else { "55P03" }
}

fn error(reply: &Reply) -> &str {
    reply.json["error"].as_str().or(reply.json["detail"].as_str()).unwrap_or_default()
}

/// The control: with the row lock left out, the same transactions oversell.
#[tokio::test]
async fn without_the_row_lock_they_oversell() {
    let farm = farm().await;
    let server = farm.server(&POOLS);
    for lock in row_lockers().map(|row| row.name) {
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
    for row in sellers().filter(|row| row.steps.contains(&Step::Read)) {
        let (lock, code) = (row.name, timed_out(row));
        for retry in ["none", "jitter"] {
            let buy = format!("/purchase?product=p&lock={lock}&wait=500ms&retry={retry}");
            if !row.locks_rows() && retry == "jitter" {
                continue;
            }
            let reply = server.post(&buy).await;
            assert_eq!((reply.status, reply.outcome()), (StatusCode::OK, "busy"), "{lock}");
            assert!(error(&reply).contains(code), "{lock}, {retry}: {}", reply.text);
        }
    }
    in_postgres.rollback().await.unwrap();
    in_mysql.rollback().await.unwrap();
    for lock in row_lockers().map(|row| row.name) {
        let reply = server.post(&format!("/purchase?product=p&lock={lock}")).await;
        assert_eq!(reply.outcome(), "sold", "{lock}: {}", reply.text);
    }
}

/// One step that meets a row which somebody keeps is busy, and sells nothing later.
#[tokio::test]
async fn one_step_waits_no_longer_than_for_an_answer() {
    let farm = farm().await;
    let server = farm.server(&["--sql-timeout", "1s"]);
    server.reset("p", 2).await;
    let keep = "SELECT stock FROM locklab_products WHERE product = 'p' FOR UPDATE";
    let (mut postgres, mut mysql) = join(farm.postgres.connect(), farm.mysql.connect()).await;
    let mut in_postgres = postgres.begin().await.unwrap();
    in_postgres.execute(keep).await.unwrap();
    let mut in_mysql = mysql.begin().await.unwrap();
    in_mysql.execute(keep).await.unwrap();
    let in_one_step = || sellers().filter(|row| row.steps.contains(&Step::Take));
    let buy = |lock: &str| format!("/purchase?product=p&lock={lock}");
    for row in in_one_step() {
        let reply = server.post(&buy(row.name)).await;
        assert_eq!((reply.status, reply.outcome()), (StatusCode::OK, "busy"), "{}", reply.text);
        assert!(error(&reply).contains(timed_out(row)), "{}", reply.text);
    }
    in_postgres.rollback().await.unwrap();
    in_mysql.rollback().await.unwrap();
    for Strategy { name, .. } in in_one_step() {
        assert_eq!(server.post(&buy(name)).await.outcome(), "sold", "{name}");
        assert_eq!(audit(&server, "p", name).await["sold"], 1, "{name}");
    }
}

/// A server whose sessions would leave everything uncommitted, unless they say otherwise.
#[tokio::test]
async fn autocommit_is_not_left_to_the_servers_default() {
    let (redis, mysql) = tokio::join!(Redis::start(), MySql::start());
    mysql.run("SET GLOBAL autocommit = 0").await;
    let farm = Farm { mysql, ..Farm::bare(redis) };
    let server = farm.server(&[]);
    for row in sellers().filter(|row| row.store == Store::MySql) {
        let lock = row.name;
        assert_eq!(server.post(&format!("/reset?product=p&stock=3&lock={lock}")).await.status, 200);
        for left in (0..3).rev() {
            let reply = server.post(&format!("/purchase?product=p&lock={lock}")).await;
            assert_eq!(reply.outcome(), "sold", "{lock}: {}", reply.text);
            // By another session.
            let stock = "SELECT stock FROM locklab_products WHERE product = 'p'";
            assert_eq!(farm.mysql.fetch::<i64>(stock).await, left, "{lock}");
        }
        let open = "SELECT COUNT(*) FROM information_schema.innodb_trx";
        until("no transaction is open", async || farm.mysql.fetch::<i64>(open).await == 0).await;
    }
}

/// Many wait for one row, the last of them for too long: none of them for an answer that never comes.
#[tokio::test]
async fn whoever_waits_too_long_in_a_queue_for_a_row_is_busy() {
    let farm = farm().await;
    let server = farm.server(&["--sql-timeout", "30s"]);
    server.reset("p", 20).await;
    for lock in row_lockers().map(|row| row.name) {
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
    for row in row_lockers() {
        let (lock, code) = (row.name, if row.store == Store::MySql { "1213" } else { "40P01" });
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
    for &Strategy { name: lock, store, .. } in sellers().filter(|row| row.locks_rows()) {
        server.reset("p", 1).await;
        let path = format!("/purchase?product=p&lock={lock}&fault=pause:6s@work");
        let kill = async {
            until("it is at work", async || server.metric(PAUSED).await == 1.0).await;
            let killed = match store {
                Store::MySql => {
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
    // Of these, one step in Postgres is one statement, which commits by itself.
    let is_one = |row: &Strategy| row.steps.contains(&Step::Take);
    let commits = sellers().filter(|row| !(is_one(row) && row.store == Store::Postgres));
    for row in commits {
        let (lock, step) = (row.name, if is_one(row) { "take" } else { "write" });
        // As it goes over the wire, where READ COMMITTED is no COMMIT.
        let (flag, url, commit) = match row.store {
            Store::MySql => ("--mysql-url", &farm.mysql.url, "\x03COMMIT"),
            _ => ("--postgres-url", &farm.postgres.url, "\x0bCOMMIT\0"),
        };
        let address = url.split(['@', '/']).find(|part| part.contains("127.0.0.1:")).unwrap();
        let proxy = Proxy::start(address).await;
        let behind = url.replace(address, proxy.url.trim_start_matches("redis://"));
        let arguments = ["--redis-url", &redis, flag, &behind, "--sql-timeout", "1s"];
        let server = Server::start(&arguments);
        let buy = format!("/purchase?product=p&lock={lock}");
        let dropped = format!("&fault=drop-reply@{step}");
        for (how, fault) in [("on demand", dropped.as_str()), ("in the network", "")] {
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
