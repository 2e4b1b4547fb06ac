//! Standing for election: what is asked of the lock service.

use tokio::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::{
    fault::Faults,
    order::Order,
    product::{Item, Product},
    strategy::StrategyId,
    token::Token,
    wait::{Patience, Policy},
};

/// How long one candidacy lasts; there is another one after it.
const CANDIDACY: Duration = Duration::from_secs(10);

/// What a candidate asks the lock service for.
#[must_use]
pub fn candidacy(
    strategy: StrategyId,
    product: &Product,
    ttl: Duration,
    unwanted: &CancellationToken,
) -> Order {
    Order {
        id: Token::random(),
        items: vec![Item { product: product.clone(), quantity: 1 }],
        key: None,
        run_id: None,
        strategy,
        delay: Duration::ZERO,
        ttl,
        extensions: 0,
        patience: Patience {
            policy: Policy::Notify,
            max_retries: u32::MAX,
            wait: CANDIDACY,
            gone: unwanted.clone(),
            ..Patience::default()
        },
        faults: Faults::default(),
    }
}
