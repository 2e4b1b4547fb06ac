//! Histories in a database: batches of records, away from the rows that sales change.

use super::{SqlStock, answers::now_ms};
use crate::{
    history::Record,
    product::Product,
    stock::{
        Evidence, Note,
        ledger::{Generation, Tally},
    },
};
use locklab_locks::{
    error::BackendError,
    wires::{
        metrics::Op,
        sql::{Dialect, Session},
    },
};
use tokio::time::Duration;

/// Products whose history is kept.
const HISTORIES_MAX: i64 = 100;
/// How long nobody takes the place of a history after it was added to, in ms.
const HISTORY_REST_MS: i64 = 5_000;

impl SqlStock {
    /// Adds notes to the histories, all of them in one transaction.
    pub(super) async fn add(&self, notes: &[Note]) -> Result<(), BackendError> {
        let mut session = self.client.session_soon().await?;
        session.holds(true);
        session.run(Op::Record, begin(session.dialect())).await?;
        let same = |one: &Note, next: &Note| {
            (&one.product, &one.generation) == (&next.product, &next.generation)
        };
        for of_one in notes.chunk_by(same) {
            self.add_batch(&mut session, of_one).await?;
        }
        session.run(Op::Record, "COMMIT").await?;
        session.holds(false);
        Ok(())
    }

    async fn add_batch(&self, session: &mut Session, notes: &[Note]) -> Result<(), BackendError> {
        let Note { product, generation, .. } = &notes[0];
        let name = product.as_str();
        let Some(current) = at(session, product, generation.as_ref()).await? else { return Ok(()) };
        let sql = "SELECT COUNT(*) FROM locklab_histories WHERE product = ?";
        let there: Vec<(i64,)> = session.rows(Op::Record, sql, &[name.into()]).await?;
        if there == [(0,)] && !self.make_room(session).await? {
            return Ok(());
        }
        // Other servers do the same: they wait for the row. What is read after it was locked, stays.
        let unless = match session.dialect() {
            Dialect::Postgres => "ON CONFLICT (product) DO UPDATE SET added_ms = excluded.added_ms",
            Dialect::MySql => "ON DUPLICATE KEY UPDATE added_ms = VALUES(added_ms)",
        };
        let now = now_ms(session.dialect());
        let sql = format!(
            "INSERT INTO locklab_histories (product, generation, recorded, added_ms) \
             VALUES (?, ?, 0, {now}) {unless}"
        );
        let values = [name.into(), current.as_str().into()];
        session.change(Duration::ZERO, Op::Record, &sql, &values).await?;
        let Some(current) = at(session, product, generation.as_ref()).await? else { return Ok(()) };
        let sql = "SELECT recorded FROM locklab_histories WHERE product = ? AND generation = ?";
        let values = [name.into(), current.as_str().into()];
        let before: Vec<(i64,)> = session.rows(Op::Record, sql, &values).await?;
        let recorded = before.first().map_or(0, |(recorded,)| *recorded) + notes.len() as i64;
        let sql = "UPDATE locklab_histories SET generation = ?, recorded = ? WHERE product = ?";
        let values = [current.as_str().into(), recorded.into(), name.into()];
        session.change(Duration::ZERO, Op::Record, sql, &values).await?;
        let records: Vec<&Record> = notes.iter().map(|note| &note.record).collect();
        let batch = serde_json::to_string(&records).unwrap_or_default();
        let sql = "INSERT INTO locklab_records (product, generation, place, batch) \
                   VALUES (?, ?, ?, ?)";
        let values = [name.into(), current.as_str().into(), recorded.into(), batch.as_str().into()];
        session.change(Duration::ZERO, Op::Record, sql, &values).await?;
        let sql = "DELETE FROM locklab_records \
                   WHERE product = ? AND generation = ? AND place <= ?";
        let oldest = recorded - i64::from(self.records_max);
        let values = [name.into(), current.as_str().into(), oldest.into()];
        session.change(Duration::ZERO, Op::Record, sql, &values).await?;
        Ok(())
    }

