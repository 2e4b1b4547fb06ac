//! What is proven by what was recorded of an election.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    blow::{Blow, Late, Struck},
    election::Ended,
};
use crate::{
    history::trace::{Trace, Traces},
    report::{
        Part, Picture,
        timeline::{Lane, Shade, Span, Timeline},
    },
    stock::Evidence,
    strategy::StrategyId,
    verdict,
};

/// Adds to a part what an election has shown.
pub fn judge(
    part: &mut Part,
    strategy: StrategyId,
    struck: &[Struck],
    ended: &Ended,
    evidence: &Evidence,
) {
    let Evidence { tally, history, recorded } = evidence;
    let verdict = verdict::judge(tally, history, *recorded);
    let traces = Traces::new(history);
    let stops: Vec<Late> = struck.iter().filter_map(|struck| struck.late).collect();
    let count = |late| stops.iter().filter(|it| **it == late).count();
    let (grants, beliefs) = (verdict.overlaps.grants, verdict.overlaps.beliefs);
    part.check(
        "never two leaders by the lock service",
        format!("{grants} overlapped"),
        grants == 0,
    );
    part.check(
        "a stopped leader believes that it leads while another one does",
        format!("stops: {}, overlaps of beliefs: {beliefs}", stops.len()),
        beliefs >= stops.len() as u64,
    );
    let missed = count(Late::Missed);
    let all = stops.len();
    if missed > 0 {
        let why = format!("{missed} of {all} leaders were not stopped in the middle of any");
        part.unknown("what becomes of the work of a stopped leader", why);
    } else if strategy.row().has_fencing_token() {
        let fenced = count(Late::Fenced);
        let seen = format!("{fenced} of {all} refused as `fenced`");
        part.check("work that a stopped leader ends too late is refused", seen, fenced == all);
        let (one_each, seen) = epochs(&traces);
        part.check(
            "each epoch is that of one process, and newer than those before",
            seen,
            one_each,
        );
        let seen = format!(
            "{} pieces, {} done twice, {} under an older epoch",
            tally.sold,
            verdict.overlaps.effects,
            verdict.fencing.unwrap_or_default()
        );
        part.check("no piece of work is done twice", seen, verdict.ok);
    } else {
        let accepted = count(Late::Accepted);
        let seen = format!("{accepted} of {all} taken");
        part.check("work that a stopped leader ends too late is taken", seen, accepted == all);
        let twice = verdict.overlaps.effects;
        let seen = format!("{twice} of {} pieces", tally.sold);
        part.check("so work is done twice: nothing else protects it", seen, twice > 0);
    }
    for (blow, name) in [
        (Blow::Kill, "without a leader after one was killed"),
        (Blow::Stop, "without a leader after one was stopped"),
        (Blow::Resign, "without a leader after one has resigned"),
    ] {
        let gaps = struck.iter().filter(|struck| struck.blow == blow);
        part.measure(name, "ms", gaps.map(|struck| struck.gap.as_secs_f64() * 1e3).collect());
    }
    part.pictures.push(Picture::Timeline(timeline(ended, &traces)));
    for line in verdict.evidence.iter().chain(&verdict.gaps) {
        part.evidence.push(serde_json::json!(line));
    }
    part.evidence.extend(history.iter().filter_map(|record| serde_json::to_value(record).ok()));
}

/// Whether each fencing token was that of one process, and whoever was granted one later had a
/// greater one.
fn epochs(traces: &Traces<'_>) -> (bool, String) {
    let mut by_token: BTreeMap<u64, (BTreeSet<&str>, u64)> = BTreeMap::new();
    for lease in traces.iter().flat_map(Trace::leases) {
        let Some(token) = lease.fencing_token else { continue };
        let (servers, first_ns) =
            by_token.entry(token).or_insert_with(|| (BTreeSet::new(), lease.at_ns));
        servers.insert(lease.server);
        *first_ns = lease.at_ns.min(*first_ns);
    }
    let one_each = by_token.values().all(|(servers, _)| servers.len() == 1);
    let begun: Vec<u64> = by_token.values().map(|(_, first_ns)| *first_ns).collect();
    let in_order = begun.is_sorted();
    let tokens: Vec<String> = by_token.keys().map(u64::to_string).collect();
    (one_each && in_order && !tokens.is_empty(), format!("epochs {}", tokens.join(", ")))
}

/// A lane for each process: when it was granted to lead, and when it only believed so.
fn timeline(ended: &Ended, traces: &Traces<'_>) -> Timeline {
    let leases: Vec<_> = traces.iter().flat_map(Trace::leases).collect();
    let lanes = ended.lanes.iter().map(|(pid, marks)| {
        let prefix = format!("{pid}-");
        let own = leases.iter().filter(|lease| lease.server.starts_with(&prefix));
        let spans = own.flat_map(|lease| {
            let span = |until_ns, shade| Span { from_ns: lease.at_ns, until_ns, shade };
            let believed = span(lease.believed_until(), Shade::Believed);
            let granted = span(lease.stood_until().min(believed.until_ns), Shade::Granted);
            [granted, believed]
        });
        Lane { name: format!("pid {pid}"), spans: spans.collect(), marks: marks.clone() }
    });
    Timeline {
        title: "Who leads, and who only believes so".to_owned(),
        from_ns: ended.from_ns,
        until_ns: ended.until_ns,
        legend: vec![(Shade::Granted, "leads"), (Shade::Believed, "only believes so")],
        letters: vec![('K', "killed"), ('S', "stopped"), ('C', "continued"), ('R', "resigns")],
        lanes: lanes.collect(),
    }
}
