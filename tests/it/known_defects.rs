//! The defects that users of other lock libraries have reported, or that can be read in their
//! source, each with the tests that keep it out of here.
//!
//! | defect | what prevents it |
//! |---|---|
//! | a holder is told nothing when its lease expires | `contract::work_longer_than_the_ttl_oversells` |
//! | … when a renewal finds the lease gone | `renewal::a_lost_lease_cancels_the_work` |
//! | … when renewals are not answered | `renewal::a_redis_that_hangs_ends_the_lease_at_its_deadline` |
//! | a lost lock keeps its work running | `renewal::a_lost_lease_cancels_the_work` |
//! | renewing stops after a failure or a reconnect | `known_defects::renewing_outlives_a_lost_reply_and_a_reconnect` |
//! | a failed renewal gives the lock away | `known_defects::renewing_outlives_a_lost_reply_and_a_reconnect` |
//! | … or is followed by a release on every node | `extension::a_majority_that_is_away_extends_nothing` |
//! | an extension gives a node back what it has forgotten | `extension::a_node_that_forgot_is_not_told_again` |
//! | extensions have no limit | `extension::no_lease_is_extended_more_often_than_it_was_to_be` |
//! | renewing stops when the server has forgotten its scripts | `known_defects::renewing_outlives_forgotten_scripts` |
//! | renewing goes on after the release | `known_defects::nothing_is_renewed_after_the_release` |
//! | … after a crash | `renewal::a_crash_is_not_renewed` |
//! | … after an interrupt | `release::a_purchase_dropped_during_a_renewal_leaves_no_lock` |
//! | leases are not renewed by the library | `renewal::work_longer_than_the_ttl_is_covered` |
//! | a lock is granted although its own key has expired while it was waited for (etcd 11456) | `etcd::a_place_lost_while_waiting_is_noticed`, `zookeeper_queue::a_place_lost_while_waiting_is_noticed` |
//! | … or to a node that is left of the session before (Curator 1121) | `zookeeper::a_node_of_another_session_is_not_ours` |
//! | the work goes on when the session is lost, or nobody can see it any more (Curator 727) | `zookeeper::a_session_lost_while_paused_is_fenced`, `zookeeper::a_zookeeper_that_hangs` |
//! | a release without a connection leaves the node for as long as the session lives (Curator 1193) | `zookeeper::a_zookeeper_that_hangs` |
//! | a command without an answer is sent again, which is another command by then (jetcd) | `known_defects::an_acquire_without_an_answer_is_not_sent_again`, `zookeeper::a_create_without_an_answer_is_found` |
//! | a stuck holder renews for ever | `renewal::the_hold_is_capped` |
//! | an outage looks like contention | `known_defects::a_waiter_is_told_of_an_outage` |
//! | … also while a connection of the pool is waited for | `sql_outage::a_database_that_hangs` |
//! | … and contention like an outage | `contract::a_foreign_holder_is_respected` |
//! | any error is retried for ever | `known_defects::a_waiter_is_told_of_an_outage` |
//! | a command waits for ever for its reply | `outage::a_redis_that_hangs` |
//! | a cancelled request leaks its lock | `hang_up::at_every_step`, `hang_up::while_any_command_is_delayed` |
//! | … when its commands were lost, too | `hang_up::while_any_command_is_lost` |
//! | a waiter cannot be cancelled | `hang_up::while_it_waits`, `waiting::a_client_that_hangs_up_stops_waiting` |
//! | a dropped guard leaks its lock | `release::a_dropped_purchase_leaves_no_lock` |
//! | a dropped future leaks its lock | `release::a_dropped_acquire_leaves_no_lock`, `release::a_dropped_release_leaves_no_lock` |
//! | … on a connection that goes back to the pool (sqlx 4198) | `sessions::a_waiter_that_hangs_up_leaves_the_queue`, `sql_cancel::a_dropped_wait_for_a_row_leaves_no_transaction` |
//! | so does a wait that is over at the moment of its grant (DistributedLock 147) | `sessions::a_wait_that_is_over_closes_its_connection` |
//! | a connection of the pool has the lock already, and is given it again (with_advisory_lock 45) | `sessions::a_pinned_connection_is_nobody_elses` |
//! | a lost connection is made again without its lock, and the work goes on (rails 58658) | `sessions::a_connection_killed_during_the_work` |
//! | a late renewal brings a lock back | `release::a_renewal_after_the_release_brings_nothing_back` |
//! | a dropped renewal breaks the lease | `release::a_dropped_renewal_leaves_the_lease_as_it_was` |
//! | an acquire without a reply is not cleaned up | `outage::an_acquire_without_a_reply_leaves_no_lock` |
//! | … when it arrives later than its clean-up | `outage::an_acquire_that_lands_after_its_undo_leaves_no_lock` |
//! | waiting is bounded by tries, and not by time | `waiting::patience_ends` |
//! | a missed unlock message lets a waiter sleep to the ttl | `wakeups::a_confirmed_subscription_misses_nothing`, `wakeups::a_lost_connection_is_made_again_and_wakes_one_of_each_channel` |
//! | … or for longer, when nobody unlocks | `waiting::the_ttl_of_a_dead_holder_ends_the_wait` |
//! | … or because its wake-up went to a waiter that had left | `wakeups::the_wakeup_of_a_dropped_waiter_goes_to_the_next` |
//! | a dead waiter blocks a fair lock's queue | `waiting::whoever_leaves_the_line_blocks_nobody` |
//! | polling starves those who wait longest | `waiting::first_come_first_served`, `waiting::other_servers_get_their_turn` |
//! | several locks have one deadline each, and none over all | `carts::one_deadline_over_all_locks` |
//! | … are taken in opposite orders | `carts::opposite_orders_deadlock_until_the_ttl`, `carts::carts_in_line_deadlock_until_the_ttl` |
//! | … and "both held" after the first has expired is a success | `carts::the_first_lease_of_a_cart_lasts_for_the_work` |
//! | acknowledgements are counted instead of units | `queue::a_ticket_is_sold_once_however_often_it_is_delivered` |
//! | losers come back in step, without jitter | `waiting::losers_come_back` |
//! | a grant that expired on its way passes for a healthy lease | `known_defects::a_grant_that_comes_after_its_ttl_is_no_healthy_lease` |
//! | an expired lock has to be watched for a lease | `faults::a_crash_leaves_the_lock_to_its_ttl` |
//! | a violated lease is shown as a success | `contract::work_longer_than_the_ttl_oversells` |
//! | fencing tokens are wanted, and checked by the resource | `faults::a_fenced_ghost_is_refused` |
//! | fencing tokens begin again with the next lock | `known_defects::fencing_tokens_outlive_the_lock` |
//! | … or after a reset | `faults::fencing_tokens_only_grow` |
//! | the ttl that was asked for is not used, or rounded to seconds | `known_defects::the_ttl_is_sent_as_it_was_asked_for` |
//! | a loser changes the ttl of the holder | `known_defects::a_loser_leaves_the_holder_alone` |
//! | a release frees a stranger's lock | `contract::a_late_release_of_a_strangers_lock` |
//! | a release that is sent twice fails, or frees the next holder's | `faults::a_dropped_reply_to_a_release` |
//! | "not locked by you" instead of what has happened | `release::a_release_says_how_the_lease_ended` |
//! | a script that the server has forgotten fails the purchase | `outage::forgotten_scripts_are_loaded_again` |
//! | contention cannot be seen: no waits, holds, retries, losses | `metrics::counts_are_true`, `metrics::every_series_starts_at_zero` |
//! | a load test that never races | `contract::one_unit_on_one_server` |
//! | a holder cannot be removed | `contract::a_foreign_holder_is_respected` |
//! | a pooled connection keeps a lock of somebody who has gone (authentik 23876, DistributedLock 168, sqlx 4198) | `anomaly::no_pooled_connection_keeps_a_lock` |
//! | the work goes on when the connection that held the lock is gone (`GET_LOCK`, advisory locks) | `anomaly::a_holder_whose_connection_is_killed_is_told` |
//! | what others have locked is not counted (`SKIP LOCKED`, The-Leetcode-City 1654) | `anomaly::locked_rows_are_counted_and_waited_for` |
//! | who has waited for a row acts on what was there before (vendure 4930) | `anomaly::locked_rows_are_counted_and_waited_for` |

