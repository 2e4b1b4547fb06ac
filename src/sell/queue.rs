//! `queue`: nobody contends for the stock; orders line up, and one consumer serves them.
//!
//! - Algorithm: an order becomes a ticket in a list at Redis. Every server with tickets in it
//!   stands for election; the consumer is whoever holds the lock of `fenced`, renewed like that of
//!   `watchdog`, and it writes under its fencing token. It serves the head of the list, keeps the
//!   answer in the same step as the sale, and only then takes the ticket off.
//! - Guarantees: exact. A ticket is delivered at least once and sold at most once: its answer is
//!   kept under its name, and whoever serves it again finds that. A consumer that stood still for
//!   longer than its lease is refused by the store, for the next one's fencing token is newer.
//! - Does not guarantee: speed. Work is done one order after the other; the loss of a consumer
//!   costs what is left of its lease. A queue that is full turns orders away at once (429).
//! - Clock: a ticket ends by the clock of Redis; the consumer's lease, as with `watchdog`.
//! - Cancellation: a buyer that gives up makes "busy" the answer to its ticket, unless there is
//!   one. The ticket of a dropped future may still be served, until its time is over.
//! - Commands sent: by the buyer: HGET generation; SUBSCRIBE answered:{generation}:{ticket};
//!   EVALSHA of enqueue (TIME, LINDEX, LPOP, LLEN, PTTL, RPUSH, PEXPIRE queue:{product}); GET
//!   answer:{generation}:{ticket}; EVALSHA of conclude, and LREM, when it gives up; UNSUBSCRIBE. By
//!   the consumer: those of `fenced` and `watchdog` and their waiters; EVALSHA of raise-bar and of
//!   next (LREM, PUBLISH, TIME, LINDEX, LPOP); GET of the answer; the read and the write of every
//!   lock; EVALSHA of conclude, for what is not sold; SET delivered:{generation}:{ticket} NX PX,
//!   for a ticket with faults; LREM of what is no ticket.

mod candidacy;
mod consumer;
mod tickets;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::{self, Duration, Instant};
use tracing::Instrument;

use self::{
    consumer::Consumers,
    tickets::{Enqueued, Entry, Ticket, Tickets},
};
use crate::{
    order::{
        Order,
        receipt::{Failure, Receipt, at},
        recorder::{Recorder, Trail},
        span,
    },
    outcome::Outcome,
    sell::Sell,
    stock::{
        Stock,
        answer::{Answer, IdempotencyKey, Key},
    },
};
use locklab_locks::{
    fault::FaultMetrics, lease::release::ReleaseQueue, measure::Registry, step::Step, token::Token,
    wires::redis::RedisClient,
};

/// How often a buyer looks for its answer although nobody told it to.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long the answer to an order without an idempotency key is kept: its buyer is waiting for it.
const ANSWER_TTL: Duration = Duration::from_secs(120);
/// How often a ticket is enqueued when the reply is lost. Twice in the queue is served once.
const ENQUEUES_MAX: u32 = 2;

/// What the queue needs apart from its Redis.
#[derive(Clone, Copy)]
pub struct QueueParts<'a> {
    /// Tickets that may wait for one product.
    pub queue_max: u32,
    /// Records that are kept of each product.
    pub history: u32,
    /// Where claims go that nobody else will end.
    pub releases: &'a ReleaseQueue,
    /// Records what purchases do.
    pub recorder: &'a Recorder,
    /// Who counts the faults of those who are served.
    pub faults: &'a Arc<FaultMetrics>,
    /// Where measurements are registered.
    pub registry: &'a Registry,
}

/// The strategy.
pub struct Queue {
    redis: Arc<RedisClient>,
    tickets: Tickets,
    consumers: Arc<Consumers>,
}

#[async_trait]
impl Sell for Queue {
    async fn sell(
        &self,
        order: &Order,
        stock: &dyn Stock,
        receipt: &mut Receipt,
        trail: &mut Trail,
    ) {
        match self.line_up(order, stock, receipt, trail).instrument(span::queue()).await {
            Ok(answer) if answer.order_id.as_ref().is_none_or(|id| id == order.id.as_str()) => {
                receipt.accept(answer);
            }
            Ok(answer) => receipt.repeat(answer),
            Err(failure) => receipt.fail(failure),
        }
    }

    async fn close(&self) {
        self.consumers.close().await;
    }
}

