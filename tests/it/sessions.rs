//! `postgres-advisory` and `mysql-lock`: locks that live as long as a connection. What is done to
//! that connection is done in plain SQL, as an administrator or a failing network would.

use futures_util::future::join_all;
use locklab::strategy::table::STRATEGIES;
use nix::sys::signal::Signal;
use reqwest::StatusCode;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    server::{count, until},
    sql_side::Side,
};

const PAUSED: &str = "locklab_faults_active{fault=\"pause\"}";

/// What the ledger says: units sold, units oversold, and the verdict.
fn verdict(audit: &Value) -> (i64, i64, bool) {
    let number = |name: &str| audit[name].as_i64().unwrap();
    (number("sold"), number("oversold"), audit["ok"].as_bool().unwrap())
}

/// The connection that holds the lock is killed during the work: a renewal finds out, and the work
/// ends early; or, when the work is nearly over, the last look before the write does. Nothing is
/// written, and the next buyer gets in.
#[tokio::test]
async fn a_connection_killed_during_the_work() {
    join_all(Side::both().await.map(async |side| {
        let server = side.farm.server(&[]);
        for how in ["ttl=1500ms&delay=25s", "ttl=600s&fault=pause:6s@before-write"] {
            server.reset("p", 1).await;
            let kill = async {
                side.held().await;
                assert_eq!(side.kill_holder().await, 1, "{}", side.lock);
                until("it is free", async || !side.is_locked().await).await;
            };
            let path = side.buy(how);
            let (reply, ()) = tokio::join!(server.post(&path), kill);
            assert_eq!(reply.outcome(), "lost", "{how}: {}", reply.text);
            let hold = reply.json["hold_ms"].as_f64().unwrap();
            assert!(hold < 24_000.0, "the work goes on: {}", reply.text);
            assert_eq!(verdict(&server.audit("p").await), (0, 0, true), "{how}");
            assert_eq!(server.post(&side.buy("ttl=5s")).await.outcome(), "sold", "{how}");
            assert_eq!(verdict(&server.audit("p").await), (1, 0, true), "{how}");
        }
    }))
    .await;
}

/// The control: it is killed after the last look, when the write is about to go out. The next buyer
/// gets in, and both sell the same unit. No lock without fencing can prevent that.
#[tokio::test]
async fn a_connection_killed_during_the_write_oversells() {
    join_all(Side::both().await.map(async |side| {
        let server = side.farm.server(&[]);
        server.reset("p", 1).await;
        let path = side.buy("ttl=600s&fault=pause:8s@write");
        let overtake = async {
            until("it is about to write", async || server.metric(PAUSED).await == 1.0).await;
            assert_eq!(side.kill_holder().await, 1);
            until("it is free", async || !side.is_locked().await).await;
            server.post(&side.buy("ttl=600s")).await
        };
        let (first, second) = tokio::join!(server.post(&path), overtake);
        assert_eq!(second.outcome(), "sold", "{}", second.text);
        assert_eq!(first.outcome(), "sold", "{} was not caught overselling", side.lock);
        assert_eq!(verdict(&server.audit("p").await), (2, 1, false), "{}", side.lock);
        let row = STRATEGIES.iter().find(|row| row.name == side.lock).unwrap();
        assert_eq!(row.fails, "connection killed during the write");
    }))
    .await;
}

/// Work that is longer than the ttl, by many at two servers: one after the other.
#[tokio::test]
async fn work_longer_than_the_ttl_is_covered() {
    join_all(Side::both().await.map(async |side| {
        let servers = [side.farm.server(&[]), side.farm.server(&[])];
        servers[0].reset("p", 3).await;
        let query = side.buy("ttl=1500ms&delay=2s&retry=fifo&wait=60s");
        let query = query.trim_start_matches("/purchase?");
        let replies = join_all(servers.iter().map(|server| server.race(4, query))).await;
        let replies: Vec<_> = replies.into_iter().flatten().collect();
        assert_eq!((count(&replies, "sold"), count(&replies, "sold_out")), (3, 5));
        let audit = servers[0].audit("p").await;
        assert_eq!(verdict(&audit), (3, 0, true), "{audit}");
        assert_eq!(audit["overlaps"]["grants"], 0, "{audit}");
        assert_eq!(audit["overlaps"]["beliefs"], 0, "{audit}");
    }))
    .await;
}

