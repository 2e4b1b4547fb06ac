//! What is told of hold times, of the risk of each ttl, and of those that were tried out.

use serde_json::json;
use tokio::time::Duration;

use super::{
    estimate::{DOUBT, Share, samples_for},
    known::{Known, WORK_CUT, ttl},
    purchases::{Purchase, Tried, millis},
};
use crate::{
    outcome::Outcome,
    report::{
        Part, Picture, Table,
        picture::{Group, Groups, Line, Lines},
    },
};

/// The ttls that are listed, as multiples of the p99.
const MULTIPLES: [f64; 8] = [0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0];
/// How unlikely what was recorded must be before it is said to disagree with what was predicted.
const STRICT: f64 = 1e-4;
/// What no sample shows.
const CAVEAT: &str = "Pauses longer than any sample (garbage collection, SIGSTOP, a network that hangs) are \
                      not in that: a ttl makes violations rare, only fencing makes them harmless";

/// A ttl that was tried out, and what came of it, if it was short enough.
type Candidate = (&'static str, Duration, Option<Tried>);

/// Hold times are those of purchases that nobody disturbed.
pub(super) fn undisturbed(part: &mut Part, purchases: &[Purchase], planned: u32) {
    let is_good = |it: &&Purchase| it.outcome == Outcome::Sold && !it.violated;
    let good = purchases.iter().filter(is_good).count();
    part.check(
        "under a ttl that nothing outlasts, every purchase is sold, and none violates it",
        format!("{good} of {planned}"),
        good == planned as usize,
    );
}

/// How long the lock is held.
pub(super) fn quantiles(known: &Known, mut part: Part) -> Part {
    let n = known.holds.len();
    let mut rows = Vec::new();
    for (name, q) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)] {
        let needed = samples_for(q);
        let note = if n < needed {
            format!("{n} samples are too few to bound it: {needed} are needed")
        } else {
            String::new()
        };
        rows.push(vec![name.to_owned(), number(known.quantile(q)), note]);
    }
    rows.push(vec!["max".to_owned(), number(known.quantile(1.0)), String::new()]);
    let columns = ["quantile", "ms", ""].map(str::to_owned).to_vec();
    part.tables.push(Table { title: format!("Hold times, {n} samples"), columns, rows });
    let groups = [("hold time", &known.holds), ("work", &known.works)];
    let groups = groups.into_iter().take(if known.is_whole { 1 } else { 2 });
    let groups =
        groups.map(|(name, samples)| Group { name: name.to_owned(), samples: samples.clone() });
    part.pictures.push(Picture::Distribution(Groups {
        title: "How long the lock is held".to_owned(),
        unit: "ms",
        groups: groups.collect(),
    }));
    part
}

/// How often each ttl would be outlasted, and the least that keeps to the risk.
pub(super) fn risks(known: &Known) -> (Part, Option<Duration>) {
    let mut part = Part::new("How often a ttl would be outlasted, and what it costs");
    let p99 = known.quantile(0.99);
    let (mut rows, mut chosen) = (Vec::new(), None);
    for multiple in MULTIPLES {
        let ttl = ttl(multiple * p99);
        let longer = Share::above(&known.holds, known.limit(ttl));
        let (low, high) = longer.interval(DOUBT);
        if chosen.is_none() && high <= known.risk {
            chosen = Some((ttl, multiple, longer, high));
        }
        rows.push(vec![
            format!("{multiple} × p99"),
            format!("{ttl:?}"),
            format!("{} of {}", longer.k, longer.n),
            percent(longer.ratio()),
            format!("{} to {}", percent(low), percent(high)),
            format!("{:.0} (at most {:.0})", longer.ratio() * 1e6, (high * 1e6).ceil()),
        ]);
    }
    let columns = [
        "ttl",
        "is: so long a crash blocks others",
        "holds longer",
        "probability",
        "95 % interval",
        "violations per million",
    ];
    part.tables.push(Table {
        title: "The risk of each ttl; intervals by Clopper and Pearson, for none of n one-sided: about 3/n"
            .to_owned(),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    });
    part.pictures.push(Picture::Lines(lines(known, p99)));
    let claim = format!("a ttl is outlasted by at most {} of purchases", percent(known.risk));
    let (n, needed) = (known.holds.len(), samples_for(1.0 - known.risk));
    match chosen {
        Some((ttl, multiple, longer, high)) => {
            let seen = format!(
                "{ttl:?} is, {multiple} × the p99: {} of {} holds were longer, so at most {} are. {CAVEAT}",
                longer.k,
                longer.n,
                percent(high)
            );
            part.check(claim, seen, true);
        }
        None if n < needed => part.unknown(
            claim,
            format!(
                "cannot be said from {n} samples: at least {needed} are needed (or a greater --risk). {CAVEAT}"
            ),
        ),
        None => part.unknown(
            claim,
            format!(
                "cannot be said of any that is listed, up to {:?}: hold the lock for less, renew it, or \
                 measure more often. {CAVEAT}",
                ttl(10.0 * p99)
            ),
        ),
    }
    (part, chosen.map(|(ttl, ..)| ttl))
}

