//! `optimistic`: nobody is kept out; whoever finds that the stock has changed starts again.
//!
//! - Algorithm: WATCH, read, work, MULTI/EXEC: EXEC does nothing when a watched key was touched
//!   since (Redis documentation, "Transactions", "Optimistic locking using check-and-set").
//! - Guarantees: exact. A key that was changed and changed back counts as touched.
//! - Does not guarantee: that anybody but the fastest gets anywhere. The work of whoever loses is
//!   wasted, and with N buyers who retry at once that grows like N².
//! - Clock: none.
//! - Cancellation: nothing is held. An EXEC that has been sent stands.
//! - Commands sent: UNWATCH, WATCH, GET, HMGET; MULTI, SET, HINCRBY, EXEC (and PSETEX of the
//!   answer, with an idempotency key); each buyer on a connection of its own, for a watch belongs
//!   to a connection; PING, by the pool, whenever one is checked out.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use redis::Pipeline;
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
    product::Item,
    sell::{Sell, note_sales},
    stock::{
        Stock, Written,
        answer::Key,
        ledger::{Entry, Generation, Line, Seen, Sold},
        redis::{answer_key, decode, encode, ledger_key, number, stock_key, ttl_ms},
    },
};
use locklab_locks::{
    error::BackendError,
    step::Step,
    wait,
    wires::{
        metrics::Op,
        redis::{Exclusive, RedisClient},
    },
};

/// The strategy.
pub struct Optimistic {
    redis: Arc<RedisClient>,
}

impl Optimistic {
    /// Sells from the products of that Redis.
    #[must_use]
    pub fn new(redis: Arc<RedisClient>) -> Self {
        Self { redis }
    }
}

/// What a buyer has seen and done, over all its tries.
struct Tries<'a> {
    receipt: &'a mut Receipt,
    trail: &'a mut Trail,
    work: Duration,
    /// Time within tries; the rest is between them.
    spent: Duration,
}

/// A product as it was when it was watched.
struct Watched {
    seen: Seen,
    initial: i64,
    generation: Generation,
}

#[async_trait]
impl Sell for Optimistic {
    async fn sell(&self, order: &Order, _: &dyn Stock, receipt: &mut Receipt, trail: &mut Trail) {
        let tries =
            Mutex::new(Tries { receipt, trail, work: Duration::ZERO, spent: Duration::ZERO });
        let mut rng = order.patience.rng();
        let attempt = || async {
            let started = Instant::now();
            let tried = self.attempt(order, &tries).await;
            tries.lock().spent += started.elapsed();
            tried
        };
        let started = Instant::now();
        let tried = wait::retry(&order.patience, &mut rng, attempt).await;
        let Tries { receipt, trail, work, spent } = tries.into_inner();
        (receipt.work, receipt.retries) = (work, tried.retries);
        receipt.wait = started.elapsed().saturating_sub(spent);
        match tried.result {
            Ok(Some((written, since_ns))) => {
                receipt.settle(written, order);
                note_sales(order, receipt, trail, since_ns);
            }
            Ok(None) => receipt.fail(Failure::Conflict),
            Err(failure) => return receipt.fail(failure),
        }
        if let Err(crash) = order.faults.strike(Step::AfterWrite).await {
            receipt.fail(at(Step::AfterWrite)(crash));
        }
    }
}

impl Optimistic {
    /// One try: what the store did, and when it was asked to; `None` if somebody else was faster.
    async fn attempt(
        &self,
        order: &Order,
        tries: &Mutex<Tries<'_>>,
    ) -> Result<Option<(Written, u64)>, Failure> {
        let Order { items, key, faults, .. } = order;
        faults.strike(Step::Read).await.map_err(at(Step::Read))?;
        let mut conn = self.redis.exclusive().await.map_err(at(Step::Read))?;
        let since_ns = tries.lock().trail.now();
        let read = watch(&mut conn, order).instrument(span::read());
        let read = read.await.map_err(at(Step::Read))?;
        let watched = match read {
            Ok(watched) => watched,
            Err(refused) => return Ok(Some((refused, since_ns))),
        };
        tries.lock().saw(&watched, since_ns);
        let short =
            |(item, watched): (&Item, &Watched)| watched.seen.stock < i64::from(item.quantity);
        if let Some(item) = items.iter().zip(&watched).position(short) {
            let stock = watched[item].seen.stock;
            return Ok(Some((Written::SoldOut { item, stock }, since_ns)));
        }
        let is_closed = watched.iter().any(|watched| watched.generation.0.is_empty());
        let is_other = |key: &Key| key.generation != watched[key.item].generation;
        if is_closed || key.as_ref().is_some_and(is_other) {
            return Ok(Some((Written::Reset, since_ns)));
        }
        faults.strike(Step::Work).await.map_err(at(Step::Work))?;
        let started = Instant::now();
        Receipt::work(order.delay).instrument(span::work()).await;
        tries.lock().work += started.elapsed();
        faults.strike(Step::BeforeWrite).await.map_err(at(Step::BeforeWrite))?;
        faults.strike(Step::Write).await.map_err(at(Step::Write))?;
        let since_ns = tries.lock().trail.now();
        let exec = exec(order, &watched).map_err(at(Step::Write))?;
        let sold = conn.pipeline::<Option<Vec<i64>>>(Op::Write, &exec);
        let sold = sold.instrument(span::write()).await;
        let sold = faults.reply(Step::Write, sold).map_err(at(Step::Write))?;
        let Some(sold) = sold else { return Ok(None) };
        let sale = |((item, watched), sold): ((&Item, Watched), i64)| {
            let Watched { seen, initial, generation } = watched;
            // What was read is what was found: EXEC has made sure of that.
            let stock = seen.stock - i64::from(item.quantity);
            let entry = Entry { generation, found: seen.stock, stock, sold, initial };
            Sold::new(entry, seen.stock, item.quantity)
        };
        let sales = items.iter().zip(watched).zip(sold).map(sale).collect();
        Ok(Some((Written::Sold(sales), since_ns)))
    }
}

