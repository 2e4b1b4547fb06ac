//! The critical section: acquire, read, work, write, release. Every purchase passes here, whether
//! it came over HTTP or from the command line, and under whichever strategy.

use std::sync::Arc;

use async_trait::async_trait;
use rand::{SeedableRng, rngs::SmallRng};
use strum::VariantArray;
use tokio::time::Instant;

use crate::{
    backends::{BackendError, Backends},
    fault::Step,
    lock::{self, Lease, Lock, Method},
    metrics::{Attempted, Metrics},
    order::{Order, Outcome, Receipt, Violation},
    product::Product,
    release::{Cause, ReleaseQueue},
    stock::{Generation, Sale, Stock, Stocks, Store, Tally, Written},
    strategy::StrategyId,
    wait,
};

/// A strategy that sells without a lock.
#[async_trait]
pub trait Sell: Send + Sync {
    /// Carries out an order and notes on the receipt how far it came.
    ///
    /// # Cancellation
    /// Dropping the future does not recall a sale that has been sent to the store.
    async fn sell(&self, order: &Order, stock: &dyn Stock, receipt: &mut Receipt);
}

/// Sells products under any strategy.
pub struct Shop {
    methods: Vec<Method>,
    stocks: Stocks,
    releases: ReleaseQueue,
    metrics: Arc<Metrics>,
}

impl Shop {
    /// Opens the shop over the configured backends.
    #[must_use]
    pub fn new(backends: &Backends, releases: ReleaseQueue) -> Self {
        Self {
            methods: StrategyId::all().map(|id| (id.row().connect)(backends)).collect(),
            stocks: Stocks::new(backends),
            releases,
            metrics: Arc::clone(&backends.metrics),
        }
    }

    /// The products of a store.
    #[must_use]
    pub fn stock(&self, store: Store) -> &dyn Stock {
        self.stocks.of(store)
    }

    /// Carries out an order. Failures are outcomes too: the receipt says how far it came.
    ///
    /// # Cancellation
    /// Dropping the future leaves a lease that may be held to the release task, and does not recall
    /// a write that has been sent.
    pub async fn purchase(&self, order: &Order) -> Receipt {
        let started = Instant::now();
        let stock = self.stock(order.strategy.row().store);
        let mut receipt = Receipt::blank();
        match &self.methods[order.strategy.index()] {
            Method::Lock(lock) => self.sell_locked(order, lock, stock, &mut receipt).await,
            Method::LockFree(seller) => {
                receipt.lock_acquired = true;
                seller.sell(order, stock, &mut receipt).await;
            }
        }
        receipt.duration = started.elapsed();
        self.metrics.purchase(order.strategy, receipt.outcome);
        if receipt.outcome == Outcome::Fenced {
            self.metrics.fenced(order.strategy);
        }
        if let Some(sold) = receipt.sale {
            let units = u64::from(order.quantity);
            self.metrics.sale(order.strategy, units, sold.oversold, sold.lost_updates);
        }
        receipt
    }

    async fn sell_locked(
        &self,
        order: &Order,
        lock: &Arc<dyn Lock>,
        stock: &dyn Stock,
        receipt: &mut Receipt,
    ) {
        let Some((generation, mut lease)) = self.acquire(order, lock, stock, receipt).await else {
            return;
        };
        let granted = Instant::now();
        if let Err((step, error)) =
            critical_section(order, &generation, &mut lease, stock, receipt).await
        {
            receipt.fail(step, error);
        } else if let Err(crash) = order.faults.strike(Step::Release).await {
            receipt.fail(Step::Release, crash);
        }
        let ttl = lease.fixed_ttl();
        if receipt.has_crashed() {
            lease.crash();
        } else if receipt.outcome == Outcome::Unavailable {
            // Waiting for a backend that just failed would only keep the buyer.
            lease.hand_over(Cause::BackendDown);
        } else {
            if lease.is_past_deadline() {
                receipt.violation.get_or_insert(Violation::Release);
            }
            let release = lease.release().await;
            self.metrics.release(order.strategy, release, granted.elapsed(), ttl);
        }
        receipt.hold = granted.elapsed();
        if let Some(violation) = receipt.violation {
            self.metrics.violation(order.strategy, violation);
        }
    }

