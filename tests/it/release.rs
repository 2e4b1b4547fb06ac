//! Dropped futures: at whatever await an acquire, a renewal, a release or a whole purchase is
//! dropped, no lock is left behind.

use std::{future::Future, sync::Arc, task::Poll};

use locklab::{
    backends::{
        Backend, Backends,
        redis::{RedisClient, RedisMode, RedisOptions},
        redlock::{Nodes, RedlockOptions},
    },
    fault::Faults,
    lease::{self, Acquired},
    lock::{Attempt, Claim, Lock, Method, Release, STRATEGIES},
    metrics::Metrics,
    order::{Item, Order, Outcome},
    product::Product,
    recorder,
    release::{self, ReleaseQueue},
    shop::Shop,
    strategy::{Expected, Family, Parts, Strategy, StrategyId},
    token::Token,
    wait::Patience,
};
use tokio::{task::JoinHandle, time::Duration};
use tokio_util::sync::CancellationToken;

use crate::{
    proxy::Proxy,
    redis_server::{Farm, Redis},
    server::until,
};

const TTL: Duration = Duration::from_secs(600);
/// Both ways to send commands.
const MODES: [RedisMode; 2] = [RedisMode::Multiplexed, RedisMode::Pooled];
/// How many polls an uninterrupted run may take; far more than any does.
const POLLS_MAX: usize = 50;

/// A lock against a real Redis, with its release task.
struct Bench {
    farm: Farm,
    backends: Backends,
    lock: Arc<dyn Lock>,
    strategy: StrategyId,
    releases: ReleaseQueue,
    task: JoinHandle<()>,
    closing: CancellationToken,
}

impl Bench {
    async fn new(name: &str, mode: RedisMode) -> Self {
        let redis = Redis::start().await;
        let url = redis.url();
        Self::reaching(redis, url, name, mode).await
    }

    /// The same, with another way to that Redis.
    async fn reaching(redis: Redis, url: String, name: &str, mode: RedisMode) -> Self {
        let timeout = Duration::from_millis(500);
        let options = RedisOptions { url, mode, pool_size: 4, timeout };
        let metrics = Arc::new(Metrics::new());
        let client = RedisClient::connect(&options, metrics.backend("redis")).await.unwrap();
        let strategy: StrategyId = name.parse().unwrap();
        let farm = match strategy.row().backend {
            Backend::Redlock => Farm::around(redis).await,
            Backend::Redis => Farm { redis, nodes: Vec::new() },
        };
        let options = RedlockOptions {
            urls: farm.nodes.iter().map(Redis::url).collect(),
            timeout,
            restart_delay: Duration::ZERO,
            are_new: false,
        };
        let nodes = Nodes::connect(&options, &metrics).await.unwrap();
        let backends = Backends {
            redis: Arc::new(client),
            redis_remedy: "",
            redlock: Ok(Arc::new(nodes)),
            history: 0,
            queue_max: 1,
            metrics: Arc::clone(&metrics),
        };
        let (releases, task) = release::channel(Arc::clone(&metrics));
        let (recorder, _) = recorder::channel(false, metrics);
        let parts = Parts { backends: &backends, releases: &releases, recorder: &recorder };
        let Method::Lock(lock) = (strategy.row().connect)(&parts) else { panic!("no lock") };
        let closing = CancellationToken::new();
        let task = tokio::spawn(task.run(closing.clone()));
        Self { farm, backends, lock, strategy, releases, task, closing }
    }

    /// A shop that records nothing.
    fn shop(&self) -> Shop {
        let (recorder, _) = recorder::channel(false, Arc::clone(&self.backends.metrics));
        Shop::new(&self.backends, self.releases.clone(), recorder)
    }

    /// Whether `naive` is on it: it cannot tell its lock from a stranger's, so it may leak.
    fn may_leak(&self) -> bool {
        self.strategy.row().expected == Expected::OversellsOrSticks
    }

    fn order(&self, product: &Product) -> Order {
        Order {
            id: Token::random(),
            items: vec![Item { product: product.clone(), quantity: 1 }],
            key: None,
            run_id: None,
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
            Acquired::Busy | Acquired::Outvoted { .. } | Acquired::Late => None,
        }
    }

