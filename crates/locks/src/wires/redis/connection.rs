//! Which connection a command goes over.

use bb8_redis::bb8::{Pool, PooledConnection, RunError};
use redis::{FromRedisValue, Pipeline, aio::MultiplexedConnection};
use tokio::time::{self, Instant};

use super::{
    RedisClient,
    link::{Link, Linker},
};
use crate::{error::BackendError, wires::metrics::Op};

impl RedisClient {
    /// A connection for one command, as the mode has it.
    pub(super) async fn connection(&self) -> Result<Connection, BackendError> {
        if let Some(pool) = &self.pool {
            return self.check_out(pool).await.map(Connection::Pooled);
        }
        if let Some(conn) = &*self.shared.borrow() {
            return Ok(Connection::Shared(conn.clone()));
        }
        let mut shared = self.shared.clone();
        let waited = time::timeout(self.timeout, shared.wait_for(Option::is_some)).await;
        match waited.ok().and_then(Result::ok).and_then(|conn| conn.clone()) {
            Some(conn) => Ok(Connection::Shared(conn)),
            None => Err(self.exchange.unavailable(self.last_error.describe())),
        }
    }

    /// A connection that nobody shares until it is dropped.
    ///
    /// # Errors
    /// None was free, or could be made, within the command timeout.
    pub async fn exclusive(&self) -> Result<Exclusive<'_>, BackendError> {
        self.let_through()?;
        let conn = self.check_out(&self.exclusive).await?;
        Ok(Exclusive { client: self, conn })
    }

    async fn check_out(
        &self,
        pool: &Pool<Linker>,
    ) -> Result<PooledConnection<'static, Linker>, BackendError> {
        let started = Instant::now();
        let checked_out = pool.get_owned().await;
        self.exchange.metrics.pool_wait(started.elapsed());
        checked_out.map_err(|error| match error {
            RunError::User(error) => self.exchange.unavailable(error),
            RunError::TimedOut => {
                self.exchange.metrics.pool_timeout();
                if self.is_up() {
                    // The backend is well: this is our own queue.
                    let cause = "every connection of the pool is busy".into();
                    return BackendError::Unavailable { backend: self.name(), cause };
                }
                self.exchange.unavailable(self.last_error.describe())
            }
        })
    }
}

/// A connection of one's own.
pub struct Exclusive<'a> {
    client: &'a RedisClient,
    conn: PooledConnection<'static, Linker>,
}

impl Exclusive<'_> {
    /// As [`RedisClient::pipeline`], on this connection.
    ///
    /// # Errors
    /// As there.
    pub async fn pipeline<T: FromRedisValue>(
        &mut self,
        op: Op,
        pipeline: &Pipeline,
    ) -> Result<T, BackendError> {
        let started = Instant::now();
        let result = pipeline.query_async(&mut self.conn.connection).await;
        self.client.record(op, started, result.map_err(|error| self.client.classify(error)))
    }
}

/// A connection for one command.
pub(super) enum Connection {
    Shared(Link),
    Pooled(PooledConnection<'static, Linker>),
}

impl Connection {
    pub(super) fn get(&mut self) -> &mut MultiplexedConnection {
        match self {
            Self::Shared(link) => &mut link.connection,
            Self::Pooled(link) => &mut link.connection,
        }
    }
}
