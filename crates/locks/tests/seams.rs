//! The three seams: a lock over pipes in memory, with tokens and delays from a seed, by a clock that
//! stands still until everybody waits.
#![cfg(feature = "redis")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

mod memory_redis;

use std::sync::Arc;

use locklab_locks::{
    lease::{
        Acquired, Lease,
        keeper::{Keeper, Wish},
        metrics::LeaseMetrics,
        release,
    },
    lock::{Release, safe::SafeLock},
    name::Name,
    random::Source,
    wait::{Patience, Policy},
    wires::{
        metrics::{BackendMetrics, Wire},
        redis::{RedisClient, RedisMode, RedisOptions},
    },
};
use tokio::{
    runtime,
    time::{self, Duration, Instant},
};

use self::memory_redis::MemoryRedis;

const SECOND: Duration = Duration::from_secs(1);

/// Some buyers, and what happened to them.
struct Run {
    server: MemoryRedis,
    keeper: Keeper,
    source: Source,
    started: Instant,
    history: Vec<String>,
}

impl Run {
    async fn start(seed: u64) -> Self {
        let options = RedisOptions {
            url: "redis://in-memory/".to_owned(),
            mode: RedisMode::Multiplexed,
            pool_size: 1,
            timeout: SECOND / 2,
        };
        let metrics = BackendMetrics::silent(Wire::Redis, "redis");
        let server = MemoryRedis::default();
        let connect = Arc::new(server.clone());
        let redis = RedisClient::connect_through(connect, &options, metrics).await.unwrap();
        let (releases, task) = release::channel();
        tokio::spawn(task.run(Default::default()));
        let (lock, source) = (Arc::new(SafeLock::new(Arc::new(redis))), Source::seeded(seed));
        let keeper = Keeper::new(lock, releases, Arc::new(LeaseMetrics::silent()));
        let keeper = keeper.drawing_from(source.clone());
        Self { server, keeper, source, started: Instant::now(), history: Vec::new() }
    }

    async fn acquire(&self, ttl: Duration, policy: Policy) -> Option<Lease> {
        let patience = Patience { policy, seed: self.source.draw(), ..Patience::default() };
        let acquired = self.keeper.acquire(&Name::default(), &Wish::lasting(ttl), &patience).await;
        match acquired.unwrap() {
            Acquired::Lease(lease) => Some(*lease),
            Acquired::Busy => None,
            other => panic!("{other:?}"),
        }
    }

    fn note(&mut self, what: &str, lease: Option<&Lease>) {
        let token = lease.map_or("nobody", |lease| lease.token().as_str());
        let at = self.started.elapsed();
        self.history.push(format!("{at:?}: {what} {token}"));
    }

    /// Everything that can happen to a lease of a second.
    async fn run(&mut self) {
        let first = self.acquire(SECOND, Policy::None).await;
        self.note("granted to", first.as_ref());
        let second = self.acquire(SECOND, Policy::None).await;
        assert!(second.is_none(), "it is busy");
        // Nobody tells of the end of a lease that is not released: it is tried again and again.
        let third = self.acquire(SECOND, Policy::Jitter).await;
        self.note("expired, and granted to", third.as_ref());
        assert!(self.started.elapsed() >= SECOND, "by the clock of tests");
        assert_eq!(first.unwrap().release().await, Release::Stolen);
        assert_eq!(third.unwrap().release().await, Release::Released);

        let holder = self.acquire(60 * SECOND, Policy::None).await.unwrap();
        let asked = Instant::now();
        let told = async {
            let told = self.acquire(SECOND, Policy::Notify).await;
            (told, asked.elapsed())
        };
        let release = async {
            time::sleep(3 * SECOND).await;
            holder.release().await
        };
        let ((told, waited), released) = tokio::join!(told, release);
        assert_eq!((released, waited), (Release::Released, 3 * SECOND), "it was told at once");
        self.note("released, and granted to", told.as_ref());
        let is_listening = |command: &Vec<String>| command[0] == "SUBSCRIBE";
        assert!(self.server.with(|store| store.log.iter().any(is_listening)));

        time::sleep(2 * SECOND).await;
        assert_eq!(told.unwrap().release().await, Release::Expired);
        self.note("expired, and granted to", None);
    }
}

/// What happens, and when, in a world of its own.
fn history(seed: u64) -> Vec<String> {
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let mut run = Run::start(seed).await;
        run.run().await;
        run.history
    })
}

#[test]
fn a_seed_gives_the_same_history_again() {
    let first = history(1);
    assert_eq!(first.len(), 4);
    assert_eq!(history(1), first);
    assert_ne!(history(2), first);
    let times = |history: &[String]| -> Vec<String> {
        history.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    assert_ne!(times(&history(2)), times(&first), "another seed gives other delays");
}
