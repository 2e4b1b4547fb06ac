//! One strategy with one way to wait, measured once: buyers of one product in a closed loop.

use serde::Serialize;
use serde_json::Value;
use tokio::time::Duration;

use super::hand_off::hand_offs;
use crate::{
    lab::Lab,
    measure::{cpu, sample},
    report::RunEntry,
    scenario::{
        error::ScenarioError,
        ground::Ground,
        race::{
            self,
            crew::Crew,
            plan::{Plan, shuffled, spread},
        },
        recorded::Recorded,
    },
    stock::STOCK_MAX,
    strategy::StrategyId,
};
use locklab_locks::wait::{Patience, Policy};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// The strategy.
    pub lock: StrategyId,
    /// What losers do.
    pub policy: Policy,
}

/// The load, which is the same for all.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// How many buyers there are.
    pub buyers: u32,
    /// How long they buy.
    pub duration: Duration,
    /// Work between read and write.
    pub work: Duration,
    /// How long a lease lasts.
    pub ttl: Duration,
    /// What the delays of losers start from.
    pub base: Duration,
    /// What they do not exceed.
    pub cap: Duration,
    /// Over how many processes the buyers are spread.
    pub processes: u32,
}

/// What one measurement came to. What is NaN, or `None`, is not known.
#[derive(Debug, Serialize)]
pub struct Sample {
    /// The strategy.
    pub lock: &'static str,
    /// What losers did.
    pub retry: &'static str,
    /// Which of the runs, from 1.
    pub run: u32,
    /// How many purchases there were.
    pub purchases: usize,
    /// Units really sold, by the ledger.
    pub sold: i64,
    /// Sales that were told within the time in which buyers came, per second.
    pub sold_per_s: f64,
    /// Of each sale, how long its buyer spent on it apart from its own work: from wanting to
    /// having.
    pub waits_ms: Vec<f64>,
    /// How long each lock was held.
    pub holds_ms: Vec<f64>,
    /// How long each lease took from one holder to the next.
    pub hand_offs_ms: Vec<f64>,
    /// Tries of all purchases, per sale.
    pub tries_per_sale: f64,
    /// Units of each buyer.
    pub units: Vec<f64>,
    /// Jain's index of these.
    pub fairness: f64,
    /// The longest that a buyer went without a unit.
    pub longest_ms: f64,
    /// Processor time of Locklab per sale, the buyers included.
    pub cpu_us: f64,
    /// Processor time of the servers per sale.
    pub servers_cpu_us: f64,
    /// Units sold beyond what there was, by the ledger.
    pub oversold: i64,
    /// Units sold that the stock still has, because a write overwrote their sale.
    pub lost_updates: i64,
    /// Purchases during which a lease expired.
    pub ttl_violated: usize,
    /// Purchases of which nobody knows how they ended.
    pub undecided: usize,
    /// Why the first of these is not decided.
    pub error: Option<String>,
    /// Whether every unit is accounted for, as far as it was recorded.
    pub ok: bool,
    /// What the history cannot show.
    pub gaps: Vec<String>,
    /// The verdict.
    pub audit: Value,
}

/// Processor time used so far: of Locklab, and of the servers that a strategy needs.
type Used = (Option<Duration>, Option<Duration>);

impl Cell {
    /// What it is called.
    pub fn name(&self) -> String {
        format!("{} {}", self.lock.row().name, self.policy.name())
    }

    /// Measures it once.
    pub async fn measure(
        self,
        ground: &Ground,
        load: &Load,
        run: u32,
        seed: u64,
    ) -> Result<Sample, ScenarioError> {
        let product = ground.put_on_sale("compare", self.lock, STOCK_MAX).await?;
        let plans = shuffled(load.buyers, seed, |buyer| {
            let plan = self.plan(load, Plan::new(buyer, self.lock, &product));
            Plan { until: Some(load.duration), ..plan }
        });
        let (entries, used) = if load.processes <= 1 {
            let before = self.used(&ground.lab, None);
            let entries = race::run(ground, plans, 1).await?;
            (entries, since(before, self.used(&ground.lab, None)))
        } else {
            // Their first purchases make connections, and are not counted.
            let warm = spread(self.warm_up(ground, load).await?, load.processes);
            let mut crew = Crew::start(ground, warm).await?;
            crew.race().await?;
            crew.deal(spread(plans, load.processes)).await?;
            let before = self.used(&ground.lab, Some(&crew));
            let entries = crew.race().await?;
            let after = self.used(&ground.lab, Some(&crew));
            crew.end().await?;
            (entries, since(before, after))
        };
        let recorded = Recorded::of(&ground.lab, &product, self.lock).await?;
        Ok(self.sum_up(load, run, &entries, &recorded, used))
    }

