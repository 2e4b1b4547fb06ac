//! Every strategy against what the registry says is expected of it, both ways: an unsafe one that
//! is not caught fails the suite just like a safe one that oversells.

use futures_util::future::join_all;
use locklab::strategy::{Expected, Strategy, server::Backend, table::STRATEGIES};
use locklab_locks::step::Step;
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::json;
use tokio::time::Duration;

use crate::{
    proxy::Proxy,
    redis_server::{Farm, Redis},
    server::{Reply, Server, count, until},
};

/// Of leases that are outlived.
const TTL: Duration = Duration::from_millis(300);
const BUYERS: usize = 50;
const RACES: usize = 5;

/// The ledger's view, apart from every reply.
async fn verdict(server: &Server, product: &str) -> (i64, i64, i64, bool) {
    let audit = server.audit(product).await;
    let number = |name: &str| audit[name].as_i64().unwrap();
    let ok = audit["ok"].as_bool().unwrap();
    (number("sold"), number("oversold"), number("lost_updates"), ok)
}

/// Those who want a lock of several nodes at the same instant may split the votes, so that nobody has
/// it: they have to come again.
fn retry(strategy: &Strategy) -> &'static str {
    if strategy.backend == Backend::Redlock { "&retry=jitter&base=20ms" } else { "" }
}

fn sold_units(replies: &[Reply]) -> i64 {
    count(replies, "sold").try_into().unwrap()
}

/// Fifty buyers, one unit, one server: `none` oversells every time, everything else sells one.
#[tokio::test]
async fn one_unit_on_one_server() {
    let server = Server::full(&[]).await;
    for strategy in STRATEGIES {
        // Being caught needs two buyers in the shop at once, on a busy machine as well.
        let delay = if strategy.expected == Expected::Oversells { "200ms" } else { "1ms" };
        for race in 0..RACES {
            let product = format!("{}-{race}", strategy.name);
            server.reset(&product, 1).await;
            let query = format!("product={product}&lock={}&delay={delay}", strategy.name);
            let replies = server.race(BUYERS, &(query + retry(strategy))).await;
            let (sold, oversold, lost_updates, ok) = verdict(&server, &product).await;
            assert_eq!(sold, sold_units(&replies), "the ledger counts what buyers were told");
            for reply in &replies {
                let (success, error) = (&reply.json["success"], &reply.json["error"]);
                assert_eq!(*success == true, error.is_null(), "{}", reply.text);
            }
            if strategy.expected == Expected::Oversells {
                assert!(oversold > 0, "{} was not caught overselling", strategy.name);
                assert_eq!((oversold, lost_updates, ok), (sold - 1, sold - 1, false));
            } else {
                assert_eq!((sold, oversold, lost_updates, ok), (1, 0, 0, true), "{product}");
            }
        }
    }
}

/// Two server processes on one Redis: what lives inside a process does not exclude the other's
/// buyers.
#[tokio::test]
async fn one_unit_on_two_servers() {
    let farm = Farm::start().await;
    let servers = [farm.server(&[]), farm.server(&[])];
    for strategy in STRATEGIES {
        let unsafe_here =
            [Expected::Oversells, Expected::ExactOnOneServer].contains(&strategy.expected);
        // Being caught needs both servers' buyers in the shop at once: that takes long work. Being
        // exact needs no such help.
        let (races, delay) = if unsafe_here { (2, "1s") } else { (RACES, "20ms") };
        for race in 0..races {
            let product = format!("{}-{race}", strategy.name);
            servers[0].reset(&product, 1).await;
            let query = format!("product={product}&lock={}&delay={delay}", strategy.name);
            let query = query + retry(strategy);
            let races = servers.each_ref().map(|server| server.race(BUYERS / 2, &query));
            let replies = join_all(races).await;
            let replies: Vec<Reply> = replies.into_iter().flatten().collect();
            let (sold, oversold, _, ok) = verdict(&servers[1], &product).await;
            assert_eq!(sold, sold_units(&replies), "the ledger counts what buyers were told");
            if unsafe_here {
                assert!(oversold > 0 && !ok, "{} was not caught overselling", strategy.name);
            } else {
                assert_eq!((sold, oversold, ok), (1, 0, true), "{product}");
            }
        }
    }
}

/// More units than one buyer wants: nothing is lost, whoever wins.
#[tokio::test]
async fn units_are_conserved() {
    let server = Server::full(&[]).await;
    for strategy in STRATEGIES.iter().filter(|it| it.expected != Expected::Oversells) {
        let product = strategy.name;
        server.reset(product, 25).await;
        let query = format!("product={product}&lock={product}&quantity=2");
        for _ in 0..10 {
            server.race(10, &query).await;
        }
        let audit = server.audit(product).await;
        let (sold, stock) = (audit["sold"].as_i64().unwrap(), audit["stock"].as_i64().unwrap());
        assert_eq!((sold + stock, &audit["ok"]), (25, &json!(true)), "{product}");
        assert!(sold > 0 && sold % 2 == 0, "{product}: {sold} sold in pairs");
    }
}

