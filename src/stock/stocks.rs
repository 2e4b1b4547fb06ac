//! The products of every store.

use std::sync::Arc;

use strum::VariantArray;

use super::{Stock, redis, sql};
use crate::{
    backends::{Backends, Database},
    strategy::server::Store,
};
use locklab_locks::error::BackendError;

/// The products of every store.
pub struct Stocks {
    redis: redis::RedisStock,
    postgres: Result<sql::SqlStock, String>,
    mysql: Result<sql::SqlStock, String>,
}

impl Stocks {
    /// Over the configured backends, with so many records kept of each product.
    #[must_use]
    pub fn new(backends: &Backends, records_max: u32) -> Self {
        let in_sql = |database: &Result<Database, String>| {
            let database = database.as_ref().map_err(Clone::clone)?;
            Ok(sql::SqlStock::new(Arc::clone(&database.stock), records_max))
        };
        Self {
            redis: redis::RedisStock::new(Arc::clone(&backends.redis), records_max),
            postgres: in_sql(&backends.postgres),
            mysql: in_sql(&backends.mysql),
        }
    }

    /// The products of one store.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`]: there is no such store here.
    pub fn of(&self, store: Store) -> Result<&dyn Stock, BackendError> {
        match store {
            Store::Redis => Ok(&self.redis),
            Store::Postgres | Store::MySql => self.in_sql(store).map(|stock| stock as &dyn Stock),
        }
    }

    /// The products of a database.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`]: there is none of this kind here.
    pub fn in_sql(&self, store: Store) -> Result<&sql::SqlStock, BackendError> {
        let stock = match store {
            Store::Redis => Err("it is no SQL database"),
            Store::Postgres => self.postgres.as_ref().map_err(String::as_str),
            Store::MySql => self.mysql.as_ref().map_err(String::as_str),
        };
        stock.map_err(|reason| BackendError::Unavailable {
            backend: store.into(),
            cause: reason.into(),
        })
    }

    /// Those that there are.
    pub fn all(&self) -> impl Iterator<Item = (Store, &dyn Stock)> {
        Store::VARIANTS.iter().filter_map(|&store| Some((store, self.of(store).ok()?)))
    }
}
