//! What is told of hold times, of the risk of each ttl, and of those that were tried out.

use serde_json::json;
use tokio::time::Duration;

use super::{
    estimate::{DOUBT, Share, samples_for},
    known::{Known, WORK_CUT, ttl},
    purchases::{TimedPurchase, Tried, millis},
};
use crate::{
    outcome::Outcome,
    report::{
        Part, Picture,
        picture::{Curve, Curves, Group},
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
pub fn undisturbed(part: &mut Part, purchases: &[TimedPurchase], planned: u32) {
    let is_good = |it: &&TimedPurchase| it.outcome == Outcome::Sold && !it.violated;
    let good = purchases.iter().filter(is_good).count();
    part.check(
        "under a ttl that nothing outlasts, every purchase is sold, and none violates it",
        format!("{good} of {planned}"),
        good == planned as usize,
    );
}

/// How long the lock is held.
pub fn quantiles(known: &Known, mut part: Part) -> Part {
    let n = known.holds.len();
    let row = |(name, q): (&str, f64)| {
        let needed = samples_for(q);
        let is_enough = q >= 1.0 || n >= needed;
        let note = format!("{n} samples are too few to bound it: {needed} are needed");
        let note = if is_enough { String::new() } else { note };
        vec![name.to_owned(), format!("{:.1}", known.quantile(q)), note]
    };
    let rows = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)].map(row);
    part.table(format!("Hold times, {n} samples"), &["quantile", "ms", ""], rows.to_vec());
    let mut groups = vec![Group::new("hold time", known.holds.clone())];
    if !known.is_whole {
        groups.push(Group::new("work", known.works.clone()));
    }
    part.pictures.push(Picture::distribution("How long the lock is held", "ms", groups));
    part
}

/// A ttl that is listed.
struct Listed {
    multiple: f64,
    ttl: Duration,
    /// How many holds were longer.
    longer: Share,
    /// How many may be: from the least to the most.
    bounds: (f64, f64),
}

impl Listed {
    fn new(known: &Known, multiple: f64) -> Self {
        let ttl = ttl(multiple * known.quantile(0.99));
        let longer = Share::above(&known.holds, known.limit(ttl));
        Self { multiple, ttl, longer, bounds: longer.interval(DOUBT) }
    }

    fn row(&self) -> Vec<String> {
        let Self { multiple, ttl, longer, bounds: (low, high) } = self;
        vec![
            format!("{multiple} × p99"),
            format!("{ttl:?}"),
            format!("{} of {}", longer.k, longer.n),
            percent(longer.ratio()),
            format!("{} to {}", percent(*low), percent(*high)),
            format!("{:.0} (at most {:.0})", longer.ratio() * 1e6, (high * 1e6).ceil()),
        ]
    }
}

/// How often each ttl would be outlasted, and the least that keeps to the risk.
pub fn risks(known: &Known) -> (Part, Option<Duration>) {
    let mut part = Part::new("How often a ttl would be outlasted, and what it costs");
    let listed = MULTIPLES.map(|multiple| Listed::new(known, multiple));
    let columns = [
        "ttl",
        "is: so long a crash blocks others",
        "holds longer",
        "probability",
        "95 % interval",
        "violations per million",
    ];
    let title = "The risk of each ttl; intervals by Clopper and Pearson, for none of n one-sided: \
                 about 3/n";
    part.table(title, &columns, listed.iter().map(Listed::row).collect());
    part.pictures.push(Picture::Lines(lines(known)));
    let claim = format!("a ttl is outlasted by at most {} of purchases", percent(known.risk));
    let (n, needed) = (known.holds.len(), samples_for(1.0 - known.risk));
    let chosen = listed.iter().find(|listed| listed.bounds.1 <= known.risk);
    if let Some(Listed { multiple, ttl, longer, bounds: (_, high) }) = chosen {
        let (Share { k, n }, most) = (longer, percent(*high));
        let seen = format!(
            "{ttl:?} is, {multiple} × the p99: {k} of {n} holds were longer, so at most {most} are"
        );
        part.check(claim, format!("{seen}. {CAVEAT}"), true);
    } else {
        let why = if n < needed {
            format!(
                "cannot be said from {n} samples: at least {needed} are needed (or a greater --risk)"
            )
        } else {
            let most = ttl(10.0 * known.quantile(0.99));
            format!(
                "cannot be said of any that is listed, up to {most:?}: hold the lock for less, renew \
                 it, or measure more often"
            )
        };
        part.unknown(claim, format!("{why}. {CAVEAT}"));
    }
    (part, chosen.map(|chosen| chosen.ttl))
}