/// Work longer than the ttl: the second buyer comes in, both sell the one unit, and both the reply
/// and the metrics say that the lease was violated.
#[tokio::test]
async fn work_longer_than_the_ttl_oversells() {
    let farm = Farm::start().await;
    let server = farm.server(&[]);
    let past_ttl = [Expected::ExactWithinTtl, Expected::OversellsOrSticks];
    for strategy in STRATEGIES.iter().filter(|it| past_ttl.contains(&it.expected)) {
        let name = strategy.name;
        server.reset(name, 1).await;
        let buy = format!("/purchase?product={name}&lock={name}");
        let first = format!("{buy}&ttl=100ms&delay=2s");
        let second = async {
            until("the first buyer has the lock", async || server.attempts(name).await > 0.0).await;
            until("its lease has run out", async || !farm.is_locked(name).await).await;
            server.post(&buy).await
        };
        let (first, second) = tokio::join!(server.post(&first), second);
        assert_eq!((first.outcome(), second.outcome()), ("sold", "sold"), "{name}");
        let (sold, oversold, _, ok) = verdict(&server, name).await;
        assert_eq!((sold, oversold, ok), (2, 1, false), "{name} was not caught overselling");
        assert!(first.json["ttl_violated"].as_bool().unwrap(), "{name}: {}", first.text);
        assert!(!second.json["ttl_violated"].as_bool().unwrap(), "{name}: {}", second.text);
        let series = format!("locklab_lock_ttl_violations_total{{lock=\"{name}\",stage=\"work\"}}");
        assert_eq!(server.metric(&series).await, 1.0);
    }
}

/// Work longer than the ttl, a pause longer than the ttl, and a whole process that stands still for
/// longer than the ttl, each while a buyer at another server wants the one unit: whatever claims to be
/// exact then sells it once.
#[tokio::test]
async fn whoever_is_exact_outlasts_the_ttl() {
    let farm = Farm::start().await;
    let exact = [
        Expected::ExactWhileRenewed,
        Expected::ExactWhileConnected,
        Expected::Exact,
        Expected::ExactAlways,
        Expected::ExactInLayers,
    ];
    let exact = STRATEGIES.iter().filter(|it| exact.contains(&it.expected));
    let each = exact.map(async |strategy| {
        // Of its own, for a server that stands still makes all its buyers wait.
        let [ghost, next] = ["a", "b"].map(|_| farm.server(&[]));
        let name = strategy.name;
        let buy = format!("/purchase?product={name}&lock={name}&wait=60s");
        let later = format!("{buy}&retry=jitter&base=20ms&max_retries=1000");
        let pause = strategy.steps.contains(&Step::BeforeWrite);
        let slow = ["delay=3s", "fault=pause:3s@before-write", "delay=3s"];
        for (case, slow) in ["work", "pause", "stop"].into_iter().zip(slow) {
            let is_meant = match case {
                "pause" => pause,
                // The watchdog stands still as well: `renewal.rs` catches it.
                "stop" => strategy.expected != Expected::ExactWhileRenewed,
                _ => true,
            };
            if !is_meant {
                continue;
            }
            next.reset(name, 1).await;
            let first = format!("{buy}&ttl={}ms&{slow}", TTL.as_millis());
            let second = async {
                let in_flight = async || ghost.metric("locklab_requests_in_flight").await == 1.0;
                until("the first is under way", in_flight).await;
                if case != "stop" {
                    return next.post(&later).await;
                }
                ghost.signal(Signal::SIGSTOP);
                let reply = async {
                    let reply = next.post(&later).await;
                    ghost.signal(Signal::SIGCONT);
                    reply
                };
                // A connection holds what it holds for as long as its process stands still.
                let has_no_end =
                    strategy.locks_rows() || strategy.expected == Expected::ExactWhileConnected;
                let goes_on = async {
                    if has_no_end {
                        tokio::time::sleep(10 * TTL).await;
                        ghost.signal(Signal::SIGCONT);
                    }
                };
                tokio::join!(reply, goes_on).0
            };
            let (first, second) = tokio::join!(ghost.post(&first), second);
            let sold = sold_units(&[first, second]);
            let audit = next.get(&format!("/audit/{name}?lock={name}")).await.json;
            assert_eq!((sold, &audit["sold"]), (1, &json!(1)), "{name}, {case}: {audit}");
            assert_eq!(audit["ok"], true, "{name}, {case}: {audit}");
        }
    });
    join_all(each).await;
}

