//! Puts the parts together, and takes them apart in the right order.

use std::{io, sync::Arc};

use axum::Router;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::JoinHandle,
    time::{self, Duration, Instant},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    backends::{
        Backends,
        embedded::{EmbeddedError, EmbeddedRedis},
        redis::{InvalidUrl, RedisClient, RedisOptions},
    },
    cli::Config,
    http::{self, App},
    metrics::Metrics,
    product::Product,
    release,
    shop::Shop,
    stock::Store,
};

/// How often recorded samples are moved into their buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Why a lab could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The Redis URL is not one.
    #[error("--redis-url (REDIS_URL): {0}")]
    RedisUrl(#[from] InvalidUrl),
    /// The embedded Redis did not start.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// Everything that runs: ready handles instead of configuration.
pub struct Lab {
    app: Arc<App>,
    /// Where Redis is, for people.
    redis: String,
    embedded: Option<EmbeddedRedis>,
    release_task: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    drain_timeout: Duration,
}

impl Lab {
    /// Connects, or starts what there is nothing to connect to.
    ///
    /// # Errors
    /// The configuration is not valid, or the embedded Redis did not start. A Redis that is away
    /// is not an error: it may come.
    pub async fn open(config: &Config) -> Result<Self, LabError> {
        let metrics = Arc::new(Metrics::new());
        let embedded = match config.redis_url {
            Some(_) => None,
            None => Some(EmbeddedRedis::start().await?),
        };
        let url = match (&config.redis_url, &embedded) {
            (Some(url), _) => url.expose().to_owned(),
            (None, embedded) => embedded
                .as_ref()
                .map(EmbeddedRedis::url)
                .unwrap_or_default(),
        };
        let options = RedisOptions {
            url,
            mode: config.redis_mode,
            pool_size: config.redis_pool_size,
            timeout: config.command_timeout,
        };
        let client = RedisClient::connect(&options, Arc::clone(&metrics)).await?;
        let redis = match (&config.redis_url, &embedded) {
            (Some(url), _) => url.redacted_url(),
            (None, Some(embedded)) => {
                format!(
                    "{} (embedded {}; ends with this process)",
                    options.url,
                    embedded.program()
                )
            }
            (None, None) => options.url,
        };
        let backends = Backends {
            redis: Arc::new(client),
            metrics: Arc::clone(&metrics),
        };
        let (releases, task) = release::channel(Arc::clone(&metrics));
        let shop = Shop::new(&backends, releases);
        prepare(&backends, &shop, config.stock).await;
        let app = App {
            shop: Arc::new(shop),
            backends,
            metrics: Arc::clone(&metrics),
            places: Arc::new(Semaphore::new(config.max_in_flight as usize)),
            purchases: TaskTracker::new(),
            draining: CancellationToken::new(),
            admin_token: config
                .admin_token
                .as_ref()
                .map(|token| token.expose().to_owned()),
            openapi: http::description().to_json().unwrap_or_default().into(),
        };
        Ok(Self {
            app: Arc::new(app),
            redis,
            embedded,
            release_task: tokio::spawn(task.run()),
            upkeep: tokio::spawn(keep_up(metrics)),
            drain_timeout: config.drain_timeout,
        })
    }

    /// The server as a service that needs no socket.
    pub fn router(&self) -> Router {
        http::router(Arc::clone(&self.app))
    }

    /// Where Redis is, without its password.
    #[must_use]
    pub fn redis(&self) -> &str {
        &self.redis
    }

    /// Serves until `stop` is cancelled, then finishes what is under way, releases what is held and
    /// ends the embedded servers. Says whether everything was finished within the drain timeout.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> bool {
        let router = self.router();
        let draining = self.app.draining.clone();
        // First of all, so that /readyz and purchases on open connections say so.
        tokio::spawn({
            let stop = stop.clone();
            async move {
                stop.cancelled().await;
                draining.cancel();
            }
        });
        let started = http::serve(listener, router, stop, self.drain_timeout);
        let requests_done = started.await;
        self.close().await && requests_done
    }

    /// Waits for purchases whose client has gone, then for the release task.
    async fn close(self) -> bool {
        let deadline = Instant::now() + self.drain_timeout;
        self.app.purchases.close();
        let purchases_done = time::timeout_at(deadline, self.app.purchases.wait())
            .await
            .is_ok();
        self.upkeep.abort();
        // The last handle on the shop is the last on the release queue, which ends the task.
        drop(self.app);
        let released = time::timeout_at(deadline, self.release_task).await.is_ok();
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
        purchases_done && released
    }
}

/// Makes the first purchase possible, and warns of what would make locks a lie.
async fn prepare(backends: &Backends, shop: &Shop, stock: u64) {
    if !backends.redis.is_up() {
        tracing::warn!("redis does not answer yet; purchases fail until it does");
        return;
    }
    backends.redis.warn_of_eviction().await;
    let product = Product::default();
    if stock > 0
        && let Err(error) = shop.stock(Store::Redis).open(&product, stock).await
    {
        tracing::warn!(%error, %product, "could not put the product on sale");
    }
}

async fn keep_up(metrics: Arc<Metrics>) {
    let mut interval = time::interval(UPKEEP_INTERVAL);
    loop {
        interval.tick().await;
        metrics.upkeep();
    }
}
