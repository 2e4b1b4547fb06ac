//! Wait policies against a real lock: losers come back, in time, and not for nobody.

use futures_util::future::join_all;
use locklab::strategy::{Family, table::STRATEGIES};
use locklab_locks::wait::Policy;
use nix::sys::signal::Signal;
use reqwest::Method;
use strum::VariantArray;

use crate::{
    redis_server::{Farm, Redis},
    server::{Reply, Server, count, until},
};

/// With every policy but `none`, as many buyers as there are units all get one in the end.
#[tokio::test]
async fn losers_come_back() {
    const BUYERS: usize = 10;
    let server = Server::start(&[]);
    for policy in Policy::VARIANTS.iter().filter(|policy| **policy != Policy::None) {
        let name = policy.name();
        for lock in ["safe", "mutex", "optimistic"] {
            let product = format!("{lock}-{name}");
            server.reset(&product, BUYERS as u64).await;
            let query = format!(
                "product={product}&lock={lock}&retry={name}&base=5ms&cap=50ms&max_retries=1000&wait=60s"
            );
            let replies = server.race(BUYERS, &query).await;
            assert_eq!(count(&replies, "sold"), BUYERS, "{product}");
            let retries = replies.iter().filter_map(|reply| reply.json["retries"].as_u64());
            // Whoever waits in line for the lease to be handed over does not try.
            let come_back = *policy == Policy::Fifo || retries.sum::<u64>() > 0;
            assert!(come_back, "{product}: somebody had to come back");
        }
        let series =
            format!("locklab_lock_acquisition_retries_count{{lock=\"safe\",retry=\"{name}\"}}");
        assert_eq!(server.metric(&series).await, BUYERS as f64);
    }
    let acquired = "locklab_lock_acquisitions_total{lock=\"safe\",outcome=\"acquired\"}";
    let policies = Policy::VARIANTS.len() - 1;
    assert_eq!(server.metric(acquired).await, (policies * BUYERS) as f64);
}

/// A deadline, and a number of retries, end the wait: the loser is busy, and says how often it
/// tried and how long.
#[tokio::test]
async fn patience_ends() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    server.reset("p", 1).await;
    let () = redis.send(&["SET", "lock:p", "a stranger"]).await;
    let buy = "/purchase?product=p&lock=safe&retry=fixed&base=20ms";
    let reply = server.post(&format!("{buy}&max_retries=3")).await;
    assert_eq!((reply.outcome(), &reply.json["retries"]), ("busy", &3.into()));
    assert!(reply.json["wait_ms"].as_f64().unwrap() >= 60.0, "{}", reply.text);
    let reply = server.post(&format!("{buy}&max_retries=1000&wait=100ms")).await;
    assert_eq!(reply.outcome(), "busy");
    assert!(reply.json["retries"].as_u64().unwrap() < 1000, "{}", reply.text);
    assert_eq!(server.metric("locklab_lock_waiters{lock=\"safe\"}").await, 0.0);
}

/// A client that hangs up while it waits is no longer waited for: it does not buy later.
#[tokio::test]
async fn a_client_that_hangs_up_stops_waiting() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    server.reset("p", 1).await;
    let () = redis.send(&["SET", "lock:p", "a stranger"]).await;
    let path = "/purchase?product=p&lock=safe&retry=fixed&base=50ms&max_retries=1000&wait=60s";
    let waiters = "locklab_lock_waiters{lock=\"safe\"}";
    {
        let request = server.request(Method::POST, path).send();
        let waits = async || server.metric(waiters).await == 1.0;
        tokio::select! {
            reply = request => panic!("nothing to wait for: {reply:?}"),
            () = until("the buyer waits", waits) => {}
        }
    }
    until("nobody waits", async || server.metric(waiters).await == 0.0).await;
    let () = redis.send(&["DEL", "lock:p"]).await;
    assert_eq!(server.audit("p").await["sold"], 0);
}

/// With `notify`, a release wakes one waiter of a server, the one that has waited longest; the others
/// do not even try.
#[tokio::test]
async fn a_release_wakes_one_waiter() {
    const BUYERS: usize = 40;
    let server = Server::full(&[]).await;
    for lock in leasing_locks() {
        server.reset(lock, BUYERS as u64).await;
        let query = format!("product={lock}&lock={lock}&retry=notify&wait=60s&max_retries=1000");
        let replies = server.race(BUYERS, &query).await;
        assert_eq!(count(&replies, "sold"), BUYERS, "{lock}");
        let attempts = server.attempts(lock).await;
        // Two each to find out that it is taken, and then one for each release, or a few when who was
        // woken found somebody new there: with everybody woken, it would be 40² / 2.
        assert!(attempts <= 8.0 * BUYERS as f64, "{lock}: {attempts} attempts");
    }
}

