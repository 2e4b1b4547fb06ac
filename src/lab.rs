//! Puts the parts together, and takes them apart in the right order.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::JoinHandle,
    time::{self, Duration, Instant},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    backends::{
        Backend, Backends,
        embedded::{self, Embedded, EmbeddedError},
        etcd::{EtcdClient, InvalidEndpoint},
        redis::{InvalidUrl, RedisClient, RedisOptions},
        redlock::{NODES_MAX, NODES_MIN, Nodes, RedlockOptions},
    },
    cli::{Config, Embed, Secret},
    http::{self, App},
    metrics::Metrics,
    product::Product,
    purchase_log::PurchaseLog,
    recorder, release,
    shop::Shop,
    stock::{Stocks, Store},
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
    embedded: Vec<Arc<Embedded>>,
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
            mode: config.redis_mode,
            pool_size: config.redis_pool_size,
            timeout: config.command_timeout,
        };
        let mut reach = vec![("REDIS_URL", options.url.clone())];
        let client = RedisClient::connect(&options, metrics.backend("redis")).await?;
        let redis_remedy = match embedded {
            Some(_) => "its embedded server has ended or hangs; restart locklab",
            None => "start it, or name another with --redis-url",
        };
        let ((redlock, nodes), (etcd, members)) =
            tokio::try_join!(redlock(config, &metrics), etcd(config, &metrics))?;
        let mut servers = vec![(Backend::Redis, redis)];
        if redlock.is_ok() {
            let named = config.redlock_urls().into_iter().map(Secret::redacted_url);
            let urls: Vec<String> = nodes.iter().map(|node| node.url()).chain(named).collect();
            servers.push((Backend::Redlock, urls.join(",")));
        }
        if etcd.is_ok() {
            let embedded = members.iter().map(|member| member.url());
            let urls: Vec<String> = embedded.chain(config.etcd_endpoints()).collect();
            reach.push(("ETCD_ENDPOINTS", urls.join(",")));
            servers.push((Backend::Etcd, urls.join(",")));
        }
        let backends = Backends {
            redis: Arc::new(client),
            redis_remedy,
            redlock,
            etcd,
            history: config.history,
            queue_max: config.queue_max,
            metrics: Arc::clone(&metrics),
        };
        let (releases, task) = release::channel(Arc::clone(&metrics));
        let (recorder, recording) = recorder::channel(config.history > 0, Arc::clone(&metrics));
        let shop = Arc::new(Shop::new(&backends, releases, recorder));
        let mut background = vec![
            tokio::spawn(keep_up(Arc::clone(&metrics))),
            tokio::spawn(recording.run(Stocks::new(&backends))),
        ];
        if backends.redis.is_up() {
            prepare(&backends.redis, &shop, config.stock).await;
        } else {
            tracing::warn!("redis does not answer yet; purchases fail until it does");
        }
        let (client, prepared) = (Arc::clone(&backends.redis), Arc::clone(&shop));
        background.push(tokio::spawn(prepare_again(client, prepared, config.stock)));
        let embedded: Vec<_> = embedded.into_iter().chain(nodes).chain(members).collect();
        for server in &embedded {
            background.push(tokio::spawn(watch(Arc::clone(server))));
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
            servers,
            reach,
            embedded,
            release_task: tokio::spawn(task.run(closing.clone())),
            closing,
            background,
            drain_timeout: config.drain_timeout,
            // One command, and one more after its timeout.
            release_timeout: config.command_timeout.max(config.etcd_timeout) * 2,
        })
    }

    /// The server as a service that needs no socket.
    pub fn router(&self) -> http::Router {
        http::router(Arc::clone(&self.app))
    }

    /// Where purchases go.
    #[must_use]
    pub fn shop(&self) -> &Shop {
        &self.app.shop
    }

    /// The servers behind it.
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
        let stop = embedded.into_iter().filter_map(Arc::into_inner).map(Embedded::stop);
        join_all(stop).await;
        purchases_done && released
    }
}

/// How many nodes of Redlock are started, if any are.
const REDLOCK_NODES: usize = 5;

