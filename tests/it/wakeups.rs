//! Wake-ups by a real Redis: none is missed, none wakes two, none is lost with its waiter.

use std::{pin::pin, sync::Arc};

use futures_util::{FutureExt, future::join_all};
use locklab::measure::exporter::Exporter;
use locklab_locks::{
    error::BackendError,
    lock::{Attempt, Release},
    wires::{
        metrics::Wire,
        redis::{RedisClient, RedisMode, RedisOptions},
        subscription::Subscription,
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{self, Duration};

use crate::{
    notify::{claim, lock},
    redis_server::Redis,
    server::until,
};

/// Far more than anything takes.
pub const LONG: Duration = Duration::from_secs(600);

pub async fn connect(url: String, timeout: Duration) -> RedisClient {
    let options = RedisOptions { url, mode: RedisMode::Multiplexed, pool_size: 1, timeout };
    RedisClient::connect(&options, Exporter::default().backend(Wire::Redis, "redis")).await.unwrap()
}

pub async fn start() -> (Redis, RedisClient) {
    let redis = Redis::start().await;
    let client = connect(redis.url(), Duration::from_secs(10)).await;
    (redis, client)
}

pub async fn subscribe(client: &RedisClient, channel: &str) -> Subscription {
    client.wakeups().subscribe(channel).await.unwrap()
}

/// Publishes, and says how many connections received it.
pub async fn publish(redis: &Redis, channel: &str) -> u64 {
    redis.send(&["PUBLISH", channel, ""]).await
}

/// A wake-up that must come; one that never does fails the test.
pub async fn soon(wakeup: impl Future<Output = ()>) {
    // Far longer than anything takes: this is no assertion on speed.
    time::timeout(Duration::from_secs(60), wakeup).await.expect("a wake-up was lost");
}

/// How many connections are subscribed.
pub async fn listeners(redis: &Redis, channel: &str) -> u64 {
    let (_, count): (String, u64) = redis.send(&["PUBSUB", "NUMSUB", channel]).await;
    count
}

/// Waits until all messages that were published so far have been dealt with, for they come in order.
async fn settle(redis: &Redis, client: &RedisClient) {
    let last = subscribe(client, "last").await;
    let notified = last.notified();
    publish(redis, "last").await;
    soon(notified).await;
}

#[tokio::test]
async fn a_confirmed_subscription_misses_nothing() {
    let (redis, client) = start().await;
    let mut kept = Vec::new();
    for round in 0..50 {
        let channel = format!("c{round}");
        let subscription = subscribe(&client, &channel).await;
        assert_eq!(publish(&redis, &channel).await, 1, "right after it was confirmed");
        soon(subscription.notified()).await;
        kept.push(subscription);
    }
    let connections: String = redis.send(&["CLIENT", "LIST", "TYPE", "pubsub"]).await;
    assert_eq!(connections.lines().count(), 1, "one connection for all: {connections}");
}

#[tokio::test]
async fn a_message_wakes_the_one_who_has_waited_longest() {
    let (redis, client) = start().await;
    let waiters = [0; 5].map(|_| subscribe(&client, "c"));
    let waiters = join_all(waiters).await;
    let mut pending: Vec<_> = waiters.iter().map(|waiter| Box::pin(waiter.notified())).collect();
    for waiter in &mut pending {
        assert!(!waiter.as_mut().enable());
    }
    while !pending.is_empty() {
        assert_eq!(publish(&redis, "c").await, 1, "they share a subscription");
        soon(pending.remove(0)).await;
        for waiter in &mut pending {
            assert!(waiter.now_or_never().is_none(), "one message wakes one");
        }
    }
}

#[tokio::test]
async fn the_wakeup_of_a_dropped_waiter_goes_to_the_next() {
    let (redis, client) = start().await;
    let waiters = [subscribe(&client, "c").await, subscribe(&client, "c").await];
    let [mut first, mut second] = waiters.each_ref().map(|waiter| Box::pin(waiter.notified()));
    first.as_mut().enable();
    second.as_mut().enable();
    publish(&redis, "c").await;
    settle(&redis, &client).await;
    assert!((&mut second).now_or_never().is_none(), "the first has it");
    drop(first);
    soon(second).await;
}

/// Redis forgets who listened when a connection breaks, and drops what is published meanwhile.
#[tokio::test]
async fn a_lost_connection_is_made_again_and_wakes_one_of_each_channel() {
    let (redis, client) = start().await;
    for _ in 0..5 {
        let (c, d) = (subscribe(&client, "c").await, subscribe(&client, "d").await);
        let (mut first, mut second) = (pin!(c.notified()), pin!(c.notified()));
        first.as_mut().enable();
        second.as_mut().enable();
        let other = d.notified();
        let killed: u64 = redis.send(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        assert_eq!(killed, 1);
        soon(first).await;
        soon(other).await;
        assert!(second.as_mut().now_or_never().is_none(), "one is enough");
        assert_eq!(publish(&redis, "c").await, 1);
        soon(second).await;
    }
}

#[tokio::test]
async fn the_last_one_to_go_unsubscribes() {
    let (redis, client) = start().await;
    let one = subscribe(&client, "c").await;
    let two = subscribe(&client, "c").await;
    drop(one);
    settle(&redis, &client).await;
    assert_eq!(listeners(&redis, "c").await, 1);
    drop(two);
    until("nobody listens", async || listeners(&redis, "c").await == 0).await;
    assert!(format!("{:?}", client.wakeups()).contains("channels: 0"), "nothing is kept");
}

/// Many come, go, and give up while they come, on few channels: who was told that they are subscribed
/// is, always; and in the end nobody is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coming_and_going_at_once_ends_as_wanted() {
    const CHANNELS: [&str; 2] = ["c", "d"];
    let (redis, client) = start().await;
    let client = Arc::new(client);
    let tasks = (0..8).map(|seed| {
        let (redis, client) = (redis.clone(), Arc::clone(&client));
        tokio::spawn(async move {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut conn = redis.connect().await;
            for round in 0..300 {
                let channel = CHANNELS[rng.random_range(0..2)];
                if rng.random_bool(0.3) {
                    // Dropped after its first poll, or after some commands.
                    let subscribe = client.wakeups().subscribe(channel);
                    let soon = time::sleep(Duration::from_micros(rng.random_range(0..300)));
                    tokio::select! { biased; _ = subscribe => {}, () = soon => {} }
                    continue;
                }
                let subscription = subscribe(&client, channel).await;
                let mut command = redis::cmd("PUBLISH");
                command.arg(channel).arg("");
                let received: u64 = command.query_async(&mut conn).await.unwrap();
                assert_eq!(received, 1, "seed {seed}, round {round}");
                drop(subscription);
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    for channel in CHANNELS {
        until("nobody listens", async || listeners(&redis, channel).await == 0).await;
        let subscription = subscribe(&client, channel).await;
        assert_eq!(publish(&redis, channel).await, 1);
        soon(subscription.notified()).await;
    }
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_unavailable() {
    let redis = Redis::start().await;
    let client = connect(redis.url(), Duration::from_secs(1)).await;
    let early = subscribe(&client, "early").await;
    let mut woken = pin!(early.notified());
    woken.as_mut().enable();
    redis.hang();
    // The subscription stands as far as anybody knows, until a probe is not answered.
    until("it is noticed", async || client.wakeups().subscribe("early").await.is_err()).await;
    let result = client.wakeups().subscribe("c").await;
    assert!(matches!(result, Err(BackendError::Unavailable { .. })), "{result:?}");
    redis.wake();
    until("it listens", async || client.wakeups().subscribe("c").await.is_ok()).await;
    // Its connection was given up.
    soon(woken).await;
    assert_eq!(publish(&redis, "early").await, 1);
    drop(redis);
    let is_gone = async || {
        let result = client.wakeups().subscribe("c").await;
        matches!(result, Err(BackendError::Unavailable { .. }))
    };
    until("it is gone", is_gone).await;
}

/// Redis tells nothing to a user who may not listen; that neither stops releases nor shows secrets.
#[tokio::test]
async fn who_may_not_listen_is_told_so() {
    let redis = Redis::start().await;
    let rules = ["ACL", "SETUSER", "u", "on", ">secret", "~*", "+@all", "resetchannels"];
    let () = redis.send(&rules).await;
    let url = redis.url().replace("redis://", "redis://u:secret@");
    let client = connect(url.clone(), Duration::from_secs(10)).await;
    let error = client.wakeups().subscribe("c").await.unwrap_err();
    assert!(matches!(error, BackendError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("no permissions"), "{error}");
    let lock = lock("safe", client);
    let claim = claim(LONG);
    assert!(matches!(lock.attempt(&claim).await, Ok(Attempt::Granted(_))));
    assert_eq!(lock.release(&claim).await.unwrap(), Release::Released);
    lock.clear(&claim.name).await.unwrap();

    let client = connect(url.replace("secret", "wrong-secret"), Duration::from_secs(1)).await;
    let error = client.wakeups().subscribe("c").await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn the_connection_ends_with_its_client() {
    let (redis, client) = start().await;
    let subscription = subscribe(&client, "c").await;
    drop(client);
    until("nobody listens", async || listeners(&redis, "c").await == 0).await;
    drop(subscription);
}
