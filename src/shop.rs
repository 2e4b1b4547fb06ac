//! Every purchase passes here, whether it came over HTTP or from the command line, and under
//! whichever strategy. Locks are wrapped around the critical section; the other strategies sell by
//! themselves.

mod acquire;
mod buyers;
pub mod metrics;
mod once;
pub mod presence;
mod section;
pub mod shelf;
pub mod term;
mod till;
mod visit;

use enum_map::EnumMap;
use std::sync::Arc;

use tokio::time::Instant;

use self::{buyers::BuyerLines, visit::Visit};
use crate::{
    history::EventKind,
    order::{
        Order,
        receipt::{Failure, Receipt, at},
        recorder::Recorder,
    },
    outcome::Outcome,
    product::Product,
    shop::{
        metrics::ShopMetrics,
        shelf::{Method, Parts},
    },
    stock::{Evidence, Stock, ledger::Tally, stocks::Stocks},
    strategy::{StrategyId, server::Store},
};
use locklab_locks::{error::BackendError, lease::keeper::Keeper, step::Step};

/// Why a product could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// It was sold from several stores, and none was named.
    #[error("the product was sold from {}: name a strategy of the one that is meant",
            .0.iter().map(|store| store.name()).collect::<Vec<_>>().join(" and "))]
    Ambiguous(Vec<Store>),
    /// A store could not be read.
    #[error(transparent)]
    Store(#[from] BackendError),
}

/// Sells products under any strategy.
pub struct Shop {
    methods: EnumMap<StrategyId, Method>,
    stocks: Stocks,
    lines: BuyerLines,
    recorder: Recorder,
    /// The lock of `fenced`, renewed while it is held: for who holds it longer than a purchase
    /// takes.
    renewed: Arc<Keeper>,
    metrics: ShopMetrics,
}

impl Shop {
    /// Opens the shop with every strategy that can be built from these parts.
    #[must_use]
    pub fn new(parts: &Parts<'_>) -> Self {
        Self {
            methods: EnumMap::from_fn(|id| parts.connect(id)),
            stocks: Stocks::new(parts.backends, parts.settings.history),
            lines: buyers::lines(),
            recorder: parts.recorder.clone(),
            renewed: parts.renewed_fenced(),
            metrics: ShopMetrics::new(parts.registry),
        }
    }

    /// What the shop has recorded.
    #[must_use]
    pub fn metrics(&self) -> &ShopMetrics {
        &self.metrics
    }

    /// The products of a store.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`]: there is no such store here.
    pub fn stock(&self, store: Store) -> Result<&dyn Stock, BackendError> {
        self.stocks.of(store)
    }

    /// The keeper of a strategy's lock, if it is one and can be used here.
    #[must_use]
    pub fn keeper(&self, strategy: StrategyId) -> Option<&Arc<Keeper>> {
        match &self.methods[strategy] {
            Method::Lock(keeper) => Some(keeper),
            Method::Absent(_) | Method::LockFree(_) => None,
        }
    }

    /// The keeper of the lock under which one may lead for as long as one likes: that of the
    /// strategy, or, for `fenced`, which nobody renews, the same lock renewed.
    #[must_use]
    pub fn leading(&self, strategy: StrategyId) -> Option<Arc<Keeper>> {
        if strategy == StrategyId::Fenced {
            return Some(Arc::clone(&self.renewed));
        }
        self.keeper(strategy).cloned()
    }

    /// Carries out an order. Failures are outcomes too: the receipt says how far it came.
    ///
    /// # Cancellation
    /// Dropping the future leaves a lease that may be held to the release task, and does not recall
    /// a write that has been sent.
    pub async fn purchase(&self, order: &Order) -> Receipt {
        let receipt = self.carry_out(order).await;
        self.measure(order, &receipt);
        receipt
    }

    async fn carry_out(&self, order: &Order) -> Receipt {
        let started = Instant::now();
        let mut receipt = Receipt::blank(order.items.len());
        let store = order.strategy.row().store;
        let stock = match self.stock(store) {
            Ok(stock) => stock,
            Err(error) => {
                receipt.fail(at(Step::Acquire)(error));
                return receipt;
            }
        };
        let mut trail = self.recorder.begin(order);
        match &self.methods[order.strategy] {
            Method::Lock(keeper) => {
                let visit = Visit {
                    order,
                    keeper,
                    lines: &self.lines,
                    stock,
                    rows: self.stocks.in_sql(store).ok(),
                    metrics: &self.metrics,
                    receipt: &mut receipt,
                    trail: &mut trail,
                };
                visit.sell().await;
            }
            Method::Absent(reason) => {
                let (backend, cause) = (order.strategy.row().backend.into(), reason.clone().into());
                let error = BackendError::Unavailable { backend, cause };
                receipt.fail(at(Step::Acquire)(error));
            }
            Method::LockFree(seller) => {
                receipt.lock_acquired = true;
                seller.sell(order, stock, &mut receipt, &mut trail).await;
                receipt.paused = order.faults.paused();
            }
        }
        trail.end(&ending(&receipt));
        receipt.duration = started.elapsed();
        receipt
    }

