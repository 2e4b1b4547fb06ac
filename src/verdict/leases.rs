//! Whose leases stood at the same time, and who believed at the same time to be alone.
//!
//! Only leases whose lock promised exclusion count: whoever takes no lock does not believe to be
//! alone. Leases of different strategies do exclude each other, or should: each lock promised that
//! nobody else is inside, and the product is one.
//!
//! A lease is known by its token, and keeps it when it is handed over: what its holders had of it
//! without a break is one stretch, and a stretch never overlaps with another of the same token.
//! Stretches of different clocks cannot be compared.

use std::collections::BTreeSet;

use crate::{
    history::{
        lease::{HeldLease, Released},
        trace::{Trace, Traces},
    },
    verdict::findings::{self, Findings, TOLD_MAX, ms},
};

/// A time without a break during which a lease stood, or was believed in.
#[derive(Debug, Clone, Copy)]
struct Stretch<'a> {
    from_ns: u64,
    to_ns: u64,
    /// The lease, as its first holder of this stretch had it.
    lease: HeldLease<'a>,
}

/// Counts overlaps of grants and of beliefs, and tells of them.
pub(super) fn judge(traces: &Traces<'_>, findings: &mut Findings) -> (u64, u64) {
    let leases: Vec<HeldLease<'_>> = exclusive(traces).collect();
    let at = |clock, at_ns| ms(traces, clock, at_ns);
    let grants = overlaps(traces, &leases, HeldLease::stood_until);
    let told = grants.told.iter().map(|(first, second)| {
        format!(
            "the lease of {}, granted at {}, stood until {}, and {} was granted another at {}",
            who(&first.lease),
            at(first.lease.clock, first.from_ns),
            at(first.lease.clock, first.to_ns),
            who(&second.lease),
            at(second.lease.clock, second.from_ns)
        )
    });
    findings.tell("grants overlap", told.collect(), grants.count);
    let lost = leases.iter().filter(|lease| lease.was_lost());
    let lost = lost.filter_map(|lease| {
        let Released { at_ns, how, .. } = lease.released?;
        let until = lease.until_ns.map_or_else(
            || "for as long as it wanted".to_owned(),
            |until| format!("until {}", at(lease.clock, until)),
        );
        let found = at(lease.clock, at_ns);
        Some(format!("{} held it {until}, and found it {how} at {found}", who(lease)))
    });
    findings.add("lease lost", lost);
    let beliefs = overlaps(traces, &leases, HeldLease::believed_until);
    let told = beliefs.told.iter().map(|(first, second)| {
        format!(
            "{} believed to be alone from {} to {}, and {} from {} to {}",
            who(&first.lease),
            at(first.lease.clock, first.from_ns),
            at(first.lease.clock, first.to_ns),
            who(&second.lease),
            at(second.lease.clock, second.from_ns),
            at(second.lease.clock, second.to_ns)
        )
    });
    findings.tell("beliefs overlap", told.collect(), beliefs.count);
    (grants.count, beliefs.count)
}

/// How many clocks there are in which exclusive leases were recorded.
pub(super) fn clocks(traces: &Traces<'_>) -> usize {
    exclusive(traces).map(|lease| lease.clock).collect::<BTreeSet<_>>().len()
}

fn exclusive<'a>(traces: &Traces<'a>) -> impl Iterator<Item = HeldLease<'a>> {
    traces.iter().flat_map(Trace::leases).filter(|lease| lease.exclusive)
}

/// A buyer as evidence names it.
fn who(lease: &HeldLease<'_>) -> String {
    findings::who(lease.order_id, lease.server, lease.lock)
}

/// Pairs of stretches that overlap: all counted, the first of them told.
struct Pairs<'a> {
    count: u64,
    told: Vec<(Stretch<'a>, Stretch<'a>)>,
}

fn overlaps<'a>(
    traces: &Traces<'a>,
    leases: &[HeldLease<'a>],
    until: impl Fn(&HeldLease<'a>) -> u64,
) -> Pairs<'a> {
    let mut pairs = Pairs { count: 0, told: Vec::new() };
    for clock in traces.clocks() {
        let leases = leases.iter().filter(|lease| lease.clock == clock);
        let stretches = stretches(leases.map(|lease| (*lease, until(lease))));
        pairs.count += count(&stretches);
        let more = TOLD_MAX - pairs.told.len();
        pairs.told.extend(first_pairs(&stretches).take(more));
    }
    pairs
}

/// What leases had without a break, by when it began. One that ended no later than it was known to
/// have been granted shows nothing.
fn stretches<'a>(leases: impl Iterator<Item = (HeldLease<'a>, u64)>) -> Vec<Stretch<'a>> {
    let mut pieces: Vec<Stretch<'_>> = leases
        .map(|(lease, to_ns)| Stretch { from_ns: lease.at_ns, to_ns, lease })
        .filter(|piece| piece.from_ns < piece.to_ns)
        .collect();
    let identity = |piece: &Stretch<'a>| (piece.from_ns, piece.to_ns, piece.lease.order_id);
    pieces.sort_unstable_by_key(|piece| (piece.lease.token, identity(piece)));
    let mut stretches: Vec<Stretch<'_>> = Vec::new();
    for piece in pieces {
        match stretches.last_mut() {
            Some(last) if last.lease.token == piece.lease.token && piece.from_ns <= last.to_ns => {
                last.to_ns = last.to_ns.max(piece.to_ns);
            }
            _ => stretches.push(piece),
        }
    }
    stretches.sort_unstable_by_key(identity);
    stretches
}

/// How many pairs overlap: all pairs but those of which one ended before the other began, or just
/// then. Sorting is all that takes time, however many overlap.
fn count(stretches: &[Stretch<'_>]) -> u64 {
    let mut ends: Vec<u64> = stretches.iter().map(|stretch| stretch.to_ns).collect();
    ends.sort_unstable();
    let (mut ended, mut apart) = (0, 0);
    for stretch in stretches {
        while ends.get(ended).is_some_and(|&end| end <= stretch.from_ns) {
            ended += 1;
        }
        apart += ended as u64;
    }
    let all = stretches.len() as u64;
    all * all.saturating_sub(1) / 2 - apart
}

/// The pairs themselves, lazily, in the order in which the first of each began.
fn first_pairs<'s, 'a>(
    stretches: &'s [Stretch<'a>],
) -> impl Iterator<Item = (Stretch<'a>, Stretch<'a>)> + use<'s, 'a> {
    stretches.iter().enumerate().flat_map(|(at, first)| {
        let later = stretches[at + 1..].iter();
        later.take_while(|second| second.from_ns < first.to_ns).map(move |second| (*first, *second))
    })
}