    fn claim(&self, product: &Product) -> Claim {
        let (product, faults) = (product.clone(), Faults::default());
        Claim { product, token: Token::random(), ttl: TTL, faults }
    }

    /// How many claims were left to the release task for this reason.
    fn orphans(&self, cause: &str) -> usize {
        let name = self.strategy.row().name;
        let series = format!("locklab_lock_orphans_total{{lock=\"{name}\",cause=\"{cause}\"}} ");
        let metrics = self.backends.metrics.render();
        metrics.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
    }

    /// Does something with one product after the other, which is told how often it is polled before
    /// it is dropped, until it is done by then: so it has been dropped at its every await.
    async fn at_every_await(
        &self,
        mut something: impl AsyncFnMut(Product, usize) -> bool,
    ) -> Vec<Product> {
        let mut products = Vec::new();
        for polls in 0..POLLS_MAX {
            let product: Product = format!("p{polls}").parse().unwrap();
            products.push(product.clone());
            if something(product, polls).await {
                assert!(polls > 0, "it was dropped before its first await, too");
                return products;
            }
        }
        panic!("{} is not done after {POLLS_MAX} polls", self.strategy.row().name);
    }

    /// Closes the queue and waits until every claim has been dealt with.
    async fn flush(&mut self) {
        self.closing.cancel();
        (&mut self.task).await.unwrap();
    }

    /// How many of the products are locked after that.
    async fn left_behind(&mut self, products: Vec<Product>) -> usize {
        self.flush().await;
        let mut locked = 0;
        for product in products {
            match self.acquire(&product).await {
                Some(lease) => assert_eq!(lease.release().await, Release::Released),
                None => locked += 1,
            }
        }
        locked
    }
}

/// Every lock of the registry that keeps anybody out, in both modes.
async fn benches() -> Vec<Bench> {
    let is_lock =
        |row: &&&Strategy| row.family == Family::Lock && row.expected != Expected::Oversells;
    let rows = STRATEGIES.iter().filter(is_lock);
    let both = rows.flat_map(|row| MODES.map(|mode| Bench::new(row.name, mode)));
    futures_util::future::join_all(both).await
}

