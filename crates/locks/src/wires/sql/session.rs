//! A connection that nobody else has.

use std::sync::Arc;

use sqlx::{
    Arguments, Encode, Executor, FromRow, MySql, Postgres, Type,
    mysql::{MySqlArguments, MySqlRow},
    postgres::{PgArguments, PgRow},
    query_as_with, query_with, raw_sql,
};
use tokio::time::Duration;

use super::{Dialect, SqlClient, error, pool::Link};
use crate::{error::BackendError, wires::metrics::Op};

/// What a statement is given for a `?`.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A whole number, or none.
    Number(Option<i64>),
    /// A text, or none.
    Text(Option<&'a str>),
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Number(Some(number.into()))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

/// What a row can be read as: a tuple of `i64`, `String`, and options of them.
pub trait Row: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, MySqlRow> + Send + Unpin {}

impl<T> Row for T where T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, MySqlRow> + Send + Unpin {}

/// A connection, from its check-out until this is dropped. Then it goes back to the pool, unless there is
/// any doubt about its state: a statement was not answered or not waited for, or a transaction or a lock
/// is open. Then it is closed, and whatever it held is freed by the server.
pub struct Session {
    link: Option<Link>,
    client: Arc<SqlClient>,
    /// Whether a statement was sent whose answer has not come.
    in_doubt: bool,
    /// Whether the server keeps something for this session that is not to outlive it.
    pub(super) holds: bool,
}

impl Session {
    pub(super) fn new(link: Link, client: Arc<SqlClient>) -> Self {
        client.sessions.lock().change(1);
        Self { link: Some(link), client, in_doubt: false, holds: false }
    }

    /// Which kind of database it is connected to.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.client.dialect
    }

    /// The session holds something by now, or no more, that would be left behind in the pool: a lock, or
    /// an open transaction.
    pub fn holds(&mut self, holds: bool) {
        self.holds = holds;
    }

    /// Sends one statement, and reads the rows of its answer.
    ///
    /// # Errors
    /// See [`BackendError`].
    ///
    /// # Cancellation
    /// Dropping the future does not recall the statement; the session closes its connection then.
    pub async fn rows<T: Row>(
        &mut self,
        op: Op,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<T>, BackendError> {
        self.rows_within(Duration::ZERO, op, sql, values).await
    }

    /// The same, for a statement that may wait for a lock for so long.
    ///
    /// # Errors
    /// As [`Self::rows`].
    ///
    /// # Cancellation
    /// As [`Self::rows`].
    pub async fn rows_within<T: Row>(
        &mut self,
        wait: Duration,
        op: Op,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<T>, BackendError> {
        self.observe(op, wait, async |link| match link {
            Link::Postgres(connection) => {
                let (sql, values) = (numbered(sql), arguments(values)?);
                query_as_with::<Postgres, T, PgArguments>(&sql, values)
                    .fetch_all(&mut **connection)
                    .await
            }
            Link::MySql(connection) => {
                let values: MySqlArguments = arguments(values)?;
                query_as_with::<MySql, T, _>(sql, values).fetch_all(&mut **connection).await
            }
        })
        .await
    }

    /// Sends one statement, and says how many rows it found to change.
    ///
    /// # Errors
    /// As [`Self::rows`].
    ///
    /// # Cancellation
    /// As [`Self::rows`].
    pub async fn change(
        &mut self,
        wait: Duration,
        op: Op,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<u64, BackendError> {
        self.observe(op, wait, async |link| match link {
            Link::Postgres(connection) => {
                let (sql, values) = (numbered(sql), arguments::<PgArguments>(values)?);
                let query = query_with(&sql, values).execute(&mut **connection);
                Ok(query.await?.rows_affected())
            }
            Link::MySql(connection) => {
                let values: MySqlArguments = arguments(values)?;
                let query = query_with(sql, values).execute(&mut **connection);
                Ok(query.await?.rows_affected())
            }
        })
        .await
    }

    /// Sends several statements at once, which have no values and whose answers nobody reads.
    ///
    /// # Errors
    /// As [`Self::rows`].
    ///
    /// # Cancellation
    /// As [`Self::rows`].
    pub async fn run(&mut self, op: Op, sql: &str) -> Result<(), BackendError> {
        self.observe(op, Duration::ZERO, async |link| match link {
            Link::Postgres(connection) => connection.execute(sql).await.map(|_| ()),
            Link::MySql(connection) => connection.execute(sql).await.map(|_| ()),
        })
        .await
    }

    /// Sends one statement without values as a text, and reads the rows of its answer. A pooler that gives
    /// each transaction another session passes that on; what [`Self::rows`] prepares in one is unknown to
    /// the next.
    ///
    /// # Errors
    /// As [`Self::rows`].
    ///
    /// # Cancellation
    /// As [`Self::rows`].
    pub async fn rows_of_text<T: Row>(
        &mut self,
        op: Op,
        sql: &str,
    ) -> Result<Vec<T>, BackendError> {
        self.observe(op, Duration::ZERO, async |link| match link {
            Link::Postgres(connection) => {
                let rows = raw_sql(sql).fetch_all(&mut **connection).await?;
                rows.iter().map(T::from_row).collect()
            }
            Link::MySql(connection) => {
                let rows = raw_sql(sql).fetch_all(&mut **connection).await?;
                rows.iter().map(T::from_row).collect()
            }
        })
        .await
    }

    async fn observe<T>(
        &mut self,
        op: Op,
        wait: Duration,
        send: impl AsyncFnOnce(&mut Link) -> Result<T, sqlx::Error>,
    ) -> Result<T, BackendError> {
        let (client, exchange) = (&self.client, &self.client.exchange);
        let Some(link) = self.link.as_mut().filter(|_| !self.in_doubt) else {
            let cause = "an earlier statement of this session was not answered".into();
            return Err(BackendError::Unavailable { backend: exchange.name(), cause });
        };
        self.in_doubt = true;
        let classify = |error| Err(error::classify(error, exchange));
        let result = exchange.observe(op, wait + client.timeout, send(link), classify).await;
        self.in_doubt = result.as_ref().is_err_and(BackendError::is_outage);
        result
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.client.sessions.lock().change(-1);
        if (self.in_doubt || self.holds)
            && let Some(link) = self.link.take()
        {
            link.close();
        }
    }
}

/// The values of a statement, as the driver sends them.
fn arguments<'a, A: Arguments<'a>>(values: &[Value<'a>]) -> Result<A, sqlx::Error>
where
    Option<i64>: Encode<'a, A::Database> + Type<A::Database>,
    Option<&'a str>: Encode<'a, A::Database> + Type<A::Database>,
{
    let mut arguments = A::default();
    for value in values {
        let added = match *value {
            Value::Number(number) => arguments.add(number),
            Value::Text(text) => arguments.add(text),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// As Postgres wants it: `$1`, `$2`, … for each `?`.
fn numbered(sql: &str) -> String {
    let mut numbered = String::with_capacity(sql.len() + 16);
    for (number, part) in sql.split('?').enumerate() {
        if number > 0 {
            numbered.push('$');
            numbered.push_str(&number.to_string());
        }
        numbered.push_str(part);
    }
    numbered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_values_are_numbered_for_postgres() {
        assert_eq!(numbered("SELECT 1"), "SELECT 1");
        assert_eq!(numbered("a = ? AND b = ?"), "a = $1 AND b = $2");
    }
}
