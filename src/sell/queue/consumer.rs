//! The consumer: stands for election while tickets of its server wait, and serves whoever is next.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::time::{self, Duration, Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    candidacy::Candidacy,
    tickets::{Head, Ticket, Tickets},
};
use crate::order::receipt::Receipt;
use crate::order::recorder::{Recorder, Trail};
use crate::{
    history::EventKind,
    outcome::Outcome,
    product::Product,
    sell::{metrics::QueueMetrics, queue::QueueParts},
    stock::{
        Stock, Written,
        answer::{Answer, Answers},
        ledger::{Line, Sale, Sold},
        redis::RedisStock,
    },
    strategy::StrategyId,
};
use locklab_locks::lease::renewal::HOLD_TTLS_MAX;
use locklab_locks::lease::{
    Acquired, Lease, keeper::Keeper, metrics::LeaseMetrics, release::Cause,
};
use locklab_locks::{
    error::BackendError, fault::Faults, lock::fenced::renewed::RenewedLock, step::Step,
    wires::redis::RedisClient,
};

/// Pause after a backend failed.
const PAUSE: Duration = Duration::from_millis(100);
/// Pause before an empty queue is looked at again, while somebody here waits.
const IDLE: Duration = Duration::from_millis(5);
/// How long a buyer that was not let in stands for election: queues of the dead must be cleared.
const LINGER: Duration = Duration::from_secs(5);

/// The candidates of one server: one per product with tickets of that server.
pub struct Consumers {
    keeper: Keeper,
    stock: RedisStock,
    tickets: Tickets,
    recorder: Recorder,
    metrics: QueueMetrics,
    candidates: Mutex<HashMap<Product, Candidate>>,
    tasks: TaskTracker,
    /// Cancelled when the server stops.
    closing: CancellationToken,
}

/// Who stands for election as long as somebody here waits.
struct Candidate {
    waiting: usize,
    /// Cancelled when nobody does any more.
    unwanted: CancellationToken,
}

/// Waiting for a ticket to be served.
pub struct Waiting {
    consumers: Arc<Consumers>,
    product: Product,
}

impl Waiting {
    /// Stands for election a while longer, if nobody else here does.
    pub fn linger(self) {
        let candidates = self.consumers.candidates.lock();
        let is_alone = candidates.get(&self.product).is_some_and(|it| it.waiting == 1);
        drop(candidates);
        if is_alone {
            tokio::spawn(async move {
                self.consumers.closing.run_until_cancelled(time::sleep(LINGER)).await;
                drop(self);
            });
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut candidates = self.consumers.candidates.lock();
        if let Some(candidate) = candidates.get_mut(&self.product) {
            candidate.waiting -= 1;
            if candidate.waiting == 0 {
                candidate.unwanted.cancel();
                candidates.remove(&self.product);
            }
        }
        self.consumers.metrics.waiting.decrement(1.0);
    }
}

/// How the service of a ticket ended.
enum Served {
    /// It has its answer.
    Answered,
    /// Somebody else is the consumer by now, or will be.
    Deposed,
}

/// How a consumer ended.
enum Resigned {
    /// Its lease is to be released.
    InOrder,
    /// A fault ended it, as if its process had died.
    Crashed,
}

impl Consumers {
    /// Nobody waits yet.
    #[must_use]
    pub fn new(redis: &Arc<RedisClient>, parts: &QueueParts<'_>, tickets: Tickets) -> Arc<Self> {
        let lock = Arc::new(RenewedLock::new(Arc::clone(redis)));
        let releases = parts.releases.clone();
        Arc::new(Self {
            keeper: Keeper::new(lock, releases, Arc::new(LeaseMetrics::silent())),
            stock: RedisStock::new(Arc::clone(redis), parts.history),
            tickets,
            recorder: parts.recorder.clone(),
            metrics: QueueMetrics::new(parts.registry),
            candidates: Mutex::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        })
    }