    /// Makes room for one more history. The one goes that was added to the longest time ago. While all of
    /// them are in use, there is none for another product: to take them from each other would leave
    /// nobody anything.
    async fn make_room(&self, session: &mut Session) -> Result<bool, BackendError> {
        let now = now_ms(session.dialect());
        let sql = format!(
            "SELECT product, {now} - added_ms, (SELECT COUNT(*) FROM locklab_histories) \
             FROM locklab_histories ORDER BY added_ms LIMIT 1"
        );
        let oldest: Vec<(String, i64, i64)> = session.rows(Op::Record, &sql, &[]).await?;
        let Some((product, age_ms, count)) = oldest.into_iter().next() else { return Ok(true) };
        if count < HISTORIES_MAX {
            return Ok(true);
        }
        if age_ms < HISTORY_REST_MS {
            return Ok(false);
        }
        for table in ["locklab_records", "locklab_histories"] {
            let sql = format!("DELETE FROM {table} WHERE product = ?");
            let values = [product.as_str().into()];
            session.change(Duration::ZERO, Op::Record, &sql, &values).await?;
        }
        Ok(true)
    }

    /// Numbers and history of a product, as they were at one instant.
    pub(super) async fn whole(&self, product: &Product) -> Result<Option<Evidence>, BackendError> {
        let mut session = self.client.session_soon().await?;
        session.holds(true);
        session.run(Op::Tally, snapshot(session.dialect())).await?;
        let Some(tally) = tally(&mut session, product).await? else {
            session.run(Op::Tally, "COMMIT").await?;
            session.holds(false);
            return Ok(None);
        };
        let sql = "SELECT h.recorded FROM locklab_histories h \
                   JOIN locklab_products p ON p.product = h.product AND p.generation = h.generation \
                   WHERE h.product = ?";
        let name = [product.as_str().into()];
        let recorded: Vec<(i64,)> = session.rows(Op::Tally, sql, &name).await?;
        let sql = "SELECT r.batch FROM locklab_records r \
                   JOIN locklab_products p ON p.product = r.product AND p.generation = r.generation \
                   WHERE r.product = ? ORDER BY r.place";
        let batches: Vec<(String,)> = session.rows(Op::Tally, sql, &name).await?;
        session.run(Op::Tally, "COMMIT").await?;
        session.holds(false);
        let recorded = recorded.first().map_or(0, |(recorded,)| recorded.unsigned_abs());
        // What another version wrote, and this one cannot read, is missing like what was dropped.
        let read = |(batch,): &(String,)| serde_json::from_str::<Vec<Record>>(batch);
        let mut history: Vec<Record> =
            batches.iter().filter_map(|batch| read(batch).ok()).flatten().collect();
        // Batches are dropped as a whole.
        history.drain(..history.len().saturating_sub(self.records_max as usize));
        Ok(Some(Evidence::new(tally, history, recorded)))
    }
}

/// The reset that a product is at now, unless another one is meant, or it was never put on sale. What began
/// during one knows of none.
async fn at(
    session: &mut Session,
    product: &Product,
    meant: Option<&Generation>,
) -> Result<Option<String>, BackendError> {
    let sql = "SELECT generation FROM locklab_products WHERE product = ?";
    let now: Vec<(String,)> = session.rows(Op::Record, sql, &[product.as_str().into()]).await?;
    let now = now.into_iter().next().map(|(now,)| now);
    Ok(now.filter(|now| meant.is_none_or(|meant| meant.0.is_empty() || meant.0 == *now)))
}

/// Stock and ledger of a product, in one statement.
pub(super) async fn tally(
    session: &mut Session,
    product: &Product,
) -> Result<Option<Tally>, BackendError> {
    let number = match session.dialect() {
        Dialect::Postgres => "BIGINT",
        Dialect::MySql => "SIGNED",
    };
    let sql = format!(
        "SELECT p.initial, p.stock, (SELECT CAST(COALESCE(SUM(o.quantity), 0) AS {number}) \
         FROM locklab_orders o WHERE o.product = p.product) \
         FROM locklab_products p WHERE p.product = ?"
    );
    let rows: Vec<(i64, i64, i64)> =
        session.rows(Op::Tally, &sql, &[product.as_str().into()]).await?;
    Ok(rows.into_iter().next().map(|(initial, stock, sold)| Tally { initial, stock, sold }))
}

fn begin(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        Dialect::MySql => "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION",
    }
}

/// A transaction whose statements all see the same instant.
fn snapshot(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        Dialect::MySql => {
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
             START TRANSACTION WITH CONSISTENT SNAPSHOT"
        }
    }
}
