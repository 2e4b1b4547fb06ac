//! Purchases whose hold times are measured, and purchases under a ttl that is tried out.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde::Serialize;
use tokio::time::{self, Duration};

use crate::{
    lab::Lab,
    order::receipt::Receipt,
    outcome::Outcome,
    product::Product,
    scenario::{
        error::ScenarioError,
        ground::{AGAIN, Ground, PATIENCE},
        race::plan::Plan,
    },
    stock::ledger::Tally,
    strategy::StrategyId,
};

/// Longer than any hold that is measured.
const LONG_TTL: Duration = Duration::from_secs(60);
/// Products on which a ttl is tried out at once, and buyers who contend for each.
const PRODUCTS: usize = 4;
const BUYERS: usize = 2;
/// How soon a buyer comes again who found the lock taken.
const AGAIN_AFTER: Duration = Duration::from_millis(2);

/// A purchase that had the lock.
#[derive(Debug, Clone, Serialize)]
pub struct TimedPurchase {
    /// The work that was drawn for it, in ms.
    pub work_ms: f64,
    /// From asking for the lock until it was released, in ms: what a ttl has to outlast.
    pub held_ms: f64,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether its lease was seen to have ended before it was done.
    pub violated: bool,
}

impl TimedPurchase {
    fn new(work: Duration, receipt: &Receipt) -> Self {
        Self {
            work_ms: millis(work),
            // It asked once: nobody waits here.
            held_ms: millis(receipt.wait + receipt.hold),
            outcome: receipt.outcome,
            violated: receipt.violation.is_some(),
        }
    }
}

/// In ms, with its fraction.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// What became of purchases under a ttl.
#[derive(Debug, Serialize)]
pub struct Tried {
    /// The ttl, in ms.
    pub ttl_ms: f64,
    /// Each of those that had the lock.
    pub purchases: Vec<TimedPurchase>,
    /// Units that there were.
    pub units: i64,
    /// Units sold, by the ledger.
    pub sold: i64,
    /// Units sold beyond what there was.
    pub oversold: i64,
}

impl Tried {
    /// How many purchases outlasted the ttl.
    pub fn violated(&self) -> usize {
        self.purchases.iter().filter(|purchase| purchase.violated).count()
    }
}

/// Some of the work that was drawn, for whoever comes next.
#[derive(Clone)]
struct Pile {
    works: Arc<[Duration]>,
    next: Arc<AtomicUsize>,
}

impl Pile {
    fn new(works: &[Duration]) -> Self {
        Self { works: works.into(), next: Arc::default() }
    }

    fn take(&self) -> Option<Duration> {
        self.works.get(self.next.fetch_add(1, Ordering::Relaxed)).copied()
    }
}

/// One who buys with a ttl.
struct Buyer<'a> {
    lab: &'a Lab,
    lock: StrategyId,
    product: Product,
    ttl: Duration,
}

impl Buyer<'_> {
    /// Buys until there is no more work, or nothing to sell.
    async fn buy(self, pile: Pile) -> Result<Vec<TimedPurchase>, ScenarioError> {
        let mut purchases = Vec::new();
        while let Some(work) = pile.take() {
            let receipt = time::timeout(work + PATIENCE, self.buy_one(work)).await;
            let receipt = receipt.map_err(|_| {
                let seconds = (work + PATIENCE).as_secs();
                ScenarioError::NotMeasured(format!("a buyer was busy for {seconds} s; {AGAIN}"))
            })?;
            match receipt.outcome {
                Outcome::SoldOut => break,
                Outcome::Unavailable | Outcome::Error => {
                    let why = receipt.error().unwrap_or_default();
                    let text = format!("a purchase failed: {why}; see whether its server runs");
                    return Err(ScenarioError::NotMeasured(text));
                }
                _ => purchases.push(TimedPurchase::new(work, &receipt)),
            }
        }
        Ok(purchases)
    }

    /// Comes until the lock is free: what it has waited for others is in no receipt.
    async fn buy_one(&self, work: Duration) -> Receipt {
        loop {
            let mut order = Plan::new(0, self.lock, &self.product).order;
            (order.delay, order.ttl) = (work, self.ttl);
            let receipt = self.lab.shop().purchase(&order).await;
            if receipt.outcome != Outcome::Busy {
                return receipt;
            }
            time::sleep(AGAIN_AFTER).await;
        }
    }
}

/// Carries out so much work, under a ttl that nothing outlasts, by buyers who do not meet.
pub async fn measure(
    ground: &Ground,
    lock: StrategyId,
    works: &[Duration],
    buyers: u32,
) -> Result<Vec<TimedPurchase>, ScenarioError> {
    let pile = Pile::new(works);
    let buys = (0..buyers).map(|_| async {
        let product = ground.put_on_sale("choose-ttl", lock, works.len() as u64).await?;
        Buyer { lab: &ground.lab, lock, product, ttl: LONG_TTL }.buy(pile.clone()).await
    });
    Ok(futures_util::future::try_join_all(buys).await?.concat())
}

/// Sells so many units under a ttl, to buyers who contend for them.
pub async fn contend(
    ground: &Ground,
    lock: StrategyId,
    works: &[Duration],
    ttl: Duration,
    units: u32,
) -> Result<Tried, ScenarioError> {
    let units = units.div_ceil(PRODUCTS as u32);
    let sales = works.chunks(works.len().div_ceil(PRODUCTS)).map(|works| async {
        let product = ground.put_on_sale("choose-ttl", lock, units.into()).await?;
        let lab = &ground.lab;
        let pile = Pile::new(works);
        let buys = (0..BUYERS)
            .map(|_| Buyer { lab, lock, product: product.clone(), ttl }.buy(pile.clone()));
        let purchases = futures_util::future::try_join_all(buys).await?.concat();
        let evidence = lab.shop().evidence(&product, lock.row().store).await?;
        let tally = evidence.map(|evidence| evidence.tally).ok_or_else(|| {
            ScenarioError::NotMeasured(format!("{product} is not on sale any more; {AGAIN}"))
        })?;
        Ok::<(Vec<TimedPurchase>, Tally), ScenarioError>((purchases, tally))
    });
    let mut tried =
        Tried { ttl_ms: millis(ttl), purchases: Vec::new(), units: 0, sold: 0, oversold: 0 };
    for (purchases, tally) in futures_util::future::try_join_all(sales).await? {
        tried.purchases.extend(purchases);
        tried.units += tally.initial;
        tried.sold += tally.sold;
        tried.oversold += tally.oversold();
    }
    Ok(tried)
}
