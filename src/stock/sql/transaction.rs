//! Transactions: what every sale from a database is made of.
//!
//! Postgres and MySQL differ in a few words, and in that Postgres can change a row, add another one and
//! answer with both in one statement. All transactions are READ COMMITTED: each statement sees what was
//! committed when it began, and what it locks, as it is. Under MySQL's default, REPEATABLE READ, a plain
//! read after FOR UPDATE sees what was there before the wait (InnoDB documentation, "Consistent
//! Nonlocking Reads"; it oversold tickets in vendure, pull request 4930).

use std::sync::Arc;

use tokio::time::{Duration, Instant};

use crate::{
    product::Product,
    stock::{
        Written,
        answer::{Answer, Key},
        ledger::{Entry, Generation},
    },
};
use locklab_locks::{
    error::BackendError,
    token::Token,
    wires::{
        metrics::Op,
        sql::{Dialect, Session, SqlClient, Value},
    },
};

use super::answers;

/// A product, as its row is.
#[derive(Debug, Clone)]
pub struct ProductRow {
    /// Which reset it is at; empty during one.
    pub generation: Generation,
    /// Units at the reset.
    pub initial: i64,
    /// The stock.
    pub stock: i64,
    /// Units sold since the reset.
    pub sold: i64,
    /// Grows with every write.
    pub version: i64,
    /// The newest fencing token seen.
    pub bar: Option<i64>,
}

type Columns = (String, i64, i64, i64, i64, Option<i64>);

const COLUMNS: &str = "SELECT generation, initial, stock, sold, version, bar FROM locklab_products \
                       WHERE product = ?";

/// How much longer than it was asked for a wait for a row may last: MySQL rounds up to whole seconds.
const GRACE: Duration = Duration::from_secs(1);

/// Whether a row is locked when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Until the end of the transaction, nobody else changes it, nor reads it so.
    ForUpdate,
    /// The row is read as it is at this instant, and not locked.
    Plain,
}

/// What a sale does to the stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It becomes this, whatever it is by now.
    To(i64),
    /// The quantity is subtracted from what it is by now; the table refuses what would be less than nothing.
    Less,
    /// The stock becomes less by the quantity, if there is as much.
    LessIfEnough,
}

/// A sale of one product.
#[derive(Debug, Clone, Copy)]
pub struct Selling<'a> {
    /// What names the order.
    pub order_id: &'a Token,
    /// What is sold.
    pub product: &'a Product,
    /// The reset that it must be at; `None`: any but one under way.
    pub generation: Option<&'a Generation>,
    /// The version that it must have.
    pub version: Option<i64>,
    /// What becomes of the stock.
    pub change: Change,
    /// How many units.
    pub quantity: u32,
    /// The fencing token of the lease.
    pub fencing_token: Option<i64>,
}

/// A session, and the transaction that is open in it. Dropped before it is committed, it closes its
/// connection, and the database rolls back.
pub struct Transaction {
    session: Session,
    /// How long it waits for each row.
    wait: Duration,
}