    /// Somebody waits for a ticket of a product: this server stands for election until the result
    /// is dropped. The consumer's lease lasts `ttl`, as the first of them wants it.
    #[must_use]
    pub fn join(self: &Arc<Self>, product: &Product, ttl: Duration) -> Waiting {
        let mut candidates = self.candidates.lock();
        let candidate = candidates.entry(product.clone()).or_insert_with(|| {
            let unwanted = self.closing.child_token();
            let candidacy = Candidacy::new(product, ttl, &unwanted);
            let consumers = Arc::clone(self);
            self.tasks.spawn(async move { consumers.stand(&candidacy).await });
            Candidate { waiting: 0, unwanted }
        });
        candidate.waiting += 1;
        self.metrics.waiting.increment(1.0);
        Waiting { consumers: Arc::clone(self), product: product.clone() }
    }

    /// Has the consumers resign, whatever they are at, and waits until no candidate is left.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Stands for election, and serves when elected, while somebody here waits.
    async fn stand(&self, candidacy: &Candidacy) {
        let Candidacy { product, wish, patience } = candidacy;
        let unwanted = &patience.gone;
        while !unwanted.is_cancelled() {
            let failure = match self.keeper.acquire(product, wish, patience).await {
                Ok(Acquired::Lease(mut lease)) => match self.consume(candidacy, &mut lease).await {
                    Ok(Resigned::InOrder) => {
                        let release = lease.release().await;
                        self.metrics.leases[release].increment(1);
                        continue;
                    }
                    Ok(Resigned::Crashed) => {
                        lease.crash();
                        continue;
                    }
                    Err(error) => {
                        lease.hand_over(Cause::BackendDown);
                        error
                    }
                },
                Ok(_) => continue,
                Err(error) => error,
            };
            tracing::debug!(%product, error = %failure, "the queue is not served");
            unwanted.run_until_cancelled(time::sleep(PAUSE)).await;
        }
    }

    /// Serves ticket after ticket, until nobody here waits any more or the lease is to be given up.
    async fn consume(
        &self,
        candidacy: &Candidacy,
        lease: &mut Lease,
    ) -> Result<Resigned, BackendError> {
        self.metrics.elections.increment(1);
        let product = &candidacy.product;
        let Some(fencing_token) = lease.fencing_token() else { return Ok(Resigned::InOrder) };
        // Before the cap on renewals: a lease is better released than lost.
        let until = Instant::now() + candidacy.wish.ttl * (HOLD_TTLS_MAX / 2);
        // From here on, no consumer before this one can sell.
        if !self.stock.raise_bar(product, fencing_token).await? {
            let cause = "the store has seen a newer consumer".into();
            return Err(BackendError::Refused { backend: "redis", cause });
        }
        let unwanted = &candidacy.patience.gone;
        let mut done = None;
        while !lease.is_lost() {
            let head = self.tickets.next(product, done.take().as_ref()).await?;
            if unwanted.is_cancelled() || Instant::now() >= until {
                // Others have tickets in it, and stand for election.
                break;
            }
            let Some(head) = head else {
                // Whoever waits here is on its way into the queue, or out of it.
                unwanted.run_until_cancelled(time::sleep(IDLE)).await;
                continue;
            };
            match self.serve(candidacy, lease, fencing_token, &head).await {
                Ok(Served::Answered) => done = Some(head),
                Ok(Served::Deposed) => break,
                Err(error) if error.is_crash() => return Ok(Resigned::Crashed),
                Err(error) if error.is_passing() => {
                    tracing::debug!(%product, %error, "a ticket was not served");
                    time::sleep(PAUSE).await;
                }
                Err(error) => {
                    tracing::warn!(%product, %error, "a ticket was refused");
                    let Head { ticket, .. } = &head;
                    self.conclude(ticket, Outcome::Error, Line::default()).await?;
                    done = Some(head);
                }
            }
        }
        if done.is_some() {
            self.tickets.next(product, done.as_ref()).await?;
        }
        Ok(Resigned::InOrder)
    }

