//! Redlock: what a majority of nodes grants, and what it takes to have one.

use futures_util::future::join_all;
use serde_json::json;

use crate::{
    redis_server::{Farm, Redis},
    server::{Server, count, until},
};

/// How many nodes hold the product's lock.
async fn holding(nodes: &[Redis], product: &str) -> usize {
    let held = join_all(nodes.iter().map(|node| node.is_locked(product))).await;
    held.into_iter().filter(|held| *held).count()
}

async fn attempts(server: &Server, outcome: &str) -> f64 {
    let name = "locklab_lock_attempts_total";
    server.metric(&format!("{name}{{lock=\"redlock\",outcome=\"{outcome}\"}}")).await
}

async fn votes(server: &Server, vote: &str) -> f64 {
    server.metric(&format!("locklab_redlock_votes_total{{vote=\"{vote}\"}}")).await
}

/// Makes a stranger hold the lock of `p` at these nodes.
async fn occupy(nodes: &[Redis], stranger: &str) {
    for node in nodes {
        node.send::<()>(&["SET", "lock:p", stranger, "PX", "60000"]).await;
    }
}

/// A minority of nodes is away: purchases go on, and say so. A majority is: nothing is sold, at
/// once or twice. It comes back: they go on.
#[tokio::test]
async fn a_minority_may_be_away() {
    let farm = Farm::voting().await;
    let server = farm.server(&["--redlock-timeout", "200ms"]);
    server.reset("p", 3).await;
    let reply = server.post("/purchase?product=p&lock=redlock").await;
    assert_eq!(reply.json["votes"], json!({"granted": 5, "refused": 0, "failed": 0}));
    farm.nodes[..2].iter().for_each(Redis::hang);
    let reply = server.post("/purchase?product=p&lock=redlock&retry=fixed").await;
    assert_eq!(reply.outcome(), "sold", "{}", reply.text);
    assert_eq!(reply.json["votes"], json!({"granted": 3, "refused": 0, "failed": 2}));

    farm.nodes[2].hang();
    let reply = server.post("/purchase?product=p&lock=redlock").await;
    assert_eq!((reply.status.as_u16(), reply.outcome()), (503, "unavailable"), "{}", reply.text);
    assert!(reply.text.contains("2 of 5 nodes answered"), "{}", reply.text);
    until("the nodes are no longer asked, so nothing is unknown", async || {
        let before = attempts(&server, "error").await;
        server.post("/purchase?product=p&lock=redlock").await;
        attempts(&server, "error").await > before
    })
    .await;
    let strategies = async || server.get("/strategies").await.json["strategies"].clone();
    let is_available = async || {
        let strategies = strategies().await;
        let rows = strategies.as_array().unwrap();
        rows.iter().find(|row| row["name"] == "redlock").unwrap()["available"] == true
    };
    until("it is known to be away", async || !is_available().await).await;
    assert_eq!(server.get("/readyz").await.status, 200, "the stock is there");
    assert_eq!(server.audit("p").await["sold"], 2);

    farm.nodes[..3].iter().for_each(Redis::wake);
    until("they vote again", is_available).await;
    until("what they were told meanwhile is undone", async || holding(&farm.nodes, "p").await == 0)
        .await;
    let reply = server.post("/purchase?product=p&lock=redlock&retry=fixed").await;
    assert_eq!(reply.outcome(), "sold", "{}", reply.text);
    assert_eq!(server.audit("p").await["ok"], true);
}

/// Whoever has the majority keeps others out, and a claim that lost leaves nothing behind.
#[tokio::test]
async fn a_majority_decides() {
    let farm = Farm::voting().await;
    let server = farm.server(&[]);
    server.reset("p", 2).await;
    occupy(&farm.nodes[..2], "a stranger").await;
    let reply = server.post("/purchase?product=p&lock=redlock").await;
    assert_eq!(reply.outcome(), "sold");
    assert_eq!(reply.json["votes"], json!({"granted": 3, "refused": 2, "failed": 0}));
    assert_eq!(holding(&farm.nodes, "p").await, 2, "a stranger's lock is not ours to free");

    occupy(&farm.nodes[..3], "a stranger").await;
    let reply = server.post("/purchase?product=p&lock=redlock").await;
    assert_eq!(reply.outcome(), "busy");
    assert_eq!(reply.json["votes"], json!({"granted": 2, "refused": 3, "failed": 0}));
    assert_eq!(holding(&farm.nodes, "p").await, 3);
    assert_eq!(
        (attempts(&server, "contended").await, attempts(&server, "split").await),
        (1.0, 0.0)
    );
    assert_eq!(votes(&server, "refused").await, 5.0);
}

/// Nobody has a majority, and nobody can: that is no contention, and counted apart.
#[tokio::test]
async fn split_votes_are_told_from_contention() {
    let farm = Farm::voting().await;
    let server = farm.server(&["--redlock-timeout", "200ms"]);
    server.reset("p", 1).await;
    farm.nodes[0].hang();
    occupy(&farm.nodes[1..3], "a stranger").await;
    let reply = server.post("/purchase?product=p&lock=redlock").await;
    assert_eq!(reply.outcome(), "busy", "{}", reply.text);
    assert_eq!(reply.json["votes"], json!({"granted": 2, "refused": 2, "failed": 1}));
    assert_eq!(
        (attempts(&server, "contended").await, attempts(&server, "split").await),
        (0.0, 1.0)
    );
    farm.nodes[0].wake();
    until("the late vote is undone", async || holding(&farm.nodes, "p").await == 2).await;
}

