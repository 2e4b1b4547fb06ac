//! A candidate: a process that stands for election until its standard input ends, and says on its
//! standard output what becomes of it.

use locklab_locks::{
    lease::keeper::Keeper,
    wait::{Patience, Policy},
};
use std::{io, sync::Arc, thread};

use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{Candidacy, Config},
    lab::Lab,
    measure::clock,
    order::Order,
    scenario::{error::ScenarioError, processes},
    shop::term::Career,
    strategy::StrategyId,
};

/// How long one candidacy lasts; there is another one after it.
const CANDIDACY: Duration = Duration::from_secs(10);

/// A line of a candidate's output.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Told {
    /// When, by CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// What became of the candidate; nothing yet if it has only come to stand.
    pub career: Option<Career>,
}

/// Stands for election until standard input ends.
pub async fn run(config: &Config, candidacy: &Candidacy) -> Result<(), ScenarioError> {
    let lab = Lab::open(config, CancellationToken::new()).await?;
    let Candidacy { lock: strategy, product, ttl, work } = candidacy;
    let keeper = keeper(&lab, *strategy)?;
    let gone = CancellationToken::new();
    let ends = gone.clone();
    // A thread of its own, which nobody waits for when this process ends.
    thread::spawn(move || {
        // Whatever ends it, nobody is there any more.
        io::copy(&mut io::stdin(), &mut io::sink()).ok();
        ends.cancel();
    });
    let order = Order {
        delay: *work,
        ttl: *ttl,
        patience: Patience {
            policy: Policy::Notify,
            max_retries: u32::MAX,
            wait: CANDIDACY,
            gone,
            ..Patience::default()
        },
        ..Order::of(*strategy, product.clone())
    };
    tell(None);
    let led = lab.shop().lead(&keeper, &order, |career| tell(Some(career))).await;
    lab.close(Instant::now()).await;
    led.map_err(|error| ScenarioError::NotMeasured(error.to_string()))
}

fn tell(career: Option<Career>) {
    processes::tell(&Told { at_ns: clock::now_ns(), career });
}

/// The keeper of the lock that a leader holds: it has to be one that is renewed.
pub fn keeper(lab: &Lab, strategy: StrategyId) -> Result<Arc<Keeper>, ScenarioError> {
    let row = strategy.row();
    if let Some(reason) = lab.backends().reason_against(row) {
        return Err(ScenarioError::NotMeasured(reason));
    }
    let keeper = lab.shop().leading(strategy);
    keeper.ok_or_else(|| ScenarioError::NotMeasured(format!("{} is no lock", row.name)))
}