impl Transaction {
    /// Begins one, on a connection that is waited for until `until`. It will wait for each row as long as
    /// `wait`; MySQL counts whole seconds.
    ///
    /// # Errors
    /// There was no connection, or no answer: nothing happened.
    pub async fn begin(
        client: &Arc<SqlClient>,
        until: Instant,
        wait: Duration,
    ) -> Result<Self, BackendError> {
        let mut session = client.session(until).await?;
        let begin = match session.dialect() {
            // Whoever waits behind others waits for several locks, one after the other, and each has its
            // own timeout: the statement has one for all of them.
            Dialect::Postgres => format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {}; \
                 SET LOCAL statement_timeout = {}",
                wait.as_millis().clamp(1, i32::MAX as u128),
                (wait + GRACE).as_millis().clamp(1, i32::MAX as u128)
            ),
            Dialect::MySql => format!(
                "SET SESSION innodb_lock_wait_timeout = {}; \
                 SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION",
                wait.as_millis().div_ceil(1_000).clamp(1, 1_000_000)
            ),
        };
        session.holds(true);
        session.run(Op::Begin, &begin).await.map_err(BackendError::into_undone)?;
        Ok(Self { session, wait: wait + GRACE })
    }

    /// Reads the row of a product. `None`: it was never put on sale.
    ///
    /// # Errors
    /// [`BackendError::Contended`]: somebody else kept it locked. After any error, [`Self::give_up`] is due.
    pub async fn read(
        &mut self,
        product: &Product,
        reading: Reading,
    ) -> Result<Option<ProductRow>, BackendError> {
        let values = [product.as_str().into()];
        let rows: Vec<Columns> = match reading {
            Reading::ForUpdate => {
                let sql = format!("{COLUMNS} FOR UPDATE");
                self.session.rows_within(self.wait, Op::LockRow, &sql, &values).await
            }
            Reading::Plain => self.session.rows(Op::Read, COLUMNS, &values).await,
        }
        .map_err(BackendError::into_undone)?;
        Ok(rows.into_iter().next().map(row))
    }

    /// Sends one statement, and says how many rows it found to change.
    ///
    /// # Errors
    /// The database did not answer, or refused: nothing is committed.
    pub(super) async fn change(
        &mut self,
        op: Op,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<u64, BackendError> {
        let changed = self.session.change(self.wait, op, sql, values).await;
        changed.map_err(BackendError::into_undone)
    }

    /// The answer that is kept under a key, by now. To be asked once the row of its product is locked, or
    /// in the statement that follows: so nobody else can keep one until this transaction has ended.
    ///
    /// # Errors
    /// The database did not answer, or refused: nothing is committed.
    pub async fn answer(&mut self, key: &Key) -> Result<Option<Answer>, BackendError> {
        answers::kept(&mut self.session, key).await.map_err(BackendError::into_undone)
    }

    /// Keeps the answer to an order.
    ///
    /// # Errors
    /// The database did not answer, or refused: nothing is committed.
    pub async fn keep(&mut self, key: &Key, answer: &Answer) -> Result<(), BackendError> {
        answers::keep(&mut self.session, key, answer).await.map_err(BackendError::into_undone)
    }

    /// Changes the stock and adds the order to the ledger; `None` if the row is not as it must be, and
    /// nothing has happened.
    ///
    /// # Errors
    /// The database did not answer, or refused; [`BackendError::Undone`] if the table refuses the new stock.
    pub async fn sell(&mut self, sale: &Selling<'_>) -> Result<Option<Entry>, BackendError> {
        let sold = sell(&mut self.session, self.wait, sale).await;
        sold.map_err(BackendError::into_undone)
    }

    /// Commits.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: it may be committed, or be about to. A server that is just being ended may
    /// say so although it has committed.
    pub async fn commit(mut self) -> Result<(), BackendError> {
        self.session.run(Op::Commit, "COMMIT").await.map_err(or_not)?;
        self.session.holds(false);
        Ok(())
    }

    /// Commits what was sold; of anything else, nothing stands.
    ///
    /// # Errors
    /// That of the sale, or as [`Self::commit`].
    pub async fn end(
        self,
        written: Result<Written, BackendError>,
    ) -> Result<Written, BackendError> {
        match written {
            Ok(Written::Sold(sold)) => {
                self.commit().await?;
                Ok(Written::Sold(sold))
            }
            nothing => {
                self.give_up().await;
                nothing
            }
        }
    }

    /// Rolls back what there is. That this fails means no more than that the connection is closed.
    pub async fn give_up(mut self) {
        let undone = self.session.run(Op::Rollback, "ROLLBACK").await;
        self.session.holds(undone.is_err());
    }
}

/// An outage at the statement that makes it stand.
pub(super) fn or_not(error: BackendError) -> BackendError {
    if error.is_outage() { error.into_unknown() } else { error }
}

fn row((generation, initial, stock, sold, version, bar): Columns) -> ProductRow {
    ProductRow { generation: Generation(generation), initial, stock, sold, version, bar }
}

