//! What became of an order, and how far it came.

use tokio::time::{self, Duration};

use crate::{
    order::Order,
    outcome::{Outcome, Violation},
    product::Product,
    stock::{
        Written,
        answer::Answer,
        ledger::{Line, Sold},
    },
};
use locklab_locks::{error::BackendError, lock::Votes, step::Step};

/// What became of an order.
#[derive(Debug)]
pub struct Receipt {
    /// How it ended.
    pub outcome: Outcome,
    /// Whether all locks were granted; true for a strategy that needs none.
    pub lock_acquired: bool,
    /// The name of the sale, if there was one.
    pub order_id: Option<String>,
    /// Each item, in the order of the order.
    pub lines: Vec<Line>,
    /// Each sale as the ledger saw it, if there was one.
    pub sales: Vec<Sold>,
    /// Whether this is the answer to an earlier order with the same key.
    pub repeated: bool,
    /// What the nodes of a lock did at the last try, if several grant it together.
    pub votes: Option<Votes>,
    /// Why it was carried out without its lock, if it was.
    pub degraded: Option<String>,
    /// How often its leases were renewed, in the hands of earlier orders as well.
    pub renewals: u32,
    /// Tries to acquire a lock after the first.
    pub retries: u32,
    /// From wanting the lock to having it, or to giving up; under `optimistic`, pauses between tries;
    /// under `queue`, all of the time in it.
    pub wait: Duration,
    /// The work between read and write.
    pub work: Duration,
    /// How long faults made it stand still, outside of `wait`.
    pub paused: Duration,
    /// From having every lock to the end of the last release; zero if nothing was held.
    pub hold: Duration,
    /// All of it.
    pub duration: Duration,
    /// Where it was first seen that a lease had outlived its deadline, if one had.
    pub violation: Option<Violation>,
    /// Why it failed, for outcomes that are failures.
    pub failure: Option<Failure>,
}

/// Why an order failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A backend failed at a step.
    #[error("{}: {error}", .step.name())]
    Backend {
        /// During which step.
        step: Step,
        /// How.
        error: BackendError,
    },
    /// The product was never put on sale.
    #[error("product {0} is not on sale")]
    Absent(Product),
    /// Somebody else was faster.
    #[error("the stock was changed by others between read and write")]
    Conflict,
    /// The lease could not be renewed in time.
    #[error("the lease was lost: the work was cancelled and nothing was written")]
    Lost,
    /// A newer holder was granted the lock.
    #[error("there is a newer holder: the write was refused")]
    Fenced,
    /// The product was reset between read and write.
    #[error("the product was reset during the purchase")]
    Reset,
    /// The consumer of its queue could not serve it.
    #[error(
        "the store refused it when it was served; the log of the server that served it says why"
    )]
    Refused,
    /// More wait for the product than can be served in time.
    #[error("the queue is full: {0} wait already")]
    QueueFull(u64),
    /// The key was used for something else.
    #[error("the Idempotency-Key was used before, for another order: {0}")]
    KeyReused(String),
    /// The order with this key is being carried out.
    #[error("the order with this Idempotency-Key is still being carried out")]
    KeyInUse,
}

impl Failure {
    /// How an order ends that fails so.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Backend { error, .. } => match error {
                BackendError::Unavailable { .. } | BackendError::Unknown { .. } => {
                    Outcome::Unavailable
                }
                BackendError::Contended { .. } => Outcome::Busy,
                BackendError::Undone { .. } => Outcome::Conflict,
                BackendError::Refused { .. } | BackendError::Crashed { .. } => Outcome::Error,
            },
            Self::Absent(_) | Self::KeyReused(_) | Self::KeyInUse | Self::Refused => Outcome::Error,
            Self::Conflict | Self::Reset => Outcome::Conflict,
            Self::Lost => Outcome::Lost,
            Self::Fenced => Outcome::Fenced,
            Self::QueueFull(_) => Outcome::Busy,
        }
    }
}

