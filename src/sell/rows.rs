//! Selling by a transaction, which two databases and two strategies have in common: rows are kept
//! locked from the read to the commit, or it is made sure at the write that they are as they were
//! read.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::{Duration, Instant};
use tracing::Instrument;

use crate::{
    history::EventKind,
    order::{
        Order,
        receipt::{Failure, Receipt, at},
        recorder::Trail,
        span,
    },
    sell::{Sell, note_sales},
    stock::{
        Stock, Written,
        ledger::{Entry, Line, Sold},
        sql::{Change, ProductRow, Reading, Selling, Transaction, look},
    },
};
use locklab_locks::{error::BackendError, step::Step, wait, wires::sql::SqlClient};

/// The strategy.
pub struct Rows {
    client: Arc<SqlClient>,
    /// With rows that are not locked, the version that was read must still be there at the write.
    reading: Reading,
}

/// What a buyer has seen and done, over all its tries.
struct Tries<'a> {
    receipt: &'a mut Receipt,
    trail: &'a mut Trail,
    work: Duration,
    /// From the lock of the first row to the end of the transaction.
    hold: Duration,
    /// Time within tries in which nothing was waited for; the rest is between them, or for rows.
    spent: Duration,
    /// Why the database undid the last try, if it did.
    undone: Option<Failure>,
}

#[async_trait]
impl Sell for Rows {
    async fn sell(&self, order: &Order, _: &dyn Stock, receipt: &mut Receipt, trail: &mut Trail) {
        let started = Instant::now();
        let tries = Mutex::new(Tries {
            receipt,
            trail,
            work: Duration::ZERO,
            hold: Duration::ZERO,
            spent: Duration::ZERO,
            undone: None,
        });
        let mut rng = order.patience.rng();
        let until = started + order.patience.wait;
        let attempt = || async {
            match self.attempt(order, until, &tries).await {
                Err(Failure::Backend { step, error: error @ BackendError::Undone { .. } }) => {
                    tries.lock().undone = Some(at(step)(error));
                    Ok(None)
                }
                tried => tried,
            }
        };
        let tried = wait::retry(&order.patience, &mut rng, attempt).await;
        let Tries { receipt, trail, work, hold, spent, undone } = tries.into_inner();
        (receipt.work, receipt.hold, receipt.retries) = (work, hold, tried.retries);
        receipt.wait = started.elapsed().saturating_sub(spent);
        match tried.result {
            Ok(Some((written, since_ns))) => {
                receipt.settle(written, order);
                note_sales(order, receipt, trail, since_ns);
            }
            Ok(None) => receipt.fail(undone.unwrap_or(Failure::Conflict)),
            Err(failure) => return receipt.fail(failure),
        }
        if let Err(crash) = order.faults.strike(Step::AfterWrite).await {
            receipt.fail(at(Step::AfterWrite)(crash));
        }
    }
}

impl Rows {
    /// Sells from the rows of that database.
    #[must_use]
    pub fn new(client: Arc<SqlClient>, reading: Reading) -> Self {
        Self { client, reading }
    }

    /// One try: what the store did, and when it was asked to; `None` if somebody else was faster.
    async fn attempt(
        &self,
        order: &Order,
        until: Instant,
        tries: &Mutex<Tries<'_>>,
    ) -> Result<Option<(Written, u64)>, Failure> {
        let faults = &order.faults;
        let mut reading = self.reading;
        if reading == Reading::ForUpdate {
            faults.strike(Step::LockRow).await.map_err(at(Step::LockRow))?;
            if faults.skips(Step::LockRow) {
                reading = Reading::Plain;
            }
        }
        faults.strike(Step::Read).await.map_err(at(Step::Read))?;
        let since_ns = tries.lock().trail.now();
        let read = self.read(order, until, reading).instrument(span::read());
        let read = order.patience.gone.run_until_cancelled(read).await;
        let read = read.ok_or_else(nobody_waits).and_then(|read| read);
        let (transaction, rows) = read.map_err(at(Step::Read))?;
        let started = Instant::now();
        let tried = self.sell(order, until, (transaction, rows), since_ns, tries).await;
        let mut tries = tries.lock();
        tries.spent += started.elapsed();
        if self.reading == Reading::ForUpdate {
            tries.hold += started.elapsed();
        }
        tried
    }

    /// Reads the rows of all items; with the transaction that keeps them locked, if one is to.
    async fn read(
        &self,
        order: &Order,
        until: Instant,
        reading: Reading,
    ) -> Result<(Option<Transaction>, Vec<Option<ProductRow>>), BackendError> {
        let mut rows = Vec::with_capacity(order.items.len());
        if self.reading == Reading::Plain {
            let mut session = self.client.session(until).await?;
            for item in &order.items {
                rows.push(look(&mut session, &item.product).await?);
            }
            return Ok((None, rows));
        }
        let wait = until.saturating_duration_since(Instant::now());
        let mut transaction = Transaction::begin(&self.client, until, wait).await?;
        for (index, item) in order.items.iter().enumerate() {
            if index > 0 && reading == Reading::ForUpdate {
                // A crash closes the connection: the transaction is dropped as it is.
                order.faults.strike(Step::LockRow).await?;
            }
            match transaction.read(&item.product, reading).await {
                Ok(row) => rows.push(row),
                Err(error) => {
                    transaction.give_up().await;
                    return Err(error);
                }
            }
        }
        Ok((Some(transaction), rows))
    }

