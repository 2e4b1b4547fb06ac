//! One Redis: bb8 owns the connections, callers share one of them.
//!
//! A supervisor checks a connection out of a bb8 pool of one every second: that sends a
//! PING, replaces a dead connection, and tells `/readyz` the result. The hot path never checks out:
//! it clones the connection that the supervisor last saw alive, and redis-rs pipelines the commands
//! of all clones over it. Checking out per command ([`RedisMode::Pooled`]) is kept as an exhibit:
//! bb8 wakes waiters in no fair order, which under load looks like an unfair lock.

mod connection;
mod link;
mod pool;
mod supervisor;
mod wakeups;

use std::{fmt, sync::Arc};

use bb8_redis::bb8::Pool;
use redis::{
    Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline, RedisError, ScriptInvocation,
    ServerErrorKind, aio::MultiplexedConnection,
};
use tokio::{
    sync::watch,
    time::{Duration, Instant},
};

pub use self::{
    connection::Exclusive,
    link::{Connect, Stream},
    wakeups::Wakeups,
};
use self::{
    link::{Link, Linker, Tcp},
    pool::LastError,
    supervisor::Supervisor,
};
use crate::{
    error::BackendError,
    wires::{
        circuit,
        exchange::Exchange,
        metrics::{BackendMetrics, ErrorKind as Kind, Op},
    },
};

/// Connections for transactions; whoever finds none free waits for one.
const EXCLUSIVE_MAX: u32 = 1_024;

/// How commands share connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisMode {
    /// All commands are pipelined over one connection.
    Multiplexed,
    /// Every command checks a connection out of a bb8 pool: an exhibit of unfair queueing.
    Pooled,
}

/// How to reach one Redis.
pub struct RedisOptions {
    /// `redis://[user:password@]host:port[/db]`.
    pub url: String,
    /// How commands share connections.
    pub mode: RedisMode,
    /// Connections in [`RedisMode::Pooled`].
    pub pool_size: u32,
    /// The longest wait for a connection, and for the reply to a command.
    pub timeout: Duration,
}

impl RedisOptions {
    /// One connection for all commands, and half a second for each answer.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            mode: RedisMode::Multiplexed,
            pool_size: 1,
            timeout: Duration::from_millis(500),
        }
    }
}

/// A Redis that is connected to lazily and again after every loss.
pub struct RedisClient {
    shared: watch::Receiver<Option<Link>>,
    /// Present in [`RedisMode::Pooled`] only.
    pool: Option<Pool<Linker>>,
    /// Connections that nobody shares, for transactions.
    exclusive: Pool<Linker>,
    supervised: Pool<Linker>,
    last_error: LastError,
    timeout: Duration,
    wakeups: Wakeups,
    exchange: Arc<Exchange>,
}

/// The URL was not one that works here. The text never contains it, for it may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("not a Redis URL ({0}); expected redis://[user:password@]host:port[/db]")]
pub struct InvalidUrl(String);

impl From<RedisError> for InvalidUrl {
    fn from(error: RedisError) -> Self {
        Self(error.to_string())
    }
}

impl RedisClient {
    /// A client for `options.url`, with its supervisor running; connects in the background.
    ///
    /// # Errors
    /// The URL is not valid.
    pub async fn connect(
        options: &RedisOptions,
        metrics: Arc<BackendMetrics>,
    ) -> Result<Self, InvalidUrl> {
        let tcp = Tcp::to(options.url.as_str().into_connection_info()?.addr())?;
        Self::connect_through(Arc::new(tcp), options, metrics).await
    }

    /// A client whose connections come from elsewhere; the URL names the user and the database.
    ///
    /// # Errors
    /// The URL is not valid.
    pub async fn connect_through(
        connect: Arc<dyn Connect>,
        options: &RedisOptions,
        metrics: Arc<BackendMetrics>,
    ) -> Result<Self, InvalidUrl> {
        let timeout = options.timeout;
        let greeting = options.url.as_str().into_connection_info()?.redis_settings().clone();
        let linker = Linker { connect, greeting, timeout };
        let last_error = LastError::default();
        let pool = |size| pool::build(size, linker.clone(), last_error.clone());
        let (supervised, exclusive) = (pool(1), pool(EXCLUSIVE_MAX));
        let pool = (options.mode == RedisMode::Pooled).then(|| pool(options.pool_size));
        let wakeups = Wakeups::new(linker, Arc::clone(&metrics));
        let exchange = Exchange::new(metrics);
        let (sender, shared) = watch::channel(None);
        let supervisor = Supervisor {
            supervised: supervised.clone(),
            pools: pool.iter().chain([&exclusive]).cloned().collect(),
            shared: sender,
            last_error: last_error.clone(),
            exchange: Arc::clone(&exchange),
        };
        supervisor.probe().await;
        tokio::spawn(supervisor.run());
        Ok(Self { shared, pool, exclusive, supervised, last_error, timeout, wakeups, exchange })
    }