/// The probability against the ttl, between its bounds.
fn lines(known: &Known, p99: f64) -> Lines {
    let names = ["as measured", "at least (95 %)", "at most (95 %)"];
    let mut lines = names.map(|name| Line { name: name.to_owned(), points: Vec::new() });
    for quarter in 1..=40 {
        let multiple = f64::from(quarter) / 4.0;
        let longer = Share::above(&known.holds, known.limit(ttl(multiple * p99)));
        let (low, high) = longer.interval(DOUBT);
        for (line, y) in lines.iter_mut().zip([longer.ratio(), low, high]) {
            line.points.push((multiple, y));
        }
    }
    Lines {
        title: "How often a ttl would be outlasted".to_owned(),
        x: "ttl, as a multiple of the p99 of hold times",
        y: "probability",
        lines: lines.into(),
    }
}

/// What came of the ttls that were tried out, beside what was predicted.
pub(super) fn tried(known: &Known, candidates: &[Candidate], part: &mut Part) {
    let (mut rows, mut all, mut wrong) = (Vec::new(), 0, 0);
    for (which, ttl, tried) in candidates {
        let predicted = Share::above(&known.holds, known.limit(*ttl));
        let mut row = vec![format!("{ttl:?}, {which}"), percent(predicted.ratio())];
        let Some(tried) = tried else {
            let why = format!("not tried: work is cut at {WORK_CUT:?}");
            row.extend([String::new(), why, String::new(), String::new()]);
            rows.push(row);
            continue;
        };
        let purchases = &tried.purchases;
        let violated = purchases.iter().filter(|it| it.violated).count();
        let recorded = Share { k: violated as u64, n: purchases.len() as u64 };
        let range = allowed(known, *ttl, purchases);
        part.check(
            format!("ttl {ttl:?} ({which}): violated as often as predicted"),
            format!(
                "predicted {}, with what servers added here {} to {}; recorded {violated} of {} ({}); {} \
                 oversold",
                percent(predicted.ratio()),
                percent(range.0),
                percent(range.1),
                recorded.n,
                percent(recorded.ratio()),
                tried.oversold
            ),
            recorded.n > 0 && recorded.is_plausible(range, STRICT),
        );
        row.extend([
            format!("{} to {}", percent(range.0), percent(range.1)),
            format!("{violated} of {}", recorded.n),
            format!("{} of {}", tried.sold, tried.units),
            tried.oversold.to_string(),
        ]);
        rows.push(row);
        all += purchases.len();
        wrong += purchases.iter().filter(|it| is_wrong(known, *ttl, it)).count();
        part.evidence.push(json!(tried));
    }
    let seen = format!("{wrong} of {all} were recorded otherwise");
    let claim =
        "every purchase whose work outlasts its ttl is recorded, and none that ends in time";
    if all > 0 {
        part.check(claim, seen, wrong == 0);
    } else {
        part.unknown(claim, "none was tried out: hold times are too long");
    }
    control(known, part, candidates.first());
    let from = if known.is_whole {
        format!("the samples, less what a purchase adds here, cut at {WORK_CUT:?}")
    } else {
        "the same distribution".to_owned()
    };
    let columns = ["ttl", "predicted", "allowed here", "recorded", "sold", "oversold"];
    part.tables.push(Table {
        title: format!("Violations as predicted, and as recorded, with work drawn from {from}"),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    });
}

/// The control: a ttl that is too short is violated, and that is seen.
fn control(known: &Known, part: &mut Part, candidate: Option<&Candidate>) {
    let claim = "the control, a ttl below the p50, is violated";
    match candidate {
        Some((_, ttl, _)) if millis(*ttl) >= known.quantile(0.5) => {
            part.unknown(
                claim,
                format!("no ttl is shorter than {ttl:?}, and half of all holds are"),
            );
        }
        Some((_, ttl, Some(tried))) => {
            let violated = tried.purchases.iter().filter(|it| it.violated).count();
            let seen = format!("{ttl:?}: {violated} of {}", tried.purchases.len());
            part.check(claim, seen, violated > 0);
        }
        _ => part
            .unknown(claim, format!("it is not shorter than {WORK_CUT:?}, at which work is cut")),
    }
}

/// The probabilities with which a ttl may be violated here: at least by work alone, at most by work and
/// all that was added to it, acquire and release included. Both are as uncertain as what was measured.
fn allowed(known: &Known, ttl: Duration, purchases: &[Purchase]) -> (f64, f64) {
    let alone = Share::above(&known.works, millis(ttl));
    let limit = known.limit(ttl);
    let longer = purchases.iter().map(|purchase| {
        let added = purchase.held_ms - purchase.work_ms;
        Share::above(&known.works, limit - added).ratio()
    });
    let most = longer.sum::<f64>() / purchases.len().max(1) as f64;
    if known.is_whole {
        return (alone.ratio(), most);
    }
    let n = alone.n;
    let most = Share { k: (most * n as f64).round() as u64, n };
    (alone.interval(STRICT).0, most.interval(STRICT).1)
}

/// Whether what was recorded cannot be.
fn is_wrong(known: &Known, ttl: Duration, purchase: &Purchase) -> bool {
    let Purchase { work_ms, held_ms, violated, .. } = *purchase;
    if violated { held_ms < known.limit(ttl) } else { work_ms > millis(ttl) }
}

fn number(ms: f64) -> String {
    format!("{ms:.1}")
}

/// A part of all, with as many digits as it takes.
fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    match percent {
        0.0 => "0 %".to_owned(),
        0.0..0.01 => format!("{percent:.4} %"),
        0.01..1.0 => format!("{percent:.2} %"),
        _ => format!("{percent:.1} %"),
    }
}
