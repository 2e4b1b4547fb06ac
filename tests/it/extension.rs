//! Extensions under `redlock`: as many as were asked for, by a majority, and of nothing that is gone.

use futures_util::future::join_all;
use locklab_locks::wires::redlock::VOTER_KEY;
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    redis_server::{Farm, Redis},
    server::{Reply, Server, until},
};

/// A purchase of `p` that works for longer than its ttl of three seconds.
const BUY: &str = "/purchase?product=p&lock=redlock&ttl=3s";

/// How many of the nodes hold the lock of `p` for somebody.
async fn holding(nodes: &[Redis]) -> usize {
    let held = join_all(nodes.iter().map(|node| node.is_locked("p"))).await;
    held.into_iter().filter(|held| *held).count()
}

async fn renewals(server: &Server, outcome: &str) -> f64 {
    let name = "locklab_lock_renewals_total";
    server.metric(&format!("{name}{{lock=\"redlock\",outcome=\"{outcome}\"}}")).await
}

async fn votes(server: &Server, vote: &str) -> f64 {
    server.metric(&format!("locklab_redlock_votes_total{{vote=\"{vote}\"}}")).await
}

/// Buys the only unit, and does something else once the buyer is at work.
async fn buy<T>(server: &Server, how: &str, meanwhile: impl Future<Output = T>) -> (Reply, T) {
    server.reset("p", 1).await;
    let reads = "locklab_backend_request_duration_seconds_count\
                 {backend=\"redis\",op=\"read\",outcome=\"ok\"}";
    let before = server.metric(reads).await;
    let path = format!("{BUY}&{how}");
    tokio::join!(server.post(&path), async {
        until("the buyer is at work", async || server.metric(reads).await > before).await;
        meanwhile.await
    })
}

/// Work of two and a half ttls, while a buyer at another server wants the same unit: with extensions,
/// it is sold once; without, twice.
#[tokio::test]
async fn work_longer_than_the_ttl_is_covered() {
    for (extensions, next_outcome, oversold) in [(5, "sold_out", 0), (0, "sold", 1)] {
        let farm = Farm::voting().await;
        let [first, second] = ["a", "b"].map(|_| farm.server(&[]));
        let how = format!("delay=7500ms&extensions={extensions}");
        let wait = "/purchase?product=p&lock=redlock&retry=jitter&max_retries=1000&wait=60s";
        let (long, next) = buy(&first, &how, second.post(wait)).await;
        assert_eq!((long.outcome(), next.outcome()), ("sold", next_outcome), "{}", long.text);
        let audit = second.audit("p").await;
        assert_eq!((&audit["sold"], &audit["oversold"]), (&json!(1 + oversold), &json!(oversold)));
        assert_eq!(audit["ok"], oversold == 0, "{audit}");
        assert_eq!(long.json["ttl_violated"], oversold > 0, "{}", long.text);
        let asked = (extensions > 0).then_some(extensions);
        assert_eq!(long.json.get("extensions"), asked.map(|most| json!(most)).as_ref());
        assert!(next.json.get("extensions").is_none(), "nobody asked for it");
        assert_eq!(renewals(&first, "renewed").await, f64::from(extensions));
        assert_eq!(votes(&first, "granted").await, f64::from(5 * (1 + extensions)));
        assert_eq!(holding(&farm.nodes).await, 0, "released, and not extended after that");
    }
}

/// What was asked for is the limit: work that goes on beyond it is stopped before it writes.
#[tokio::test]
async fn no_lease_is_extended_more_often_than_it_was_to_be() {
    let farm = Farm::voting().await;
    let server = farm.server(&[]);
    let (long, ()) = buy(&server, "delay=12s&extensions=1", async {}).await;
    assert_eq!((long.outcome(), &long.json["extensions"]), ("lost", &json!(1)), "{}", long.text);
    assert_eq!(long.json["ttl_violated"], true, "{}", long.text);
    assert_eq!((renewals(&server, "renewed").await, renewals(&server, "lost").await), (1.0, 0.0));
    assert_eq!(server.audit("p").await["sold"], 0);
    until("nothing is left", async || holding(&farm.nodes).await == 0).await;
    assert_eq!(server.post(BUY).await.outcome(), "sold");
}

