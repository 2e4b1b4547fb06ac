//! Dropped futures: at whatever await an acquire, a renewal, a release or a whole purchase is
//! dropped, no lock is left behind.

use locklab::{
    order::Order,
    outcome::Outcome,
    product::Product,
    strategy::{Expected, table::STRATEGIES},
};
use locklab_locks::{
    lease::keeper::Queueing,
    lock::{Attempt, Release},
    wires::redis::RedisMode,
};
use tokio::time::{Duration, Instant};

use crate::{
    lock_bench::{Bench, MODES, ROUNDS_MAX, TTL, benches, drop_after, judge},
    proxy::Proxy,
    redis_server::Redis,
    server::until,
};

#[tokio::test]
async fn a_dropped_acquire_leaves_no_lock() {
    for mut bench in benches().await {
        let products = bench
            .at_every_await(async |product, polls| {
                // A lease that was granted is dropped with the future's output.
                let order = bench.order(&product);
                drop_after(polls, bench.keeper.attempt(&product, &order.wish(), None)).await
            })
            .await;
        let left_behind = bench.left_behind(products).await;
        judge(&bench, left_behind);
    }
}

/// Who waits in the queue of a lock service and is dropped there leaves no place that blocks others.
#[tokio::test]
async fn a_dropped_place_in_a_queue_is_left() {
    for mut bench in benches().await.into_iter().filter(|bench| bench.lock.has_queue()) {
        let products = bench
            .at_every_await(async |product, polls| {
                let holder = bench.acquire(&product).await.unwrap();
                let order = bench.order(&product);
                let until = Instant::now() + Duration::from_millis(200);
                let (wish, queueing) =
                    (order.wish(), Queueing { until, gone: &order.patience.gone });
                let wait = bench.keeper.attempt(&product, &wish, Some(queueing));
                let done = drop_after(polls, wait).await;
                assert_eq!(holder.release().await, Release::Released);
                done
            })
            .await;
        assert_eq!(bench.left_behind(products).await, 0, "{}", bench.strategy.row().name);
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
        assert_eq!(bench.lock.renew(&claim).await.unwrap(), None, "there is nothing to renew");
        let next = bench.acquire(&product).await.expect("nobody holds it");
        assert_eq!(bench.lock.renew(&claim).await.unwrap(), None, "it is the lease of the next");
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
        let mut products = Vec::new();
        // With several nodes, the number of polls varies: the write may be stepped over.
        for _ in 0..ROUNDS_MAX {
            let dropped = bench.at_every_await(async |product, polls| {
                shop.reset(&product, 1, Some(bench.strategy)).await.unwrap();
                let order = Order { delay: Duration::from_millis(5), ..bench.order(&product) };
                drop_after(polls, shop.purchase(&order)).await
            });
            products = dropped.await;
            if bench.orphans("write_unknown") >= 1 {
                break;
            }
        }
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
