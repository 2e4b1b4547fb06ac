//! A lock against real servers, without a locklab around it: for dropping its futures at every await.

use std::{future::Future, sync::Arc, task::Poll};

use locklab::{
    backends::Backends,
    measure::exporter::Exporter,
    order::{Order, recorder},
    product::Product,
    shop::{
        Shop,
        shelf::{Method, Parts, Settings},
    },
    strategy::{
        Expected, Family, Strategy, StrategyId,
        server::{Backend, Store},
        table::STRATEGIES,
    },
};
use locklab_locks::{
    fault::{FaultMetrics, Faults},
    lease::{
        self, Acquired,
        keeper::Keeper,
        release::{self, ReleaseQueue},
    },
    lock::{Claim, Lock, Release},
    token::Token,
    wires::{
        metrics::Wire,
        redis::{RedisClient, RedisMode, RedisOptions},
        redlock::{Nodes, RedlockOptions},
    },
};
use tokio::{task::JoinHandle, time::Duration};
use tokio_util::sync::CancellationToken;

use crate::{
    etcd_server::Etcd,
    redis_server::{Farm, Redis, voters},
    sql_servers::{MySql, Postgres},
    zookeeper_server::ZooKeeper,
};

pub const TTL: Duration = Duration::from_secs(600);
/// Both ways to send commands.
pub const MODES: [RedisMode; 2] = [RedisMode::Multiplexed, RedisMode::Pooled];
/// How many polls an uninterrupted run may take; far more than any does.
const POLLS_MAX: usize = 50;
/// How often all of them are gone through, if it takes several times to hit one.
pub const ROUNDS_MAX: usize = 20;