/// A majority is enough, however long the others take. What they were told meanwhile is undone.
#[tokio::test]
async fn a_minority_may_be_away() {
    let farm = Farm::voting().await;
    let server = farm.server(&[]);
    let away = async { farm.nodes[..2].iter().for_each(Redis::hang) };
    let (long, ()) = buy(&server, "delay=4s&extensions=10", away).await;
    farm.nodes[..2].iter().for_each(Redis::wake);
    assert_eq!((long.outcome(), &long.json["ttl_violated"]), ("sold", &json!(false)));
    assert!(long.json["extensions"].as_u64().unwrap() >= 2, "{}", long.text);
    assert_eq!(renewals(&server, "unknown").await, 0.0);
    assert!(votes(&server, "failed").await >= 4.0);
    until("nothing is left", async || holding(&farm.nodes).await == 0).await;
}

/// No majority answers: that is not yet a loss, but nothing is extended, and the work is stopped at the
/// end that the lease had.
#[tokio::test]
async fn a_majority_that_is_away_extends_nothing() {
    let farm = Farm::voting().await;
    let server = farm.server(&["--redlock-timeout", "500ms"]);
    let (away, there) = farm.nodes.split_at(3);
    let hang = async {
        away.iter().for_each(Redis::hang);
        until("an extension has failed", async || renewals(&server, "unknown").await >= 1.0).await;
        holding(there).await
    };
    let (long, held) = buy(&server, "delay=60s&extensions=10", hang).await;
    assert_eq!(held, 2, "nothing was given up then");
    assert_eq!((long.outcome(), &long.json["extensions"]), ("lost", &json!(0)), "{}", long.text);
    assert_eq!((renewals(&server, "renewed").await, renewals(&server, "lost").await), (0.0, 0.0));
    away.iter().for_each(Redis::wake);
    until("what they were told meanwhile is undone", async || holding(&farm.nodes).await == 0)
        .await;
    until("they vote again", async || server.metric("locklab_redlock_voters").await == 5.0).await;
    assert_eq!(server.post(BUY).await.outcome(), "sold");
    let audit = server.audit("p").await;
    assert_eq!((&audit["sold"], &audit["ok"]), (&json!(1), &json!(true)), "{audit}");
}

/// A node that has lost its memory gets nothing back from an extension, whether it votes or not.
#[tokio::test]
async fn a_node_that_forgot_is_not_told_again() {
    for delay in ["60s", "0"] {
        let farm = Farm::voting().await;
        let server = farm.server(&["--redlock-restart-delay", delay]);
        let flush = async {
            farm.nodes[0].send::<()>(&["FLUSHALL"]).await;
            let flushed = renewals(&server, "renewed").await;
            until("the lease was extended since", async || {
                renewals(&server, "renewed").await >= flushed + 2.0
            })
            .await;
            (farm.nodes[0].is_locked("p").await, holding(&farm.nodes).await)
        };
        let (long, held) = buy(&server, "delay=4s&extensions=10", flush).await;
        assert_eq!(held, (false, 4), "delay {delay}");
        assert_eq!(long.outcome(), "sold", "{}", long.text);
    }
}

/// A node that does not vote extends nothing, even if it knows the claim: what else it has forgotten,
/// nobody can tell. That is no loss before the lease ends.
#[tokio::test]
async fn a_node_without_its_mark_does_not_extend() {
    let farm = Farm::voting().await;
    let server = farm.server(&[]);
    let unmark = async {
        for node in &farm.nodes[..3] {
            node.send::<()>(&["DEL", VOTER_KEY]).await;
        }
    };
    let (long, ()) = buy(&server, "delay=60s&extensions=10", unmark).await;
    assert_eq!((long.outcome(), &long.json["extensions"]), ("lost", &json!(0)), "{}", long.text);
    assert_eq!(long.json["ttl_violated"], true, "not before: {}", long.text);
    assert_eq!(holding(&farm.nodes).await, 0);
}

