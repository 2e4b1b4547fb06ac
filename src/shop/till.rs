//! Where a buyer who has the lock reads and writes: straight at the store, or within one transaction that
//! keeps the rows locked.

use tokio::time::Instant;

use crate::{
    order::Order,
    product::Product,
    stock::{
        Stock, Written,
        answer::Key,
        ledger::{Line, Sale, Seen, Sold},
        sql::{Change, Reading, Selling, SqlStock, Transaction},
    },
};
use locklab_locks::{error::BackendError, token::Token};

/// See the module. Dropped before it has written, it leaves nothing behind.
pub enum Till<'a> {
    /// Whatever is written is written blindly: guarding it is the lock's task.
    Plain(&'a dyn Stock),
    /// What is written is subtracted from what is there, under the lock of its row.
    Rows { transaction: Box<Transaction>, reading: Reading },
}

impl<'a> Till<'a> {
    /// One that keeps the rows locked that it reads, or (`reading` plain) leaves that out.
    ///
    /// # Errors
    /// The database did not answer, or had no connection in time.
    pub async fn of_rows(
        rows: &SqlStock,
        order: &Order,
        reading: Reading,
    ) -> Result<Self, BackendError> {
        let wait = order.patience.wait;
        let transaction = Transaction::begin(rows.client(), Instant::now() + wait, wait).await?;
        Ok(Self::Rows { transaction: Box::new(transaction), reading })
    }

    /// Reads the stock of a product.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn read(&mut self, product: &Product) -> Result<Option<Seen>, BackendError> {
        match self {
            Self::Plain(stock) => stock.read(product).await,
            Self::Rows { transaction, reading } => {
                let row = transaction.read(product, *reading).await?;
                Ok(row.map(|row| Seen { stock: row.stock, sold: row.sold }))
            }
        }
    }

    /// Writes the sales of an order, and commits.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: the sales may stand, or may still come to stand.
    pub async fn write(
        self,
        order_id: &Token,
        sales: &[Sale<'_>],
        key: Option<&Key>,
    ) -> Result<Written, BackendError> {
        match self {
            Self::Plain(stock) => stock.write(order_id, sales, key).await,
            Self::Rows { mut transaction, .. } => {
                let written = subtract(&mut transaction, order_id, sales, key).await;
                transaction.end(written).await
            }
        }
    }

    /// Nothing is to be written.
    pub async fn close(self) {
        if let Self::Rows { transaction, .. } = self {
            transaction.give_up().await;
        }
    }
}

async fn subtract(
    transaction: &mut Transaction,
    order_id: &Token,
    sales: &[Sale<'_>],
    key: Option<&Key>,
) -> Result<Written, BackendError> {
    let mut sold = Vec::with_capacity(sales.len());
    for sale in sales {
        let selling = Selling {
            order_id,
            product: sale.product,
            generation: Some(sale.generation),
            version: None,
            change: Change::Less,
            quantity: sale.quantity,
            fencing_token: None,
        };
        let Some(entry) = transaction.sell(&selling).await? else { return Ok(Written::Reset) };
        let found = entry.found;
        sold.push(Sold::new(entry, found, sale.quantity));
    }
    if let Some(key) = key {
        // All rows are locked by now: whoever else has the key waits for them, or was faster.
        if let Some(answer) = transaction.answer(key).await? {
            return Ok(Written::Repeated(answer));
        }
        // What it is by now: the buyer who is told so first is told the same.
        let line = |(sale, sold): (&Sale<'_>, &Sold)| Line {
            stock_after: Some(sold.stock),
            ..sale.line()
        };
        let lines = sales.iter().zip(&sold).map(line).collect();
        transaction.keep(key, &key.sold(lines)).await?;
    }
    Ok(Written::Sold(sold))
}
