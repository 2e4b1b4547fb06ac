//! How bb8 is set up, and an error that is not lost.

use std::sync::Arc;

use bb8_redis::bb8::{ErrorSink, Pool};
use parking_lot::Mutex;
use redis::RedisError;

use super::link::Linker;

/// A pool that connects when it is first asked.
pub(super) fn build(size: u32, linker: Linker, last_error: LastError) -> Pool<Linker> {
    Pool::builder()
        .max_size(size)
        .connection_timeout(linker.timeout)
        // Nothing else says that a connection is broken: only this PING finds out.
        .test_on_check_out(true)
        .idle_timeout(None)
        .max_lifetime(None)
        .error_sink(Box::new(last_error))
        .build_unchecked(linker)
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
