//! Stock, ledger and history in Postgres or MySQL; the tables are in `migrations/`.
//!
//! The ledger is the table of orders: a sale changes the product's row and adds its order in one
//! transaction. Sales are numbered in the row, relative to itself and under its lock: exactly.

mod answers;
mod histories;
pub mod tables;
mod transaction;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::{Duration, Instant};

pub use self::transaction::{Change, ProductRow, Reading, Selling, Transaction, look};
use crate::{
    product::{Item, Product},
    stock::{
        Evidence, Note, Stock, Written,
        answer::Key,
        ledger::{Entry, Generation, Sale, Seen, Sold, Tally},
    },
};
use locklab_locks::{
    error::BackendError,
    token::Token,
    wires::{
        metrics::Op,
        sql::{Dialect, SqlClient},
    },
};

/// How long a reset waits for a purchase that keeps the row locked.
const RESET_WAIT: Duration = Duration::from_secs(10);
/// How often a take looks again, when it was told of too little and finds enough.
const LOOKS_MAX: u32 = 3;
/// Products in one database.
pub struct SqlStock {
    client: Arc<SqlClient>,
    /// Records that are kept of each product.
    records_max: u32,
}

impl SqlStock {
    /// Products in that database, with so many records of each.
    #[must_use]
    pub fn new(client: Arc<SqlClient>, records_max: u32) -> Self {
        Self { client, records_max }
    }

    /// The database.
    #[must_use]
    pub fn client(&self) -> &Arc<SqlClient> {
        &self.client
    }

    /// A transaction in which nobody is waited for longer than for an answer.
    async fn begin(&self) -> Result<Transaction, BackendError> {
        let timeout = self.client.timeout();
        Transaction::begin(&self.client, Instant::now() + timeout, timeout).await
    }

    /// One that waits for purchases which keep the row locked.
    async fn begin_reset(&self) -> Result<Transaction, BackendError> {
        let until = Instant::now() + self.client.timeout();
        Transaction::begin(&self.client, until, RESET_WAIT).await
    }

