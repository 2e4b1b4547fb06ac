//! `locklab anomaly`: what goes wrong with the locks of databases, shown on real servers; and that
//! it does not go wrong with ours.

use std::process::Output;

use clap::ValueEnum;
use locklab::cli::AnomalyName;
use serde_json::Value;
use sqlx::Executor;

use crate::{
    server::{Server, command, until},
    sql_servers::{MySql, Postgres},
};

fn names() -> Vec<String> {
    let names = AnomalyName::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    names.map(|name| name.get_name().to_owned()).collect()
}

async fn run(arguments: &[&str]) -> Output {
    let mut command = command(&[&["anomaly"], arguments].concat());
    // A busy machine is no fault.
    command.env("LOCKLAB_SQL_TIMEOUT", "10s");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Runs it with these arguments; its exit code, and what it found.
async fn anomaly(arguments: &[&str]) -> (i32, Value) {
    let output = run(&[&["--json"], arguments].concat()).await;
    let report = serde_json::from_slice(&output.stdout);
    let report = report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), report)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// What was sent to the database, with the answers.
fn answers<'a>(case: &'a Value, who: &'a str, sql: &'a str) -> Vec<&'a Value> {
    let steps = list(case, "steps").iter().filter(|step| step["who"] == who);
    let sent = steps.filter(|step| step["sql"].as_str().unwrap().contains(sql));
    sent.map(|step| &step["answer"]).collect()
}

/// Every anomaly oversells, by the ledger, or strands its lock; and none of its controls does.
#[tokio::test]
async fn every_anomaly_is_shown_beside_its_controls() {
    let (code, report) = anomaly(&[]).await;
    assert_eq!(code, 0, "{report:#}");
    let parts = list(&report, "parts");
    for (part, name) in parts.iter().zip(names()) {
        assert!(part["title"].as_str().unwrap().starts_with(&format!("{name}: ")), "{part:#}");
        let claims = list(part, "checks").iter().map(|check| check["claim"].as_str().unwrap());
        let controls = claims.filter(|claim| claim.starts_with("control, ")).count();
        assert!(controls >= 2, "{part:#}");
    }
    assert_eq!(parts.len(), names().len());
    let (stranding, others) = parts.split_first().unwrap();
    let [stranded, directly, within] = list(stranding, "evidence") else { panic!("{stranding:#}") };
    assert_eq!(stranded["holders"][0][0], stranded["taken"]["session"]);
    assert_ne!(stranded["released"]["session"], stranded["taken"]["session"]);
    for control in [directly, within] {
        assert_eq!(control["holders"], Value::Array(Vec::new()));
        assert_eq!(control["next"]["yes"], true);
    }
    for part in others {
        for (number, case) in list(part, "evidence").iter().enumerate() {
            let oversold = i64::from(number == 0);
            assert_eq!(case["ledger"]["oversold"], oversold, "{case:#}");
        }
    }
    let stale = &list(&others[2], "evidence")[0];
    assert_eq!(answers(stale, "second", "SELECT stock"), [1, 0, 1], "with FOR UPDATE in between");
    assert_eq!(answers(stale, "first", "INSERT"), answers(stale, "second", "INSERT"));
}

/// Servers that are named are used, and nothing is left in them.
#[tokio::test]
async fn named_servers_are_used_and_left_as_they_were() {
    let (postgres, mysql) = (Postgres::shared().await, MySql::shared().await);
    let dropped = async || {
        let sql = "SELECT CAST(variable_value AS SIGNED) FROM information_schema.global_status \
                   WHERE variable_name = 'Com_drop_table'";
        mysql.fetch::<i64>(sql).await
    };
    let before = dropped().await;
    let (code, report) = anomaly(&[
        "lost-get-lock",
        "stale-snapshot",
        "skip-locked-miscount",
        "late-advisory-lock",
        "--postgres-url",
        &postgres.url,
        "--mysql-url",
        &mysql.url,
    ])
    .await;
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(dropped().await, before + 2, "those of each anomaly");
    let left = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name LIKE '%anomaly%'";
    assert_eq!(postgres.fetch::<i64>(left).await, 0);
    assert_eq!(mysql.fetch::<i64>(left).await, 0);
}

/// What could not be measured is not called a success, nor a failure; and what cannot be used does
/// not keep the rest from being shown.
#[tokio::test]
async fn without_a_server_nothing_is_measured() {
    let postgres = Postgres::shared().await;
    let (code, report) = anomaly(&[
        "stale-snapshot",
        "late-advisory-lock",
        "--postgres-url",
        &postgres.url,
        "--mysql-url",
        "mysql://root@127.0.0.1:1/locklab",
    ])
    .await;
    assert_eq!(code, 2, "{report:#}");
    let [absent, shown] = list(&report, "parts") else { panic!("{report:#}") };
    let checks = list(absent, "checks");
    assert_eq!((checks.len(), &checks[0]["met"]), (1, &"unknown".into()), "{report:#}");
    assert!(checks[0]["seen"].as_str().unwrap().contains("mysql is away"), "{report:#}");
    assert!(list(shown, "checks").iter().all(|check| check["met"] == "yes"), "{report:#}");
}

#[tokio::test]
async fn a_name_that_is_none_is_told_those_that_are() {
    let output = run(&["nosuch"]).await;
    assert_eq!(output.status.code(), Some(64));
    let told = String::from_utf8_lossy(&output.stderr);
    for name in names() {
        assert!(told.contains(&name), "{told}");
    }
}

