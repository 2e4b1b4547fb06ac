//! `locklab advise`: which strategies fit a case, beginning with those that are no lock. Why, say
//! the rules; that they do what they promise, and what they cost, is recorded in that moment.

mod ask;
mod evidence;
mod rules;

use self::{
    evidence::Shown,
    rules::{Case, Ruling},
};
use super::compare;
use crate::{
    cli::{AdviseArgs, Config},
    measure::sample,
    report::{Met, Part, Report},
    scenario::{error::ScenarioError, ground::Ground, progress::Progress},
    strategy::StrategyId,
};

/// How many strategies are shown at work.
const SHOWN_MAX: usize = 6;
/// How many locks are among them at least, if so many fit.
const LOCKS_SHOWN: usize = 2;

/// Advises on a case, and shows what there is to show.
pub async fn run(config: &Config, args: &AdviseArgs) -> Result<Report, ScenarioError> {
    let case = ask::case(args)?;
    let rulings = case.rulings();
    let fits = rulings.iter().filter(|(_, ruling)| !matches!(ruling, Ruling::Out(_))).count();
    let shown = shown(&rulings);
    // Where no lock will do, one is shown that will not.
    let control = StrategyId::default();
    let needed = if shown.is_empty() { &[control][..] } else { &shown };

    let ground = Ground::open(config, needed, compare::records(evidence::RACE)).await?;
    let seed = args.seed;
    let mut report = ground.report("advise", Some(seed)).await;
    report.parts = vec![first(&case), fitting(&rulings), ruled_out(&rulings)];
    let bar = Progress::bar(needed.len() as u64, "advise");
    let mut rows = Vec::new();
    for &lock in &shown {
        bar.say(format!("{} at work", lock.row().name));
        let (part, seen) = evidence::show(&ground, &case, lock, seed).await;
        rows.push(row(lock, &seen));
        report.parts.push(part);
        bar.tick();
    }
    if shown.is_empty() {
        bar.say(format!("a holder under {} is stopped", control.row().name));
        report.parts.push(evidence::control(&ground, control).await);
    } else {
        report.parts.push(side_by_side(rows, fits));
    }
    ground.close().await;
    Ok(report)
}

/// Those that are shown at work: the first that fit, with a lock or two if any fits.
fn shown(rulings: &[(StrategyId, Ruling)]) -> Vec<StrategyId> {
    let instead = rulings.iter().filter(|(_, ruling)| matches!(ruling, Ruling::Instead(_)));
    let locks = rulings.iter().filter(|(_, ruling)| matches!(ruling, Ruling::Lock(_)));
    let room = SHOWN_MAX - locks.clone().count().min(LOCKS_SHOWN);
    let mut shown: Vec<StrategyId> = instead.map(|(id, _)| *id).take(room).collect();
    shown.extend(locks.map(|(id, _)| *id).take(SHOWN_MAX - shown.len()));
    shown
}

/// Whether a lock is needed at all.
fn first(case: &Case) -> Part {
    let mut part = Part::new(match case.needs_lock() {
        true => "First: it may be that you need no lock",
        false => "First: you need no lock",
    });
    part.evidence.extend(serde_json::to_value(case));
    let lines = case.first().into_iter().chain(case.impossible());
    let rows = lines.map(|line| vec![line.to_owned()]).collect();
    let columns = ["what to do instead, and what no lock does"];
    part.table(format!("Your case: {}", case.told()), &columns, rows);
    part
}

/// What fits, and why.
fn fitting(rulings: &[(StrategyId, Ruling)]) -> Part {
    let (mut why_so, mut fails) = (Vec::new(), Vec::new());
    for (id, ruling) in rulings {
        let (kind, why) = match ruling {
            Ruling::Instead(why) => ("no lock", why),
            Ruling::Lock(why) => ("lock", why),
            Ruling::Out(_) => continue,
        };
        let row = id.row();
        why_so.push([row.name, kind, why].map(str::to_owned).to_vec());
        fails.push([row.name, &row.expected.to_string(), row.fails].map(str::to_owned).to_vec());
    }
    let names: Vec<&str> = why_so.iter().map(|row| row[0].as_str()).collect();
    let mut part = Part::new(match &names[..] {
        [] => "Nothing fits".to_owned(),
        names => format!("What fits, in this order: {}", names.join(", ")),
    });
    if !why_so.is_empty() {
        let title = "Why; `locklab choose-ttl` measures which ttl fits your work";
        part.table(title, &["strategy", "kind", "why it fits"], why_so);
        part.table("What each promises", &["strategy", "expected", "how it fails"], fails);
    }
    part
}

/// What does not fit, and why.
fn ruled_out(rulings: &[(StrategyId, Ruling)]) -> Part {
    let rows = rulings.iter().filter_map(|(id, ruling)| match ruling {
        Ruling::Out(why) => Some(vec![id.row().name.to_owned(), why.clone()]),
        Ruling::Instead(_) | Ruling::Lock(_) => None,
    });
    let mut part = Part::new("What does not fit");
    part.table("Why not", &["strategy", "why it does not fit"], rows.collect());
    part
}

/// What was seen of a strategy, in a row; what was not, is not known.
fn row(lock: StrategyId, seen: &Shown) -> Vec<String> {
    let unknown = || "–".to_owned();
    let number =
        |of: fn(&compare::cell::Sample) -> String| seen.race.as_ref().map_or_else(unknown, of);
    let p99 = |it: &compare::cell::Sample| match sample::quantile(&it.waits_ms, 0.99) {
        it if it.is_finite() => format!("{it:.1}"),
        _ => "–".to_owned(),
    };
    vec![
        lock.row().name.to_owned(),
        number(|it| it.sold.to_string()),
        number(|it| (it.oversold + it.lost_updates).to_string()),
        number(|it| format!("{:.0}", it.sold_per_s)),
        number(p99),
        match seen.paused {
            Some(Met::Yes) => "sold once",
            Some(Met::No) => "NOT as promised",
            Some(Met::Unknown) => "?",
            None => "not promised",
        }
        .to_owned(),
    ]
}

/// Everything that was recorded, in one table.
fn side_by_side(rows: Vec<Vec<String>>, fits: usize) -> Part {
    let mut part =
        Part::new(format!("Side by side: {} of {fits} that fit were recorded now", rows.len()));
    let columns = ["strategy", "sold", "sold twice", "sold/s", "p99 ms", "after a pause"];
    let title = "A race, and a holder that was stopped until its lease was over";
    part.table(title, &columns, rows);
    part
}