/// Blames a step for what its backend did.
pub fn at(step: Step) -> impl Fn(BackendError) -> Failure {
    move |error| Failure::Backend { step, error }
}

impl Receipt {
    /// Nothing has happened yet to so many items.
    #[must_use]
    pub fn blank(items: usize) -> Self {
        Self {
            outcome: Outcome::Error,
            lock_acquired: false,
            order_id: None,
            lines: vec![Line::default(); items],
            sales: Vec::new(),
            repeated: false,
            votes: None,
            degraded: None,
            renewals: 0,
            retries: 0,
            wait: Duration::ZERO,
            work: Duration::ZERO,
            paused: Duration::ZERO,
            hold: Duration::ZERO,
            duration: Duration::ZERO,
            violation: None,
            failure: None,
        }
    }

    /// Whether it says what became of the order, for good: whoever asks again gets this.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        !matches!(self.outcome, Outcome::Unavailable | Outcome::Error)
    }

    /// It failed.
    pub fn fail(&mut self, failure: impl Into<Failure>) {
        let failure = failure.into();
        self.outcome = failure.outcome();
        self.failure = Some(failure);
    }

    /// Why nothing was sold, in words that buyers read; the first two are those of the PHP lab.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        match self.outcome {
            Outcome::Sold => None,
            Outcome::SoldOut => Some("Insufficient stock".to_owned()),
            Outcome::Busy if self.failure.is_none() => Some("Failed to acquire lock".to_owned()),
            _ => self.failure.as_ref().map(ToString::to_string),
        }
    }

    /// Whether a fault ended the purchase.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        matches!(&self.failure, Some(Failure::Backend { error, .. }) if error.is_crash())
    }

    /// The work of the buyer: a pause of at least `delay`, in steps of the timer's millisecond.
    pub async fn work(delay: Duration) {
        if !delay.is_zero() {
            time::sleep(delay).await;
        }
    }

    /// The store has carried out, or refused, a write or a take.
    pub fn settle(&mut self, written: Written, order: &Order) {
        match written {
            Written::Sold(sales) => {
                self.outcome = Outcome::Sold;
                self.order_id = Some(order.id.as_str().to_owned());
                for (line, sold) in self.lines.iter_mut().zip(&sales) {
                    line.stock_before.get_or_insert(sold.found);
                    line.stock_after = Some(sold.stock);
                }
                self.sales = sales;
            }
            Written::SoldOut { item, stock } => {
                self.lines[item].stock_before = Some(stock);
                self.sold_out();
            }
            Written::Fenced => self.fail(Failure::Fenced),
            Written::Reset => self.fail(Failure::Reset),
            Written::Absent { item } => {
                self.fail(Failure::Absent(order.items[item].product.clone()));
            }
            Written::Repeated(answer) => self.repeat(answer),
        }
    }

    /// There was less than wanted of what was read.
    pub fn sold_out(&mut self) {
        self.outcome = Outcome::SoldOut;
        for line in &mut self.lines {
            line.stock_after = line.stock_before;
        }
    }

    /// The order was answered before: that answer stands.
    pub fn repeat(&mut self, answer: Answer) {
        self.repeated = true;
        self.accept(answer);
    }

    /// This is the answer.
    pub fn accept(&mut self, answer: Answer) {
        self.outcome = answer.outcome;
        self.lock_acquired = answer.outcome != Outcome::Busy;
        self.order_id = answer.order_id;
        self.lines = answer.lines;
        self.sales = Vec::new();
        self.failure = match answer.outcome {
            Outcome::Fenced => Some(Failure::Fenced),
            Outcome::Lost => Some(Failure::Lost),
            Outcome::Conflict if answer.reset => Some(Failure::Reset),
            Outcome::Conflict => Some(Failure::Conflict),
            Outcome::Error => Some(Failure::Refused),
            _ => None,
        };
    }
}
