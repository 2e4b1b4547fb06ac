//! One SQL database, Postgres or MySQL (MariaDB as well), and a pool of connections to it.
//!
//! A supervisor has a connection of its own: once a second it asks whether the database answers, brings
//! its tables up to date whenever it has come back, and tells `/readyz` the result. Everybody else
//! checks a connection out, and waits when there is none: under row locks, the pool is the real queue.

mod error;
mod migration;
mod pool;
mod session;
mod supervisor;

use std::{str::FromStr, sync::Arc};

use parking_lot::Mutex;
use sqlx::{ConnectOptions, mysql::MySqlConnectOptions, postgres::PgConnectOptions};
use strum::IntoStaticStr;
use tokio::{
    sync::watch,
    time::{self, Duration, Instant},
};

pub use self::migration::Table;
pub use self::session::{Row, Session, Value};
use self::{pool::Pool, supervisor::Supervisor};
use crate::{
    error::{BackendError, Cause},
    wires::{
        circuit,
        exchange::Exchange,
        metrics::{BackendMetrics, ErrorKind as Kind},
    },
};

/// Which kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// MySQL, or MariaDB.
    MySql,
}

/// How to reach a database.
pub struct SqlOptions {
    /// `postgres://user[:password@]host[:port]/database`, or `mysql://…`.
    pub url: String,
    /// Connections, at most.
    pub pool_size: u32,
    /// The longest wait for a connection to be made, and for an answer, apart from waits for locks.
    pub timeout: Duration,
    /// The tables that are to be brought up to date; none for who needs none.
    pub tables: &'static [Table],
}

/// The URL was not one that works here. The text never contains it, for it may hold a password.
#[derive(Debug, thiserror::Error)]
#[error(
    "not a database URL ({reason}); expected {scheme}://[user[:password]@]host[:port]/database"
)]
pub struct InvalidUrl {
    reason: String,
    scheme: &'static str,
}

/// A database that is connected to lazily, and again after every loss.
pub struct SqlClient {
    dialect: Dialect,
    pool: Pool,
    pool_size: u32,
    sessions: Mutex<Sessions>,
    up: watch::Receiver<bool>,
    last_error: LastError,
    timeout: Duration,
    exchange: Arc<Exchange>,
}

/// How many sessions there are, and since when.
struct Sessions {
    now: u32,
    since: Instant,
}

impl Sessions {
    fn change(&mut self, by: i32) {
        (self.now, self.since) = (self.now.saturating_add_signed(by), Instant::now());
    }
}

/// Why the database was last found away.
type LastError = Arc<Mutex<String>>;

/// How to connect.
#[derive(Debug, Clone)]
enum Target {
    Postgres(Box<PgConnectOptions>),
    MySql(Box<MySqlConnectOptions>),
}

impl Target {
    fn parse(dialect: Dialect, url: &str) -> Result<Self, InvalidUrl> {
        let invalid = |reason: String| InvalidUrl { reason, scheme: dialect.into() };
        let schemes: &[&str] = match dialect {
            Dialect::Postgres => &["postgres", "postgresql"],
            Dialect::MySql => &["mysql", "mariadb"],
        };
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        if !schemes.contains(&scheme) {
            return Err(invalid("another scheme".to_owned()));
        }
        // sqlx logs every statement, and as slow those that wait for a lock: what this is about.
        Ok(match dialect {
            Dialect::Postgres => {
                let target = PgConnectOptions::from_str(url);
                let target = target.map_err(|error| invalid(error.to_string()))?;
                Self::Postgres(Box::new(target.disable_statement_logging()))
            }
            Dialect::MySql => {
                let target = MySqlConnectOptions::from_str(url);
                let target = target.map_err(|error| invalid(error.to_string()))?;
                Self::MySql(Box::new(target.disable_statement_logging()))
            }
        })
    }
}