    async fn acquire(
        &self,
        order: &Order,
        lock: &Arc<dyn Lock>,
        stock: &dyn Stock,
        receipt: &mut Receipt,
    ) -> Option<(Generation, Lease)> {
        let Order { strategy, product, patience, .. } = order;
        let started = Instant::now();
        let waiter = self.metrics.waiter(*strategy);
        let attempt = || async {
            // Before the lease is wanted, each time: see `Generation`.
            let generation = match stock.generation(product).await {
                Ok(Some(generation)) => generation,
                Ok(None) => return Ok(Some(None)),
                Err(error) => return Err((Step::Read, error)),
            };
            let result = lock::acquire(order, lock, &self.releases).await;
            self.metrics.attempt(*strategy, Attempted::from(&result));
            match result {
                Ok(lease) => Ok(lease.map(|lease| Some((generation, lease)))),
                Err(error) => Err((Step::Acquire, error)),
            }
        };
        let mut rng = SmallRng::seed_from_u64(rand::random());
        let tried = wait::retry(patience, &mut rng, attempt).await;
        drop(waiter);
        receipt.wait = started.elapsed();
        receipt.retries = tried.retries;
        let (acquired, attempted) = match tried.result {
            Ok(Some(Some(acquired))) => (Some(acquired), Attempted::Acquired),
            Ok(Some(None)) => {
                receipt.absent(product);
                return None;
            }
            Ok(None) => {
                receipt.outcome = Outcome::Busy;
                (None, Attempted::Contended)
            }
            Err((step, error)) => {
                let attempted = Attempted::of_error(&error);
                receipt.fail(step, error);
                (None, attempted)
            }
        };
        receipt.lock_acquired = acquired.is_some();
        self.metrics.acquisition(*strategy, attempted, receipt.wait);
        self.metrics.retries(*strategy, patience.policy, tried.retries);
        acquired
    }

    /// Puts `units` of a product on sale afresh, in the store of `strategy` or in all, and forgets
    /// who holds it.
    ///
    /// # Errors
    /// A store or a lock service failed: what happened is not certain, so reset again.
    pub async fn reset(
        &self,
        product: &Product,
        units: u64,
        strategy: Option<StrategyId>,
    ) -> Result<(), BackendError> {
        let only = strategy.map(|id| id.row().store);
        let stores = Store::VARIANTS.iter().filter(|&&store| only.is_none_or(|it| it == store));
        for &store in stores {
            // Before the stock: whoever is granted a lease after this keeps it, and whoever was
            // granted one before began at the old generation, so that its write will be refused.
            for id in StrategyId::all().filter(|id| id.row().store == store) {
                if let Method::Lock(lock) = &self.methods[id.index()] {
                    lock.clear(product).await?;
                }
            }
            self.stock(store).reset(product, units).await?;
        }
        self.metrics.reset();
        Ok(())
    }

    /// The numbers of a product, read at one instant, from the store of `strategy` (by default
    /// Redis). `None`: it was never put on sale there.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn tally(
        &self,
        product: &Product,
        strategy: Option<StrategyId>,
    ) -> Result<Option<Tally>, BackendError> {
        let store = strategy.map_or(Store::Redis, |id| id.row().store);
        self.stock(store).tally(product).await
    }
}

/// Read, work, write. Whether the lease still stands is observed, not enforced: enforcing it is
/// what distinguishes strategies.
async fn critical_section(
    order: &Order,
    generation: &Generation,
    lease: &mut Lease,
    stock: &dyn Stock,
    receipt: &mut Receipt,
) -> Result<(), (Step, BackendError)> {
    let at = |step| move |error| (step, error);
    let Order { product, faults, .. } = order;
    faults.strike(Step::AfterAcquire).await.map_err(at(Step::AfterAcquire))?;
    if let Some(token) = lease.fencing_token() {
        receipt.fencing_token = Some(token);
        // Before reading: from here on, no older holder can change what is read.
        faults.strike(Step::RaiseBar).await.map_err(at(Step::RaiseBar))?;
        let raised = stock.raise_bar(product, token).await;
        if !faults.reply(Step::RaiseBar, raised).map_err(at(Step::RaiseBar))? {
            receipt.fenced(product);
            return Ok(());
        }
    }
    faults.strike(Step::Read).await.map_err(at(Step::Read))?;
    let Some(read) = stock.read(product).await.map_err(at(Step::Read))? else {
        receipt.absent(product);
        return Ok(());
    };
    if read < i64::from(order.quantity) {
        receipt.sold_out(read);
    } else {
        receipt.stock_before = Some(read);
        faults.strike(Step::Work).await.map_err(at(Step::Work))?;
        let started = Instant::now();
        let done = lease.while_held(Receipt::work(order.delay)).await;
        receipt.work = started.elapsed();
        faults.strike(Step::BeforeWrite).await.map_err(at(Step::BeforeWrite))?;
        if lease.is_past_deadline() {
            receipt.violation = Some(Violation::Work);
        }
        if !done || lease.is_lost() {
            receipt.lost(product);
            return Ok(());
        }
        let fencing_token = lease.fencing_token();
        let sale = Sale { generation, read, quantity: order.quantity, fencing_token };
        let written = write(order, sale, lease, stock).await.map_err(at(Step::Write))?;
        receipt.settle(written, product);
        faults.strike(Step::AfterWrite).await.map_err(at(Step::AfterWrite))?;
        if lease.is_past_deadline() {
            receipt.violation.get_or_insert(Violation::Write);
        }
    }
    Ok(())
}

/// Writes under a lease, which knows meanwhile that the write may be under way.
async fn write(
    order: &Order,
    sale: Sale<'_>,
    lease: &mut Lease,
    stock: &dyn Stock,
) -> Result<Written, BackendError> {
    order.faults.strike(Step::Write).await?;
    lease.write_begins();
    let written = stock.write(&order.product, sale).await;
    let written = order.faults.reply(Step::Write, written);
    if !written.as_ref().is_err_and(BackendError::is_unknown) {
        lease.write_ended();
    }
    written
}