/// With `notify`, a lease that nobody releases ends the wait as well, for its holder has died.
#[tokio::test]
async fn the_ttl_of_a_dead_holder_ends_the_wait() {
    let server = Server::full(&[]).await;
    let outlived = leasing_locks().filter(|lock| *lock != "mutex");
    let each = outlived.flat_map(|lock| ["notify", "fifo"].map(|retry| (lock, retry)));
    let each = each.map(async |(lock, retry)| {
        let product = format!("{lock}-{retry}");
        server.reset(&product, 1).await;
        let buy = format!("/purchase?product={product}&lock={lock}");
        let crash = server.post(&format!("{buy}&ttl=500ms&fault=crash@after-acquire")).await;
        assert_eq!(crash.outcome(), "error");
        let next = server.post(&format!("{buy}&retry={retry}&wait=60s")).await;
        assert_eq!(next.outcome(), "sold", "{product}: {}", next.text);
        assert!(next.json["retries"].as_u64().unwrap() <= 3, "{product}: {}", next.text);
    });
    join_all(each).await;
}

/// With `fifo`, buyers are served in the order in which they came, and only the first of them tries:
/// the lease goes from one to the next, so far as it may.
#[tokio::test]
async fn first_come_first_served() {
    const BUYERS: usize = 12;
    let farm = Farm::start().await;
    let server = farm.server(&[]);
    for lock in leasing_locks() {
        server.reset(lock, BUYERS as u64).await;
        let buy = format!("/purchase?product={lock}&lock={lock}&ttl=60s");
        // Somebody holds the lock until all wait, each of whom came after the one before: at another
        // server, which is then told to stop. `mutex` does not reach there, and `naive` would be stuck:
        // these are held here, for a while.
        let is_here = ["mutex", "naive"].contains(&lock);
        let elsewhere = farm.server(&["--drain-timeout", "0"]);
        let holder = if is_here { &server } else { &elsewhere };
        let work = if is_here { "5s" } else { "60s" };
        let first = holder.request(Method::POST, &format!("{buy}&delay={work}"));
        let first = tokio::spawn(first.send());
        let acquired =
            format!("locklab_lock_acquisitions_total{{lock=\"{lock}\",outcome=\"acquired\"}}");
        until("it is held", async || holder.metric(&acquired).await == 1.0).await;
        let waiters = format!("locklab_lock_waiters{{lock=\"{lock}\"}}");
        let buyers = if is_here { BUYERS - 1 } else { BUYERS };
        let mut later = Vec::new();
        for place in 1..=buyers {
            let request = server.request(Method::POST, &format!("{buy}&retry=fifo&wait=60s"));
            later.push(tokio::spawn(request.send()));
            until("it waits", async || server.metric(&waiters).await == place as f64).await;
        }
        elsewhere.signal(Signal::SIGTERM);
        let first = first.await.unwrap();
        assert_eq!(first.is_ok(), is_here, "{lock}: the other server abandons it");
        let mut left = buyers;
        for reply in later {
            let reply = Reply::read(reply.await.unwrap().unwrap()).await;
            assert_eq!(reply.outcome(), "sold", "{lock}: {}", reply.text);
            left -= 1;
            assert_eq!(reply.json["stock_after"], left, "{lock}: in the order of arrival");
        }
        let audit = server.audit(lock).await;
        assert_eq!((&audit["ok"], &audit["sold"]), (&true.into(), &BUYERS.into()), "{lock}");
        let handed = format!("locklab_lock_hand_overs_total{{lock=\"{lock}\"}}");
        assert_eq!(server.metric(&handed).await, (buyers - 1) as f64, "{lock}");
        assert!(server.attempts(lock).await <= 6.0, "{lock}: only the first of the line tried");
        if lock != "mutex" {
            until("the last has released", async || !farm.is_locked(lock).await).await;
        }
    }
}

/// Buyers who hang up in the line, at its head or in its middle, block nobody behind them, and buy
/// nothing.
#[tokio::test]
async fn whoever_leaves_the_line_blocks_nobody() {
    let server = Server::full(&[]).await;
    for lock in leasing_locks() {
        server.reset(lock, 9).await;
        let buy = format!("/purchase?product={lock}&lock={lock}&ttl=60s");
        let waiters = format!("locklab_lock_waiters{{lock=\"{lock}\"}}");
        let wait = async |many: f64| {
            until("they wait", async || server.metric(&waiters).await == many).await;
        };
        let first = format!("{buy}&retry=fifo&delay=2s");
        let others = async {
            until("the first has the lock", async || server.attempts(lock).await >= 1.0).await;
            let path = format!("{buy}&retry=fifo&wait=60s");
            let gone = || server.request(Method::POST, &path).send();
            let (at_the_head, in_the_middle) = (tokio::spawn(gone()), tokio::spawn(gone()));
            wait(2.0).await;
            let last = server.post(&path);
            let leave = async {
                wait(3.0).await;
                at_the_head.abort();
                in_the_middle.abort();
                wait(1.0).await;
            };
            tokio::join!(last, leave).0
        };
        let (first, last) = tokio::join!(server.post(&first), others);
        assert_eq!((first.outcome(), last.outcome()), ("sold", "sold"), "{lock}");
        assert_eq!(server.audit(lock).await["sold"], 2, "{lock}");
    }
}

