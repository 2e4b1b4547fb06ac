//! Dropped futures: at whatever await an acquire or a release is dropped, no key is left behind.

use std::{future::Future, sync::Arc, task::Poll};

use locklab::{
    backends::{
        Backends,
        redis::{RedisClient, RedisMode, RedisOptions},
    },
    fault::Faults,
    lease::{self, Acquired},
    lock::{Lock, Method, Release},
    metrics::Metrics,
    order::{Item, Order},
    product::Product,
    release::{self, ReleaseQueue},
    strategy::StrategyId,
    token::Token,
    wait::Patience,
};
use tokio::{task::JoinHandle, time::Duration};
use tokio_util::sync::CancellationToken;

use crate::{redis_server::Redis, server::until};

const TTL: Duration = Duration::from_secs(600);

/// Every lock that is released by its token, and both ways to send commands.
const TOKEN_LOCKS: [(&str, RedisMode); 4] = [
    ("safe", RedisMode::Multiplexed),
    ("safe", RedisMode::Pooled),
    ("watchdog", RedisMode::Multiplexed),
    ("fenced", RedisMode::Multiplexed),
];

/// A lock against a real Redis, with its release task.
struct Bench {
    redis: Redis,
    lock: Arc<dyn Lock>,
    strategy: StrategyId,
    releases: ReleaseQueue,
    task: JoinHandle<()>,
    closing: CancellationToken,
}

impl Bench {
    async fn new(name: &str, mode: RedisMode) -> Self {
        let redis = Redis::start().await;
        let options = RedisOptions {
            url: redis.url(),
            mode,
            pool_size: 4,
            timeout: Duration::from_millis(500),
        };
        let metrics = Arc::new(Metrics::new());
        let client = RedisClient::connect(&options, Arc::clone(&metrics)).await.unwrap();
        let backends = Backends {
            redis: Arc::new(client),
            redis_remedy: "",
            history: 0,
            metrics: Arc::clone(&metrics),
        };
        let strategy: StrategyId = name.parse().unwrap();
        let Method::Lock(lock) = (strategy.row().connect)(&backends) else { panic!("no lock") };
        let (releases, task) = release::channel(metrics);
        let closing = CancellationToken::new();
        let task = tokio::spawn(task.run(closing.clone()));
        Self { redis, lock, strategy, releases, task, closing }
    }

    fn order(&self, product: &Product) -> Order {
        Order {
            id: Token::random(),
            items: vec![Item { product: product.clone(), quantity: 1 }],
            key: None,
            strategy: self.strategy,
            delay: Duration::ZERO,
            ttl: TTL,
            patience: Patience::default(),
            faults: Faults::default(),
        }
    }

    async fn acquire(&self, product: &Product) -> Option<lease::Lease> {
        let order = self.order(product);
        match lease::acquire(&order, product, &self.lock, &self.releases).await.unwrap() {
            Acquired::Lease(lease) => Some(*lease),
            Acquired::Busy => None,
            Acquired::Late => panic!("the ttl is long"),
        }
    }

    /// Closes the queue and waits until every claim has been dealt with.
    async fn flush(self) -> Redis {
        self.closing.cancel();
        self.task.await.unwrap();
        self.redis
    }
}

/// Polls a future that many times, then drops it. Says whether it was done by then.
async fn drop_after(polls: usize, future: impl Future) -> bool {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}

/// How many polls an uninterrupted run may take; far more than any does.
const POLLS_MAX: usize = 50;

async fn is_lockable(redis: &Redis, product: &str) -> bool {
    !redis.is_locked(product).await
}

#[tokio::test]
async fn a_dropped_acquire_leaves_no_lock() {
    for (name, mode) in TOKEN_LOCKS {
        let bench = Bench::new(name, mode).await;
        let mut products = Vec::new();
        for polls in 0..POLLS_MAX {
            let product: Product = format!("p{polls}").parse().unwrap();
            let order = bench.order(&product);
            let acquire = lease::acquire(&order, &product, &bench.lock, &bench.releases);
            products.push(product.clone());
            // A lease that was granted is dropped with the future's output.
            if drop_after(polls, acquire).await {
                break;
            }
        }
        assert!((2..POLLS_MAX).contains(&products.len()), "every await was hit");
        let redis = bench.flush().await;
        for product in products {
            assert!(is_lockable(&redis, product.as_str()).await, "{product}");
        }
    }
}