use std::path::Path;

use crate::{
    proxy::Proxy,
    redis_server::{Farm, Monitor, Redis},
    server::{Reply, Server, until},
};
use locklab::strategy::{
    Expected, Family, Strategy,
    server::{Backend, Store},
    table::STRATEGIES,
};
use reqwest::StatusCode;

/// The locks that are a key in Redis.
fn redis_locks() -> impl Iterator<Item = (&'static str, Expected)> {
    let elsewhere = [Expected::Oversells, Expected::ExactOnOneServer];
    let alone = |row: &&Strategy| (row.backend, row.store) == (Backend::Redis, Store::Redis);
    let rows = STRATEGIES.iter().filter(|row| row.family == Family::Lock).filter(alone);
    rows.map(|row| (row.name, row.expected)).filter(move |(_, it)| !elsewhere.contains(it))
}

fn renewals(outcome: &str) -> String {
    format!("locklab_lock_renewals_total{{lock=\"watchdog\",outcome=\"{outcome}\"}}")
}

/// The tests that the table above names are there, and are tests.
#[test]
fn every_defect_has_its_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let read = |module: &str| {
        let path = folder.join(format!("{module}.rs"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{module}: {error}"))
    };
    let table = read("known_defects");
    let rows: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("//! | ")).collect();
    assert!(rows.len() > 30, "{} rows", rows.len());
    for row in &rows[1..] {
        let (_, tests) = row.split_once(" | ").unwrap();
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test prevents {row}");
        for name in names {
            let (module, function) = name.split_once("::").unwrap();
            let text = read(module);
            let at = text.find(&format!("fn {function}()"));
            let before = &text[..at.unwrap_or_else(|| panic!("there is no {name}"))];
            let attribute = before.lines().rev().find(|line| line.starts_with('#'));
            assert!(attribute.is_some_and(|it| it.contains("test")), "{name} is no test");
        }
    }
}