/// A late release frees nobody else's lock with `safe`, and does with `naive`.
#[tokio::test]
async fn a_late_release_of_a_strangers_lock() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    for (name, survives) in [("safe", true), ("naive", false)] {
        server.reset(name, 1).await;
        let path = format!("/purchase?product={name}&lock={name}&ttl=100ms&delay=2s");
        let stranger = async {
            until("the buyer has the lock", async || server.attempts(name).await > 0.0).await;
            until("its lease has run out", async || !redis.is_locked(name).await).await;
            let () = redis.send(&["SET", &format!("lock:{name}"), "a stranger"]).await;
        };
        let (reply, ()) = tokio::join!(server.post(&path), stranger);
        assert_eq!(reply.outcome(), "sold");
        assert_eq!(redis.is_locked(name).await, survives, "{name}");
        let series = format!("locklab_lock_releases_total{{lock=\"{name}\",outcome=\"stolen\"}}");
        assert_eq!(server.metric(&series).await, 1.0);
    }
}

/// A crash between SETNX and PEXPIRE: `naive` is locked for ever, and says so to every buyer.
#[tokio::test]
async fn naive_sticks_when_it_crashes_between_two_commands() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(&redis.url()).await;
    let crashing = Server::start(&["--redis-url", &proxy.url]);
    crashing.reset("p", 1).await;
    proxy.hold_at("PEXPIRE");
    let purchase = crashing.request(Method::POST, "/purchase?product=p&lock=naive").send();
    let crash = async {
        proxy.held().await;
        crashing.signal(Signal::SIGKILL);
    };
    let (reply, ()) = tokio::join!(purchase, crash);
    assert!(reply.is_err(), "the server died");
    let ttl: i64 = redis.send(&["TTL", "lock:p"]).await;
    assert_eq!(ttl, -1, "naive was not caught stuck for ever");
    let other = Server::start(&["--redis-url", &redis.url()]);
    assert_eq!(other.post("/purchase?product=p&lock=naive").await.outcome(), "busy");
}

/// A write that is delayed past its reply's timeout must not land on the next holder: its lease is
/// kept for its ttl, although the buyer has been told of the failure long before.
#[tokio::test]
async fn a_late_write_does_not_meet_the_next_holder() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(&redis.url()).await;
    let url = ["--redis-url", &proxy.url, "--command-timeout", "1s"];
    let (delayed, other) = (Server::start(&url), Server::start(&["--redis-url", &redis.url()]));
    // Redis has to know the scripts, or the first one would only be answered with NOSCRIPT.
    delayed.reset("p", 2).await;
    assert_eq!(delayed.post("/purchase?product=p&lock=safe").await.outcome(), "sold");
    delayed.reset("p", 789).await;
    // The first command with that number is the write.
    proxy.hold_at("789");
    let reply = delayed.post("/purchase?product=p&lock=safe&ttl=60s&quantity=789").await;
    assert_eq!(reply.outcome(), "unavailable", "{}", reply.text);
    let orphans = "locklab_lock_orphans_total{lock=\"safe\",cause=\"write_unknown\"}";
    assert_eq!(delayed.metric(orphans).await, 1.0);
    assert_eq!(other.post("/purchase?product=p&lock=safe").await.outcome(), "busy");
    proxy.pass();
    until("the late write lands", async || other.audit("p").await["sold"] == 789).await;
    let () = redis.send(&["PEXPIRE", "lock:p", "1"]).await;
    until("the lease ends", async || !redis.is_locked("p").await).await;
    assert_eq!(other.post("/purchase?product=p&lock=safe").await.outcome(), "sold_out");
    assert_eq!(other.audit("p").await["ok"], true);
}

/// The key is the one that any SET-NX-PX library uses: a foreign holder keeps our buyers out.
#[tokio::test]
async fn a_foreign_holder_is_respected() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    server.reset("p", 1).await;
    let () = redis.send(&["SET", "lock:p", "foreign", "NX", "PX", "60000"]).await;
    for name in ["safe", "naive"] {
        let reply = server.post(&format!("/purchase?product=p&lock={name}")).await;
        assert_eq!(reply.outcome(), "busy", "{name}");
        assert_eq!(reply.json["error"], "Failed to acquire lock");
    }
    // A reset starts afresh: it forgets whoever held the product.
    server.reset("p", 1).await;
    assert_eq!(server.post("/purchase?product=p&lock=safe").await.outcome(), "sold");
}

/// No row of the registry is left blank.
#[test]
fn every_row_is_filled_in() {
    for strategy in STRATEGIES {
        assert!(!strategy.summary.is_empty() && !strategy.fails.is_empty(), "{}", strategy.name);
        assert!(!strategy.steps.is_empty(), "{}", strategy.name);
    }
}