impl Tries<'_> {
    fn saw(&mut self, watched: &[Watched], since_ns: u64) {
        for (item, Watched { seen, generation, .. }) in watched.iter().enumerate() {
            self.trail.learn(item, generation);
            let kind = EventKind::Read { since_ns, stock: seen.stock, sold: seen.sold };
            self.trail.note(item, kind);
            self.receipt.lines[item].stock_before = Some(seen.stock);
        }
    }
}

/// The sale of all items, and the answer to be kept.
fn exec(order: &Order, watched: &[Watched]) -> Result<Pipeline, BackendError> {
    let mut exec = redis::pipe();
    exec.atomic();
    let mut lines = Vec::with_capacity(watched.len());
    for (item, watched) in order.items.iter().zip(watched) {
        let left = watched.seen.stock - i64::from(item.quantity);
        exec.set(stock_key(&item.product), left).ignore();
        exec.hincr(ledger_key(&item.product), "sold", item.quantity);
        lines.push(Line {
            stock_before: Some(watched.seen.stock),
            stock_after: Some(left),
            fencing_token: None,
        });
    }
    if let Some(key) = &order.key {
        exec.pset_ex(answer_key(key), encode(&key.sold(lines))?, ttl_ms(key)).ignore();
    }
    Ok(exec)
}

/// Watches all keys of the products, and that of the answer, then reads them. What the store says
/// if there is nothing to sell.
async fn watch(
    conn: &mut Exclusive<'_>,
    order: &Order,
) -> Result<Result<Vec<Watched>, Written>, BackendError> {
    let mut read = Pipeline::new();
    // Whoever had this connection before may have been dropped with its watch on.
    read.cmd("UNWATCH").ignore();
    let watch = read.cmd("WATCH").ignore();
    let answer = order.key.as_ref().map(answer_key);
    for item in &order.items {
        watch.arg(stock_key(&item.product)).arg(ledger_key(&item.product));
    }
    watch.arg(&answer);
    for item in &order.items {
        read.get(stock_key(&item.product));
        read.hmget(ledger_key(&item.product), &["initial", "sold", "generation"]);
    }
    if let Some(answer) = &answer {
        read.get(answer);
    }
    let mut values = conn.pipeline::<Vec<redis::Value>>(Op::Read, &read).await?.into_iter();
    let mut watched = Vec::with_capacity(order.items.len());
    for item in 0..order.items.len() {
        let stock: Option<String> = next(&mut values)?;
        let fields: (Option<i64>, Option<i64>, Option<String>) = next(&mut values)?;
        let (Some(stock), (Some(initial), Some(sold), Some(generation))) = (stock, fields) else {
            return Ok(Err(Written::Absent { item }));
        };
        let seen = Seen { stock: number(&stock)?, sold };
        watched.push(Watched { seen, initial, generation: Generation(generation) });
    }
    let answer: Option<String> = next(&mut values)?;
    Ok(match answer.filter(|answer| answer.starts_with('{')) {
        Some(answer) => Err(Written::Repeated(decode(&answer)?)),
        None => Ok(watched),
    })
}

fn next<T: redis::FromRedisValue>(
    values: &mut impl Iterator<Item = redis::Value>,
) -> Result<T, BackendError> {
    let value = values.next().unwrap_or(redis::Value::Nil);
    let senseless = |error: redis::ParsingError| BackendError::Refused {
        backend: "redis",
        cause: error.into(),
    };
    T::from_redis_value(value).map_err(senseless)
}