    /// Purchases that make connections: one of each buyer, of a product that is not measured.
    pub async fn warm_up(self, ground: &Ground, load: &Load) -> Result<Vec<Plan>, ScenarioError> {
        let product = ground.put_on_sale("warm-up", self.lock, STOCK_MAX).await?;
        let cell = Self { policy: Policy::Fixed, ..self };
        let plan = |buyer| cell.plan(load, Plan::new(buyer, self.lock, &product));
        Ok((0..load.buyers).map(plan).collect())
    }

    fn plan(self, load: &Load, mut plan: Plan) -> Plan {
        (plan.order.delay, plan.order.ttl) = (load.work, load.ttl);
        plan.order.patience = Patience {
            policy: self.policy,
            base: load.base,
            cap: load.cap,
            max_retries: u32::MAX,
            // Whatever a lease was left behind by has ended by then.
            wait: load.duration + load.ttl,
            ..Patience::default()
        };
        plan
    }

    /// Processor time used so far.
    fn used(self, lab: &Lab, crew: Option<&Crew>) -> Used {
        let row = self.lock.row();
        let crew = crew.map_or(Some(Duration::ZERO), Crew::cpu);
        let here = cpu::here().zip(crew).map(|(here, crew)| here + crew);
        let mut backends = vec![row.backend];
        if row.backend != row.store.into() {
            backends.push(row.store.into());
        }
        (here, backends.into_iter().map(|backend| lab.cpu(backend)).sum())
    }

    /// What purchases came to.
    fn sum_up(
        self,
        load: &Load,
        run: u32,
        entries: &[RunEntry],
        recorded: &Recorded,
        (here, servers): Used,
    ) -> Sample {
        let sold = recorded.tally.sold;
        let began_ns = entries.iter().map(|entry| entry.began_ns).min().unwrap_or_default();
        let until_ns = began_ns.saturating_add(load.duration.as_nanos() as u64);
        let sales = || entries.iter().filter(|entry| entry.success);
        let in_time = sales().filter(|entry| entry.ended_ns <= until_ns).count();
        let tries: u64 = entries.iter().map(|entry| 1 + u64::from(entry.retries)).sum();
        let units = |buyer| sales().filter(|entry| entry.buyer == buyer).count() as f64;
        let units: Vec<f64> = (0..load.buyers).map(units).collect();
        let longest = (0..load.buyers).map(|buyer| {
            let of_buyer = sales().filter(|entry| entry.buyer == buyer);
            let mut sold_ns: Vec<u64> = of_buyer.map(|entry| entry.ended_ns).collect();
            sold_ns.extend([began_ns, until_ns]);
            sold_ns.sort_unstable();
            sold_ns.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
        });
        let longest_ms = longest.max().unwrap_or_default() as f64 / 1e6;
        // Nothing sold, nothing known of what a sale takes.
        let per_sale = |it: f64| if sold > 0 { it / sold as f64 } else { f64::NAN };
        let micros =
            |it: Option<Duration>| per_sale(it.map_or(f64::NAN, |it| it.as_nanos() as f64 / 1e3));
        let undecided = entries.iter().filter(|entry| !entry.is_decided());
        let holds = entries.iter().map(|entry| entry.hold_ms).filter(|hold| *hold > 0.0);
        Sample {
            lock: self.lock.row().name,
            retry: self.policy.name(),
            run,
            purchases: entries.len(),
            sold,
            sold_per_s: in_time as f64 / load.duration.as_secs_f64(),
            waits_ms: sales().map(|entry| (entry.duration_ms - entry.work_ms).max(0.0)).collect(),
            holds_ms: holds.collect(),
            hand_offs_ms: hand_offs(&recorded.history),
            tries_per_sale: per_sale(tries as f64),
            fairness: if sold > 0 { sample::jain(&units) } else { f64::NAN },
            units,
            longest_ms,
            cpu_us: micros(here),
            servers_cpu_us: micros(servers),
            oversold: recorded.tally.oversold(),
            lost_updates: recorded.tally.lost_updates(),
            ttl_violated: entries.iter().filter(|entry| entry.ttl_violated).count(),
            undecided: undecided.clone().count(),
            error: undecided.filter_map(|entry| entry.error.clone()).next(),
            ok: recorded.verdict.ok,
            gaps: recorded.verdict.gaps.clone(),
            audit: recorded.audit(),
        }
    }
}

fn since(before: Used, after: Used) -> Used {
    let between = |before: Option<Duration>, after: Option<Duration>| {
        after.zip(before).map(|(after, before)| after.saturating_sub(before))
    };
    (between(before.0, after.0), between(before.1, after.1))
}