    fn measure(&self, order: &Order, receipt: &Receipt) {
        let strategy = order.strategy;
        self.metrics.tries(strategy, receipt.retries);
        if receipt.repeated {
            return self.metrics.repeated();
        }
        if matches!(receipt.failure, Some(Failure::QueueFull(_))) {
            // Not a purchase: it was turned away, and is counted as such.
            return;
        }
        self.metrics.purchase(strategy, receipt.outcome);
        if receipt.outcome == Outcome::Fenced {
            self.metrics.fenced(strategy);
        }
        for (item, sold) in order.items.iter().zip(&receipt.sales) {
            self.metrics.sale(strategy, item.quantity, sold);
        }
    }

    /// Puts `units` of a product on sale afresh, in the store of `strategy` or in all, and forgets
    /// who holds it.
    ///
    /// # Errors
    /// A store or a lock service failed: nothing may be sold until the product is reset again.
    pub async fn reset(
        &self,
        product: &Product,
        units: u64,
        strategy: Option<StrategyId>,
    ) -> Result<(), BackendError> {
        let stores = match strategy.map(|id| id.row().store) {
            Some(store) => vec![(store, self.stock(store)?)],
            None => self.stocks.all().collect(),
        };
        for (store, stock) in stores {
            // Nobody sells while leases are forgotten. Whoever was granted one before, or
            // meanwhile, began at a generation that is refused after the reset as well.
            stock.close(product).await?;
            for id in StrategyId::all().filter(|id| id.row().store == store) {
                if let Method::Lock(keeper) = &self.methods[id] {
                    let lock = keeper.lock();
                    let cleared = lock.clear(product).await;
                    let is_elsewhere = id.row().backend != store.into()
                        && (strategy != Some(id) || lock.is_dispensable());
                    match cleared {
                        // Its leases block buyers until they end, and can sell nothing any more.
                        Err(error) if is_elsewhere => {
                            tracing::warn!(%error, %product, lock = id.row().name, "not cleared");
                        }
                        cleared => cleared?,
                    }
                }
            }
            stock.reset(product, units).await?;
        }
        self.metrics.reset();
        Ok(())
    }

    /// The numbers of a product, read at one instant. `None`: it was never put on sale there.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn tally(
        &self,
        product: &Product,
        store: Store,
    ) -> Result<Option<Tally>, BackendError> {
        self.stock(store)?.tally(product).await
    }

    /// The numbers of a product at one instant, together with its history, into which everything
    /// goes first that this server has to add.
    ///
    /// # Errors
    /// The store could not be read.
    pub async fn evidence(
        &self,
        product: &Product,
        store: Store,
    ) -> Result<Option<Evidence>, BackendError> {
        self.recorder.flush(store).await;
        self.stock(store)?.evidence(product).await
    }

    /// The store that is meant: that of the strategy, or the one from which the product was sold
    /// since its reset. One that was sold nowhere is looked for in Redis first.
    ///
    /// # Errors
    /// A store could not be read, or it is not clear which is meant.
    pub async fn where_sold(
        &self,
        product: &Product,
        strategy: Option<StrategyId>,
    ) -> Result<Store, LookError> {
        if let Some(strategy) = strategy {
            return Ok(strategy.row().store);
        }
        let stores: Vec<_> = self.stocks.all().collect();
        if let [(store, _)] = stores[..] {
            return Ok(store);
        }
        let (mut sold, mut on_sale) = (Vec::new(), None);
        for (store, stock) in stores {
            let Some(tally) = stock.tally(product).await? else { continue };
            on_sale.get_or_insert(store);
            if tally.sold > 0 {
                sold.push(store);
            }
        }
        match sold[..] {
            [] => Ok(on_sale.unwrap_or(Store::Redis)),
            [store] => Ok(store),
            _ => Err(LookError::Ambiguous(sold)),
        }
    }

    /// Ends what the strategies still do, and brings to the stores what was recorded; called when
    /// no more orders come.
    pub async fn close(&self) {
        for method in self.methods.values() {
            if let Method::LockFree(seller) = method {
                seller.close().await;
            }
        }
        self.flush().await;
    }

    /// Brings to the stores what was recorded until now, of orders that are under way as well.
    pub async fn flush(&self) {
        self.recorder.flush_all().await;
    }
}

/// What the history says at the end of an order.
fn ending(receipt: &Receipt) -> EventKind {
    match &receipt.failure {
        // A crash leaves to others what was under way.
        Some(Failure::Backend { step, error }) if error.is_unknown() || error.is_crash() => {
            EventKind::Unknown { step: *step }
        }
        // The answer is that of another order.
        _ if receipt.repeated => EventKind::Fail { outcome: Outcome::Conflict },
        _ if receipt.outcome == Outcome::Sold => EventKind::Ok,
        _ => EventKind::Fail { outcome: receipt.outcome },
    }
}