/// A renewal whose reply is lost does not end the renewing, nor the lease; nor does the loss of
/// every connection.
#[tokio::test(flavor = "multi_thread")]
async fn renewing_outlives_a_lost_reply_and_a_reconnect() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(&redis.url()).await;
    let server = Server::start(&["--redis-url", &proxy.url]);
    server.reset("p", 1).await;
    let buy = server.post("/purchase?product=p&lock=watchdog&ttl=6s&delay=15s");
    let meanwhile = async {
        until("the buyer has the lock", async || redis.is_locked("p").await).await;
        let holder: String = redis.send(&["GET", "lock:p"]).await;
        proxy.hold_at("EVALSHA");
        until("a reply is lost", async || server.metric(&renewals("unknown")).await >= 1.0).await;
        proxy.pass();
        for what in ["it is renewed again", "it is renewed over a new connection"] {
            let before = server.metric(&renewals("renewed")).await;
            until(what, async || server.metric(&renewals("renewed")).await > before).await;
            let () = redis.send(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        }
        assert_eq!(redis.send::<String>(&["GET", "lock:p"]).await, holder);
    };
    let (reply, ()) = tokio::join!(buy, meanwhile);
    assert_eq!((reply.outcome(), &reply.json["ttl_violated"]), ("sold", &false.into()));
}

/// An acquire whose reply is lost has made this claim the holder. Sent again, it would find its own
/// lock taken, or wait behind it: it is undone instead, once, and others come in although the ttl
/// is long.
#[tokio::test]
async fn an_acquire_without_an_answer_is_not_sent_again() {
    let farm = Farm::start().await;
    let server = farm.server(&[]);
    for lock in ["etcd", "zookeeper"] {
        for retry in ["none", "notify"] {
            server.reset("p", 1).await;
            let before = server.attempts(lock).await;
            let buy = format!("/purchase?product=p&lock={lock}&ttl=600s&retry={retry}");
            let reply = server.post(&format!("{buy}&fault=drop-reply@acquire")).await;
            assert_eq!(reply.outcome(), "unavailable", "{lock}: {}", reply.text);
            assert_eq!(server.attempts(lock).await - before, 1.0, "{lock}");
            until("the lock is free", async || !farm.is_locked("p").await).await;
            assert_eq!(server.post(&buy).await.outcome(), "sold", "{lock}");
        }
    }
}

