//! Puts the parts together, and takes them apart in the right order.

pub mod error;
mod servers;

use std::sync::Arc;

use futures_util::future::join_all;
use strum::VariantArray;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::JoinHandle,
    time::{self, Duration, Instant},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    backends::Backends,
    cli::Config,
    embedded::Embedded,
    http::{self, app::App, metrics::HttpMetrics},
    lab::{error::LabError, servers::Servers},
    measure::exporter::Exporter,
    order::{log::PurchaseLog, recorder},
    product::Product,
    shop::{
        Shop,
        shelf::{Parts, Settings},
    },
    stock::stocks::Stocks,
    strategy::server::{Backend, Store},
};
use locklab_locks::{fault::FaultMetrics, lease::release};

/// How often recorded samples are moved into their buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Everything that runs: ready handles instead of configuration.
pub struct Lab {
    app: Arc<App>,
    /// Where the servers are, for people.
    servers: Vec<(Backend, String)>,
    /// The variables by which another process reaches the same servers; they may hold passwords.
    reach: Vec<(&'static str, String)>,
    /// The embedded servers, that of the stock first.
    embedded: Vec<(Backend, Arc<Embedded>)>,
    release_task: JoinHandle<()>,
    /// Ends the release task.
    closing: CancellationToken,
    /// What runs until the lab is closed.
    background: Vec<JoinHandle<()>>,
    drain_timeout: Duration,
    release_timeout: Duration,
}

impl Lab {
    /// Connects, or starts what there is nothing to connect to. Cancelling `stop` makes it take no
    /// more purchases.
    ///
    /// # Errors
    /// The configuration is not valid, or the embedded Redis did not start. A Redis that is away
    /// is not an error: it may come.
    pub async fn open(config: &Config, stop: CancellationToken) -> Result<Self, LabError> {
        let exporter = Arc::new(Exporter::default());
        let faults = Arc::new(FaultMetrics::new(exporter.registry()));
        let Servers { backends, places, reach, embedded } =
            servers::open(config, &exporter).await?;
        let (releases, release_task) = release::channel();
        let (recorder, recording) = recorder::channel(config.history > 0, exporter.registry());
        let shop = Arc::new(Shop::new(&Parts {
            backends: &backends,
            releases: &releases,
            recorder: &recorder,
            faults: &faults,
            registry: exporter.registry(),
            settings: Settings { history: config.history, queue_max: config.queue_max },
        }));
        let mut background = vec![tokio::spawn(keep_up(Arc::clone(&exporter)))];
        let stocks = Arc::new(Stocks::new(&backends, config.history));
        background
            .extend(recording.into_iter().map(|task| tokio::spawn(task.run(Arc::clone(&stocks)))));
        if !backends.redis.is_up() {
            tracing::warn!("redis does not answer yet; purchases fail until it does");
        }
        for store in Store::VARIANTS {
            if backends.is_up(*store) {
                prepare(&backends, &shop, *store, config.stock).await;
            }
        }
        for (_, server) in &embedded {
            background.push(tokio::spawn(watch(Arc::clone(server))));
        }
        let backends = Arc::new(backends);
        for store in Store::VARIANTS.iter().filter(|store| shop.stock(**store).is_ok()) {
            let (backends, shop) = (Arc::clone(&backends), Arc::clone(&shop));
            background.push(tokio::spawn(prepare_again(backends, shop, *store, config.stock)));
        }
        let app = App {
            shop,
            backends,
            http: HttpMetrics::new(Arc::clone(&exporter)),
            exporter,
            faults,
            places: Arc::new(Semaphore::new(config.max_in_flight as usize)),
            log: PurchaseLog::new(config.log_slow),
            purchases: TaskTracker::new(),
            draining: stop,
            abandon: CancellationToken::new(),
            admin_token: config.admin_token().map(|token| token.expose().to_owned()),
            openapi: http::description().to_json().unwrap_or_default().into(),
        };
        let closing = CancellationToken::new();
        Ok(Self {
            app: Arc::new(app),
            servers: places,
            reach,
            embedded,
            release_task: tokio::spawn(release_task.run(closing.clone())),
            closing,
            background,
            drain_timeout: config.drain_timeout,
            // One command, and one more after its timeout.
            release_timeout: config
                .command_timeout
                .max(config.etcd_timeout)
                .max(config.zookeeper_timeout)
                .max(config.databases.sql_timeout)
                * 2,
        })
    }