/// The nodes of Redlock: those that are named, or private ones that are started. Whatever keeps them
/// from being there is a reason against the strategy, and not against the lab.
async fn redlock(
    config: &Config,
    metrics: &Arc<Metrics>,
) -> Result<(Result<Arc<Nodes>, String>, Vec<Arc<Embedded>>), LabError> {
    let urls = config.redlock_urls();
    let are_new = urls.is_empty();
    let mut embedded = Vec::new();
    let urls: Vec<String> = if !are_new {
        if !(NODES_MIN..=NODES_MAX).contains(&urls.len()) {
            let valid = format!("expected {NODES_MIN} to {NODES_MAX} URLs, not {}", urls.len());
            return Err(LabError::RedlockUrls(valid));
        }
        urls.iter().map(|url| url.expose().to_owned()).collect()
    } else if config.embeds(Embed::Redlock) {
        let started = join_all((0..REDLOCK_NODES).map(|_| embedded::redis::start())).await;
        match started.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(started) => embedded.extend(started.into_iter().map(Arc::new)),
            Err(error) => return Ok((Err(error.to_string()), Vec::new())),
        }
        embedded.iter().map(|node| node.url()).collect()
    } else {
        let reason = "no nodes: name them with --redlock-urls (REDLOCK_URLS), or have private ones \
                      started with --embed redlock";
        return Ok((Err(reason.to_owned()), Vec::new()));
    };
    let options = RedlockOptions {
        urls,
        timeout: config.redlock_timeout,
        restart_delay: config.redlock_restart_delay,
        are_new,
    };
    let nodes = Nodes::connect(&options, metrics).await;
    let nodes = nodes.map_err(|error| LabError::RedlockUrls(error.to_string()))?;
    Ok((Ok(Arc::new(nodes)), embedded))
}

/// How many members of etcd are started, if any are.
#[cfg(feature = "etcd")]
const ETCD_MEMBERS: usize = 3;

/// The etcd cluster: the one that is named, or a private one that is started; as [`redlock`].
#[cfg(feature = "etcd")]
async fn etcd(
    config: &Config,
    metrics: &Arc<Metrics>,
) -> Result<(Result<Arc<EtcdClient>, String>, Vec<Arc<Embedded>>), LabError> {
    let mut endpoints = config.etcd_endpoints();
    let mut embedded = Vec::new();
    if endpoints.is_empty() && config.embeds(Embed::Etcd) {
        match embedded::etcd::start(ETCD_MEMBERS).await {
            Ok(started) => embedded.extend(started.into_iter().map(Arc::new)),
            Err(error) => return Ok((Err(error.to_string()), Vec::new())),
        }
        endpoints = embedded.iter().map(|member| member.url()).collect();
    }
    if endpoints.is_empty() {
        let reason = "no etcd: name its members with --etcd-endpoints (ETCD_ENDPOINTS), or have \
                      private ones started with --embed etcd";
        return Ok((Err(reason.to_owned()), Vec::new()));
    }
    let client = EtcdClient::connect(&endpoints, config.etcd_timeout, metrics.backend("etcd"));
    let client = client.await.map_err(LabError::EtcdEndpoints)?;
    Ok((Ok(Arc::new(client)), embedded))
}

#[cfg(not(feature = "etcd"))]
async fn etcd(
    _: &Config,
    _: &Arc<Metrics>,
) -> Result<(Result<Arc<EtcdClient>, String>, Vec<Arc<Embedded>>), LabError> {
    Ok((Err(crate::backends::etcd::REASON.to_owned()), Vec::new()))
}

/// Makes the first purchase possible, and warns of what would make locks a lie.
async fn prepare(redis: &RedisClient, shop: &Shop, stock: u64) {
    redis.warn_of_eviction().await;
    let product = Product::default();
    if stock > 0
        && let Err(error) = shop.stock(Store::Redis).open(&product, stock).await
    {
        tracing::warn!(%error, %product, "could not put the product on sale");
    }
}

/// Prepares whenever Redis comes back: it may be another one, or have forgotten everything.
async fn prepare_again(redis: Arc<RedisClient>, shop: Arc<Shop>, stock: u64) {
    loop {
        redis.until(false).await;
        redis.until(true).await;
        prepare(&redis, &shop, stock).await;
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