impl SqlClient {
    /// A client for `options.url`, with its supervisor running; connects in the background.
    ///
    /// # Errors
    /// The URL is not valid.
    pub async fn connect(
        dialect: Dialect,
        options: &SqlOptions,
        metrics: Arc<BackendMetrics>,
    ) -> Result<Self, InvalidUrl> {
        let target = Target::parse(dialect, &options.url)?;
        let pool = Pool::new(&target, options.pool_size, options.timeout);
        let exchange = Exchange::new(metrics);
        let (sender, up) = watch::channel(false);
        let (last_error, timeout) = (LastError::default(), options.timeout);
        let mut supervisor = Supervisor {
            target,
            connection: None,
            tables: options.tables,
            pool: pool.clone(),
            up: sender,
            last_error: Arc::clone(&last_error),
            timeout,
            exchange: Arc::clone(&exchange),
        };
        supervisor.probe().await;
        tokio::spawn(supervisor.run());
        let pool_size = options.pool_size;
        let sessions = Mutex::new(Sessions { now: 0, since: Instant::now() });
        Ok(Self { dialect, pool, pool_size, sessions, up, last_error, timeout, exchange })
    }

    /// Which kind of database it is.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What errors and metrics call it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.exchange.name()
    }

    /// The longest wait for an answer.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether the last probe was answered.
    #[must_use]
    pub fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    /// Whether statements are let through.
    #[must_use]
    pub fn circuit(&self) -> circuit::State {
        self.exchange.circuit.state()
    }

    /// Why it does not answer.
    #[must_use]
    pub fn last_error(&self) -> String {
        self.last_error.lock().clone()
    }

    /// Waits until a probe is answered, or (`up` false) until one is not.
    pub async fn until(&self, up: bool) {
        let mut is_up = self.up.clone();
        // Fails only when the supervisor has ended, which it does after the last client.
        is_up.wait_for(|is_up| *is_up == up).await.ok();
    }

    /// Checks a connection out of the pool, which nobody else has until the session is dropped. Who asks
    /// first is served first.
    ///
    /// # Errors
    /// [`BackendError::Contended`]: none was free by `until`. [`BackendError::Unavailable`]: the database
    /// is away. Nothing was sent.
    ///
    /// # Cancellation
    /// Safe: whoever is dropped leaves the queue, or the connection to the next.
    pub async fn session(self: &Arc<Self>, until: Instant) -> Result<Session, BackendError> {
        let exchange = &self.exchange;
        exchange.let_through(|| Some(self.last_error()))?;
        if !self.is_up() {
            return Err(exchange.not_sent(self.last_error()));
        }
        let started = Instant::now();
        let checked_out = tokio::select! {
            biased;
            checked_out = time::timeout_at(until, self.pool.check_out()) => {
                checked_out.map(|link| link.map_err(Cause::from))
            }
            () = self.until(false) => Ok(Err(self.last_error().into())),
        };
        exchange.metrics.pool_wait(started.elapsed());
        self.count_connections();
        match checked_out {
            Ok(Ok(link)) => Ok(Session::new(link, Arc::clone(self))),
            Ok(Err(error)) => {
                exchange.suspect.notify_one();
                Err(exchange.not_sent(error))
            }
            Err(late) if started.elapsed() >= self.timeout && self.has_stalled() => {
                exchange.suspect.notify_one();
                exchange.circuit.record(false);
                exchange.metrics.error(Kind::Timeout);
                Err(BackendError::Unavailable { backend: self.name(), cause: late.into() })
            }
            Err(_) => {
                exchange.metrics.pool_timeout();
                let cause = "no connection of its pool came free in time".into();
                Err(BackendError::Contended { backend: self.name(), cause })
            }
        }
    }

    /// The same, for who asks the database something that waits for no lock.
    ///
    /// # Errors
    /// As [`Self::session`].
    ///
    /// # Cancellation
    /// As [`Self::session`].
    pub async fn session_soon(self: &Arc<Self>) -> Result<Session, BackendError> {
        self.session(Instant::now() + self.timeout).await
    }

    /// Whether the pool could have given out another connection all the time, and has not: then nobody was
    /// waited for but the database.
    fn has_stalled(&self) -> bool {
        let sessions = self.sessions.lock();
        sessions.now < self.pool_size && sessions.since.elapsed() >= self.timeout
    }

    /// Counts connections that are checked out, and those that are free.
    fn count_connections(&self) {
        self.pool.count(&self.exchange.metrics);
    }
}
