//! What was measured, side by side.

use super::cell::Sample;
use crate::{
    measure::sample,
    report::{Part, Picture, Table, picture::Group},
    strategy::{Family, StrategyId},
};
use locklab_locks::wait::Policy;

/// Shown where nothing is known.
const UNKNOWN: &str = "–";

/// What each way to wait came to under one strategy: a sample for each run.
pub fn figures(part: &mut Part, policies: &[Policy], samples: &[&Sample]) {
    for policy in policies {
        let name = policy.name();
        let known = |of: fn(&Sample) -> f64| {
            let own = samples.iter().filter(|it| it.retry == name).map(|it| of(it));
            own.filter(|it| it.is_finite()).collect::<Vec<_>>()
        };
        part.measure(format!("{name}: sold"), "units/s", known(|it| it.sold_per_s));
        let p99 = known(|it| sample::quantile(&it.waits_ms, 0.99));
        part.measure(format!("{name}: 99 of 100 waited at most"), "ms", p99);
    }
}

/// All strategies with all ways to wait.
pub fn side_by_side(locks: &[StrategyId], policies: &[Policy], samples: &[Sample]) -> Part {
    let mut part = Part::new("Side by side (medians over runs; – is not known)");
    let cells: Vec<Of<'_>> = locks
        .iter()
        .flat_map(|lock| policies.iter().map(move |policy| (lock.row().name, policy.name())))
        .map(|(lock, retry)| Of {
            lock,
            retry,
            samples: samples.iter().filter(|it| (it.lock, it.retry) == (lock, retry)).collect(),
        })
        .filter(|cell| !cell.samples.is_empty())
        .collect();
    part.tables = vec![speed(&cells), locks_held(&cells), cost(&cells), truth(&cells)];
    for policy in policies {
        let own = cells.iter().filter(|cell| cell.retry == policy.name());
        let title = format!("Units sold per second, retry={}", policy.name());
        let speeds = own.map(|cell| cell.group(cell.lock, |it| it.sold_per_s)).collect();
        part.pictures.push(Picture::bars(&title, "units/s", speeds));
    }
    let best = best(locks, &cells);
    for family in [Family::Lock, Family::LockFree] {
        let own = best.iter().filter(|(lock, _)| lock.row().family == family);
        let waits = own.map(|(_, cell)| {
            let waits_ms = cell.samples.iter().flat_map(|it| it.waits_ms.clone());
            Group::new(&cell.name(), waits_ms.collect())
        });
        let waits: Vec<Group> = waits.collect();
        if !waits.is_empty() {
            let title =
                format!("How long a sale took without its work: {family}, retry= that sells most");
            part.pictures.push(Picture::distribution(&title, "ms", waits));
        }
    }
    type Cpu = (&'static str, fn(&Sample) -> f64);
    let cpu: [Cpu; 2] =
        [("Locklab", |it| it.cpu_us), ("the servers that it started", |it| it.servers_cpu_us)];
    for (whose, of) in cpu {
        let used = best.iter().map(|(_, cell)| cell.group(&cell.name(), of));
        let used = used.filter(|group| !group.samples.is_empty()).collect();
        let title = format!("Processor time per sale: {whose}");
        part.pictures.push(Picture::bars(&title, "µs", used));
    }
    part
}

/// Of each strategy, that way to wait with which most is sold.
fn best<'a, 'b>(locks: &[StrategyId], cells: &'b [Of<'a>]) -> Vec<(StrategyId, &'b Of<'a>)> {
    let most = locks.iter().filter_map(|&lock| {
        let own = cells.iter().filter(|cell| cell.lock == lock.row().name);
        let speed = |cell: &Of<'_>| sample::median(&cell.each(|it| it.sold_per_s));
        own.max_by(|one, other| speed(one).total_cmp(&speed(other))).map(|cell| (lock, cell))
    });
    most.collect()
}

/// Every run of one strategy with one way to wait.
struct Of<'a> {
    lock: &'static str,
    retry: &'static str,
    samples: Vec<&'a Sample>,
}

