//! Waiting for locks: every release is told, and who waits tries only when there is something to win.

use std::{pin::pin, sync::Arc};

use futures_util::{FutureExt, future::join_all};
use locklab::{backends::Backends, measure::exporter::Exporter, product::Product};
use locklab_locks::{
    error::BackendError,
    fault::Faults,
    lease::release,
    lock::{Attempt, Claim, Lock, Release},
    token::Token,
    wait::{self, Patience, Policy},
    wires::redis::RedisClient,
};
use tokio::time::{self, Duration};

use crate::{
    lock_bench::keeper,
    server::until,
    wakeups::{LONG, listeners, publish, soon, start, subscribe},
};

pub fn lock(name: &str, client: RedisClient) -> Arc<dyn Lock> {
    let backends = Backends {
        redis: Arc::new(client),
        redis_remedy: "",
        redlock: Err(String::new()),
        etcd: Err(String::new()),
        zookeeper: Err(String::new()),
        postgres: Err(String::new()),
        mysql: Err(String::new()),
    };
    let (releases, _) = release::channel();
    let keeper = keeper(&backends, &Exporter::default(), &releases, name.parse().unwrap());
    Arc::clone(keeper.lock())
}

pub fn claim(ttl: Duration) -> Claim {
    let (product, faults) = (Product::default(), Faults::default());
    Claim { name: product, token: Token::random(), ttl, extensions: 0, faults }
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
            soon(woken).await;
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
    soon(woken).await;
    assert!(waiter.notified().now_or_never().is_none(), "only that one came");
}

/// Waits for a lock until it has it, and says how often it tried.
async fn acquire(lock: &dyn Lock, claim: &Claim) -> u32 {
    let patience = Patience { policy: Policy::Notify, wait: LONG, ..Patience::default() };
    let attempt = || async {
        let attempt = lock.attempt(claim).await?;
        Ok::<_, BackendError>(matches!(attempt, Attempt::Granted(_)).then_some(()))
    };
    let tried = wait::on_release(&patience, lock, &claim.name, attempt).await;
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
                "clear" => lock.clear(&held.name).await.unwrap(),
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