/// Holds a bench to what its lock promises of dropped futures. `naive` is the control.
fn judge(bench: &Bench, left_behind: usize) {
    let name = bench.strategy.row().name;
    if bench.may_leak() {
        assert!(left_behind > 0, "{name} was not caught leaking");
    } else {
        assert_eq!(left_behind, 0, "{name} left locks behind");
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

#[tokio::test]
async fn a_dropped_acquire_leaves_no_lock() {
    for mut bench in benches().await {
        let products = bench
            .at_every_await(async |product, polls| {
                // A lease that was granted is dropped with the future's output.
                let order = bench.order(&product);
                drop_after(polls, lease::acquire(&order, &product, &bench.lock, &bench.releases))
                    .await
            })
            .await;
        let left_behind = bench.left_behind(products).await;
        judge(&bench, left_behind);
    }
}

/// A renewal that is dropped neither ends the lease nor outlives it.
#[tokio::test]
async fn a_dropped_renewal_leaves_the_lease_as_it_was() {
    for mut bench in benches().await {
        let products = bench
            .at_every_await(async |product, polls| {
                let claim = bench.claim(&product);
                let attempt = bench.lock.attempt(&claim).await.unwrap();
                assert!(matches!(attempt, Attempt::Granted(_)), "nobody holds {product}");
                let done = drop_after(polls, bench.lock.renew(&claim)).await;
                assert_eq!(bench.lock.release(&claim).await.unwrap(), Release::Released);
                done
            })
            .await;
        assert_eq!(bench.left_behind(products).await, 0, "{}", bench.strategy.row().name);
    }
}

/// One that arrives after the release takes nobody's lock, and nobody is kept out by it.
#[tokio::test]
async fn a_renewal_after_the_release_brings_nothing_back() {
    for bench in benches().await {
        let product = Product::default();
        let claim = bench.claim(&product);
        bench.lock.attempt(&claim).await.unwrap();
        assert_eq!(bench.lock.release(&claim).await.unwrap(), Release::Released);
        assert!(!bench.lock.renew(&claim).await.unwrap(), "there is nothing to renew");
        let next = bench.acquire(&product).await.expect("nobody holds it");
        assert!(!bench.lock.renew(&claim).await.unwrap(), "it is the lease of the next");
        assert_eq!(next.release().await, Release::Released);
    }
}

/// A renewal is under way, and may arrive after all, when its purchase is dropped, and with it the
/// watchdog.
#[tokio::test]
async fn a_purchase_dropped_during_a_renewal_leaves_no_lock() {
    let renewed = STRATEGIES.iter().filter(|row| row.expected == Expected::ExactWhileRenewed);
    let product = Product::default();
    for (row, mode) in renewed.flat_map(|row| MODES.map(|mode| (row, mode))) {
        let redis = Redis::start().await;
        let proxy = Proxy::start(&redis.url()).await;
        let mut bench = Bench::reaching(redis, proxy.url.clone(), row.name, mode).await;
        let shop = bench.shop();
        shop.reset(&product, 1, None).await.unwrap();
        let ttl = Duration::from_secs(3);
        let order = Order { delay: TTL, ttl, ..bench.order(&product) };
        // No script is sent before the first renewal.
        proxy.hold_at("EVALSHA");
        tokio::select! {
            receipt = shop.purchase(&order) => panic!("it works for longer: {receipt:?}"),
            () = proxy.held() => {}
        }
        assert_eq!(bench.orphans("dropped"), 1);
        assert!(bench.farm.redis.is_locked("default").await, "nothing has arrived yet");
        proxy.drain().await;
        assert_eq!(bench.left_behind(vec![product.clone()]).await, 0, "{}", row.name);
    }
}

#[tokio::test]
async fn a_dropped_release_leaves_no_lock() {
    for mut bench in benches().await {
        let products = bench
            .at_every_await(async |product, polls| {
                let lease = bench.acquire(&product).await.expect("nobody holds it");
                drop_after(polls, lease.release()).await
            })
            .await;
        let left_behind = bench.left_behind(products).await;
        judge(&bench, left_behind);
    }
}

/// The whole critical section. What is dropped while its write may still land keeps the lock for
/// its ttl; nothing else does.
#[tokio::test]
async fn a_dropped_purchase_leaves_no_lock() {
    for mut bench in benches().await {
        let shop = bench.shop();
        let products = bench
            .at_every_await(async |product, polls| {
                shop.reset(&product, 1, Some(bench.strategy)).await.unwrap();
                let order = Order { delay: Duration::from_millis(5), ..bench.order(&product) };
                drop_after(polls, shop.purchase(&order)).await
            })
            .await;
        let writing = bench.orphans("write_unknown");
        assert!(writing >= 1, "it was dropped while it wrote, too");
        bench.flush().await;
        let mut left_behind = 0;
        for product in products {
            let next = shop.purchase(&bench.order(&product)).await;
            left_behind += usize::from(next.outcome == Outcome::Busy);
        }
        judge(&bench, left_behind - writing);
    }
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
    let () = bench.farm.redis.send(&["DEL", "lock:default"]).await;
    assert_eq!(lease.release().await, Release::Expired);

    let lease = bench.acquire(&product).await.unwrap();
    let () = bench.farm.redis.send(&["SET", "lock:default", "a stranger"]).await;
    assert_eq!(lease.release().await, Release::Stolen);
    let () = bench.farm.redis.send(&["DEL", "lock:default"]).await;

    let lease = bench.acquire(&product).await.unwrap();
    bench.farm.redis.hang();
    assert_eq!(lease.release().await, Release::Unknown);
    bench.farm.redis.wake();
    until("the lock is free", async || !bench.farm.redis.is_locked("default").await).await;
}

/// The ttl reaches Redis in milliseconds, and the deadline is never later than Redis's own.
#[tokio::test]
async fn the_ttl_is_in_milliseconds() {
    let bench = Bench::new("safe", RedisMode::Multiplexed).await;
    let lease = bench.acquire(&Product::default()).await.unwrap();
    let left: u64 = bench.farm.redis.send(&["PTTL", "lock:default"]).await;
    assert!((1..=600_000).contains(&left), "{left} ms left");
    assert_eq!(lease.fixed_ttl(), Some(TTL));
    assert!(!lease.is_past_deadline());
    assert_eq!(lease.release().await, Release::Released);
}
