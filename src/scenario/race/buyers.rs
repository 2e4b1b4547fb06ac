//! `locklab buyers`: a process of buyers, which does what its standard input says.

use std::{
    io::{self, BufRead},
    sync::Arc,
    thread,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{self, Duration, Instant},
};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::Config,
    lab::Lab,
    measure::clock,
    order::Order,
    outcome::Outcome,
    report::RunEntry,
    scenario::{error::ScenarioError, processes::tell, race::plan::Plan},
    shop::Shop,
};
use locklab_locks::{
    fault::{FaultMetrics, Faults},
    token::Token,
};

/// How long a buyer rests who comes again and got nothing: it may have been told so at once, by a
/// lock that is not asked over a network or a server that is away, and would do nothing but ask.
const REST: Duration = Duration::from_millis(1);

/// What a process of buyers is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// What its buyers are to do.
    Plans(Vec<Plan>),
    /// When they start, in nanoseconds by CLOCK_MONOTONIC.
    Start {
        /// When they start.
        at_ns: u64,
    },
}

/// What it tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// Its servers are there, and it knows what its buyers are to do.
    Ready,
    /// A buyer stands still, as a fault asked.
    Standing,
    /// What became of each purchase of a buyer.
    Ended(Vec<RunEntry>),
}

/// Carries out plans until standard input ends.
pub async fn run(config: &Config) -> Result<(), ScenarioError> {
    let lab = Lab::open(config, CancellationToken::new()).await?;
    let (sender, mut said) = mpsc::channel(2);
    // A thread of its own, which nobody waits for when this process ends.
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let Ok(said) = serde_json::from_str::<Said>(&line) else { return };
            if sender.blocking_send(said).is_err() {
                return;
            }
        }
    });
    let (mut plans, mut buyers) = (Vec::new(), JoinSet::new());
    let (mut pauses, shop) = (lab.faults().pauses(), Arc::clone(lab.shop()));
    tokio::spawn(async move {
        while pauses.changed().await.is_ok() {
            // Whoever is killed then has no other time to say what it held.
            shop.flush().await;
            tell(&Told::Standing);
        }
    });
    while let Some(said) = said.recv().await {
        match said {
            Said::Plans(those) => {
                plans = those;
                tell(&Told::Ready);
            }
            Said::Start { at_ns } => {
                let start =
                    Instant::now() + Duration::from_nanos(at_ns.saturating_sub(clock::now_ns()));
                for plan in std::mem::take(&mut plans) {
                    let (shop, metrics) = (Arc::clone(lab.shop()), Arc::clone(lab.faults()));
                    buyers.spawn(async move {
                        tell(&Told::Ended(buy(&shop, &metrics, plan, start).await));
                    });
                }
            }
        }
    }
    // Nobody listens any more.
    buyers.shutdown().await;
    lab.close(Instant::now()).await;
    Ok(())
}

/// Does what a plan says, from an instant on.
pub async fn buy(
    shop: &Shop,
    metrics: &Arc<FaultMetrics>,
    plan: Plan,
    start: Instant,
) -> Vec<RunEntry> {
    let Plan { buyer, mut order, faults, after, until } = plan;
    let ends = start + until.unwrap_or_default();
    let mut entries = Vec::new();
    time::sleep_until(start + after).await;
    loop {
        order.faults = Faults::new(faults.clone(), Arc::clone(metrics));
        let began_ns = clock::now_ns();
        let receipt = shop.purchase(&order).await;
        entries.push(RunEntry::new(buyer, &order, &receipt, began_ns, clock::now_ns()));
        if Instant::now() >= ends || receipt.outcome == Outcome::SoldOut {
            return entries;
        }
        if receipt.outcome != Outcome::Sold {
            time::sleep(REST).await;
        }
        order = again(order);
    }
}

/// The next order of the same buyer.
fn again(mut order: Order) -> Order {
    order.id = Token::random();
    order.patience.seed = order.patience.seed.wrapping_add(1);
    order
}