/// The probability against the ttl, between its bounds.
fn lines(known: &Known) -> Curves {
    let names = ["as measured", "at least (95 %)", "at most (95 %)"];
    let mut lines = names.map(|name| Curve { name: name.to_owned(), points: Vec::new() });
    for quarter in 1..=40 {
        let Listed { multiple, longer, bounds: (low, high), .. } =
            Listed::new(known, f64::from(quarter) / 4.0);
        for (line, y) in lines.iter_mut().zip([longer.ratio(), low, high]) {
            line.points.push((multiple, y));
        }
    }
    Curves {
        title: "How often a ttl would be outlasted".to_owned(),
        x: "ttl, as a multiple of the p99 of hold times",
        y: "probability",
        lines: lines.into(),
    }
}

/// What came of the ttls that were tried out, beside what was predicted.
pub fn tried(known: &Known, candidates: &[Candidate], part: &mut Part) {
    let rows = candidates.iter().map(|candidate| compare(known, candidate, part)).collect();
    let done = candidates.iter().filter_map(|(_, ttl, tried)| Some((*ttl, tried.as_ref()?)));
    let purchases = done.flat_map(|(ttl, tried)| tried.purchases.iter().map(move |it| (ttl, it)));
    let all = purchases.clone().count();
    let wrong = purchases.filter(|(ttl, purchase)| is_wrong(known, *ttl, purchase)).count();
    let claim =
        "every purchase whose work outlasts its ttl is recorded, and none that ends in time";
    if all > 0 {
        part.check(claim, format!("{wrong} of {all} were recorded otherwise"), wrong == 0);
    } else {
        part.unknown(claim, "none was tried out: hold times are too long");
    }
    control(known, part, candidates.first());
    let from = if known.is_whole {
        format!("the samples, less what a purchase adds here, cut at {WORK_CUT:?}")
    } else {
        "the same distribution".to_owned()
    };
    let title = format!("Violations as predicted, and as recorded, with work drawn from {from}");
    let columns = ["ttl", "predicted", "allowed here", "recorded", "sold", "oversold"];
    part.table(title, &columns, rows);
}

/// Holds what came of a ttl to what was predicted; its row in the table.
fn compare(known: &Known, (which, ttl, tried): &Candidate, part: &mut Part) -> Vec<String> {
    let predicted = percent(Share::above(&known.holds, known.limit(*ttl)).ratio());
    let mut row = vec![format!("{ttl:?}, {which}"), predicted.clone()];
    let Some(tried) = tried else {
        let why = format!("not tried: work is cut at {WORK_CUT:?}");
        row.extend([String::new(), why, String::new(), String::new()]);
        return row;
    };
    let violated = tried.violated();
    let recorded = Share { k: violated as u64, n: tried.purchases.len() as u64 };
    let allowed = allowed(known, *ttl, &tried.purchases);
    let range = format!("{} to {}", percent(allowed.0), percent(allowed.1));
    let seen = format!("{violated} of {}", recorded.n);
    part.check(
        format!("ttl {ttl:?} ({which}): violated as often as predicted"),
        format!(
            "predicted {predicted}, with what servers added here {range}; recorded {seen} ({}); {} \
             oversold",
            percent(recorded.ratio()),
            tried.oversold
        ),
        recorded.n > 0 && recorded.is_plausible(allowed, STRICT),
    );
    part.evidence.push(json!(tried));
    let sold = format!("{} of {}", tried.sold, tried.units);
    row.extend([range, seen, sold, tried.oversold.to_string()]);
    row
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
            let violated = tried.violated();
            let seen = format!("{ttl:?}: {violated} of {}", tried.purchases.len());
            part.check(claim, seen, violated > 0);
        }
        _ => part
            .unknown(claim, format!("it is not shorter than {WORK_CUT:?}, at which work is cut")),
    }
}

/// The probabilities with which a ttl may be violated here: at least by work alone, at most by work
/// and all that was added to it, acquire and release included. Both are as uncertain as what was
/// measured.
fn allowed(known: &Known, ttl: Duration, purchases: &[TimedPurchase]) -> (f64, f64) {
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
fn is_wrong(known: &Known, ttl: Duration, purchase: &TimedPurchase) -> bool {
    let TimedPurchase { work_ms, held_ms, violated, .. } = *purchase;
    if violated { held_ms < known.limit(ttl) } else { work_ms > millis(ttl) }
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
