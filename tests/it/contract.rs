//! Every strategy against what the registry says is expected of it, both ways: an unsafe one that
//! is not caught fails the suite just like a safe one that oversells.

use locklab::{
    lock::STRATEGIES,
    strategy::{Expected, Family},
};
use serde_json::json;

use crate::{
    redis_server::Redis,
    server::{Reply, Server, count, until},
};

const BUYERS: usize = 50;
const RACES: usize = 5;

/// The ledger's view, apart from every reply.
async fn verdict(server: &Server, product: &str) -> (i64, i64, i64, bool) {
    let audit = server.audit(product).await;
    let number = |name: &str| audit[name].as_i64().unwrap();
    let ok = audit["ok"].as_bool().unwrap();
    (
        number("sold"),
        number("oversold"),
        number("lost_updates"),
        ok,
    )
}

fn sold_units(replies: &[Reply]) -> i64 {
    count(replies, "sold").try_into().unwrap()
}

/// Fifty buyers, one unit, one server: `none` oversells every time, everything else sells one.
#[tokio::test]
async fn one_unit_on_one_server() {
    let server = Server::start(&[]);
    for strategy in STRATEGIES {
        for race in 0..RACES {
            let product = format!("{}-{race}", strategy.name);
            server.reset(&product, 1).await;
            let replies = server
                .race(BUYERS, &format!("product={product}&lock={}", strategy.name))
                .await;
            let (sold, oversold, lost_updates, ok) = verdict(&server, &product).await;
            assert_eq!(
                sold,
                sold_units(&replies),
                "the ledger counts what buyers were told"
            );
            if strategy.expected == Expected::Oversells {
                assert!(oversold > 0, "{} was not caught overselling", strategy.name);
                assert_eq!((oversold, lost_updates, ok), (sold - 1, sold - 1, false));
            } else {
                assert_eq!(
                    (sold, oversold, lost_updates, ok),
                    (1, 0, 0, true),
                    "{product}"
                );
            }
        }
    }
}

/// Two server processes on one Redis: what lives inside a process does not exclude the other's
/// buyers.
#[tokio::test]
async fn one_unit_on_two_servers() {
    let redis = Redis::start().await;
    let url = redis.url();
    let servers = [
        Server::start(&["--redis-url", &url]),
        Server::start(&["--redis-url", &url]),
    ];
    for strategy in STRATEGIES {
        for race in 0..RACES {
            let product = format!("{}-{race}", strategy.name);
            servers[0].reset(&product, 1).await;
            // Longer work than usual, so that both servers' buyers are in the shop at once.
            let query = format!("product={product}&lock={}&delay=50ms", strategy.name);
            let races = servers
                .each_ref()
                .map(|server| server.race(BUYERS / 2, &query));
            let replies = futures_util::future::join_all(races).await;
            let replies: Vec<Reply> = replies.into_iter().flatten().collect();
            let (sold, oversold, _, ok) = verdict(&servers[1], &product).await;
            assert_eq!(
                sold,
                sold_units(&replies),
                "the ledger counts what buyers were told"
            );
            match strategy.expected {
                Expected::Oversells | Expected::ExactOnOneServer => {
                    assert!(
                        oversold > 0 && !ok,
                        "{} was not caught overselling",
                        strategy.name
                    );
                }
                Expected::OversellsOrSticks | Expected::ExactWithinTtl | Expected::Exact => {
                    assert_eq!((sold, oversold, ok), (1, 0, true), "{product}");
                }
            }
        }
    }
}

/// More units than one buyer wants: nothing is lost, whoever wins.
#[tokio::test]
async fn units_are_conserved() {
    let server = Server::start(&[]);
    for strategy in STRATEGIES
        .iter()
        .filter(|it| it.expected != Expected::Oversells)
    {
        let product = strategy.name;
        server.reset(product, 25).await;
        let query = format!("product={product}&lock={product}&quantity=2");
        for _ in 0..10 {
            server.race(10, &query).await;
        }
        let audit = server.audit(product).await;
        let (sold, stock) = (
            audit["sold"].as_i64().unwrap(),
            audit["stock"].as_i64().unwrap(),
        );
        assert_eq!(
            (sold + stock, &audit["ok"]),
            (25, &json!(true)),
            "{product}"
        );
        assert!(sold > 0 && sold % 2 == 0, "{product}: {sold} sold in pairs");
    }
}