    /// Puts a product on sale; whether it did.
    async fn put(
        &self,
        product: &Product,
        stock: u64,
        is_reset: bool,
    ) -> Result<bool, BackendError> {
        let stock = i64::try_from(stock).unwrap_or(i64::MAX);
        let (name, generation) = (product.as_str(), Token::random());
        let values = [name.into(), generation.as_str().into(), stock.into(), stock.into()];
        let (insert, unless) = match (self.client.dialect(), is_reset) {
            (Dialect::Postgres, false) => ("INSERT", "ON CONFLICT DO NOTHING"),
            (Dialect::MySql, false) => ("INSERT IGNORE", ""),
            (Dialect::Postgres, true) => (
                "INSERT",
                "ON CONFLICT (product) DO UPDATE SET generation = excluded.generation, \
                 initial = excluded.initial, stock = excluded.stock, sold = 0, bar = NULL, \
                 version = locklab_products.version + 1",
            ),
            (Dialect::MySql, true) => (
                "INSERT",
                "ON DUPLICATE KEY UPDATE generation = VALUES(generation), \
                 initial = VALUES(initial), stock = VALUES(stock), sold = 0, bar = NULL, \
                 version = version + 1",
            ),
        };
        let sql = format!(
            "{insert} INTO locklab_products (product, generation, initial, stock) \
             VALUES (?, ?, ?, ?) {unless}"
        );
        if !is_reset {
            let mut session = self.client.session_soon().await?;
            return Ok(session.change(Duration::ZERO, Op::Reset, &sql, &values).await? == 1);
        }
        let mut transaction = self.begin_reset().await?;
        // Its row first, as every sale does.
        transaction.change(Op::Reset, &sql, &values).await?;
        for table in ["locklab_orders", "locklab_histories", "locklab_records"] {
            let sql = format!("DELETE FROM {table} WHERE product = ?");
            transaction.change(Op::Reset, &sql, &[name.into()]).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Writes within a transaction; whoever called commits what was sold, and gives up the rest.
    async fn write_in(
        &self,
        transaction: &mut Transaction,
        order_id: &Token,
        sales: &[Sale<'_>],
        key: Option<&Key>,
    ) -> Result<Written, BackendError> {
        let mut rows = Vec::with_capacity(sales.len());
        for item in by_name(sales.iter().map(|sale| sale.product)) {
            let row = transaction.read(sales[item].product, Reading::ForUpdate).await?;
            rows.push((item, row));
        }
        rows.sort_by_key(|(item, _)| *item);
        if let Some(key) = key
            && let Some(answer) = transaction.answer(key).await?
        {
            return Ok(Written::Repeated(answer));
        }
        let mut sold = Vec::with_capacity(sales.len());
        for (sale, (_, row)) in sales.iter().zip(rows) {
            let Some(row) = row.filter(|row| is_at(row, sale.generation)) else {
                return Ok(Written::Reset);
            };
            let token = sale.fencing_token.map(|token| i64::try_from(token).unwrap_or(i64::MAX));
            if row.bar.is_some_and(|bar| token.is_none_or(|token| token < bar)) {
                return Ok(Written::Fenced);
            }
            let selling = Selling {
                order_id,
                product: sale.product,
                generation: Some(sale.generation),
                version: None,
                change: Change::To(sale.left()),
                quantity: sale.quantity,
                fencing_token: token,
            };
            let Some(entry) = transaction.sell(&selling).await? else { return Ok(Written::Reset) };
            sold.push(Sold::new(Entry { found: row.stock, ..entry }, sale.read, sale.quantity));
        }
        if let Some(key) = key {
            let answer = key.sold(sales.iter().map(Sale::line).collect());
            transaction.keep(key, &answer).await?;
        }
        Ok(Written::Sold(sold))
    }

    async fn take_in(
        &self,
        transaction: &mut Transaction,
        order_id: &Token,
        items: &[Item],
        key: Option<&Key>,
    ) -> Result<Written, BackendError> {
        let mut sold: Vec<Option<Sold>> = vec![None; items.len()];
        for item in by_name(items.iter().map(|item| &item.product)) {
            let of_key = key.filter(|key| key.item == item);
            let Item { product, quantity } = &items[item];
            let selling = Selling {
                order_id,
                product,
                generation: of_key.map(|key| &key.generation),
                version: None,
                change: Change::LessIfEnough,
                quantity: *quantity,
                fencing_token: None,
            };
            let entry = transaction.sell(&selling).await?;
            // Now that the row is locked: who else has the key waits for it, or was faster.
            if let Some(key) = of_key
                && let Some(answer) = transaction.answer(key).await?
            {
                return Ok(Written::Repeated(answer));
            }
            let Some(entry) = entry else { return why(transaction, items, &sold, key).await };
            let found = entry.found;
            sold[item] = Some(Sold::new(entry, found, *quantity));
        }
        let sold: Vec<Sold> = sold.into_iter().flatten().collect();
        if let Some(key) = key {
            let line = |sold: &Sold| crate::stock::ledger::Line {
                stock_before: Some(sold.found),
                stock_after: Some(sold.stock),
                fencing_token: None,
            };
            transaction.keep(key, &key.sold(sold.iter().map(line).collect())).await?;
        }
        Ok(Written::Sold(sold))
    }

    /// One statement, which is a transaction of its own: the shortest way to sell there is.
    async fn take_one(&self, order_id: &Token, item: &Item) -> Result<Written, BackendError> {
        let mut session = self.client.session_soon().await?;
        let Item { product, quantity } = item;
        let selling = Selling {
            order_id,
            product,
            generation: None,
            version: None,
            change: Change::LessIfEnough,
            quantity: *quantity,
            fencing_token: None,
        };
        // A buyer under a row lock may keep the row.
        let wait = self.client.timeout();
        let mut looks = 0;
        loop {
            let sold = transaction::sell(&mut session, wait, &selling).await;
            if let Some(entry) = sold.map_err(transaction::or_not)? {
                let found = entry.found;
                return Ok(Written::Sold(vec![Sold::new(entry, found, *quantity)]));
            }
            let row = look(&mut session, product).await.map_err(BackendError::into_undone)?;
            looks += 1;
            // There may have been a reset between the two.
            let enough = |row: &ProductRow| {
                !row.generation.0.is_empty() && row.stock >= i64::from(*quantity)
            };
            if looks >= LOOKS_MAX || !row.as_ref().is_some_and(enough) {
                return Ok(refused(0, row, None));
            }
        }
    }
}

/// Why an order takes nothing: what is wrong with the first of its items, in their own order, that has not
/// been taken yet.
async fn why(
    transaction: &mut Transaction,
    items: &[Item],
    sold: &[Option<Sold>],
    key: Option<&Key>,
) -> Result<Written, BackendError> {
    for (item, Item { product, quantity }) in items.iter().enumerate() {
        let of_key = key.filter(|key| key.item == item).map(|key| &key.generation);
        let row = transaction.read(product, Reading::Plain).await?;
        let is_enough = row.as_ref().is_some_and(|row| {
            let generation = of_key.unwrap_or(&row.generation);
            is_at(row, generation) && row.stock >= i64::from(*quantity)
        });
        if sold[item].is_none() && !is_enough {
            return Ok(refused(item, row, of_key));
        }
    }
    // It was put on sale since.
    Ok(Written::Reset)
}

/// Indices in the order of names, in which all transactions lock rows unless they are to deadlock.
fn by_name<'a>(products: impl Iterator<Item = &'a Product>) -> Vec<usize> {
    let mut places: Vec<(usize, &Product)> = products.enumerate().collect();
    places.sort_by_key(|(_, product)| *product);
    places.into_iter().map(|(item, _)| item).collect()
}

/// Whether a product is on sale at this reset.
pub fn is_at(row: &ProductRow, generation: &Generation) -> bool {
    !row.generation.0.is_empty() && row.generation == *generation
}

/// Why a row was not taken from, by what it is now.
fn refused(item: usize, row: Option<ProductRow>, generation: Option<&Generation>) -> Written {
    match row {
        None => Written::Absent { item },
        Some(row) if row.generation.0.is_empty() => Written::Reset,
        Some(row) if generation.is_some_and(|generation| row.generation != *generation) => {
            Written::Reset
        }
        Some(row) => Written::SoldOut { item, stock: row.stock },
    }
}

#[async_trait]
impl Stock for SqlStock {
    async fn generation(&self, product: &Product) -> Result<Option<Generation>, BackendError> {
        let mut session = self.client.session_soon().await?;
        let sql = "SELECT generation FROM locklab_products WHERE product = ?";
        let rows: Vec<(String,)> =
            session.rows(Op::Generation, sql, &[product.as_str().into()]).await?;
        Ok(rows.into_iter().next().map(|(generation,)| Generation(generation)))
    }

    async fn read(&self, product: &Product) -> Result<Option<Seen>, BackendError> {
        let mut session = self.client.session_soon().await?;
        let sql = "SELECT stock, sold FROM locklab_products WHERE product = ?";
        let rows: Vec<(i64, i64)> = session.rows(Op::Read, sql, &[product.as_str().into()]).await?;
        Ok(rows.into_iter().next().map(|(stock, sold)| Seen { stock, sold }))
    }

    async fn write(
        &self,
        order_id: &Token,
        sales: &[Sale<'_>],
        key: Option<&Key>,
    ) -> Result<Written, BackendError> {
        let mut transaction = self.begin().await?;
        let written = self.write_in(&mut transaction, order_id, sales, key).await;
        transaction.end(written).await
    }

    async fn raise_bar(&self, product: &Product, token: u64) -> Result<bool, BackendError> {
        let mut session = self.client.session_soon().await?;
        let token = i64::try_from(token).unwrap_or(i64::MAX);
        let sql = "UPDATE locklab_products SET bar = ? \
                   WHERE product = ? AND (bar IS NULL OR bar <= ?)";
        let values = [token.into(), product.as_str().into(), token.into()];
        if session.change(self.client.timeout(), Op::RaiseBar, sql, &values).await? == 1 {
            return Ok(true);
        }
        // A product that is not there refuses nobody.
        Ok(look(&mut session, product).await?.is_none())
    }

    async fn take(
        &self,
        order_id: &Token,
        items: &[Item],
        key: Option<&Key>,
    ) -> Result<Written, BackendError> {
        if let ([item], None, Dialect::Postgres) = (items, key, self.client.dialect()) {
            return self.take_one(order_id, item).await;
        }
        let mut transaction = self.begin().await?;
        let written = self.take_in(&mut transaction, order_id, items, key).await;
        transaction.end(written).await
    }

    async fn close(&self, product: &Product) -> Result<(), BackendError> {
        let mut transaction = self.begin_reset().await?;
        let sql = "UPDATE locklab_products SET generation = '', version = version + 1 \
                   WHERE product = ?";
        transaction.change(Op::Reset, sql, &[product.as_str().into()]).await?;
        transaction.commit().await
    }

    async fn reset(&self, product: &Product, stock: u64) -> Result<(), BackendError> {
        self.put(product, stock, true).await.map(|_| ())
    }

    async fn open(&self, product: &Product, stock: u64) -> Result<bool, BackendError> {
        self.put(product, stock, false).await
    }

    async fn tally(&self, product: &Product) -> Result<Option<Tally>, BackendError> {
        let mut session = self.client.session_soon().await?;
        histories::tally(&mut session, product).await
    }

    async fn evidence(&self, product: &Product) -> Result<Option<Evidence>, BackendError> {
        self.whole(product).await
    }

    async fn record(&self, notes: &[Note]) -> Result<(), BackendError> {
        self.add(notes).await
    }
}