    /// From the read to the commit.
    async fn sell(
        &self,
        order: &Order,
        until: Instant,
        (transaction, rows): (Option<Transaction>, Vec<Option<ProductRow>>),
        since_ns: u64,
        tries: &Mutex<Tries<'_>>,
    ) -> Result<Option<(Written, u64)>, Failure> {
        let Order { items, key, faults, .. } = order;
        let refused = match rows.iter().position(Option::is_none) {
            Some(item) => Err(Written::Absent { item }),
            None => {
                let rows: Vec<ProductRow> = rows.into_iter().flatten().collect();
                tries.lock().saw(&rows, since_ns);
                check(order, &rows).map(|()| rows)
            }
        };
        let rows = match refused {
            Ok(rows) => rows,
            Err(refused) => {
                if let Some(transaction) = transaction {
                    transaction.give_up().await;
                }
                return Ok(Some((refused, since_ns)));
            }
        };
        faults.strike(Step::Work).await.map_err(at(Step::Work))?;
        let started = Instant::now();
        Receipt::work(order.delay).instrument(span::work()).await;
        tries.lock().work += started.elapsed();
        faults.strike(Step::BeforeWrite).await.map_err(at(Step::BeforeWrite))?;
        faults.strike(Step::Write).await.map_err(at(Step::Write))?;
        let since_ns = tries.lock().trail.now();
        let written = async {
            let mut transaction = match transaction {
                Some(transaction) => transaction,
                None => Transaction::begin(&self.client, until, self.client.timeout()).await?,
            };
            let written = self.write(&mut transaction, order, &rows).await;
            if let (Ok(Some(Written::Sold(_))), Some(key)) = (&written, key)
                && let Some(answer) = transaction.answer(key).await?
            {
                transaction.give_up().await;
                return Ok(Some(Written::Repeated(answer)));
            }
            match written {
                Ok(Some(written)) => {
                    if let Some(key) = key {
                        let lines = rows.iter().zip(items).map(|(row, item)| Line {
                            stock_before: Some(row.stock),
                            stock_after: Some(row.stock - i64::from(item.quantity)),
                            fencing_token: None,
                        });
                        transaction.keep(key, &key.sold(lines.collect())).await?;
                    }
                    transaction.end(Ok(written)).await.map(Some)
                }
                nothing => {
                    transaction.give_up().await;
                    nothing
                }
            }
        };
        let written = written.instrument(span::write()).await;
        let written = faults.reply(Step::Write, written).map_err(at(Step::Write))?;
        Ok(written.map(|written| (written, since_ns)))
    }

    /// Writes what follows from the rows that were read; `None` if one is not as it was.
    async fn write(
        &self,
        transaction: &mut Transaction,
        order: &Order,
        rows: &[ProductRow],
    ) -> Result<Option<Written>, BackendError> {
        let mut places: Vec<usize> = (0..rows.len()).collect();
        if self.reading == Reading::Plain {
            // Nothing is locked yet: in the order in which everybody locks.
            places.sort_by_key(|&item| &order.items[item].product);
        }
        let mut sold: Vec<Option<Sold>> = vec![None; rows.len()];
        for item in places {
            let (row, wanted) = (&rows[item], &order.items[item]);
            // Whoever left the lock out has to look what there is, to tell what it overwrites.
            let found =
                match self.reading == Reading::ForUpdate && order.faults.skips(Step::LockRow) {
                    true => transaction.read(&wanted.product, Reading::ForUpdate).await?,
                    false => None,
                };
            let found = found.map(|row| row.stock);
            let selling = Selling {
                order_id: &order.id,
                product: &wanted.product,
                generation: Some(&row.generation),
                version: (self.reading == Reading::Plain).then_some(row.version),
                change: Change::To(row.stock - i64::from(wanted.quantity)),
                quantity: wanted.quantity,
                fencing_token: None,
            };
            let Some(entry) = transaction.sell(&selling).await? else { return Ok(None) };
            let found = found.unwrap_or(row.stock);
            sold[item] = Some(Sold::new(Entry { found, ..entry }, row.stock, wanted.quantity));
        }
        Ok(Some(Written::Sold(sold.into_iter().flatten().collect())))
    }
}

/// Whether there is something to sell.
fn check(order: &Order, rows: &[ProductRow]) -> Result<(), Written> {
    let is_closed = rows.iter().any(|row| row.generation.0.is_empty());
    let is_other =
        order.key.as_ref().is_some_and(|key| key.generation != rows[key.item].generation);
    if is_closed || is_other {
        return Err(Written::Reset);
    }
    let short =
        order.items.iter().zip(rows).position(|(item, row)| row.stock < i64::from(item.quantity));
    match short {
        Some(item) => Err(Written::SoldOut { item, stock: rows[item].stock }),
        None => Ok(()),
    }
}

fn nobody_waits() -> BackendError {
    let cause = "nobody waits for the answer any more".into();
    BackendError::Contended { backend: "the database", cause }
}

impl Tries<'_> {
    fn saw(&mut self, rows: &[ProductRow], since_ns: u64) {
        for (item, ProductRow { stock, sold, generation, .. }) in rows.iter().enumerate() {
            self.trail.learn(item, generation);
            self.trail.note(item, EventKind::Read { since_ns, stock: *stock, sold: *sold });
            self.receipt.lines[item].stock_before = Some(*stock);
        }
    }
}
