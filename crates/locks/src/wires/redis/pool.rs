//! How bb8 is set up: command timeouts, and an error that is not lost.

use std::{future::Future, pin::Pin, sync::Arc};

use bb8_redis::{
    RedisConnectionManager,
    bb8::{CustomizeConnection, ErrorSink, Pool},
};
use parking_lot::Mutex;
use redis::{RedisError, aio::MultiplexedConnection};
use tokio::time::Duration;

/// A pool that connects when it is first asked.
pub(super) fn build(
    size: u32,
    timeout: Duration,
    manager: RedisConnectionManager,
    last_error: LastError,
) -> Pool<RedisConnectionManager> {
    Pool::builder()
        .max_size(size)
        .connection_timeout(timeout)
        // bb8-redis never says that a connection is broken: only this PING finds out.
        .test_on_check_out(true)
        .idle_timeout(None)
        .max_lifetime(None)
        .connection_customizer(Box::new(ResponseTimeout(timeout)))
        .error_sink(Box::new(last_error))
        .build_unchecked(manager)
}

/// Sets the command timeout on every connection that bb8 makes.
#[derive(Debug)]
struct ResponseTimeout(Duration);

impl CustomizeConnection<MultiplexedConnection, RedisError> for ResponseTimeout {
    fn on_acquire<'a>(
        &'a self,
        connection: &'a mut MultiplexedConnection,
    ) -> Pin<Box<dyn Future<Output = Result<(), RedisError>> + Send + 'a>> {
        connection.set_response_timeout(self.0);
        Box::pin(async { Ok(()) })
    }
}

/// Why bb8 last failed to connect. It tells its callers only that they have waited too long.
#[derive(Debug, Clone, Default)]
pub(super) struct LastError(Arc<Mutex<Option<String>>>);

impl LastError {
    /// The reason, in words.
    pub(super) fn describe(&self) -> String {
        self.0.lock().clone().unwrap_or_else(|| "no connection in time".to_owned())
    }

    /// Forgets it: there is a connection again.
    pub(super) fn clear(&self) {
        *self.0.lock() = None;
    }
}

impl ErrorSink<RedisError> for LastError {
    fn sink(&self, error: RedisError) {
        *self.0.lock() = Some(error.to_string());
    }

    fn boxed_clone(&self) -> Box<dyn ErrorSink<RedisError>> {
        Box::new(self.clone())
    }
}
