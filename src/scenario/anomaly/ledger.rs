//! Units on sale, the ledger of what was sold, and buyers of them: tables of their own, with
//! nothing that would refuse to sell too much, for that is left to locks here.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use tokio::time::{self, Duration};

use super::purchase::{Did, Look, Purchase};
use crate::{
    scenario::{
        error::ScenarioError,
        ground::{PATIENCE, poll},
    },
    stock::ledger::Tally,
};
use locklab_locks::{
    error::BackendError,
    token::Token,
    wires::{
        metrics::Op,
        sql::{Dialect, Session, SqlClient, Value},
    },
};

/// Both tables, and everything that was sent to the database.
pub struct Ledger {
    client: Arc<SqlClient>,
    /// What there is: units that are on sale together, or each in a row of its own.
    pub stock: String,
    /// What was sold: a row for each unit.
    pub sales: String,
    steps: Mutex<Vec<Json>>,
}

/// How a buyer writes that it has bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// It adds a sale.
    Sale,
    /// It also sets the stock to one less than it has read.
    StockToo,
}

/// InnoDB answers from memory whoever asks for its transactions again within a tenth of a second.
const FRESH: Duration = Duration::from_millis(110);

/// Which kind of lock a session waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// An advisory lock of Postgres.
    Advisory,
    /// A named lock of MySQL.
    Named,
    /// A row of InnoDB.
    Row,
}

impl Awaited {
    /// What says that a session waits for it: one row, if it does.
    fn sql(self) -> &'static str {
        match self {
            Self::Advisory => {
                "SELECT CONCAT(wait_event_type, ' ', wait_event, ', held by session ', \
                 array_to_string(pg_blocking_pids(pid), ',')) FROM pg_stat_activity \
                 WHERE pid = ? AND wait_event = 'advisory' AND cardinality(pg_blocking_pids(pid)) > 0"
            }
            Self::Named => {
                "SELECT state FROM information_schema.processlist \
                 WHERE id = ? AND state = 'User lock'"
            }
            Self::Row => {
                "SELECT trx_state FROM information_schema.innodb_trx \
                 WHERE trx_mysql_thread_id = ? AND trx_state = 'LOCK WAIT'"
            }
        }
    }
}

impl Ledger {
    /// Empty tables, by names that nobody else has.
    pub async fn create(client: &Arc<SqlClient>) -> Result<Self, BackendError> {
        let prefix = format!("locklab_anomaly_{}", &Token::random().as_str()[..8]);
        let (stock, sales) = (format!("{prefix}_stock"), format!("{prefix}_sales"));
        let sql = format!(
            "CREATE TABLE {stock} (item VARCHAR(64) NOT NULL, unit BIGINT NOT NULL, \
             units BIGINT NOT NULL, stock BIGINT NOT NULL, PRIMARY KEY (item, unit)); \
             CREATE TABLE {sales} (item VARCHAR(64) NOT NULL, buyer VARCHAR(64) NOT NULL, \
             PRIMARY KEY (item, buyer))"
        );
        client.session_soon().await?.run(Op::Reset, &sql).await?;
        Ok(Self { client: Arc::clone(client), stock, sales, steps: Mutex::default() })
    }

    /// Puts an item on sale: so many rows, of so many units each.
    pub async fn put_on_sale(&self, item: &str, rows: i64, each: i64) -> Result<(), BackendError> {
        let mut session = self.client.session_soon().await?;
        let sql =
            format!("INSERT INTO {} (item, unit, units, stock) VALUES (?, ?, ?, ?)", self.stock);
        for unit in 1..=rows {
            let values = [item.into(), unit.into(), each.into(), each.into()];
            session.change(Duration::ZERO, Op::Write, &sql, &values).await?;
        }
        Ok(())
    }

    /// What there was of an item, and what was sold, as far as it is committed.
    pub async fn tally(&self, item: &str) -> Result<Tally, BackendError> {
        let whole = match self.client.dialect() {
            Dialect::Postgres => "BIGINT",
            Dialect::MySql => "SIGNED",
        };
        let sql = format!(
            "SELECT CAST(SUM(units) AS {whole}), CAST(SUM(stock) AS {whole}), \
             (SELECT COUNT(*) FROM {} WHERE item = ?) FROM {} WHERE item = ?",
            self.sales, self.stock
        );
        let mut session = self.client.session_soon().await?;
        let rows: Vec<(i64, i64, i64)> =
            session.rows(Op::Tally, &sql, &[item.into(), item.into()]).await?;
        let (initial, stock, sold) = rows.into_iter().next().unwrap_or_default();
        Ok(Tally { initial, stock, sold })
    }