impl Queue {
    /// Sells from the products of a Redis.
    #[must_use]
    pub fn new(redis: &Arc<RedisClient>, parts: QueueParts<'_>) -> Self {
        let redis = Arc::clone(redis);
        let tickets = Tickets::new(Arc::clone(&redis), parts.queue_max, Arc::clone(parts.faults));
        let consumers = Consumers::new(&redis, &parts, tickets.clone());
        Self { redis, tickets, consumers }
    }

    /// Enqueues the order, and waits for its answer or makes it "busy".
    async fn line_up(
        &self,
        order: &Order,
        stock: &dyn Stock,
        receipt: &mut Receipt,
        trail: &mut Trail,
    ) -> Result<Answer, Failure> {
        let failed = at(Step::Enqueue);
        let item = &order.items[0];
        let key = key(order, stock).await?;
        trail.learn(0, &key.generation);
        order.faults.strike(Step::Enqueue).await.map_err(&failed)?;
        let started = Instant::now();
        let deadline = started + order.patience.wait;
        let answered = self.redis.wakeups().subscribe(&tickets::channel(&key)).await;
        let answered = answered.map_err(&failed)?;
        // Stands for election from before the ticket is in the queue: somebody must serve it.
        let waiting = self.consumers.join(&item.product, order.ttl);
        let ticket = Ticket::new(key.clone(), order);
        let entry = match self.enqueue(order, &ticket).await {
            Ok(entry) => entry,
            Err(failure) => {
                // The others may have died with their servers: somebody must clear the queue.
                waiting.linger();
                return Err(failure);
            }
        };
        trail.flush();
        loop {
            let mut told = std::pin::pin!(answered.notified());
            told.as_mut().enable();
            // From here on, it may be served: no error says that it was not.
            let there = self.tickets.answer(&key).await;
            let there = there.map_err(|error| failed(error.into_unknown()))?;
            if let Some(answer) = there {
                receipt.wait = started.elapsed();
                return Ok(answer);
            }
            let is_over = tokio::select! {
                biased;
                () = told => false,
                () = order.patience.gone.cancelled() => true,
                () = time::sleep_until(deadline) => true,
                () = time::sleep(LOOK_INTERVAL) => false,
            };
            if is_over {
                receipt.wait = started.elapsed();
                let lines = receipt.lines.clone();
                let (outcome, order) = (Outcome::Busy, key.order.clone());
                let busy = Answer { order, outcome, reset: false, order_id: None, lines };
                let stands = stock.conclude(&key, busy).await;
                if let (Ok(_), Some(entry)) = (&stands, &entry) {
                    // Only so that it takes nobody's place: it will not be served any more.
                    self.tickets.leave(&item.product, entry).await.ok();
                }
                return stands.map_err(|error| failed(error.into_unknown()));
            }
        }
    }

    /// Enqueues the ticket. `None`: it may be in the queue, but nobody knows.
    async fn enqueue(&self, order: &Order, ticket: &Ticket) -> Result<Option<Entry>, Failure> {
        let mut may_wait = false;
        for _ in 0..ENQUEUES_MAX {
            let product = &order.items[0].product;
            let enqueued = self.tickets.enqueue(product, ticket, order.patience.wait).await;
            match order.faults.reply(Step::Enqueue, enqueued) {
                Ok(Enqueued::Waiting(entry)) => return Ok(Some(entry)),
                Err(error) if error.is_unknown() => may_wait = true,
                // Whatever keeps it out now: it may be in already, and even be what fills the
                // queue.
                _ if may_wait => break,
                Ok(Enqueued::Full(waiting)) => return Err(Failure::QueueFull(waiting)),
                Err(error) => return Err(at(Step::Enqueue)(error)),
            }
        }
        Ok(None)
    }
}

/// Where the answer to an order is kept: under its idempotency key, or under a name of its own.
async fn key(order: &Order, stock: &dyn Stock) -> Result<Key, Failure> {
    if let Some(key) = &order.key {
        return Ok(key.clone());
    }
    let product = &order.items[0].product;
    let generation = stock.generation(product).await.map_err(at(Step::Enqueue))?;
    Ok(Key {
        name: IdempotencyKey::from(&order.id),
        item: 0,
        generation: generation.ok_or_else(|| Failure::Absent(product.clone()))?,
        claim: Token::random(),
        order: order.describe(),
        order_id: order.id.clone(),
        ttl: ANSWER_TTL,
    })
}
