//! The counts of overlapping pairs, against a count that compares every pair.

use proptest::{collection::vec, prelude::*};

use crate::{
    history::{EventKind, Record, simulated::event},
    stock::ledger::Tally,
    verdict::{findings::TOLD_MAX, judge},
};

/// A lease: its clock, its token, and when it was granted, released, and over.
type Hold = (u8, u8, u64, u64, Option<u64>);

fn records(holds: &[Hold]) -> Vec<Record> {
    let record = |(at, hold): (usize, &Hold)| {
        let &(clock, token, granted_ns, held_ns, until_ns) = hold;
        let (until_ns, how) = (until_ns.map(|after| granted_ns + after), "released".to_owned());
        let granted = EventKind::Granted {
            since_ns: granted_ns,
            token: format!("t{token}"),
            fencing_token: None,
            until_ns,
            exclusive: true,
        };
        let since_ns = granted_ns + held_ns;
        Record {
            order_id: format!("order{at}"),
            server: format!("server{clock}"),
            clock: format!("clock{clock}"),
            lock: "safe".to_owned(),
            run_id: None,
            events: vec![
                event(granted_ns, granted),
                event(since_ns + 1, EventKind::Released { since_ns, until_ns, how }),
            ],
        }
    };
    holds.iter().enumerate().map(record).collect()
}

/// Pairs of stretches, nanosecond by nanosecond: a lease has one wherever one of its holders had
/// it.
fn naive(holds: &[Hold], end: impl Fn(&Hold) -> u64) -> u64 {
    let mut stretches = Vec::new();
    for clock in 0..2 {
        for token in 0..u8::MAX {
            let same = holds.iter().filter(|hold| (hold.0, hold.1) == (clock, token));
            let same: Vec<&Hold> = same.collect();
            let held = |at: u64| same.iter().any(|hold| hold.2 <= at && at < end(hold));
            // Nobody holds a lease past 200.
            let mut from = None;
            for at in (0..200).filter(|_| !same.is_empty()) {
                match (from, held(at)) {
                    (None, true) => from = Some(at),
                    (Some(began), false) => {
                        stretches.push((clock, began, at));
                        from = None;
                    }
                    _ => {}
                }
            }
        }
    }
    let overlap = |(one, other): &(&(u8, u64, u64), &(u8, u64, u64))| {
        one.0 == other.0 && one.1 < other.2 && other.1 < one.2
    };
    let pairs = stretches.iter().enumerate();
    let pairs = pairs.flat_map(|(at, one)| stretches[..at].iter().map(move |other| (one, other)));
    pairs.filter(overlap).count() as u64
}

proptest! {
    #[test]
    fn pairs_are_counted_as_if_each_had_been_compared(
        holds in vec((0..2_u8, 0..12_u8, 0..60_u64, 0..40_u64, prop::option::of(0..40_u64)), 0..40),
    ) {
        let records = records(&holds);
        let tally = Tally { initial: 0, stock: 0, sold: 0 };
        let verdict = judge(&tally, &records, records.len() as u64);
        let released = |hold: &Hold| hold.2 + hold.3;
        let stood = |hold: &Hold| released(hold).min(hold.4.map_or(u64::MAX, |after| hold.2 + after));
        prop_assert_eq!(verdict.overlaps.grants, naive(&holds, stood));
        prop_assert_eq!(verdict.overlaps.beliefs, naive(&holds, released));
        prop_assert_eq!(verdict.overlaps.effects, 0);
        prop_assert!(verdict.ok);
        for (kind, count) in [
            ("grants overlap: ", verdict.overlaps.grants),
            ("beliefs overlap: ", verdict.overlaps.beliefs),
        ] {
            let lines = verdict.evidence.iter().filter(|line| line.starts_with(kind));
            prop_assert_eq!(lines.count() as u64, count.min(TOLD_MAX as u64 + 1));
        }
    }
}

/// Millions of pairs are counted as fast as the leases are sorted.
#[test]
fn many_pairs_take_no_longer_than_few() {
    const LEASES: u64 = 20_000;
    let mut records = Vec::new();
    for at in 0..LEASES {
        let mut one = self::records(&[(0, 0, at, 10 * LEASES, None)]);
        if let EventKind::Granted { token, .. } = &mut one[0].events[0].kind {
            *token = format!("t{at}");
        }
        one[0].order_id = format!("order{at}");
        records.append(&mut one);
    }
    let verdict = judge(&Tally { initial: 0, stock: 0, sold: 0 }, &records, LEASES);
    let pairs = LEASES * (LEASES - 1) / 2;
    assert_eq!((verdict.overlaps.grants, verdict.overlaps.beliefs), (pairs, pairs));
    let more = format!("grants overlap: and {} more", pairs - TOLD_MAX as u64);
    assert!(verdict.evidence.contains(&more), "{:?}", verdict.evidence);
}