#[tokio::test]
async fn a_dropped_release_leaves_no_lock() {
    for (name, mode) in TOKEN_LOCKS {
        let bench = Bench::new(name, mode).await;
        let mut products = Vec::new();
        for polls in 0..POLLS_MAX {
            let product: Product = format!("p{polls}").parse().unwrap();
            let lease = bench.acquire(&product).await.expect("nobody holds it");
            products.push(product);
            if drop_after(polls, lease.release()).await {
                break;
            }
        }
        assert!((2..POLLS_MAX).contains(&products.len()), "every await was hit");
        let redis = bench.flush().await;
        for product in products {
            assert!(is_lockable(&redis, product.as_str()).await, "{product}");
        }
    }
}

/// The control: `naive` cannot tell its lock from a stranger's, so a dropped acquire leaks.
#[tokio::test]
async fn naive_leaks_when_dropped() {
    let bench = Bench::new("naive", RedisMode::Multiplexed).await;
    let mut products = Vec::new();
    for polls in 0..POLLS_MAX {
        let product: Product = format!("p{polls}").parse().unwrap();
        let order = bench.order(&product);
        let acquire = lease::acquire(&order, &product, &bench.lock, &bench.releases);
        if drop_after(polls, acquire).await {
            break;
        }
        products.push(product);
    }
    let redis = bench.flush().await;
    let mut leaked = false;
    for product in products {
        leaked |= redis.is_locked(product.as_str()).await;
    }
    assert!(leaked, "naive was not caught leaking");
}

/// The mutex of this process is freed when its lease is dropped.
#[tokio::test]
async fn a_dropped_mutex_is_freed() {
    let bench = Bench::new("mutex", RedisMode::Multiplexed).await;
    let product = Product::default();
    let held = bench.acquire(&product).await.expect("nobody holds it");
    assert!(bench.acquire(&product).await.is_none(), "it excludes");
    drop(held);
    until("it is free", async || bench.acquire(&product).await.is_some()).await;
}

/// What a release says: each of its answers is a finding of its own.
#[tokio::test]
async fn a_release_says_how_the_lease_ended() {
    let bench = Bench::new("safe", RedisMode::Multiplexed).await;
    let product = Product::default();
    let lease = bench.acquire(&product).await.unwrap();
    assert_eq!(lease.release().await, Release::Released);

    let lease = bench.acquire(&product).await.unwrap();
    let () = bench.redis.send(&["DEL", "lock:default"]).await;
    assert_eq!(lease.release().await, Release::Expired);

    let lease = bench.acquire(&product).await.unwrap();
    let () = bench.redis.send(&["SET", "lock:default", "a stranger"]).await;
    assert_eq!(lease.release().await, Release::Stolen);
    let () = bench.redis.send(&["DEL", "lock:default"]).await;

    let lease = bench.acquire(&product).await.unwrap();
    bench.redis.hang();
    assert_eq!(lease.release().await, Release::Unknown);
    bench.redis.wake();
    until("the lock is free", async || !bench.redis.is_locked("default").await).await;
}

/// The ttl reaches Redis in milliseconds, and the deadline is never later than Redis's own.
#[tokio::test]
async fn the_ttl_is_in_milliseconds() {
    let bench = Bench::new("safe", RedisMode::Multiplexed).await;
    let lease = bench.acquire(&Product::default()).await.unwrap();
    let left: u64 = bench.redis.send(&["PTTL", "lock:default"]).await;
    assert!((1..=600_000).contains(&left), "{left} ms left");
    assert_eq!(lease.fixed_ttl(), Some(TTL));
    assert!(!lease.is_past_deadline());
    assert_eq!(lease.release().await, Release::Released);
}
