//! The watchdog: leases that last as long as the work, and what happens when they do not.

use nix::sys::signal::Signal;

use crate::{
    redis_server::Redis,
    server::{Server, until},
};

async fn start() -> (Redis, Server) {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    (redis, server)
}

/// Work of ten ttls: nobody comes in, and the lease was never violated.
#[tokio::test]
async fn work_longer_than_the_ttl_is_covered() {
    let (redis, server) = start().await;
    server.reset("p", 1).await;
    let long = server.post("/purchase?product=p&lock=watchdog&ttl=600ms&delay=6s");
    let others = async {
        until("the buyer has the lock", async || redis.is_locked("p").await).await;
        let renewed = "locklab_lock_renewals_total{lock=\"watchdog\",outcome=\"renewed\"}";
        until("it outlives its ttl", async || server.metric(renewed).await >= 6.0).await;
        server.post("/purchase?product=p&lock=watchdog").await
    };
    let (long, other) = tokio::join!(long, others);
    assert_eq!((long.outcome(), other.outcome()), ("sold", "busy"));
    assert_eq!(long.json["ttl_violated"], false, "{}", long.text);
    let audit = server.audit("p").await;
    assert_eq!((&audit["sold"], &audit["ok"]), (&1.into(), &true.into()));
    assert!(!redis.is_locked("p").await, "released, and not renewed after that");
}

/// A lease that is taken away: the work is cancelled at once, and nothing is written.
#[tokio::test]
async fn a_lost_lease_cancels_the_work() {
    let (redis, server) = start().await;
    server.reset("p", 1).await;
    let long = server.post("/purchase?product=p&lock=watchdog&ttl=300ms&delay=60s");
    let thief = async {
        until("the buyer has the lock", async || redis.is_locked("p").await).await;
        let () = redis.send(&["SET", "lock:p", "a stranger"]).await;
    };
    let (long, ()) = tokio::join!(long, thief);
    assert_eq!((long.outcome(), &long.json["ttl_violated"]), ("lost", &false.into()));
    assert_eq!(server.audit("p").await["sold"], 0);
    assert!(redis.is_locked("p").await, "the stranger keeps the lock");
    let lost = "locklab_lock_renewals_total{lock=\"watchdog\",outcome=\"lost\"}";
    assert_eq!(server.metric(lost).await, 1.0);
}

/// Renewals without an answer are no loss, a passed deadline is: the work is cancelled then.
#[tokio::test]
async fn a_redis_that_hangs_ends_the_lease_at_its_deadline() {
    let (redis, server) = start().await;
    server.reset("p", 1).await;
    let long = server.post("/purchase?product=p&lock=watchdog&ttl=600ms&delay=60s");
    let hang = async {
        let reads = "locklab_backend_request_duration_seconds_count\
                     {backend=\"redis\",op=\"read\",outcome=\"ok\"}";
        until("the buyer is at work", async || server.metric(reads).await >= 1.0).await;
        redis.hang();
    };
    let (long, ()) = tokio::join!(long, hang);
    assert_eq!(long.outcome(), "lost");
    redis.wake();
    until("nothing is left", async || !redis.is_locked("p").await).await;
}

/// A stuck holder is not renewed for ever.
#[tokio::test]
async fn the_hold_is_capped() {
    let (redis, server) = start().await;
    server.reset("p", 1).await;
    let stuck = server.post("/purchase?product=p&lock=watchdog&ttl=100ms&delay=60s").await;
    assert_eq!(stuck.outcome(), "lost", "{}", stuck.text);
    until("the lock is free", async || !redis.is_locked("p").await).await;
    assert_eq!(server.post("/purchase?product=p&lock=watchdog").await.outcome(), "sold");
}

/// A crash ends the renewals with the process: the lock is free after its ttl.
#[tokio::test]
async fn a_crash_is_not_renewed() {
    let (redis, server) = start().await;
    server.reset("p", 1).await;
    server.post("/purchase?product=p&lock=watchdog&ttl=300ms&fault=crash@after-acquire").await;
    until("the ttl frees it", async || !redis.is_locked("p").await).await;
    assert_eq!(server.post("/purchase?product=p&lock=watchdog").await.outcome(), "sold");
}

/// The whole process is really stopped (SIGSTOP) for longer than the ttl, the watchdog with it. A
/// holder that still works finds its lease lost; one that was past its last check writes, and
/// oversells: this is where the watchdog is caught.
#[tokio::test]
async fn a_stopped_process_is_not_helped_by_its_watchdog() {
    let (redis, stopped) = start().await;
    let other = Server::start(&["--redis-url", &redis.url()]);
    for (step, ghost_outcome, oversold) in [("before-write", "lost", 0), ("write", "sold", 1)] {
        other.reset("p", 1).await;
        let buy = "/purchase?product=p&lock=watchdog";
        let paused = "locklab_faults_injected_total{fault=\"pause\"}";
        let before = stopped.metric(paused).await;
        let path = format!("{buy}&ttl=500ms&fault=pause:3s@{step}");
        let ghost = stopped.post(&path);
        let next = async {
            until("the ghost has the lock", async || redis.is_locked("p").await).await;
            until("it is paused", async || stopped.metric(paused).await > before).await;
            stopped.signal(Signal::SIGSTOP);
            until("its lease has run out", async || !redis.is_locked("p").await).await;
            let next = other.post(buy).await;
            stopped.signal(Signal::SIGCONT);
            next
        };
        let (ghost, next) = tokio::join!(ghost, next);
        assert_eq!((ghost.outcome(), next.outcome()), (ghost_outcome, "sold"), "{step}");
        assert_eq!(other.audit("p").await["oversold"], oversold, "{step}");
    }
}
