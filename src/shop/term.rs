//! Leading: holding a lock for as long as it lasts, and selling unit after unit under it.
//!
//! A leader looks whether it still leads before every piece of work, as leaders do; what it has
//! begun then, it finishes. So one that stood still in the middle of its work writes late, and only
//! a store that compares fencing tokens can tell.

use serde::{Deserialize, Serialize};
use tokio::time::{self, Duration, Instant};

use super::Shop;
use crate::{
    history::EventKind,
    order::{Order, receipt::Receipt, recorder::Trail},
    outcome::Outcome,
    stock::{
        Written,
        ledger::{Generation, Sale},
    },
};
use locklab_locks::{
    error::BackendError,
    lease::{Acquired, Lease, keeper::Keeper, renewal::HOLD_TTLS_MAX},
    token::Token,
};

/// Pause after a failure, before the next candidacy.
const PAUSE: Duration = Duration::from_millis(100);

/// What becomes of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Career {
    /// It leads.
    Elected {
        /// The fencing token of its term, if its lock has any.
        epoch: Option<u64>,
    },
    /// It has looked that it leads, has read what there is, and begins to work.
    Begun,
    /// The work stands in the ledger.
    Done,
    /// The store has refused the work, for it has seen a newer leader.
    Fenced,
    /// It leads no more, and has noticed.
    Deposed,
    /// It has given up leading, as it was told to.
    Resigned,
}

impl Shop {
    /// Stands for election again and again, and leads when elected, until the order's patience says
    /// that nobody wants it any more. A piece of work takes the order's delay and sells what the
    /// order is for.
    ///
    /// # Errors
    /// The store or the lock service refused something, which would not change.
    ///
    /// # Cancellation
    /// Dropping the future leaves the lease to the release task, and does not recall a write.
    pub async fn lead(
        &self,
        keeper: &Keeper,
        order: &Order,
        mut told: impl FnMut(Career),
    ) -> Result<(), BackendError> {
        let unwanted = &order.patience.gone;
        while !unwanted.is_cancelled() {
            let ended = match self.stand(keeper, order).await {
                Ok(Some((generation, lease))) => {
                    self.serve(order, &generation, lease, &mut told).await
                }
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            match ended {
                Err(error) if !error.is_passing() => return Err(error),
                Err(error) => {
                    tracing::debug!(%error, "a candidate starts again");
                    unwanted.run_until_cancelled(time::sleep(PAUSE)).await;
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// One candidacy.
    async fn stand(
        &self,
        keeper: &Keeper,
        order: &Order,
    ) -> Result<Option<(Generation, Lease)>, BackendError> {
        let (patience, product) = (&order.patience, &order.items[0].product);
        let stock = self.stock(order.strategy.row().store)?;
        let wish = order.wish();
        let (stock, wish) = (&stock, &wish);
        let attempt = |queueing| async move {
            let Some(generation) = stock.generation(product).await? else { return Ok(None) };
            Ok(match keeper.attempt(product, wish, queueing).await? {
                Acquired::Lease(lease) => Some((generation, *lease)),
                Acquired::Busy | Acquired::Late | Acquired::Outvoted { .. } => None,
            })
        };
        keeper.contend(product, patience, attempt).await.result
    }

    /// One term.
    async fn serve(
        &self,
        order: &Order,
        generation: &Generation,
        mut lease: Lease,
        told: &mut impl FnMut(Career),
    ) -> Result<(), BackendError> {
        let stock = self.stock(order.strategy.row().store)?;
        let epoch = lease.fencing_token();
        if let Some(epoch) = epoch
            && !stock.raise_bar(&order.items[0].product, epoch).await?
        {
            // Whoever was elected since has been here before.
            let _ = lease.release().await;
            return Ok(());
        }
        told(Career::Elected { epoch });
        // Before the cap on renewals: a lease is better released than lost.
        let until = Instant::now() + order.ttl * (HOLD_TTLS_MAX / 2);
        while !order.patience.gone.is_cancelled() && Instant::now() < until {
            if lease.is_lost() {
                told(Career::Deposed);
                let _ = lease.release().await;
                return Ok(());
            }
            let outcome = self.work(order, generation, &mut lease, told).await;
            told(match outcome {
                Ok(Outcome::Sold) => Career::Done,
                Ok(Outcome::Fenced) => Career::Fenced,
                Ok(_) | Err(_) => Career::Deposed,
            });
            if !matches!(outcome, Ok(Outcome::Sold)) {
                let _ = lease.release().await;
                return outcome.map(|_| ());
            }
        }
        let _ = lease.release().await;
        told(Career::Resigned);
        Ok(())
    }

    /// A piece of work: read, work, write. It is recorded as an order of its own, under the one
    /// lease.
    async fn work(
        &self,
        order: &Order,
        generation: &Generation,
        lease: &mut Lease,
        told: &mut impl FnMut(Career),
    ) -> Result<Outcome, BackendError> {
        let item = &order.items[0];
        let product = &item.product;
        let stock = self.stock(order.strategy.row().store)?;
        let piece = Order { id: Token::random(), ..order.clone() };
        let mut trail = self.recorder.begin(&piece);
        trail.learn(0, generation);
        let kind = EventKind::Granted {
            since_ns: trail.now(),
            token: Trail::token(lease.token()),
            fencing_token: lease.fencing_token(),
            until_ns: lease.deadline().map(|deadline| trail.ns(deadline)),
            exclusive: true,
        };
        trail.note(0, kind);
        let since_ns = trail.now();
        let Some(seen) = stock.read(product).await? else { return Ok(Outcome::Conflict) };
        trail.note(0, EventKind::Read { since_ns, stock: seen.stock, sold: seen.sold });
        // Whatever becomes of this process, it has begun.
        trail.flush();
        told(Career::Begun);
        Receipt::work(order.delay).await;
        let since_ns = trail.now();
        let (quantity, fencing_token) = (item.quantity, lease.fencing_token());
        let sale = Sale { product, generation, read: seen.stock, quantity, fencing_token };
        lease.write_begins();
        let written = stock.write(&piece.id, &[sale], None).await?;
        lease.write_ended();
        let outcome = match written {
            Written::Sold(sales) => {
                for sold in sales {
                    let (stock, sold) = (sold.stock, sold.sold);
                    let kind =
                        EventKind::Written { since_ns, stock, quantity, sold, fencing_token };
                    trail.note(0, kind);
                }
                Outcome::Sold
            }
            Written::Fenced => Outcome::Fenced,
            Written::SoldOut { .. } => Outcome::SoldOut,
            Written::Reset | Written::Absent { .. } | Written::Repeated(_) => Outcome::Conflict,
        };
        let (since_ns, how) = (trail.now(), "handed_over".to_owned());
        let until_ns = lease.deadline().map(|deadline| trail.ns(deadline));
        trail.note(0, EventKind::Released { since_ns, until_ns, how });
        let end =
            if outcome == Outcome::Sold { EventKind::Ok } else { EventKind::Fail { outcome } };
        trail.end(&end);
        Ok(outcome)
    }
}