/// Builds something from the parts of a shop that records nothing.
pub fn with_parts<T>(
    backends: &Backends,
    exporter: &Exporter,
    releases: &ReleaseQueue,
    build: impl FnOnce(&Parts<'_>) -> T,
) -> T {
    let (recorder, _) = recorder::channel(false, exporter.registry());
    build(&Parts {
        backends,
        releases,
        recorder: &recorder,
        faults: &Arc::new(FaultMetrics::new(exporter.registry())),
        registry: exporter.registry(),
        settings: Settings { history: 0, queue_max: 1 },
    })
}

/// The keeper of a strategy's lock.
pub fn keeper(
    backends: &Backends,
    exporter: &Exporter,
    releases: &ReleaseQueue,
    strategy: StrategyId,
) -> Arc<Keeper> {
    match with_parts(backends, exporter, releases, |parts| parts.connect(strategy)) {
        Method::Lock(keeper) => keeper,
        Method::LockFree(_) | Method::Absent(_) => panic!("no lock"),
    }
}

/// A lock against a real Redis, with its release task.
pub struct Bench {
    pub farm: Farm,
    pub backends: Backends,
    pub exporter: Exporter,
    pub keeper: Arc<Keeper>,
    pub lock: Arc<dyn Lock>,
    pub strategy: StrategyId,
    pub releases: ReleaseQueue,
    pub task: JoinHandle<()>,
    pub closing: CancellationToken,
}

impl Bench {
    pub async fn new(name: &str, mode: RedisMode) -> Self {
        let redis = Redis::start().await;
        let url = redis.url();
        Self::reaching(redis, url, name, mode).await
    }

    /// The same, with another way to that Redis.
    pub async fn reaching(redis: Redis, url: String, name: &str, mode: RedisMode) -> Self {
        let timeout = Duration::from_millis(500);
        let options = RedisOptions { url, mode, pool_size: 4, timeout };
        let metrics = Exporter::default();
        let client =
            RedisClient::connect(&options, metrics.backend(Wire::Redis, "redis")).await.unwrap();
        let strategy: StrategyId = name.parse().unwrap();
        let row = strategy.row();
        let mut farm = match row.backend {
            Backend::Redlock => Farm { nodes: voters().await, ..Farm::bare(redis) },
            Backend::Etcd => Farm { etcd: Etcd::start(1).await, ..Farm::bare(redis) },
            Backend::ZooKeeper => Farm { zookeeper: ZooKeeper::shared(), ..Farm::bare(redis) },
            Backend::Redis | Backend::Postgres | Backend::MySql => Farm::bare(redis),
        };
        match row.store {
            Store::Redis => {}
            Store::Postgres => farm.postgres = Postgres::shared().await,
            Store::MySql => farm.mysql = MySql::shared().await,
        }
        let options = RedlockOptions {
            urls: farm.nodes.iter().map(Redis::url).collect(),
            timeout,
            restart_delay: Duration::ZERO,
            are_new: false,
        };
        let nodes = Nodes::connect(&options, &metrics.shared_registry()).await.unwrap();
        let backends = Backends {
            redis: Arc::new(client),
            redis_remedy: "",
            redlock: Ok(Arc::new(nodes)),
            etcd: Ok(farm.etcd.client(&metrics).await),
            zookeeper: farm.zookeeper.open(&metrics).await,
            postgres: farm.postgres.open(&metrics).await,
            mysql: farm.mysql.open(&metrics).await,
        };
        let (releases, task) = release::channel();
        let keeper = keeper(&backends, &metrics, &releases, strategy);
        let (exporter, lock) = (metrics, Arc::clone(keeper.lock()));
        let closing = CancellationToken::new();
        let task = tokio::spawn(task.run(closing.clone()));
        Self { farm, backends, exporter, keeper, lock, strategy, releases, task, closing }
    }

    /// A shop that records nothing.
    pub fn shop(&self) -> Shop {
        with_parts(&self.backends, &self.exporter, &self.releases, Shop::new)
    }

    /// Whether `naive` is on it: it cannot tell its lock from a stranger's, so it may leak.
    pub fn may_leak(&self) -> bool {
        self.strategy.row().expected == Expected::OversellsOrSticks
    }

    pub fn order(&self, product: &Product) -> Order {
        let order = Order::of(self.strategy, product.clone());
        Order { delay: Duration::ZERO, ttl: TTL, ..order }
    }

    pub async fn acquire(&self, product: &Product) -> Option<lease::Lease> {
        let order = self.order(product);
        match self.keeper.attempt(product, &order.wish(), None).await.unwrap() {
            Acquired::Lease(lease) => Some(*lease),
            Acquired::Busy | Acquired::Outvoted { .. } | Acquired::Late => None,
        }
    }

    pub fn claim(&self, product: &Product) -> Claim {
        let (product, faults) = (product.clone(), Faults::default());
        Claim { name: product, token: Token::random(), ttl: TTL, extensions: 0, faults }
    }

    /// How many claims were left to the release task for this reason.
    pub fn orphans(&self, cause: &str) -> usize {
        let name = self.strategy.row().name;
        let series = format!("locklab_lock_orphans_total{{lock=\"{name}\",cause=\"{cause}\"}} ");
        let metrics = self.exporter.render();
        metrics.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
    }

    /// Does something with one product after the other, which is told how often it is polled before
    /// it is dropped, until it is done by then: so it has been dropped at its every await.
    pub async fn at_every_await(
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
    pub async fn flush(&mut self) {
        self.closing.cancel();
        (&mut self.task).await.unwrap();
    }

    /// How many of the products are locked after that.
    pub async fn left_behind(&mut self, products: Vec<Product>) -> usize {
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
pub async fn benches() -> Vec<Bench> {
    let is_lock =
        |row: &&Strategy| row.family == Family::Lock && row.expected != Expected::Oversells;
    let rows = STRATEGIES.iter().filter(is_lock);
    let both = rows.flat_map(|row| MODES.map(|mode| Bench::new(row.name, mode)));
    futures_util::future::join_all(both).await
}

/// Holds a bench to what its lock promises of dropped futures. `naive` is the control.
pub fn judge(bench: &Bench, left_behind: usize) {
    let name = bench.strategy.row().name;
    if bench.may_leak() {
        assert!(left_behind > 0, "{name} was not caught leaking");
    } else {
        assert_eq!(left_behind, 0, "{name} left locks behind");
    }
}

/// Polls a future that many times, then drops it. Says whether it was done by then.
pub async fn drop_after(polls: usize, future: impl Future) -> bool {
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