/// A server that forgets its scripts while a lease is held is told them again by the renewal.
#[tokio::test]
async fn renewing_outlives_forgotten_scripts() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    server.reset("p", 1).await;
    let buy = server.post("/purchase?product=p&lock=watchdog&ttl=3s&delay=6s");
    let forget = async {
        let renewed = async || server.metric(&renewals("renewed")).await;
        until("it is renewed", async || renewed().await >= 1.0).await;
        let () = redis.send(&["SCRIPT", "FLUSH", "SYNC"]).await;
        until("it is renewed again", async || renewed().await >= 2.0).await;
    };
    let (reply, ()) = tokio::join!(buy, forget);
    assert_eq!((reply.outcome(), &reply.json["ttl_violated"]), ("sold", &false.into()));
}

/// Once its holder has been answered, Redis hears nothing more of a lock: not in the time in which
/// another one is renewed again and again.
#[tokio::test]
async fn nothing_is_renewed_after_the_release() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    let mut monitor = Monitor::start(&redis).await;
    for product in ["p", "q"] {
        server.reset(product, 1).await;
    }
    let buy = "/purchase?lock=watchdog&ttl=1500ms&delay=2s&product";
    assert_eq!(server.post(&format!("{buy}=p")).await.outcome(), "sold");
    let held = monitor.named(&redis, "p").await;
    assert!(held.iter().any(|line| line.contains("PEXPIRE")), "it was renewed: {held:?}");
    assert_eq!(server.post(&format!("{buy}=q")).await.outcome(), "sold");
    assert_eq!(monitor.named(&redis, "p").await, Vec::<String>::new());
}

/// Redis stops answering while somebody waits for a lock: that is no busy lock, and is not waited
/// for any longer.
#[tokio::test]
async fn a_waiter_is_told_of_an_outage() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    for (lock, _) in redis_locks() {
        server.reset(lock, 1).await;
        let () = redis.send(&["SET", &format!("lock:{lock}"), "a stranger"]).await;
        let wait = "retry=fixed&base=20ms&max_retries=1000&wait=60s";
        let path = format!("/purchase?product={lock}&lock={lock}&{wait}");
        let contended =
            format!("locklab_lock_attempts_total{{lock=\"{lock}\",outcome=\"contended\"}}");
        let outage = async {
            until("it waits", async || server.metric(&contended).await >= 2.0).await;
            redis.hang();
        };
        let (reply, ()) = tokio::join!(server.post(&path), outage);
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{lock}: {}", reply.text);
        assert_eq!(reply.outcome(), "unavailable", "{lock}");
        let name = "locklab_lock_acquisitions_total";
        let busy = format!("{name}{{lock=\"{lock}\",outcome=\"contended\"}}");
        assert_eq!(server.metric(&busy).await, 0.0, "{lock}");
        redis.wake();
        let ready = async || server.get("/readyz").await.status == StatusCode::OK;
        until("Redis answers", ready).await;
    }
}

/// A grant whose reply is on its way for longer than the ttl, while the next buyer is granted the
/// lock and is about to write: it is no grant any more, and giving it up takes nothing from the
/// next.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_comes_after_its_ttl_is_no_healthy_lease() {
    let redis = Redis::start().await;
    let (late, early) = (Proxy::start(&redis.url()).await, Proxy::start(&redis.url()).await);
    let [ghost, next] = [&late, &early]
        .map(|proxy| Server::start(&["--redis-url", &proxy.url, "--command-timeout", "30s"]));
    for (lock, _) in redis_locks() {
        let buy = format!("/purchase?product={lock}&lock={lock}");
        next.reset(lock, 1).await;
        assert_eq!(next.post(&buy).await.outcome(), "sold", "and Redis knows the scripts");
        next.reset(lock, 1).await;
        let (ghost_path, next_path) = (format!("{buy}&ttl=100ms"), format!("{buy}&ttl=600s"));
        // `naive` has a ttl from its second command on.
        late.hold_reply_to(if lock == "naive" { "PEXPIRE" } else { "lock:" });
        // Of the two commands that name the stock, a read and a write.
        early.hold_after(1, "inventory:");
        let overtake = async {
            late.held().await;
            until("its ttl is over", async || !redis.is_locked(lock).await).await;
            let overtaken = async {
                early.held().await;
                late.drain().await;
            };
            tokio::join!(next.post(&next_path), overtaken).0
        };
        let ghost_buys = async {
            let reply = ghost.post(&ghost_path).await;
            assert!(redis.is_locked(lock).await, "{lock}: the next one still has it");
            early.drain().await;
            reply
        };
        let (first, second) = tokio::join!(ghost_buys, overtake);
        assert_eq!((first.outcome(), second.outcome()), ("busy", "sold"), "{lock}");
        assert_eq!(second.json["ttl_violated"], false, "{lock}: {}", second.text);
        let late = format!("locklab_lock_attempts_total{{lock=\"{lock}\",outcome=\"late\"}}");
        assert_eq!(ghost.metric(&late).await, 1.0, "{lock}");
        let audit = next.audit(lock).await;
        assert_eq!((&audit["sold"], &audit["ok"]), (&1.into(), &true.into()), "{lock}");
        assert!(!redis.is_locked(lock).await, "{lock}");
    }
}

