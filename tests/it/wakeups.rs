//! Wake-ups by a real Redis: none is missed, none wakes two, none is lost with its waiter.

use std::{pin::pin, sync::Arc};

use futures_util::{FutureExt, future::join_all};
use locklab::{
    backends::{
        BackendError, Backends,
        redis::{RedisClient, RedisMode, RedisOptions},
    },
    fault::Faults,
    lock::{Attempt, Claim, Lock, Method, Release},
    metrics::Metrics,
    product::Product,
    recorder, release,
    strategy::{Parts, StrategyId},
    token::Token,
    wait::{self, Patience, Policy, Subscription},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{self, Duration};

use crate::{redis_server::Redis, server::until};

/// Far more than anything takes.
const LONG: Duration = Duration::from_secs(600);

async fn connect(url: String, timeout: Duration) -> RedisClient {
    let options = RedisOptions { url, mode: RedisMode::Multiplexed, pool_size: 1, timeout };
    RedisClient::connect(&options, Arc::new(Metrics::new())).await.unwrap()
}

async fn start() -> (Redis, RedisClient) {
    let redis = Redis::start().await;
    let client = connect(redis.url(), Duration::from_secs(10)).await;
    (redis, client)
}

async fn subscribe(client: &RedisClient, channel: &str) -> Subscription {
    client.wakeups().subscribe(channel).await.unwrap()
}

/// Publishes, and says how many connections received it.
async fn publish(redis: &Redis, channel: &str) -> u64 {
    redis.send(&["PUBLISH", channel, ""]).await
}

/// How many connections are subscribed.
async fn listeners(redis: &Redis, channel: &str) -> u64 {
    let (_, count): (String, u64) = redis.send(&["PUBSUB", "NUMSUB", channel]).await;
    count
}

/// Waits until all messages that were published so far have been dealt with, for they come in order.
async fn settle(redis: &Redis, client: &RedisClient) {
    let last = subscribe(client, "last").await;
    let notified = last.notified();
    publish(redis, "last").await;
    notified.await;
}

#[tokio::test]
async fn a_confirmed_subscription_misses_nothing() {
    let (redis, client) = start().await;
    let mut kept = Vec::new();
    for round in 0..50 {
        let channel = format!("c{round}");
        let subscription = subscribe(&client, &channel).await;
        assert_eq!(publish(&redis, &channel).await, 1, "right after it was confirmed");
        subscription.notified().await;
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
        pending.remove(0).await;
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
    second.await;
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
        first.await;
        other.await;
        assert!(second.as_mut().now_or_never().is_none(), "one is enough");
        assert_eq!(publish(&redis, "c").await, 1);
        second.await;
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
        subscription.notified().await;
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
    woken.await;
    assert_eq!(publish(&redis, "early").await, 1);
    drop(redis);
    until("it is gone", async || !client.is_up()).await;
    let result = client.wakeups().subscribe("c").await;
    assert!(matches!(result, Err(BackendError::Unavailable { .. })), "{result:?}");
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
    lock.clear(&claim.product).await.unwrap();

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

fn lock(name: &str, client: RedisClient) -> Arc<dyn Lock> {
    let backends = Backends {
        redis: Arc::new(client),
        redis_remedy: "",
        history: 0,
        queue_max: 1,
        metrics: Arc::new(Metrics::new()),
    };
    let (releases, _) = release::channel(Arc::clone(&backends.metrics));
    let (recorder, _) = recorder::channel(false, Arc::clone(&backends.metrics));
    let parts = Parts { backends: &backends, releases: &releases, recorder: &recorder };
    let strategy: StrategyId = name.parse().unwrap();
    let Method::Lock(lock) = (strategy.row().connect)(&parts) else { panic!("no lock") };
    lock
}

fn claim(ttl: Duration) -> Claim {
    Claim { product: Product::default(), token: Token::random(), ttl, faults: Faults::default() }
}

/// Every lock that can be busy tells when it is released, or cleared, and says how long that can take.
#[tokio::test]
async fn a_release_wakes_a_waiter() {
    for name in ["mutex", "naive", "safe", "watchdog", "fenced"] {
        let (redis, client) = start().await;
        let lock = lock(name, client);
        let product = Product::default();
        let waiter = lock.subscribe(&product).await.unwrap().expect(name);
        assert_eq!(lock.time_left(&product).await.unwrap(), Some(Duration::ZERO), "{name}");
        for ended_by in ["release", "clear", "crash"] {
            if ended_by == "crash" && name != "mutex" {
                continue;
            }
            let (mut woken, claim) = (pin!(waiter.notified()), claim(LONG));
            woken.as_mut().enable();
            assert!(matches!(lock.attempt(&claim).await, Ok(Attempt::Granted(_))), "{name}");
            let left = lock.time_left(&product).await.unwrap();
            match name {
                "mutex" => assert_eq!(left, None),
                _ => assert!(left.is_some_and(|left| left.abs_diff(LONG) < LONG / 2), "{left:?}"),
            }
            assert!(woken.as_mut().now_or_never().is_none(), "{name} is held");
            match ended_by {
                "release" => assert_eq!(lock.release(&claim).await.unwrap(), Release::Released),
                "clear" => lock.clear(&product).await.unwrap(),
                _ => lock.crash(&claim),
            }
            woken.await;
        }
        if name != "mutex" {
            let () = redis.send(&["SET", "lock:default", "for ever"]).await;
            assert_eq!(lock.time_left(&product).await.unwrap(), None, "{name}");
        }
    }
}

/// A stranger's lock is not released, so nobody is woken.
#[tokio::test]
async fn who_frees_nothing_wakes_nobody() {
    let (redis, client) = start().await;
    let waiter = subscribe(&client, "released:default").await;
    let mut woken = pin!(waiter.notified());
    woken.as_mut().enable();
    let lock = lock("safe", client);
    assert_eq!(lock.release(&claim(LONG)).await.unwrap(), Release::Expired);
    let () = redis.send(&["SET", "lock:default", "a stranger"]).await;
    assert_eq!(lock.release(&claim(LONG)).await.unwrap(), Release::Stolen);
    assert_eq!(publish(&redis, "released:default").await, 1);
    woken.await;
    assert!(waiter.notified().now_or_never().is_none(), "only that one came");
}

/// Waits for a lock until it has it, and says how often it tried.
async fn acquire(lock: &dyn Lock, claim: &Claim) -> u32 {
    let patience = Patience { policy: Policy::Notify, wait: LONG, ..Patience::default() };
    let attempt = || async {
        let attempt = lock.attempt(claim).await?;
        Ok::<_, BackendError>(matches!(attempt, Attempt::Granted(_)).then_some(()))
    };
    let tried = wait::on_release(&patience, lock, &claim.product, attempt).await;
    assert!(matches!(tried.result, Ok(Some(()))), "{:?}", tried.result);
    tried.retries
}

/// A waiter is woken by a release, by the end of a lease that nobody releases, and by a reset; it
/// does not ask in between.
#[tokio::test]
async fn a_waiter_tries_only_when_there_is_something_to_win() {
    let (redis, client) = start().await;
    let lock = lock("safe", client);
    for ended_by in ["release", "ttl", "clear"] {
        let ttl = if ended_by == "ttl" { Duration::from_millis(300) } else { LONG };
        let (held, wanted) = (claim(ttl), claim(LONG));
        assert!(matches!(lock.attempt(&held).await, Ok(Attempt::Granted(_))));
        let end = async {
            until("it waits", async || listeners(&redis, "released:default").await == 1).await;
            match ended_by {
                "release" => assert_eq!(lock.release(&held).await.unwrap(), Release::Released),
                "clear" => lock.clear(&held.product).await.unwrap(),
                _ => {}
            }
        };
        let (retries, ()) = tokio::join!(acquire(&*lock, &wanted), end);
        // One when it has subscribed, and one when it is woken, unless it was free by then.
        assert!((1..=2).contains(&retries), "{ended_by}: {retries}");
        assert_eq!(lock.release(&wanted).await.unwrap(), Release::Released);
    }
}

/// Many wait, each is woken in its turn, nobody sleeps through: the leases last far longer than
/// the test may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_gets_it_in_the_end() {
    let (redis, client) = start().await;
    let lock = lock("safe", client);
    let held = claim(LONG);
    assert!(matches!(lock.attempt(&held).await, Ok(Attempt::Granted(_))));
    let waiters = (0..50).map(|_| {
        let lock = Arc::clone(&lock);
        tokio::spawn(async move {
            let wanted = claim(LONG);
            let retries = acquire(&*lock, &wanted).await;
            assert_eq!(lock.release(&wanted).await.unwrap(), Release::Released);
            retries
        })
    });
    let waiters = join_all(waiters);
    let release = async {
        until("they wait", async || listeners(&redis, "released:default").await == 1).await;
        lock.release(&held).await.unwrap()
    };
    let (waiters, _) = time::timeout(LONG / 10, async { tokio::join!(waiters, release) })
        .await
        .expect("everybody was woken");
    let retries: u32 = waiters.into_iter().map(|waiter| waiter.unwrap()).sum();
    assert!(retries >= 50, "{retries}");
    until("nobody listens", async || listeners(&redis, "released:default").await == 0).await;
}