/// A server process that is stopped for longer than the ttl keeps its lock, for its connection
/// lives: nobody else gets in. When it goes on, it has heard nothing for too long, and takes the
/// lock for lost.
#[tokio::test]
async fn a_stopped_server_keeps_its_lock() {
    join_all(Side::both().await.map(async |side| {
        let (server, other) = (side.farm.server(&[]), side.farm.server(&[]));
        server.reset("p", 1).await;
        let path = side.buy("ttl=1s&fault=pause:1s@work");
        let meanwhile = async {
            until("it is at work", async || server.metric(PAUSED).await == 1.0).await;
            server.signal(Signal::SIGSTOP);
            // Longer than the ttl, by the clock of the database.
            let reply = other.post(&side.buy("retry=fifo&wait=3s")).await;
            let is_locked = side.is_locked().await;
            server.signal(Signal::SIGCONT);
            assert_eq!((reply.outcome(), is_locked), ("busy", true), "{}", reply.text);
        };
        let (reply, ()) = tokio::join!(server.post(&path), meanwhile);
        assert_eq!(reply.outcome(), "lost", "{}", reply.text);
        until("it is free", async || !side.is_locked().await).await;
        assert_eq!(other.post(&side.buy("")).await.outcome(), "sold");
        assert_eq!(verdict(&other.audit("p").await), (1, 0, true));
    }))
    .await;
}

/// A server that dies frees its locks, however long their ttl.
#[tokio::test]
async fn a_dead_server_frees_its_lock() {
    join_all(Side::both().await.map(async |side| {
        let (server, other) = (side.farm.server(&[]), side.farm.server(&[]));
        server.reset("p", 1).await;
        let request = server.request(reqwest::Method::POST, &side.buy("ttl=600s&delay=20s"));
        let buyer = tokio::spawn(request.send());
        side.held().await;
        server.signal(Signal::SIGKILL);
        assert!(buyer.await.unwrap().is_err(), "nobody is left to answer");
        until("it is free", async || !side.is_locked().await).await;
        assert_eq!(other.post(&side.buy("")).await.outcome(), "sold");
    }))
    .await;
}

/// Other programs that take the lock by its documented name, plainly in SQL, keep buyers out, and
/// are kept out by them; also when the name is longer than MySQL takes it.
#[tokio::test]
async fn other_programs_contend() {
    join_all(Side::both().await.map(async |side| {
        let server = side.farm.server(&[]);
        for product in ["p", &"x".repeat(64)] {
            server.reset(product, 2).await;
            let buy = format!("/purchase?product={product}&lock={}", side.lock);
            let stranger = side.foreigner(product).await;
            assert_eq!(stranger.taken, 1);
            let reply = server.post(&buy).await;
            assert_eq!((reply.status, reply.outcome()), (StatusCode::OK, "busy"), "{}", reply.text);
            stranger.release().await;
            assert_eq!(server.post(&buy).await.outcome(), "sold", "{product}");
            let refused = async {
                until("it works", async || server.metric(PAUSED).await == 1.0).await;
                side.foreigner(product).await.taken
            };
            let path = format!("{buy}&fault=pause:6s@work");
            let (reply, taken) = tokio::join!(server.post(&path), refused);
            assert_eq!((reply.outcome(), taken), ("sold", 0), "{product}");
            assert_eq!(side.foreigner(product).await.taken, 1, "it was given back: {product}");
        }
    }))
    .await;
}