/// Hand-overs are bounded, so that a server with many buyers does not shut others out.
#[tokio::test]
async fn other_servers_get_their_turn() {
    const BUYERS: usize = 60;
    let redis = Redis::start().await;
    let url = redis.url();
    let servers = ["a", "b"].map(|_| Server::start(&["--redis-url", &url]));
    for lock in ["safe", "watchdog", "fenced"] {
        servers[0].reset(lock, 2 * BUYERS as u64).await;
        let query = format!("product={lock}&lock={lock}&retry=fifo&wait=60s&max_retries=1000");
        let waiters = format!("locklab_lock_waiters{{lock=\"{lock}\"}}");
        let () = redis.send(&["SET", &format!("lock:{lock}"), "a stranger"]).await;
        let go = async {
            for server in &servers {
                let all_wait = async || server.metric(&waiters).await == BUYERS as f64;
                until("everybody waits", all_wait).await;
            }
            let () = redis.send(&["DEL", &format!("lock:{lock}")]).await;
            let () = redis.send(&["PUBLISH", &format!("released:{lock}"), ""]).await;
        };
        let races = [&servers[0], &servers[1]].map(|server| server.race(BUYERS, &query));
        let [here, there] = races;
        let (here, there, ()) = tokio::join!(here, there, go);
        let units = |replies: &[Reply]| {
            let units = replies.iter().map(|reply| reply.json["stock_after"].as_i64().unwrap());
            let mut units: Vec<i64> = units.collect();
            units.sort_unstable_by(|one, other| other.cmp(one));
            units
        };
        for replies in [&here, &there] {
            assert_eq!(count(replies, "sold"), BUYERS, "{lock}");
            // How many units in a row went to the line of one server.
            let (mut run, mut longest) = (1, 1);
            for pair in units(replies).windows(2) {
                run = if pair[0] - pair[1] == 1 { run + 1 } else { 1 };
                longest = longest.max(run);
            }
            assert!(longest < BUYERS, "{lock}: the other server waited for all {BUYERS}");
        }
        let commands: String = redis.send(&["INFO", "commandstats"]).await;
        assert!(commands.contains("cmdstat_pubsub|numsub"), "{lock}: a chain ended in a yield");
        let audit = servers[0].audit(lock).await;
        assert_eq!((&audit["ok"], &audit["stock"]), (&true.into(), &0.into()), "{lock}");
        let () = redis.send(&["CONFIG", "RESETSTAT"]).await;
    }
}

/// A lease is handed over only if it lasts for the next one's work: `safe` stays exact while each
/// buyer's work takes less than its ttl.
#[tokio::test]
async fn a_lease_that_is_too_old_is_not_handed_over() {
    let redis = Redis::start().await;
    let servers = ["a", "b"].map(|_| Server::start(&["--redis-url", &redis.url()]));
    servers[0].reset("p", 9).await;
    let buy = "/purchase?product=p&lock=safe&ttl=3s&retry=fifo&wait=60s";
    let (first, second) = (format!("{buy}&delay=1200ms"), format!("{buy}&delay=2400ms"));
    let waiters = async || servers[0].metric("locklab_lock_waiters{lock=\"safe\"}").await;
    let others = async {
        until("the first has the lock", async || redis.is_locked("p").await).await;
        let elsewhere = async {
            until("the second waits", async || waiters().await == 1.0).await;
            servers[1].post(buy).await
        };
        tokio::join!(servers[0].post(&second), elsewhere)
    };
    let (first, (second, elsewhere)) = tokio::join!(servers[0].post(&first), others);
    for reply in [first, second, elsewhere] {
        assert_eq!((reply.outcome(), &reply.json["ttl_violated"]), ("sold", &false.into()));
    }
    assert_eq!(servers[0].audit("p").await["ok"], true);
}

/// The locks that somebody can hold.
fn leasing_locks() -> impl Iterator<Item = &'static str> {
    let locks = STRATEGIES.iter().filter(|row| row.family == Family::Lock && row.name != "none");
    locks.map(|row| row.name)
}