    /// What errors and metrics call the server.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.exchange.name()
    }

    /// Whether the last probe was answered.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.shared.borrow().is_some()
    }

    /// Whether commands are let through.
    #[must_use]
    pub fn circuit(&self) -> circuit::State {
        self.exchange.circuit.state()
    }

    /// Who waits for a message, and is woken by it.
    #[must_use]
    pub fn wakeups(&self) -> &Wakeups {
        &self.wakeups
    }

    /// Waits until a probe is answered, or (`up` false) until one is not.
    pub async fn until(&self, up: bool) {
        let mut shared = self.shared.clone();
        // Fails only when the supervisor has ended, which it does after the last client.
        shared.wait_for(|conn| conn.is_some() == up).await.ok();
    }

    /// Sends one command.
    ///
    /// # Errors
    /// See [`BackendError`]: not sent, reply lost, or refused.
    ///
    /// # Cancellation
    /// Dropping the future does not recall a command that has been sent.
    pub async fn command<T: FromRedisValue>(&self, op: Op, cmd: &Cmd) -> Result<T, BackendError> {
        self.observe(op, async |conn| cmd.query_async(conn).await).await
    }

    /// Sends several commands in one round trip; as [`Self::command`].
    ///
    /// # Errors
    /// As [`Self::command`].
    pub async fn pipeline<T: FromRedisValue>(
        &self,
        op: Op,
        pipeline: &Pipeline,
    ) -> Result<T, BackendError> {
        self.observe(op, async |conn| pipeline.query_async(conn).await).await
    }

    /// Runs a script by its hash, loading it when the server does not know it (after a restart or a
    /// failover); as [`Self::command`].
    ///
    /// # Errors
    /// As [`Self::command`].
    pub async fn script<T: FromRedisValue>(
        &self,
        op: Op,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, BackendError> {
        self.observe(op, async |conn| script.invoke_async(conn).await).await
    }

    async fn observe<T>(
        &self,
        op: Op,
        send: impl AsyncFnOnce(&mut MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, BackendError> {
        self.let_through()?;
        let started = Instant::now();
        let result = match self.connection().await {
            Ok(mut conn) => send(conn.get()).await.map_err(|error| self.classify(error)),
            Err(error) => Err(error),
        };
        self.record(op, started, result)
    }

    fn let_through(&self) -> Result<(), BackendError> {
        self.exchange.let_through(|| Some(self.last_error.describe()))
    }

    fn record<T>(
        &self,
        op: Op,
        started: Instant,
        result: Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        if matches!(result, Err(BackendError::Unavailable { .. })) && self.is_up() {
            // Nothing was sent, though the backend is well: the pool is busy.
            self.exchange.metrics.request(op, started.elapsed(), false);
            return result;
        }
        self.exchange.record(op, started, result)
    }

    /// Decides whether a command that was handed to redis-rs may have been executed.
    fn classify(&self, error: RedisError) -> BackendError {
        let unavailable = matches!(
            error.kind(),
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
                    | ServerErrorKind::TryAgain
            )
        );
        if unavailable {
            return self.exchange.unavailable(error);
        }
        // An extension is an error reply whose code redis-rs does not know.
        if matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) {
            return self.exchange.refused(error);
        }
        // A broken connection, a timeout, or a reply that makes no sense: all after sending.
        let kind = if error.is_timeout() { Kind::Timeout } else { Kind::Io };
        self.exchange.unknown(kind, error)
    }

    /// Warns when this Redis may evict keys: an evicted lock is a broken lock.
    pub async fn warn_of_eviction(&self) {
        let info: Result<redis::InfoDict, _> =
            self.command(Op::Info, redis::cmd("INFO").arg("memory")).await;
        let policy = info.ok().and_then(|info| info.get::<String>("maxmemory_policy"));
        if policy.as_deref().is_some_and(|policy| policy != "noeviction") {
            tracing::warn!(
                policy,
                "this Redis may evict keys, and an evicted lock is a broken lock: set \
                 maxmemory-policy noeviction"
            );
        }
    }
}

impl fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisClient").field("pool", &self.supervised.state()).finish()
    }
}