/// GET_LOCK has a third answer: NULL, when the wait is killed. That is neither a grant nor a busy
/// lock, and nothing is left of it.
#[tokio::test]
async fn a_killed_wait_is_no_busy_lock() {
    let side = Side::mysql().await;
    let server = side.farm.server(&[]);
    server.reset("p", 1).await;
    let stranger = side.foreigner("p").await;
    assert_eq!(server.post(&side.buy("")).await.outcome(), "busy", "0");
    let path = side.buy("retry=fifo&wait=25s");
    let kill = async {
        until("it waits", async || side.waiting().await == 1).await;
        let waiter: i64 = side
            .farm
            .mysql
            .fetch(
                "SELECT id FROM information_schema.processlist \
                 WHERE info LIKE '%GET_LOCK%' AND id <> CONNECTION_ID()",
            )
            .await;
        side.farm.mysql.run(&format!("KILL QUERY {waiter}")).await;
        waiter
    };
    let (reply, waiter) = tokio::join!(server.post(&path), kill);
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "NULL: {}", reply.text);
    assert_eq!(reply.outcome(), "unavailable", "NULL");
    until("its session is gone", async || !side.is_there(waiter).await).await;
    stranger.release().await;
    assert_eq!(server.post(&side.buy("")).await.outcome(), "sold", "1");
}

/// The connection that holds a lock is nobody else's meanwhile. It goes back to the pool without
/// the lock; on any doubt it is closed.
#[tokio::test]
async fn a_pinned_connection_is_nobody_elses() {
    join_all(Side::both().await.map(async |side| {
        let pool = ["--postgres-pool-size", "2", "--mysql-pool-size", "2"];
        let server = side.farm.server(&pool);
        for product in ["p", "q"] {
            server.reset(product, 9).await;
        }
        let others = async {
            side.held().await;
            let holder = side.holder().await;
            for _ in 0..5 {
                let other = format!("/purchase?product=q&lock={}", side.lock);
                assert_eq!(server.post(&other).await.outcome(), "sold");
                assert_eq!(side.holder().await, holder);
            }
            holder
        };
        let path = side.buy("fault=pause:8s@work");
        let (reply, holder) = tokio::join!(server.post(&path), others);
        assert_eq!(reply.outcome(), "sold", "{}", reply.text);
        assert!(side.is_there(holder).await && !side.is_locked().await, "it went back, and clean");
        let path = side.buy("fault=pause:6s@after-acquire&fault=crash@work");
        let doubtful = async {
            side.held().await;
            side.holder().await
        };
        let (reply, holder) = tokio::join!(server.post(&path), doubtful);
        assert_eq!(reply.outcome(), "error", "{}", reply.text);
        until("it is closed", async || !side.is_there(holder).await).await;
        assert!(!side.is_locked().await);
    }))
    .await;
}

/// Buyers of two servers in the database's one queue: first come, first served.
#[tokio::test]
async fn first_come_first_served_across_servers() {
    join_all(Side::both().await.map(async |side| {
        let servers = [side.farm.server(&[]), side.farm.server(&[])];
        servers[0].reset("p", 6).await;
        let stranger = side.foreigner("p").await;
        let mut buyers = Vec::new();
        for place in 0..6 {
            // `fifo` would wait in line at its own server, and only the first of it here.
            let path = side.buy("retry=notify&wait=25s");
            let request = servers[place % 2].request(reqwest::Method::POST, &path);
            buyers
                .push(tokio::spawn(async { request.send().await.unwrap().json::<Value>().await }));
            let queued = i64::try_from(place).unwrap() + 1;
            until("it is in the queue", async || side.waiting().await == queued).await;
        }
        stranger.release().await;
        for (place, buyer) in buyers.into_iter().enumerate() {
            let reply = buyer.await.unwrap().unwrap();
            assert_eq!(reply["outcome"], "sold", "{reply}");
            assert_eq!(reply["stock_before"], 6 - place, "{}: {reply}", side.lock);
        }
    }))
    .await;
}

/// Who hangs up while it waits leaves the queue, and neither a lock nor a session that could be
/// granted one.
#[tokio::test]
async fn a_waiter_that_hangs_up_leaves_the_queue() {
    join_all(Side::both().await.map(async |side| {
        let server = side.farm.server(&[]);
        for retry in ["fifo", "notify"] {
            server.reset("p", 1).await;
            let stranger = side.foreigner("p").await;
            let address = server.url.trim_start_matches("http://");
            let mut socket = TcpStream::connect(address).await.unwrap();
            let path = side.buy(&format!("retry={retry}&wait=60s"));
            let request =
                format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            socket.write_all(request.as_bytes()).await.unwrap();
            until("it waits", async || side.waiting().await == 1).await;
            socket.shutdown().await.unwrap();
            let mut reply = String::new();
            socket.read_to_string(&mut reply).await.unwrap();
            assert_eq!(reply, "", "it was answered before it hung up");
            until("it has left", async || side.waiting().await == 0).await;
            stranger.release().await;
            until("nothing is under way", async || {
                server.metric("locklab_requests_in_flight").await == 0.0
            })
            .await;
            assert!(!side.is_locked().await, "{retry}");
            assert_eq!(server.audit("p").await["sold"], 0, "{retry}");
            assert_eq!(server.post(&side.buy("")).await.outcome(), "sold", "{retry}");
        }
    }))
    .await;
}