/// Work longer than the ttl: the second buyer comes in, both sell the one unit, and both the reply
/// and the metrics say that the lease was violated.
#[tokio::test]
async fn work_longer_than_the_ttl_oversells() {
    let server = Server::start(&[]);
    let past_ttl = [Expected::ExactWithinTtl, Expected::OversellsOrSticks];
    for strategy in STRATEGIES
        .iter()
        .filter(|it| past_ttl.contains(&it.expected))
    {
        let name = strategy.name;
        server.reset(name, 1).await;
        let path = format!("/purchase?product={name}&lock={name}&ttl=100ms&delay=800ms");
        let second = async {
            // The first one's lease has to run out, as Redis sees it.
            loop {
                let reply = server.post(&path).await;
                if reply.outcome() != "busy" {
                    return reply;
                }
            }
        };
        let (first, second) = tokio::join!(server.post(&path), second);
        assert_eq!(
            (first.outcome(), second.outcome()),
            ("sold", "sold"),
            "{name}"
        );
        let (sold, oversold, _, ok) = verdict(&server, name).await;
        assert_eq!(
            (sold, oversold, ok),
            (2, 1, false),
            "{name} was not caught overselling"
        );
        assert!(
            first.json["ttl_violated"].as_bool().unwrap(),
            "{name}: {}",
            first.text
        );
        let series = format!("locklab_lock_ttl_violations_total{{lock=\"{name}\",stage=\"work\"}}");
        assert!(server.metric(&series).await >= 1.0);
    }
}

/// A late release frees nobody else's lock with `safe`, and does with `naive`.
#[tokio::test]
async fn a_late_release_of_a_strangers_lock() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    for (name, survives) in [("safe", true), ("naive", false)] {
        server.reset(name, 1).await;
        let path = format!("/purchase?product={name}&lock={name}&ttl=10s&delay=300ms");
        let stranger = async {
            until("the buyer has the lock", async || {
                redis.is_locked(name).await
            })
            .await;
            // The lease runs out, and a stranger becomes the holder.
            let () = redis
                .send(&["SET", &format!("lock:{name}"), "a stranger"])
                .await;
        };
        let (reply, ()) = tokio::join!(server.post(&path), stranger);
        assert_eq!(reply.outcome(), "sold");
        assert!(
            reply.json["ttl_violated"].as_bool().unwrap(),
            "{}",
            reply.text
        );
        assert_eq!(redis.is_locked(name).await, survives, "{name}");
        let series = format!("locklab_lock_releases_total{{lock=\"{name}\",outcome=\"stolen\"}}");
        assert_eq!(server.metric(&series).await, 1.0);
    }
}

/// The key is the one that any SET-NX-PX library uses: a foreign holder keeps our buyers out.
#[tokio::test]
async fn a_foreign_holder_is_respected() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    server.reset("p", 1).await;
    let () = redis
        .send(&["SET", "lock:p", "foreign", "NX", "PX", "60000"])
        .await;
    for name in ["safe", "naive"] {
        let reply = server
            .post(&format!("/purchase?product=p&lock={name}"))
            .await;
        assert_eq!(reply.outcome(), "busy", "{name}");
        assert_eq!(reply.json["error"], "Failed to acquire lock");
    }
    // A reset starts afresh: it forgets whoever held the product.
    server.reset("p", 1).await;
    assert_eq!(
        server.post("/purchase?product=p&lock=safe").await.outcome(),
        "sold"
    );
}

/// A purchase that read before a reset cannot sell from the stock that came after.
#[tokio::test]
async fn a_reset_during_a_purchase_is_a_conflict() {
    let server = Server::start(&[]);
    for strategy in STRATEGIES.iter().filter(|it| it.family == Family::Lock) {
        let name = strategy.name;
        server.reset(name, 7).await;
        let path = format!("/purchase?product={name}&lock={name}&delay=1s");
        let reads = "locklab_backend_request_duration_seconds_count\
                     {backend=\"redis\",op=\"read\",outcome=\"ok\"}";
        let before = server.metric(reads).await;
        let reset = async {
            until("the buyer has read", async || {
                server.metric(reads).await > before
            })
            .await;
            server.reset(name, 3).await;
        };
        let (reply, ()) = tokio::join!(server.post(&path), reset);
        assert_eq!(reply.outcome(), "conflict", "{name}: {}", reply.text);
        let audit = server.audit(name).await;
        assert_eq!(
            (&audit["stock"], &audit["sold"]),
            (&json!(3), &json!(0)),
            "{name}"
        );
    }
}

/// Every lock file says what it guarantees, under the same headings.
#[test]
fn every_row_is_filled_in() {
    for strategy in STRATEGIES {
        assert!(
            !strategy.summary.is_empty() && !strategy.fails.is_empty(),
            "{}",
            strategy.name
        );
        assert!(!strategy.steps.is_empty(), "{}", strategy.name);
    }
}
