//! Puts the parts together, and takes them apart in the right order.

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
    cli::{Config, Secret},
    embedded::{self, Embedded, EmbeddedError},
    http::{self, app::App},
    lease::release,
    order::{log::PurchaseLog, recorder},
    product::Product,
    shop::{Shop, metrics::Metrics},
    stock::stocks::Stocks,
    strategy::server::{Backend, Store},
    wires::{
        etcd::InvalidEndpoint,
        redis::{InvalidUrl, RedisClient, RedisOptions},
        sql,
        zookeeper::InvalidHosts,
    },
};

/// How often recorded samples are moved into their buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Why a lab could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The Redis URL is not one.
    #[error("--redis-url (REDIS_URL): {0}")]
    RedisUrl(#[from] InvalidUrl),
    /// The URLs of Redlock's nodes are not.
    #[error("--redlock-urls (REDLOCK_URLS): {0}")]
    RedlockUrls(String),
    /// The endpoints of etcd are not.
    #[error("--etcd-endpoints (ETCD_ENDPOINTS): {0}")]
    EtcdEndpoints(InvalidEndpoint),
    /// The hosts of ZooKeeper are not.
    #[error("--zookeeper-hosts (ZOOKEEPER_HOSTS): {0}")]
    ZooKeeperHosts(#[from] InvalidHosts),
    /// The URL of Postgres is not one.
    #[error("--postgres-url (POSTGRES_URL): {0}")]
    PostgresUrl(sql::InvalidUrl),
    /// The URL of MySQL is not one.
    #[error("--mysql-url (MYSQL_URL): {0}")]
    MySqlUrl(sql::InvalidUrl),
    /// The embedded Redis did not start.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
}

impl LabError {
    /// Whether the configuration is to blame.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Embedded(_))
    }
}

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
        let metrics = Arc::new(Metrics::new());
        let (url, redis, embedded) = match config.redis_url() {
            Some(url) => (url.expose().to_owned(), url.redacted_url(), None),
            None => {
                let embedded = embedded::redis::start().await?;
                let (url, program) = (embedded.url(), embedded.program());
                let shown = format!("{url} (embedded {program}; ends with this process)");
                (url, shown, Some(Arc::new(embedded)))
            }
        };
        let options = RedisOptions {
            url,
            mode: config.redis_mode.into(),
            pool_size: config.redis_pool_size,
            timeout: config.command_timeout,
        };
        let mut reach = vec![("REDIS_URL", options.url.clone())];
        let client = RedisClient::connect(&options, metrics.backend("redis")).await?;
        let redis_remedy = match embedded {
            Some(_) => "its embedded server has ended or hangs; restart locklab",
            None => "start it, or name another with --redis-url",
        };
        let (
            (redlock, nodes),
            (etcd, members),
            (zookeeper, ensemble),
            (postgres, own_postgres),
            (mysql, own_mysql),
        ) = tokio::try_join!(
            servers::redlock(config, &metrics),
            servers::etcd(config, &metrics),
            servers::zookeeper(config, &metrics),
            servers::database(config, &metrics, servers::postgres(config)),
            servers::database(config, &metrics, servers::mysql(config)),
        )?;
        let mut places = vec![(Backend::Redis, redis)];
        if redlock.is_ok() {
            let named = config.redlock_urls().into_iter().map(Secret::redacted_url);
            let urls: Vec<String> = nodes.iter().map(|node| node.url()).chain(named).collect();
            let exposed = config.redlock_urls().into_iter().map(|url| url.expose().to_owned());
            let exposed: Vec<String> = nodes.iter().map(|node| node.url()).chain(exposed).collect();
            reach.push(("REDLOCK_URLS", exposed.join(",")));
            places.push((Backend::Redlock, urls.join(",")));
        }
        if etcd.is_ok() {
            let embedded = members.iter().map(|member| member.url());
            let urls: Vec<String> = embedded.chain(config.etcd_endpoints()).collect();
            reach.push(("ETCD_ENDPOINTS", urls.join(",")));
            places.push((Backend::Etcd, urls.join(",")));
        }
        if zookeeper.is_ok() {
            let named = config.zookeeper_hosts().map(str::to_owned);
            let hosts =
                named.or_else(|| ensemble.as_ref().map(|server| server.address().to_string()));
            let hosts = hosts.unwrap_or_default();
            reach.push(("ZOOKEEPER_HOSTS", hosts.clone()));
            places.push((Backend::ZooKeeper, hosts));
        }
        let databases = [
            (
                Backend::Postgres,
                "POSTGRES_URL",
                &postgres,
                config.databases.postgres_url(),
                &own_postgres,
            ),
            (Backend::MySql, "MYSQL_URL", &mysql, config.databases.mysql_url(), &own_mysql),
        ];
        for (backend, variable, database, named, own) in databases {
            if database.is_ok() {
                let own = own.as_ref().map(|server| server.url());
                let shown = own.clone().or_else(|| named.map(Secret::redacted_url));
                let url = own.or_else(|| named.map(|url| url.expose().to_owned()));
                reach.push((variable, url.unwrap_or_default()));
                places.push((backend, shown.unwrap_or_default()));
            }
        }
        let backends = Backends {
            redis: Arc::new(client),
            redis_remedy,
            redlock,
            etcd,
            zookeeper,
            postgres,
            mysql,
            history: config.history,
            queue_max: config.queue_max,
            metrics: Arc::clone(&metrics),
        };
        let (releases, task) = release::channel(Arc::clone(&metrics));
        let (recorder, recording) = recorder::channel(config.history > 0, Arc::clone(&metrics));
        let shop = Arc::new(Shop::new(&backends, releases, recorder));
        let mut background = vec![tokio::spawn(keep_up(Arc::clone(&metrics)))];
        let stocks = Arc::new(Stocks::new(&backends));
        for task in recording {
            background.push(tokio::spawn(task.run(Arc::clone(&stocks))));
        }
        if !backends.redis.is_up() {
            tracing::warn!("redis does not answer yet; purchases fail until it does");
        }
        for store in Store::VARIANTS {
            if backends.is_up(*store) {
                prepare(&backends, &shop, *store, config.stock).await;
            }
        }
        let of = |backend| move |server| (backend, server);
        let embedded: Vec<_> = (embedded.into_iter().map(of(Backend::Redis)))
            .chain(nodes.into_iter().map(of(Backend::Redlock)))
            .chain(members.into_iter().map(of(Backend::Etcd)))
            .chain(ensemble.into_iter().map(of(Backend::ZooKeeper)))
            .chain(own_postgres.into_iter().map(of(Backend::Postgres)))
            .chain(own_mysql.into_iter().map(of(Backend::MySql)))
            .collect();
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
            metrics,
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
            release_task: tokio::spawn(task.run(closing.clone())),
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
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.app.metrics)
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

async fn keep_up(metrics: Arc<Metrics>) {
    let mut interval = time::interval(UPKEEP_INTERVAL);
    loop {
        interval.tick().await;
        metrics.upkeep();
    }
}