/// Locks of strangers at a minority of nodes do not end the lease, nor does it end them. At a majority,
/// it is lost at once: what is left of it is given up, and the strangers keep theirs.
#[tokio::test]
async fn strangers_keep_their_locks() {
    let farm = Farm::voting().await;
    let server = farm.server(&[]);
    for (strangers, outcome) in [(2, "sold"), (3, "lost")] {
        let occupied = &farm.nodes[..strangers];
        let occupy = async {
            for node in occupied {
                node.send::<()>(&["SET", "lock:p", "a stranger", "PX", "60000"]).await;
            }
        };
        // Whoever is told that it is lost does not work for so long.
        let delay = if outcome == "lost" { "60s" } else { "4s" };
        let (long, ()) = buy(&server, &format!("delay={delay}&extensions=10"), occupy).await;
        assert_eq!((long.outcome(), &long.json["ttl_violated"]), (outcome, &json!(false)));
        assert_eq!(renewals(&server, "lost").await, f64::from(u8::from(outcome == "lost")));
        assert_eq!(holding(occupied).await, strangers);
        assert_eq!(holding(&farm.nodes).await, strangers, "nothing of ours is left");
    }
}

/// An extension that a node is told of while the lease is released brings nothing back.
#[tokio::test]
async fn a_release_during_an_extension_leaves_nothing() {
    let farm = Farm::voting().await;
    let server = farm.server(&["--redlock-timeout", "1s"]);
    let away = async { farm.nodes[4].hang() };
    // The first extension is due after a second, and waits for that node for half a second.
    let (long, ()) = buy(&server, "delay=1200ms&extensions=10", away).await;
    assert_eq!(long.outcome(), "sold", "{}", long.text);
    assert!(votes(&server, "failed").await >= 1.0, "an extension was under way");
    farm.nodes[4].wake();
    until("nothing is left", async || holding(&farm.nodes).await == 0).await;
    assert_eq!(server.post(BUY).await.outcome(), "sold_out");
}

/// Every lease of a cart is extended. One that is to be is not handed over in line: the next would get
/// what is left of it.
#[tokio::test]
async fn carts_and_lines() {
    let server = Server::full(&[]).await;
    for product in ["a", "b"] {
        server.reset(product, 1).await;
    }
    let cart = json!({
        "items": [{"product_id": "a"}, {"product_id": "b"}],
        "lock": "redlock", "ttl": "3s", "delay": "4s", "extensions": 3,
    });
    let reply = server.post_json("/purchase", &cart).await;
    assert_eq!((reply.outcome(), &reply.json["ttl_violated"]), ("sold", &json!(false)));
    assert!(reply.json["extensions"].as_u64().unwrap() >= 4, "{}", reply.text);
    server.reset("p", 2).await;
    let buy = format!("{BUY}&delay=4s&extensions=3&retry=fifo");
    for reply in join_all([server.post(&buy), server.post(&buy)]).await {
        assert_eq!(reply.outcome(), "sold", "{}", reply.text);
        assert!(reply.json["extensions"].as_u64().unwrap() >= 2, "{}", reply.text);
    }
    assert_eq!(server.metric("locklab_lock_hand_overs_total{lock=\"redlock\"}").await, 0.0);
}

/// Other strategies refuse it, and say who does not.
#[tokio::test]
async fn only_redlock_extends() {
    let server = Server::full(&[]).await;
    server.reset("p", 9).await;
    for lock in ["safe", "watchdog", "queue"] {
        let buy = format!("/purchase?product=p&lock={lock}&extensions");
        let reply = server.post(&format!("{buy}=1")).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{lock}: {}", reply.text);
        assert_eq!(reply.json["parameter"], "extensions");
        let valid = format!("0 under {lock}; up to 10 under redlock");
        assert_eq!(reply.json["valid"], json!(valid));
        assert_eq!(server.post(&format!("{buy}=0")).await.outcome(), "sold", "{lock}");
    }
    let reply = server.post("/purchase?product=p&lock=redlock&extensions=11").await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{}", reply.text);
    assert_eq!(reply.json["valid"], "a whole number from 0 to 10");
    assert_eq!(server.audit("p").await["sold"], 3);
}