/// A vote that comes after its purchase is forgotten, by the one who asked for it.
#[tokio::test]
async fn late_votes_are_undone() {
    let farm = Farm::voting().await;
    let server = farm.server(&["--redlock-timeout", "200ms"]);
    server.reset("p", 1).await;
    farm.nodes[4].hang();
    let reply = server.post("/purchase?product=p&lock=redlock&ttl=60s").await;
    assert_eq!(reply.outcome(), "sold", "{}", reply.text);
    farm.nodes[4].wake();
    until("its late vote is undone", async || holding(&farm.nodes, "p").await == 0).await;
}

/// What is left of a lease when the round is over has to be something.
#[tokio::test]
async fn a_lease_without_validity_is_none() {
    let server = Server::full(&[]).await;
    server.reset("p", 1).await;
    let reply = server.post("/purchase?product=p&lock=redlock&ttl=2ms").await;
    assert_eq!(reply.outcome(), "busy", "{}", reply.text);
    assert_eq!(attempts(&server, "late").await, 1.0);
}

/// "Distributed Locks with Redis", on crash recovery: the third node of a majority forgets its
/// vote, and gives it to the next. With the delay, it does not vote; without, two buyers hold the
/// lock.
#[tokio::test]
async fn a_node_that_forgets_does_not_vote() {
    for (delay, expected) in [("60s", "busy"), ("0", "sold")] {
        let farm = Farm::voting().await;
        let timeout = ["--redlock-timeout", "200ms", "--redlock-restart-delay", delay];
        let server = farm.server(&timeout);
        server.reset("p", 1).await;
        occupy(&farm.nodes[3..], "away").await;
        let first = server.post("/purchase?product=p&lock=redlock&ttl=60s&delay=3s");
        let second = async {
            until("three nodes hold it", async || {
                let of_ours = join_all(farm.nodes[..3].iter().map(|node| node.is_locked("p")));
                !of_ours.await.contains(&false)
            })
            .await;
            for node in &farm.nodes[3..] {
                node.send::<()>(&["DEL", "lock:p"]).await;
            }
            farm.nodes[2].send::<()>(&["FLUSHALL"]).await;
            server.post("/purchase?product=p&lock=redlock&ttl=60s").await
        };
        let (first, second) = tokio::join!(first, second);
        assert_eq!(second.outcome(), expected, "delay {delay}: {}", second.text);
        let audit = server.audit("p").await;
        let oversold = i64::from(expected == "sold");
        assert_eq!(count(&[first, second], "sold") as i64, 1 + oversold);
        assert_eq!(audit["oversold"], oversold, "delay {delay}");
    }
}

/// A node comes back to the roll when its time is over.
#[tokio::test]
async fn a_node_votes_again_after_the_delay() {
    let farm = Farm::voting().await;
    let server = farm.server(&["--redlock-restart-delay", "2s"]);
    let voters = async || server.metric("locklab_redlock_voters").await;
    assert_eq!(voters().await, 5.0);
    farm.nodes[0].send::<()>(&["FLUSHALL"]).await;
    until("it is off the roll", async || voters().await == 4.0).await;
    until("it is back", async || voters().await == 5.0).await;
}

/// A lease that could outlast the memory of a node is not granted.
#[tokio::test]
async fn no_lease_outlasts_the_delay() {
    let server = Server::full(&["--redlock-restart-delay", "3s"]).await;
    let reply = server.post("/purchase?lock=redlock&ttl=3001").await;
    assert_eq!((reply.status.as_u16(), &reply.json["parameter"]), (400, &json!("ttl")));
    assert_eq!(server.post("/purchase?lock=redlock&ttl=3s").await.outcome(), "sold");
    assert_eq!(server.post("/purchase?lock=safe&ttl=3001").await.outcome(), "sold");
}

/// Without nodes, the strategy says what to do, and everything else sells.
#[tokio::test]
async fn without_nodes() {
    let server = Server::start(&[]);
    let reply = server.post("/purchase?lock=redlock").await;
    assert_eq!((reply.status.as_u16(), reply.outcome()), (503, "unavailable"));
    assert!(reply.text.contains("--redlock-urls"), "{}", reply.text);
    server.reset("p", 1).await;
    assert_eq!(server.post("/purchase?product=p").await.outcome(), "sold");
}

/// A server that has handed a lease over often enough asks the nodes who else waits for the lock;
/// what they are asked is counted.
#[tokio::test]
async fn nodes_are_asked_who_waits_elsewhere() {
    let farm = Farm::voting().await;
    let server = farm.server(&[]);
    server.reset("p", 40).await;
    let replies = server.race(40, "product=p&lock=redlock&retry=fifo&delay=0&wait=60s").await;
    assert_eq!(count(&replies, "sold"), 40);
    until("each node has told who waits", async || {
        let metrics = server.get("/metrics").await.text;
        let asked = metrics.lines().filter(|line| {
            line.starts_with("locklab_backend_request_duration_seconds_count")
                && line.contains("backend=\"redlock")
                && line.contains("op=\"waiters\"")
                && line.contains("outcome=\"ok\"")
                && !line.ends_with(" 0")
        });
        asked.count() == farm.nodes.len()
    })
    .await;
}
