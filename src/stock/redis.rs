//! Stock, ledger and history in Redis.
//!
//! `inventory:{product}` is the stock, a plain number. `ledger:{product}` is a hash: `initial`,
//! `sold`, the `generation`, which changes with every reset and is empty during one, and the `bar`: the
//! newest fencing token seen since. `history:{product}` is a list of records, and `histories` lists these
//! lists, by when they were last added to. `recorded:{product}` is how many records the history was
//! given: not in the ledger, for whoever watches that would take a record for a sale.

mod answers;
mod reply;
mod scripts;

use std::sync::Arc;

use async_trait::async_trait;
use redis::Script;

pub use self::answers::{answer_key, decode, encode, ttl_ms};
use self::reply::Reply;
use crate::{
    product::{Item, Product},
    stock::{
        Evidence, Note, Stock, Written,
        answer::Key,
        ledger::{Generation, Sale, Seen, Tally},
    },
};
use locklab_locks::{
    error::BackendError,
    token::Token,
    wires::{metrics::Op, redis::RedisClient},
};

/// Products whose history is kept.
const HISTORIES_MAX: u32 = 100;
/// How long nobody takes the place of a history after it was added to, in seconds.
const HISTORY_REST_S: u32 = 5;
/// Lists the histories.
const HISTORIES: &str = "histories";

/// Products in one Redis.
pub struct RedisStock {
    redis: Arc<RedisClient>,
    /// Records that are kept of each product.
    records_max: u32,
}

impl RedisStock {
    /// Products in that Redis, with so many records of each.
    #[must_use]
    pub fn new(redis: Arc<RedisClient>, records_max: u32) -> Self {
        Self { redis, records_max }
    }

    async fn put(&self, product: &Product, stock: u64, when: &str) -> Result<bool, BackendError> {
        let mut script = scripts::RESET.key(stock_key(product));
        script.key(ledger_key(product)).key(history_key(product)).key(HISTORIES);
        script.key(recorded_key(product));
        script.arg(stock).arg(Token::random().as_str()).arg(when);
        self.redis.script(Op::Reset, &script).await
    }
}

/// How often stock and ledger are read side by side before a transaction reads them.
pub const READS_MAX: u32 = 8;

/// Where the stock is.
#[must_use]
pub fn stock_key(product: &Product) -> String {
    format!("inventory:{product}")
}

/// Where the ledger is.
#[must_use]
pub fn ledger_key(product: &Product) -> String {
    format!("ledger:{product}")
}

fn history_key(product: &Product) -> String {
    format!("history:{product}")
}

fn recorded_key(product: &Product) -> String {
    format!("recorded:{product}")
}

/// A reply that makes no sense is an error of the server.
fn senseless(error: redis::ParsingError) -> BackendError {
    BackendError::Refused { backend: "redis", cause: error.into() }
}

#[async_trait]
impl Stock for RedisStock {
    async fn generation(&self, product: &Product) -> Result<Option<Generation>, BackendError> {
        let mut hget = redis::cmd("HGET");
        hget.arg(ledger_key(product)).arg("generation");
        let generation: Option<String> = self.redis.command(Op::Generation, &hget).await?;
        Ok(generation.map(Generation))
    }

    async fn read(&self, product: &Product) -> Result<Option<Seen>, BackendError> {
        let mut read = redis::pipe();
        read.hget(ledger_key(product), "sold");
        read.get(stock_key(product));
        read.hget(ledger_key(product), "sold");
        for _ in 0..READS_MAX {
            // In the same instant, if nothing was sold meanwhile; much cheaper than a script.
            let (before, stock, after): (Option<i64>, Option<String>, Option<i64>) =
                self.redis.pipeline(Op::Read, &read).await?;
            if before == after {
                let stock = stock.as_deref().map(number).transpose()?;
                return Ok(stock.zip(before).map(|(stock, sold)| Seen { stock, sold }));
            }
        }
        // Something is always sold meanwhile: a transaction sees one instant.
        let (sold, stock, _): (Option<i64>, Option<String>, Option<i64>) =
            self.redis.pipeline(Op::Read, read.atomic()).await?;
        let stock = stock.as_deref().map(number).transpose()?;
        Ok(stock.zip(sold).map(|(stock, sold)| Seen { stock, sold }))
    }