    /// The server as a service that needs no socket.
    pub fn router(&self) -> http::Router {
        http::router(Arc::clone(&self.app))
    }

    /// Where purchases enter that do not come over HTTP.
    #[must_use]
    pub fn shop(&self) -> &Arc<Shop> {
        &self.app.shop
    }

    /// The servers that strategies use.
    #[must_use]
    pub fn backends(&self) -> &Backends {
        &self.app.backends
    }

    /// Where measurements go.
    #[must_use]
    pub fn exporter(&self) -> &Exporter {
        &self.app.exporter
    }

    /// Who counts the faults of orders.
    #[must_use]
    pub fn faults(&self) -> &Arc<FaultMetrics> {
        &self.app.faults
    }

    /// Where the servers are, without passwords.
    #[must_use]
    pub fn servers(&self) -> &[(Backend, String)] {
        &self.servers
    }

    /// The processor time that the embedded servers of a backend have used so far. `None`: others were
    /// named, of which nobody knows.
    #[must_use]
    pub fn cpu(&self, backend: Backend) -> Option<Duration> {
        let servers = self.embedded.iter().filter(|(of, _)| *of == backend);
        let times: Vec<_> = servers.map(|(_, server)| server.cpu()).collect();
        if times.is_empty() { None } else { times.into_iter().sum() }
    }

    /// The environment by which another process reaches the same servers, passwords included.
    #[must_use]
    pub fn reach(&self) -> &[(&'static str, String)] {
        &self.reach
    }

    /// Serves until the token given to [`Self::open`] is cancelled, then closes the lab.
    pub async fn serve(self, listener: TcpListener) -> bool {
        let stop = self.app.draining.clone();
        let finished = http::serve(listener, self.router(), &stop, self.drain_timeout);
        let (requests_done, deadline) = finished.await;
        self.close(deadline).await && requests_done
    }

    /// Finishes the purchases under way until `deadline`, abandons the others, releases what is
    /// held and ends the embedded servers. Says whether nothing had to be abandoned.
    pub async fn close(self, deadline: Instant) -> bool {
        let Self { app, embedded, release_task, closing, background, release_timeout, .. } = self;
        app.draining.cancel();
        app.purchases.close();
        // A purchase whose client has gone is in no connection.
        let purchases_done = time::timeout_at(deadline, app.purchases.wait()).await.is_ok();
        app.abandon.cancel();
        app.purchases.wait().await;
        // What cannot be recorded in time is lost: the ledger has it all.
        time::timeout(release_timeout, app.shop.close()).await.ok();
        closing.cancel();
        let released = time::timeout(release_timeout, release_task).await.is_ok();
        for task in background {
            task.abort();
            // An error says that it was aborted.
            task.await.ok();
        }
        let servers = embedded.into_iter().filter_map(|(_, server)| Arc::into_inner(server));
        let stop = servers.map(Embedded::stop);
        join_all(stop).await;
        purchases_done && released
    }
}

/// Makes the first purchase possible, and warns of what would make locks a lie.
async fn prepare(backends: &Backends, shop: &Shop, store: Store, stock: u64) {
    if store == Store::Redis {
        backends.redis.warn_of_eviction().await;
    }
    let product = Product::default();
    if stock > 0
        && let Ok(products) = shop.stock(store)
        && let Err(error) = products.open(&product, stock).await
    {
        tracing::warn!(%error, %product, "could not put the product on sale");
    }
}

/// Prepares whenever a store comes back: it may be another one, or have forgotten everything.
async fn prepare_again(backends: Arc<Backends>, shop: Arc<Shop>, store: Store, stock: u64) {
    loop {
        backends.until(store, false).await;
        backends.until(store, true).await;
        prepare(&backends, &shop, store, stock).await;
    }
}

/// Says so when the embedded server ends by itself: nobody but us can do anything about it.
async fn watch(embedded: Arc<Embedded>) {
    let log = embedded.ended().await;
    tracing::error!(log, "the embedded {} has ended; restart locklab", embedded.program());
}

async fn keep_up(exporter: Arc<Exporter>) {
    let mut interval = time::interval(UPKEEP_INTERVAL);
    loop {
        interval.tick().await;
        exporter.upkeep();
    }
}
