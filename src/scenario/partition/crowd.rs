//! Buyers who come again and again until the product is sold out, and what became of each purchase.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{self, Duration, Instant},
};
use tokio_util::sync::CancellationToken;

use crate::{
    order::{Order, receipt::Receipt},
    outcome::Outcome,
    scenario::{
        error::ScenarioError,
        ground::{AGAIN, PATIENCE},
    },
    shop::Shop,
};
use locklab_locks::lock::Votes;

/// How long a buyer stays away who got nothing: nobody hammers a server that is away.
const PAUSE: Duration = Duration::from_millis(20);

/// One purchase.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// When it began.
    pub began: Instant,
    /// When it had ended.
    pub ended: Instant,
    /// How it ended.
    pub outcome: Outcome,
    /// What the nodes did at its last try.
    pub votes: Option<Votes>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

impl Attempt {
    fn new(began: Instant, receipt: &Receipt) -> Self {
        Self {
            began,
            ended: Instant::now(),
            outcome: receipt.outcome,
            votes: receipt.votes,
            failure: receipt.failure.as_ref().map(ToString::to_string),
        }
    }
}

/// Everybody who buys a product.
pub struct Crowd {
    attempts: Arc<Mutex<Vec<Attempt>>>,
    count: watch::Receiver<usize>,
    buyers: JoinSet<()>,
    enough: CancellationToken,
}

impl Crowd {
    /// Sends so many buyers, to each of these shops in turn.
    pub fn send(
        shops: &[Arc<Shop>],
        buyers: u32,
        order: &(impl Fn() -> Order + Clone + Send + 'static),
    ) -> Self {
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let (sender, count) = watch::channel(0);
        let (enough, sender) = (CancellationToken::new(), Arc::new(sender));
        let mut crowd = JoinSet::new();
        for (_, shop) in (0..buyers).zip(shops.iter().cycle()) {
            let (shop, attempts, sender) =
                (Arc::clone(shop), Arc::clone(&attempts), Arc::clone(&sender));
            let (enough, order) = (enough.clone(), order.clone());
            crowd.spawn(async move {
                while !enough.is_cancelled() {
                    let began = Instant::now();
                    let attempt = Attempt::new(began, &shop.purchase(&order()).await);
                    let outcome = attempt.outcome;
                    attempts.lock().push(attempt);
                    sender.send_modify(|count| *count += 1);
                    match outcome {
                        Outcome::Sold => {}
                        Outcome::SoldOut => return,
                        _ => time::sleep(PAUSE).await,
                    }
                }
            });
        }
        Self { attempts, count, buyers: crowd, enough }
    }

    /// Waits until something can be seen of the purchases that have ended.
    pub async fn until<T>(
        &mut self,
        what: &str,
        see: impl Fn(&[Attempt]) -> Option<T>,
    ) -> Result<T, ScenarioError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(seen) = see(&self.attempts.lock()) {
                return Ok(seen);
            }
            let changed = time::timeout_at(deadline, self.count.changed()).await;
            if !matches!(changed, Ok(Ok(()))) && see(&self.attempts.lock()).is_none() {
                let text = format!("waited in vain until {what}: {}; {AGAIN}", self.summary());
                return Err(ScenarioError::NotMeasured(text));
            }
        }
    }

    /// Waits until the product is sold out.
    pub async fn leave(mut self) -> Result<Vec<Attempt>, ScenarioError> {
        let all = async { while self.buyers.join_next().await.is_some() {} };
        if time::timeout(PATIENCE, all).await.is_err() {
            let text = format!("waited in vain until it was sold out: {}; {AGAIN}", self.summary());
            return Err(ScenarioError::NotMeasured(text));
        }
        Ok(std::mem::take(&mut *self.attempts.lock()))
    }

    fn summary(&self) -> String {
        let attempts = self.attempts.lock();
        let last = attempts.last().map(|last| match &last.failure {
            Some(failure) => format!("the last: {failure}"),
            None => format!("the last: {}", <&str>::from(last.outcome)),
        });
        format!("{} purchases; {}", attempts.len(), last.unwrap_or_default())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.enough.cancel();
    }
}