    /// Read, work, write, for one ticket.
    async fn serve(
        &self,
        candidacy: &Candidacy,
        lease: &mut Lease,
        fencing_token: u64,
        head: &Head,
    ) -> Result<Served, BackendError> {
        let (ticket, product) = (&head.ticket, &candidacy.product);
        let faults = self.tickets.faults(ticket).await?;
        let (order_id, run_id) = (&ticket.key.order_id, ticket.run_id.clone());
        let mut trail = self.recorder.join(order_id, run_id, StrategyId::Queue, product);
        trail.learn(0, &ticket.key.generation);
        let now = trail.now();
        let kind = EventKind::Granted {
            since_ns: now,
            token: Trail::token(lease.token()),
            fencing_token: Some(fencing_token),
            until_ns: lease.deadline().map(|deadline| trail.ns(deadline)),
            exclusive: true,
        };
        trail.note(0, kind);
        let served = self.sell(candidacy, lease, fencing_token, head, &faults, &mut trail).await?;
        if matches!(served, Served::Answered) {
            let until_ns = lease.deadline().map(|deadline| trail.ns(deadline));
            let how = "handed_over".to_owned();
            trail.note(0, EventKind::Released { since_ns: trail.now(), until_ns, how });
        }
        Ok(served)
    }

    async fn sell(
        &self,
        candidacy: &Candidacy,
        lease: &mut Lease,
        fencing_token: u64,
        Head { ticket, ends, .. }: &Head,
        faults: &Faults,
        trail: &mut Trail,
    ) -> Result<Served, BackendError> {
        let product = &candidacy.product;
        let Ticket { key, quantity, .. } = ticket;
        if self.tickets.answer(key).await?.is_some() {
            // Its buyer gave up, or it was delivered before.
            return Ok(Served::Answered);
        }
        faults.strike(Step::Read).await?;
        let since_ns = trail.now();
        let Some(seen) = self.stock.read(product).await? else {
            return self.conclude(ticket, Outcome::Conflict, Line::default()).await;
        };
        trail.note(0, EventKind::Read { since_ns, stock: seen.stock, sold: seen.sold });
        if seen.stock < i64::from(*quantity) {
            let (stock_before, stock_after) = (Some(seen.stock), Some(seen.stock));
            let line = Line { stock_before, stock_after, fencing_token: Some(fencing_token) };
            return self.conclude(ticket, Outcome::SoldOut, line).await;
        }
        faults.strike(Step::Work).await?;
        if !self.work(ticket, lease).await {
            return Ok(Served::Deposed);
        }
        faults.strike(Step::BeforeWrite).await?;
        if lease.is_lost() {
            return Ok(Served::Deposed);
        }
        faults.strike(Step::Write).await?;
        if Instant::now() >= *ends {
            // Its buyer has been told so, or will be.
            return self.conclude(ticket, Outcome::Busy, Line::default()).await;
        }
        let since_ns = trail.now();
        let sale = Sale {
            product,
            generation: &key.generation,
            read: seen.stock,
            quantity: *quantity,
            fencing_token: Some(fencing_token),
        };
        let written = self.stock.write(&key.order_id, &[sale], Some(key)).await;
        let served = match faults.reply(Step::Write, written)? {
            Written::Sold(sales) => {
                let (quantity, fencing_token) = (*quantity, Some(fencing_token));
                for sale in sales {
                    self.metrics.sales.sold(quantity, &sale);
                    let Sold { stock, sold, .. } = sale;
                    trail.note(
                        0,
                        EventKind::Written { since_ns, stock, quantity, sold, fencing_token },
                    );
                }
                Served::Answered
            }
            Written::Repeated(_) => Served::Answered,
            Written::Fenced => Served::Deposed,
            Written::Reset | Written::Absent { .. } | Written::SoldOut { .. } => {
                return self.conclude(ticket, Outcome::Conflict, Line::default()).await;
            }
        };
        faults.strike(Step::AfterWrite).await?;
        Ok(served)
    }

    /// The work for a ticket; false when the lease is lost, or the server stops, before it is done.
    async fn work(&self, ticket: &Ticket, lease: &Lease) -> bool {
        let lost = async {
            match lease.lost() {
                Some(lost) => lost.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = Receipt::work(ticket.delay()) => true,
            () = lost => false,
            () = self.closing.cancelled() => false,
        }
    }

    /// Keeps an answer that sells nothing.
    async fn conclude(
        &self,
        ticket: &Ticket,
        outcome: Outcome,
        line: Line,
    ) -> Result<Served, BackendError> {
        let order = ticket.key.order.clone();
        let reset = outcome == Outcome::Conflict;
        let answer = Answer { order, outcome, reset, order_id: None, lines: vec![line] };
        self.stock.conclude(&ticket.key, answer).await?;
        Ok(Served::Answered)
    }
}