    async fn write(
        &self,
        _: &Token,
        sales: &[Sale<'_>],
        key: Option<&Key>,
    ) -> Result<Written, BackendError> {
        let mut script = scripts::WRITE.prepare_invoke();
        for sale in sales {
            script.key(stock_key(sale.product)).key(ledger_key(sale.product));
            let token = sale.fencing_token.map_or_else(String::new, |token| token.to_string());
            script.arg(&sale.generation.0).arg(sale.left()).arg(sale.quantity).arg(token);
        }
        if let Some(key) = key {
            let answer = encode(&key.sold(sales.iter().map(Sale::line).collect()))?;
            script.key(answer_key(key)).arg(answer).arg(ttl_ms(key));
        }
        let reply: Reply = self.redis.script(Op::Write, &script).await?;
        reply.judge_write(sales).map_err(senseless)
    }

    async fn raise_bar(&self, product: &Product, token: u64) -> Result<bool, BackendError> {
        let mut script = scripts::RAISE_BAR.key(ledger_key(product));
        script.arg(token);
        self.redis.script(Op::RaiseBar, &script).await
    }

    async fn take(
        &self,
        _: &Token,
        items: &[Item],
        key: Option<&Key>,
    ) -> Result<Written, BackendError> {
        let mut script = scripts::TAKE.prepare_invoke();
        for item in items {
            script.key(stock_key(&item.product)).key(ledger_key(&item.product)).arg(item.quantity);
        }
        if let Some(key) = key {
            script.key(answer_key(key)).arg(encode(&key.sold(Vec::new()))?).arg(ttl_ms(key));
            script.arg(key.item + 1).arg(&key.generation.0);
        }
        let reply: Reply = self.redis.script(Op::Take, &script).await?;
        reply.judge(items.iter().map(|item| item.quantity), |_| None).map_err(senseless)
    }

    async fn close(&self, product: &Product) -> Result<(), BackendError> {
        self.redis.script(Op::Reset, &scripts::CLOSE.key(ledger_key(product))).await
    }

    async fn reset(&self, product: &Product, stock: u64) -> Result<(), BackendError> {
        self.put(product, stock, "always").await.map(|_| ())
    }

    async fn open(&self, product: &Product, stock: u64) -> Result<bool, BackendError> {
        self.put(product, stock, "if absent").await
    }

    async fn tally(&self, product: &Product) -> Result<Option<Tally>, BackendError> {
        let mut both = redis::pipe();
        both.atomic().get(stock_key(product)).hmget(ledger_key(product), &["initial", "sold"]);
        let (stock, (initial, sold)): (Option<String>, (Option<i64>, Option<i64>)) =
            self.redis.pipeline(Op::Tally, &both).await?;
        tally(stock, initial, sold)
    }

    async fn evidence(&self, product: &Product) -> Result<Option<Evidence>, BackendError> {
        let mut all = redis::pipe();
        all.atomic().get(stock_key(product)).hmget(ledger_key(product), &["initial", "sold"]);
        all.get(recorded_key(product)).lrange(history_key(product), 0, -1);
        type Numbers = (Option<i64>, Option<i64>);
        let (stock, (initial, sold), recorded, records): (_, Numbers, Option<u64>, Vec<String>) =
            self.redis.pipeline(Op::Tally, &all).await?;
        let Some(tally) = tally(stock, initial, sold)? else { return Ok(None) };
        // What another version wrote, and this one cannot read, is missing like what was dropped.
        let history = records.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
        Ok(Some(Evidence::new(tally, history, recorded.unwrap_or_default())))
    }

    async fn record(&self, notes: &[Note]) -> Result<(), BackendError> {
        let mut pipe = redis::pipe();
        // Loads it as well; by its hash, a pipeline could not be told that the server knows it.
        pipe.cmd("SCRIPT").arg("LOAD").arg(scripts::RECORD_CODE).ignore();
        let hash = Script::new(scripts::RECORD_CODE);
        let same = |one: &Note, next: &Note| {
            (&one.product, &one.generation) == (&next.product, &next.generation)
        };
        for of_one in notes.chunk_by(same) {
            let Note { product, generation, .. } = &of_one[0];
            let record = pipe.cmd("EVALSHA").arg(hash.get_hash()).arg(4).ignore();
            record.arg(ledger_key(product)).arg(history_key(product)).arg(HISTORIES);
            record.arg(recorded_key(product));
            record.arg(generation.as_ref().map_or("", |generation| &generation.0));
            record.arg(self.records_max).arg(HISTORIES_MAX).arg(HISTORY_REST_S);
            for note in of_one {
                record.arg(serde_json::to_string(&note.record).unwrap_or_default());
            }
        }
        self.redis.pipeline(Op::Record, &pipe).await
    }
}

fn tally(
    stock: Option<String>,
    initial: Option<i64>,
    sold: Option<i64>,
) -> Result<Option<Tally>, BackendError> {
    let (Some(stock), Some(initial), Some(sold)) = (stock, initial, sold) else {
        return Ok(None);
    };
    Ok(Some(Tally { initial, stock: number(&stock)?, sold }))
}

/// The stock as a number.
///
/// # Errors
/// It is none: anybody can write anything to the stock's key.
pub fn number(text: &str) -> Result<i64, BackendError> {
    let refused = |_| BackendError::Refused {
        backend: "redis",
        cause: format!("the stock is no number: {text:?}").into(),
    };
    text.parse().map_err(refused)
}