impl Of<'_> {
    fn name(&self) -> String {
        format!("{} {}", self.lock, self.retry)
    }

    /// Of each run, where it is known.
    fn each(&self, of: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.samples.iter().map(|it| of(it)).filter(|it| it.is_finite()).collect()
    }

    fn group(&self, name: &str, of: impl Fn(&Sample) -> f64) -> Group {
        Group::new(name, self.each(of))
    }

    /// The median over runs.
    fn median(&self, of: impl Fn(&Sample) -> f64) -> String {
        shown(sample::median(&self.each(of)))
    }

    /// The median over runs, and from where to where they go.
    fn spread(&self, of: impl Fn(&Sample) -> f64) -> String {
        let each = self.each(of);
        let middle = sample::median(&each);
        let [least, most] = [0.0, 1.0].map(|part| sample::quantile(&each, part));
        match each.len() {
            0 | 1 => shown(middle),
            _ => format!("{} ({} to {})", shown(middle), shown(least), shown(most)),
        }
    }

    fn sum(&self, of: impl Fn(&Sample) -> i64) -> String {
        self.samples.iter().map(|it| of(it)).sum::<i64>().to_string()
    }
}

/// A number that fits its column.
fn shown(number: f64) -> String {
    match number {
        it if !it.is_finite() => UNKNOWN.to_owned(),
        it if it < 10.0 => format!("{it:.2}"),
        it if it < 100.0 => format!("{it:.1}"),
        it => format!("{it:.0}"),
    }
}

fn table(
    title: &str,
    columns: &[&str],
    cells: &[Of<'_>],
    row: impl Fn(&Of<'_>) -> Vec<String>,
) -> Table {
    let row = |cell: &Of<'_>| [vec![cell.name()], row(cell)].concat();
    let columns = [&["strategy, retry"], columns].concat();
    Table::new(title, &columns, cells.iter().map(row).collect())
}

fn speed(cells: &[Of<'_>]) -> Table {
    let title =
        "How much is sold, and how long a sale took without its work (least to most of the runs)";
    table(title, &["sold/s", "p50 ms", "p99 ms"], cells, |cell| {
        vec![
            cell.spread(|it| it.sold_per_s),
            cell.median(|it| sample::median(&it.waits_ms)),
            cell.spread(|it| sample::quantile(&it.waits_ms, 0.99)),
        ]
    })
}

fn locks_held(cells: &[Of<'_>]) -> Table {
    let title = "How long the lock was held, how long it took from one holder to the next, and who had it \
                 (longest: that a buyer went without a unit; Jain: fairness of units per buyer)";
    let columns = ["hold ms", "hand-off ms", "longest ms", "Jain"];
    table(title, &columns, cells, |cell| {
        vec![
            cell.median(|it| sample::median(&it.holds_ms)),
            cell.median(|it| sample::median(&it.hand_offs_ms)),
            cell.median(|it| it.longest_ms),
            cell.median(|it| it.fairness),
        ]
    })
}

fn cost(cells: &[Of<'_>]) -> Table {
    let title = "What a sale costs: tries, and processor time of Locklab with its buyers, and of the \
                 servers, which is known of those that Locklab started";
    table(title, &["tries", "Locklab µs", "servers µs"], cells, |cell| {
        vec![
            cell.median(|it| it.tries_per_sale),
            cell.median(|it| it.cpu_us),
            cell.median(|it| it.servers_cpu_us),
        ]
    })
}

fn truth(cells: &[Of<'_>]) -> Table {
    let title = "What became of purchases, in all runs, by the ledger";
    let columns = ["sold", "oversold", "overwritten", "ttl over", "undecided"];
    table(title, &columns, cells, |cell| {
        vec![
            cell.sum(|it| it.sold),
            cell.sum(|it| it.oversold),
            cell.sum(|it| it.lost_updates),
            cell.sum(|it| it.ttl_violated as i64),
            cell.sum(|it| it.undecided as i64),
        ]
    })
}