/// Reads the row of a product, outside of any transaction. `None`: it was never put on sale.
///
/// # Errors
/// See [`BackendError`].
pub async fn look(
    session: &mut Session,
    product: &Product,
) -> Result<Option<ProductRow>, BackendError> {
    let rows: Vec<Columns> = session.rows(Op::Read, COLUMNS, &[product.as_str().into()]).await?;
    Ok(rows.into_iter().next().map(row))
}

/// What a sale does to the row, and only if that is as it must be. Everything in it that can race is
/// changed relative to itself, but for the stock, if the strategy wants it so.
const UPDATE: &str = "UPDATE locklab_products SET \
                          stock = COALESCE(CAST(? AS {BIGINT}), stock - ?), \
                          sold = sold + ?, version = version + 1, \
                          bar = COALESCE(CAST(? AS {BIGINT}), bar) \
                      WHERE product = ? AND generation <> '' \
                          AND generation = COALESCE(CAST(? AS {TEXT}), generation) \
                          AND version = COALESCE(CAST(? AS {BIGINT}), version) \
                          AND stock >= COALESCE(CAST(? AS {BIGINT}), stock)";

/// Sells, in the transaction of the session; or, with Postgres, as one of its own if there is none.
///
/// # Errors
/// See [`BackendError`].
pub async fn sell(
    session: &mut Session,
    wait: Duration,
    sale: &Selling<'_>,
) -> Result<Option<Entry>, BackendError> {
    let Selling { order_id, product, quantity, change, fencing_token, .. } = *sale;
    let (left, least) = match change {
        Change::To(left) => (Some(left), None),
        Change::Less => (None, None),
        Change::LessIfEnough => (None, Some(i64::from(quantity))),
    };
    let generation = sale.generation.map(|generation| generation.0.as_str());
    let update: [Value<'_>; 8] = [
        left.into(),
        quantity.into(),
        quantity.into(),
        fencing_token.into(),
        product.as_str().into(),
        Value::Text(generation),
        sale.version.into(),
        least.into(),
    ];
    let order = [order_id.as_str().into(), quantity.into(), fencing_token.into()];
    let changed: Vec<(String, i64, i64, i64)> = match session.dialect() {
        Dialect::Postgres => {
            let update_row = UPDATE.replace("{BIGINT}", "BIGINT").replace("{TEXT}", "TEXT");
            let sql = format!(
                "WITH changed AS ({update_row} RETURNING product, generation, initial, stock, sold), \
                 added AS (INSERT INTO locklab_orders \
                     (order_id, product, quantity, fencing_token, sold, stock_after) \
                     SELECT ?, product, ?, CAST(? AS BIGINT), sold, stock FROM changed) \
                 SELECT generation, initial, stock, sold FROM changed"
            );
            let values = [update.as_slice(), &order].concat();
            session.rows_within(wait, Op::Write, &sql, &values).await?
        }
        Dialect::MySql => {
            let sql = UPDATE.replace("{BIGINT}", "SIGNED").replace("{TEXT}", "CHAR");
            if session.change(wait, Op::Write, &sql, &update).await? == 0 {
                return Ok(None);
            }
            let insert = "INSERT INTO locklab_orders \
                              (order_id, product, quantity, fencing_token, sold, stock_after) \
                          SELECT ?, product, ?, CAST(? AS SIGNED), sold, stock \
                          FROM locklab_products WHERE product = ?";
            let values = [order.as_slice(), &[product.as_str().into()]].concat();
            session.change(Duration::ZERO, Op::Write, insert, &values).await?;
            let select = "SELECT generation, initial, stock, sold FROM locklab_products \
                          WHERE product = ?";
            session.rows(Op::Write, select, &[product.as_str().into()]).await?
        }
    };
    Ok(changed.into_iter().next().map(|(generation, initial, stock, sold)| Entry {
        generation: Generation(generation),
        // Whoever writes a number of its own has to say itself what it found.
        found: stock + i64::from(quantity),
        stock,
        sold,
        initial,
    }))
}
