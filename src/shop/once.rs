//! Orders with an idempotency key: carried out once, however often they are sent.

use tokio::time::{self, Duration, Instant};

use super::Shop;
use crate::{
    order::{
        Order,
        receipt::{Failure, Receipt, at},
    },
    outcome::Outcome,
    product::Item,
    stock::{
        Stock,
        answer::{ANSWER_TTL, Answer, Begun, IdempotencyKey, Key},
    },
    strategy::Family,
};
use locklab_locks::{error::BackendError, step::Step, token::Token, wait::Policy};

/// Pause before the store is asked again whether an order under way has come to its answer; doubled
/// each time, up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(100);

impl Shop {
    /// Carries out an order unless it was carried out before under this key; then the receipt is that
    /// of the first time. While somebody else carries it out, waits as long as the order's patience.
    ///
    /// An order that came to no answer (a backend failed) may be sent again: if it had sold after all,
    /// that is found.
    ///
    /// # Cancellation
    /// Dropping the future leaves a lease that may be held to the release task, and does not recall a
    /// write that has been sent. Until the time is over that the order could have taken, others with the
    /// same key are told that it is being carried out.
    pub async fn purchase_once(&self, order: &mut Order, name: IdempotencyKey) -> Receipt {
        let started = Instant::now();
        let stock = match self.stock(order.strategy.row().store) {
            Ok(stock) => stock,
            Err(_) => return self.purchase(order).await,
        };
        let mut receipt = match begin(stock, order, name).await {
            Ok((key, None)) => {
                order.key = Some(key);
                self.carry_out(order).await
            }
            Ok((_, Some(answer))) => {
                let mut receipt = Receipt::blank(order.items.len());
                receipt.repeat(answer);
                receipt
            }
            Err(failure) => {
                let mut receipt = Receipt::blank(order.items.len());
                receipt.fail(failure);
                receipt
            }
        };
        if let Some(key) = &order.key
            && let Err(error) = end(stock, key, &mut receipt).await
        {
            tracing::debug!(%error, "the answer could not be kept");
            receipt.fail(at(Step::Write)(error));
        }
        receipt.duration = started.elapsed();
        self.measure(order, &receipt);
        receipt
    }
}

/// Where the answer is kept, and the answer, if there is one.
async fn begin(
    stock: &dyn Stock,
    order: &Order,
    name: IdempotencyKey,
) -> Result<(Key, Option<Answer>), Failure> {
    let by_name = |(_, item): &(usize, &Item)| item.product.clone();
    let first = order.items.iter().enumerate().min_by_key(by_name);
    let Some((item, Item { product, .. })) = first else {
        return Err(Failure::Conflict);
    };
    let generation = stock.generation(product).await.map_err(at(Step::Read))?;
    let generation = generation.ok_or_else(|| Failure::Absent(product.clone()))?;
    let key = Key {
        name,
        item,
        generation,
        claim: Token::random(),
        order: order.describe(),
        order_id: order.id.clone(),
        ttl: ANSWER_TTL,
    };
    let deadline = Instant::now() + order.patience.wait;
    let mut pause = PAUSE_MIN;
    loop {
        let begun = stock.begin(&key, duration_max(order)).await;
        if begun.is_err() {
            // It may have begun, and must not keep others from trying again. Fails where that did.
            stock.abandon(&key).await.ok();
        }
        match begun.map_err(at(Step::Read))? {
            Begun::First => return Ok((key, None)),
            Begun::Answered(answer) if key.is_answered_by(&answer) => {
                return Ok((key, Some(answer)));
            }
            Begun::Answered(answer) => return Err(Failure::KeyReused(answer.order)),
            Begun::UnderWay => {}
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let sleep = order.patience.gone.run_until_cancelled(time::sleep(pause.min(left)));
        if left.is_zero() || sleep.await.is_none() {
            return Err(Failure::KeyInUse);
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// How long the order may take, as far as it says itself.
fn duration_max(order: &Order) -> Duration {
    let patience = &order.patience;
    // Whoever sells without a lock may have its own reasons to wait.
    let waits = patience.policy != Policy::None || order.strategy.row().family == Family::LockFree;
    let wait = if waits { patience.wait } else { Duration::ZERO };
    wait + order.delay + order.ttl
}

/// Makes the answer stand, or another one that stands already the answer.
async fn end(stock: &dyn Stock, key: &Key, receipt: &mut Receipt) -> Result<(), BackendError> {
    if receipt.has_crashed() || receipt.repeated || receipt.outcome == Outcome::Sold {
        // Nobody is left to say anything; or it was said in the same step as the sale.
        return Ok(());
    }
    if !receipt.is_decided() || matches!(receipt.failure, Some(Failure::QueueFull(_))) {
        // Fails where the purchase failed: then its time has to run out.
        stock.abandon(key).await.ok();
        return Ok(());
    }
    let answer = Answer {
        order: key.order.clone(),
        outcome: receipt.outcome,
        reset: matches!(receipt.failure, Some(Failure::Reset)),
        order_id: None,
        lines: receipt.lines.clone(),
    };
    let stands = stock.conclude(key, answer.clone()).await?;
    if stands != answer {
        receipt.repeat(stands);
    }
    Ok(())
}
