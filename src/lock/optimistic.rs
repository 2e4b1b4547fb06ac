//! `optimistic`: nobody is kept out; whoever finds that the stock has changed starts again.
//!
//! - Algorithm: WATCH, read, work, MULTI/EXEC: EXEC does nothing when a watched key was touched since
//!   (Redis documentation, "Transactions", "Optimistic locking using check-and-set").
//! - Guarantees: exact. A key that was changed and changed back counts as touched.
//! - Does not guarantee: that anybody but the fastest gets anywhere. The work of whoever loses is
//!   wasted, and with N buyers who retry at once that grows like N².
//! - Clock: none.
//! - Cancellation: nothing is held. An EXEC that has been sent stands.
//! - Commands sent: UNWATCH, WATCH, GET, HGET; MULTI, SET, HINCRBY, EXEC; each buyer on a connection
//!   of its own, for a watch belongs to a connection.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use rand::{SeedableRng, rngs::SmallRng};
use redis::Pipeline;
use tokio::time::{Duration, Instant};

use crate::{
    backends::{
        BackendError,
        redis::{Exclusive, RedisClient},
    },
    fault::Step,
    lock::Method,
    metrics::Op,
    order::{Order, Receipt},
    shop::Sell,
    stock::{
        Sold, Stock, Store, Written,
        redis::{ledger_key, number, stock_key},
    },
    strategy::{Expected, Family, Strategy},
    wait,
};

/// The registry row.
pub static STRATEGY: Strategy = Strategy {
    name: "optimistic",
    family: Family::LockFree,
    store: Store::Redis,
    summary: "WATCH, read, work, MULTI/EXEC, retry on conflict",
    expected: Expected::Exact,
    fails: "wasted work grows with contention",
    steps: &[Step::Read, Step::Work, Step::BeforeWrite, Step::Write, Step::AfterWrite],
    connect: |backends| {
        Method::LockFree(Arc::new(Optimistic { redis: Arc::clone(&backends.redis) }))
    },
};

struct Optimistic {
    redis: Arc<RedisClient>,
}

/// A step and how it failed.
type Failed = (Step, BackendError);

/// What a buyer has seen and done, over all its tries.
#[derive(Default)]
struct Seen {
    stock: Option<i64>,
    work: Duration,
}

#[async_trait]
impl Sell for Optimistic {
    async fn sell(&self, order: &Order, _: &dyn Stock, receipt: &mut Receipt) {
        let seen = Mutex::new(Seen::default());
        let mut rng = SmallRng::seed_from_u64(rand::random());
        let attempt = || self.attempt(order, &seen);
        let tried = wait::retry(&order.patience, &mut rng, attempt).await;
        let Seen { stock, work } = seen.into_inner();
        (receipt.stock_before, receipt.work, receipt.retries) = (stock, work, tried.retries);
        match tried.result {
            Ok(Some(written)) => receipt.settle(written, &order.product),
            Ok(None) => receipt.conflict(&order.product),
            Err((step, error)) => return receipt.fail(step, error),
        }
        if let Err(crash) = order.faults.strike(Step::AfterWrite).await {
            receipt.fail(Step::AfterWrite, crash);
        }
    }
}

impl Optimistic {
    /// One try; `None` if somebody else was faster.
    async fn attempt(&self, order: &Order, seen: &Mutex<Seen>) -> Result<Option<Written>, Failed> {
        let at = |step| move |error| (step, error);
        let faults = &order.faults;
        faults.strike(Step::Read).await.map_err(at(Step::Read))?;
        let mut conn = self.redis.exclusive().await.map_err(at(Step::Read))?;
        let read = watch(&mut conn, order).await.map_err(at(Step::Read))?;
        let Some((stock, initial)) = read else { return Ok(Some(Written::Absent)) };
        seen.lock().stock = Some(stock);
        if stock < i64::from(order.quantity) {
            return Ok(Some(Written::SoldOut { stock }));
        }
        faults.strike(Step::Work).await.map_err(at(Step::Work))?;
        let started = Instant::now();
        Receipt::work(order.delay).await;
        seen.lock().work += started.elapsed();
        faults.strike(Step::BeforeWrite).await.map_err(at(Step::BeforeWrite))?;
        faults.strike(Step::Write).await.map_err(at(Step::Write))?;
        let left = stock - i64::from(order.quantity);
        let mut exec = redis::pipe();
        exec.atomic().set(stock_key(&order.product), left).ignore().hincr(
            ledger_key(&order.product),
            "sold",
            order.quantity,
        );
        let sold = conn.pipeline::<Option<(i64,)>>(Op::Write, &exec).await;
        let sold = faults.reply(Step::Write, sold).map_err(at(Step::Write))?;
        // What was read is what was found: EXEC has made sure of that.
        let sale = |(sold,)| Sold::new(stock, stock, left, sold, initial, order.quantity);
        Ok(sold.map(sale).map(Written::Sold))
    }
}

/// Watches both keys of the product, then reads the stock and the initial stock.
async fn watch(
    conn: &mut Exclusive<'_>,
    order: &Order,
) -> Result<Option<(i64, i64)>, BackendError> {
    let (stock, ledger) = (stock_key(&order.product), ledger_key(&order.product));
    let mut read = Pipeline::new();
    // Whoever had this connection before may have been dropped with its watch on.
    read.cmd("UNWATCH").ignore();
    read.cmd("WATCH").arg(&stock).arg(&ledger).ignore();
    read.get(&stock).hget(&ledger, "initial");
    let (stock, initial): (Option<String>, Option<i64>) = conn.pipeline(Op::Read, &read).await?;
    let stock = stock.as_deref().map(number).transpose()?;
    Ok(stock.zip(initial))
}