/// Postgres may grant a lock at the moment at which the wait for it is over, and keep it for the
/// session: so the connection of a wait that failed is closed, and does not go back to the pool.
#[tokio::test]
async fn a_wait_that_is_over_closes_its_connection() {
    let side = Side::postgres().await;
    let server = side.farm.server(&[]);
    server.reset("p", 1).await;
    let stranger = side.foreigner("p").await;
    let waiter = async {
        until("it waits", async || side.waiting().await == 1).await;
        let waiter = "SELECT CAST(pid AS BIGINT) FROM pg_stat_activity \
                      WHERE datname = current_database() AND wait_event = 'advisory'";
        side.farm.postgres.fetch::<i64>(waiter).await
    };
    let path = side.buy("retry=notify&wait=4s");
    let (reply, waiter) = tokio::join!(server.post(&path), waiter);
    assert_eq!((reply.status, reply.outcome()), (StatusCode::OK, "busy"), "{}", reply.text);
    until("it is closed", async || !side.is_there(waiter).await).await;
    stranger.release().await;
    assert_eq!(server.post(&side.buy("")).await.outcome(), "sold");
}

/// Every connection holds a lock: who comes then is told so, and it is no error of the server.
#[tokio::test]
async fn an_exhausted_pool_is_busy() {
    join_all(Side::both().await.map(async |side| {
        let pool = ["--postgres-pool-size", "2", "--mysql-pool-size", "2", "--sql-timeout", "1s"];
        let server = side.farm.server(&pool);
        for product in ["p", "q", "r"] {
            server.reset(product, 1).await;
        }
        let buy = |product| format!("/purchase?product={product}&lock={}", side.lock);
        let holders = ["q", "r"].map(|product| format!("{}&fault=pause:12s@work", buy(product)));
        let third = async {
            until("both hold", async || server.metric(PAUSED).await == 2.0).await;
            for wait in ["", "&retry=fifo&wait=500ms", "&retry=fixed&max_retries=1&base=10ms"] {
                let reply = server.post(&format!("{}{wait}", buy("p"))).await;
                assert_eq!((reply.status, reply.outcome()), (StatusCode::OK, "busy"), "{wait}");
                let error = reply.json["error"].as_str().unwrap();
                assert!(error.contains("no connection of its pool"), "{wait}: {error}");
            }
        };
        let (one, two, ()) =
            tokio::join!(server.post(&holders[0]), server.post(&holders[1]), third);
        assert_eq!((one.outcome(), two.outcome()), ("sold", "sold"));
        assert_eq!(server.post(&buy("p")).await.outcome(), "sold");
    }))
    .await;
}

/// A reset ends whoever holds the lock and has read: it sells nothing, and the next gets in.
#[tokio::test]
async fn a_reset_ends_holders() {
    join_all(Side::both().await.map(async |side| {
        let (server, other) = (side.farm.server(&[]), side.farm.server(&[]));
        for _ in 0..5 {
            server.reset("p", 5).await;
            let path = side.buy("ttl=900ms&delay=20s");
            let reset = async {
                let history = format!("/history/p?lock={}", side.lock);
                let has_read = async || server.get(&history).await.text.contains("\"read\"");
                until("the old one has read", has_read).await;
                other.reset("p", 1).await;
                other.post(&side.buy("ttl=600s")).await
            };
            let (old, new) = tokio::join!(server.post(&path), reset);
            assert_eq!(new.outcome(), "sold", "{}", new.text);
            assert_eq!(old.outcome(), "lost", "{}", old.text);
            assert_eq!(verdict(&other.audit("p").await), (1, 0, true));
        }
    }))
    .await;
}