/// However a lock ends, by release, by expiry, by a reset or by hand, and whoever asks next: the
/// next grant has a greater number.
#[tokio::test]
async fn fencing_tokens_outlive_the_lock() {
    let redis = Redis::start().await;
    let servers = [(); 2].map(|()| Server::start(&["--redis-url", &redis.url()]));
    let mut last = 0;
    for end in ["release", "expiry", "reset", "DEL", "all of the product"] {
        servers[0].reset("p", 9).await;
        let buy = "/purchase?product=p&lock=fenced";
        if end != "release" {
            let ttl = if end == "expiry" { "50ms" } else { "600s" };
            servers[0].post(&format!("{buy}&ttl={ttl}&fault=crash@after-acquire")).await;
        }
        match end {
            "expiry" => until("it expires", async || !redis.is_locked("p").await).await,
            "reset" => servers[0].reset("p", 9).await,
            "DEL" => redis.send(&["DEL", "lock:p"]).await,
            "all of the product" => {
                let () = redis.send(&["DEL", "lock:p", "inventory:p", "ledger:p"]).await;
                servers[0].reset("p", 9).await;
            }
            _ => {}
        }
        for server in &servers {
            let reply: Reply = server.post(buy).await;
            assert_eq!(reply.outcome(), "sold", "after {end}: {}", reply.text);
            let token = reply.json["fencing_token"].as_u64().unwrap();
            assert!(token > last, "{token} follows {last} after {end}");
            last = token;
        }
    }
}

/// Every ttl that Redis is told, at the grant and at renewals, is the one of the request, in
/// milliseconds.
#[tokio::test]
async fn the_ttl_is_sent_as_it_was_asked_for() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    let mut monitor = Monitor::start(&redis).await;
    for (lock, expected) in redis_locks() {
        server.reset(lock, 1).await;
        let path = format!("/purchase?product={lock}&lock={lock}&ttl=3210ms&delay=2s");
        assert_eq!(server.post(&path).await.outcome(), "sold", "{lock}");
        let named = monitor.named(&redis, lock).await;
        let seconds = |line: &&String| line.contains("\"EX\"") || line.contains("\"EXPIRE\"");
        assert_eq!(named.iter().find(seconds), None, "{lock}");
        let is_ttl = |line: &&String| line.contains("\"PX\"") || line.contains("\"PEXPIRE\"");
        let ttls: Vec<_> = named.iter().filter(is_ttl).collect();
        let grants = if expected == Expected::ExactWhileRenewed { 2 } else { 1 };
        assert!(ttls.len() >= grants, "{lock}: {named:?}");
        assert!(ttls.iter().all(|line| line.ends_with("\"3210\"")), "{lock}: {ttls:?}");
    }
}

/// Whoever does not get a lock neither shortens nor lengthens the lease of its holder, nor ends it.
#[tokio::test]
async fn a_loser_leaves_the_holder_alone() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    for (lock, _) in redis_locks() {
        server.reset(lock, 1).await;
        let key = format!("lock:{lock}");
        for (ttl, left) in [("1ms", 300_000..=600_000), ("600s", 1..=60_000)] {
            let longest = left.end().to_string();
            let () = redis.send(&["SET", &key, "a stranger", "PX", &longest]).await;
            let path = format!("/purchase?product={lock}&lock={lock}&ttl={ttl}");
            assert_eq!(server.post(&path).await.outcome(), "busy", "{lock}");
            let pttl: i64 = redis.send(&["PTTL", &key]).await;
            assert!(left.contains(&pttl), "{lock}: {pttl} ms left");
        }
        assert_eq!(redis.send::<String>(&["GET", &key]).await, "a stranger", "{lock}");
    }
}