/// A Locklab that sells from both databases, with one connection each for locks.
async fn server() -> (Server, Postgres, MySql) {
    let (postgres, mysql) = (Postgres::shared().await, MySql::shared().await);
    let one = ["--postgres-pool-size", "1", "--mysql-pool-size", "1", "--sql-timeout", "10s"];
    let urls = ["--postgres-url", &postgres.url, "--mysql-url", &mysql.url];
    let server = Server::start(&[urls.as_slice(), &one].concat());
    (server, postgres, mysql)
}

/// Sold, crashed or hung up: no lock stays with the connection that the next one is given.
#[tokio::test]
async fn no_pooled_connection_keeps_a_lock() {
    let (server, postgres, mysql) = server().await;
    let is_locked = async || postgres.is_locked("p").await || mysql.is_locked("p").await;
    for lock in ["postgres-advisory", "mysql-lock"] {
        server.reset("p", 9).await;
        let buy = format!("/purchase?product=p&lock={lock}");
        for fault in ["", "&fault=crash@after-acquire", "&fault=drop-reply@acquire"] {
            server.post(&format!("{buy}{fault}")).await;
            let what = format!("nobody has the lock: {lock}{fault}");
            until(&what, async || !is_locked().await).await;
        }
        // Whoever has the lock when its client hangs up goes on to its end.
        let buys = server.request(reqwest::Method::POST, &format!("{buy}&delay=300ms")).send();
        let hangs_up = tokio::spawn(buys);
        until("somebody has the lock", is_locked).await;
        hangs_up.abort();
        until("nobody has the lock", async || !is_locked().await).await;
        assert_eq!(server.post(&buy).await.outcome(), "sold", "{lock}");
        assert!(!is_locked().await, "{lock}");
    }
}

/// The work of a holder whose connection is killed ends, and nothing is written.
#[tokio::test]
async fn a_holder_whose_connection_is_killed_is_told() {
    let (server, postgres, mysql) = server().await;
    for lock in ["postgres-advisory", "mysql-lock"] {
        server.reset("p", 1).await;
        let buy = format!("/purchase?product=p&lock={lock}");
        let works = format!("{buy}&ttl=6s&delay=60s");
        let kill = async {
            if lock == "mysql-lock" {
                until("it has the lock", async || mysql.is_locked("p").await).await;
                mysql.end_sessions("id = IS_USED_LOCK('locklab:p')").await;
            } else {
                until("it has the lock", async || postgres.is_locked("p").await).await;
                let holds = "pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')";
                postgres.end_sessions(holds).await;
            }
        };
        let (reply, ()) = tokio::join!(server.post(&works), kill);
        assert_eq!(reply.outcome(), "lost", "{lock}: {}", reply.text);
        assert_eq!(server.post(&buy).await.outcome(), "sold", "{lock}");
        let audit = server.audit("p").await;
        assert_eq!((&audit["sold"], &audit["ok"]), (&1.into(), &true.into()), "{lock}");
    }
}

/// A stranger keeps the rows of a product locked: the ledger counts them, and whoever has waited
/// for them acts on what is there by then.
#[tokio::test]
async fn locked_rows_are_counted_and_waited_for() {
    let (server, postgres, mysql) = server().await;
    let locks = ["products", "orders"]
        .map(|table| format!("SELECT 1 FROM locklab_{table} WHERE product = 'p' FOR UPDATE"));
    let takes_all = "UPDATE locklab_products SET stock = 0 WHERE product = 'p'";
    for lock in ["postgres-row", "layered", "mysql-row"] {
        server.reset("p", 2).await;
        let buy = format!("/purchase?product=p&lock={lock}&ttl=60s&wait=60s");
        assert_eq!(server.post(&buy).await.outcome(), "sold", "{lock}");
        let (mut in_postgres, mut in_mysql) = (postgres.connect().await, mysql.connect().await);
        let is_mysql = lock == "mysql-row";
        for sql in ["START TRANSACTION", &locks[0], &locks[1]] {
            if is_mysql {
                in_mysql.execute(sql).await.unwrap();
            } else {
                in_postgres.execute(sql).await.unwrap();
            }
        }
        assert_eq!(server.audit("p").await["sold"], 1, "{lock}");
        let stranger = async {
            let waits = "SELECT COUNT(*) FROM information_schema.processlist \
                         WHERE id <> CONNECTION_ID() AND info LIKE '%product = ? FOR UPDATE'";
            let waits_in_postgres = "SELECT COUNT(*) FROM pg_stat_activity WHERE \
                                     datname = current_database() AND wait_event_type = 'Lock'";
            until("somebody waits for the row", async || {
                let waiting = if is_mysql {
                    mysql.fetch::<i64>(waits).await
                } else {
                    postgres.fetch::<i64>(waits_in_postgres).await
                };
                waiting == 1
            })
            .await;
            for sql in [takes_all, "COMMIT"] {
                if is_mysql {
                    in_mysql.execute(sql).await.unwrap();
                } else {
                    in_postgres.execute(sql).await.unwrap();
                }
            }
        };
        let (reply, ()) = tokio::join!(server.post(&buy), stranger);
        assert_eq!(reply.outcome(), "sold_out", "{lock}: {}", reply.text);
        assert_eq!(server.audit("p").await["sold"], 1, "{lock}");
    }
}