    /// Somebody enters who has a session alone.
    pub async fn enter(&self, name: &'static str) -> Result<Buyer<'_>, BackendError> {
        let mut session = self.client.session_soon().await?;
        // Whatever it sets or locks is not for others: it closes its connection.
        session.holds(true);
        let sql = match self.client.dialect() {
            Dialect::Postgres => "SELECT CAST(pg_backend_pid() AS BIGINT)",
            Dialect::MySql => "SELECT CAST(CONNECTION_ID() AS SIGNED)",
        };
        let rows: Vec<(i64,)> = session.rows(Op::Read, sql, &[]).await?;
        let (id,) = rows.into_iter().next().unwrap_or_default();
        Ok(Buyer { ledger: self, name, id, session, is_open: false })
    }

    /// Waits until a session waits for a lock of this kind, by what the database says of it.
    pub async fn until_waits(&self, waiter: i64, lock: Awaited) -> Result<(), ScenarioError> {
        let said = poll("a session waits for a lock", async || {
            if lock == Awaited::Row {
                time::sleep(FRESH).await;
            }
            let mut session = self.client.session_soon().await?;
            let rows: Vec<(String,)> = session.rows(Op::Read, lock.sql(), &[waiter.into()]).await?;
            Ok(rows.into_iter().next())
        });
        let (said,) = said.await?;
        self.note(json!({ "session": waiter, "waits": said }));
        Ok(())
    }

    /// Asks for a number, in no session of a buyer.
    pub async fn ask(&self, sql: &str, values: &[Value<'_>]) -> Result<Option<i64>, BackendError> {
        let mut session = self.client.session_soon().await?;
        let rows: Vec<(Option<i64>,)> = session.rows(Op::Read, sql, values).await?;
        Ok(rows.into_iter().next().and_then(|(number,)| number))
    }

    /// What was sent since this was last asked, and answered.
    pub fn steps(&self) -> Vec<Json> {
        std::mem::take(&mut self.steps.lock())
    }

    fn note(&self, step: Json) {
        self.steps.lock().push(step);
    }

    /// Removes the tables.
    pub async fn drop_tables(self) -> Result<(), ScenarioError> {
        let Self { client, stock, sales, .. } = self;
        let dropped = async {
            let sql = format!("DROP TABLE {stock}, {sales}");
            client.session_soon().await?.change(PATIENCE, Op::Reset, &sql, &[]).await
        };
        dropped.await.map(|_| ()).map_err(|error| {
            ScenarioError::NotMeasured(format!(
                "{stock} and {sales} are left behind: {error}; drop them"
            ))
        })
    }
}

/// Somebody with a session of its own.
pub struct Buyer<'a> {
    ledger: &'a Ledger,
    name: &'static str,
    /// Names the session.
    pub id: i64,
    session: Session,
    /// Whether a transaction is open.
    is_open: bool,
}

impl Buyer<'_> {
    /// Sends one statement, which may wait for a lock, and reads the number in its answer.
    pub async fn number(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Option<i64>, BackendError> {
        let answer = self.session.rows_within(PATIENCE, Op::LockRow, sql, values).await;
        let answer =
            answer.map(|rows: Vec<(Option<i64>,)>| rows.into_iter().next().and_then(|(it,)| it));
        self.note(sql, values, answer.as_ref().map(|number| json!(number)));
        answer
    }

    /// Sends one statement, which may wait for a lock; says how many rows it has found.
    pub async fn send(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, BackendError> {
        let answer = self.session.change(PATIENCE, Op::Write, sql, values).await;
        self.note(sql, values, answer.as_ref().map(|rows| json!({ "rows": rows })));
        answer
    }

    /// Sends statements that need no answer.
    pub async fn run(&mut self, sql: &str) -> Result<(), BackendError> {
        let answer = self.session.run(Op::Begin, sql).await;
        self.note(sql, &[], answer.as_ref().map(|()| json!("ok")));
        answer
    }

    /// Begins a transaction, in these words.
    pub async fn begin(&mut self, sql: &str) -> Result<(), BackendError> {
        self.run(sql).await?;
        self.is_open = true;
        Ok(())
    }

    /// Looks how many units are left, by a statement that says so; nothing said is none.
    pub async fn look(
        &mut self,
        item: &str,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Look, BackendError> {
        let read = self.number(sql, values).await?.unwrap_or_default();
        Ok(Look { read, free: self.ledger.tally(item).await?.expected() })
    }

    /// Buys one unit and commits, if it has seen one.
    pub async fn decide(&mut self, item: &str, look: Look, writes: Writes) -> Purchase {
        let did = if look.read <= 0 {
            Did::TurnedAway
        } else {
            match self.buy(item, look.read, writes).await {
                Ok(()) => Did::Sold,
                Err(error) => Did::Failed(error.to_string()),
            }
        };
        self.leave(look, did).await
    }

    /// Ends its transaction, unless what it did has.
    pub async fn leave(&mut self, look: Look, did: Did) -> Purchase {
        if did != Did::Sold && self.is_open {
            // An error means that the connection is closed, which does the same.
            self.run("ROLLBACK").await.ok();
        }
        self.is_open = false;
        Purchase { buyer: self.name, session: self.id, look, did }
    }

    async fn buy(&mut self, item: &str, read: i64, writes: Writes) -> Result<(), BackendError> {
        if !self.is_open {
            self.begin("START TRANSACTION").await?;
        }
        let Ledger { stock, sales, .. } = self.ledger;
        if writes == Writes::StockToo {
            let sql = format!("UPDATE {stock} SET stock = ? WHERE item = ?");
            self.send(&sql, &[(read - 1).into(), item.into()]).await?;
        }
        let sql = format!("INSERT INTO {sales} (item, buyer) VALUES (?, ?)");
        self.send(&sql, &[item.into(), self.name.into()]).await?;
        self.run("COMMIT").await
    }

    fn note(&self, sql: &str, values: &[Value<'_>], answer: Result<Json, &BackendError>) {
        let values: Vec<Json> = values
            .iter()
            .map(|value| match *value {
                Value::Number(number) => json!(number),
                Value::Text(text) => json!(text),
            })
            .collect();
        let mut step =
            json!({ "who": self.name, "session": self.id, "sql": sql, "values": values });
        match answer {
            Ok(answer) => step["answer"] = answer,
            Err(error) => step["error"] = json!(error.to_string()),
        }
        self.ledger.note(step);
    }
}
