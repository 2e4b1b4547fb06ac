//! Properties of the judge, over simulated shops: it finds nothing in a good history, whatever
//! became of the unknown, and finds in a bad one what was put there, and nothing else.

use std::collections::BTreeSet;

use proptest::{prelude::*, sample::Index};

use crate::{
    history::{
        Event, EventKind,
        shaken::{drop_oldest, shake},
        simulated::{Counts, Lane, SimulatedOrder, SimulatedShop, event, shops},
    },
    outcome::Outcome,
    stock::ledger::Tally,
    verdict::{Overlaps, Verdict, judge},
};

/// What the store of a shop says.
fn tally(shop: &SimulatedShop) -> Tally {
    let Counts { initial, stock, sold } = shop.counts;
    Tally { initial, stock, sold }
}

fn verdict(shop: &SimulatedShop) -> Verdict {
    let records = shop.records();
    judge(&tally(shop), &records, records.len() as u64)
}

/// The kinds of what was found.
fn kinds(verdict: &Verdict) -> BTreeSet<&str> {
    verdict.evidence.iter().filter_map(|line| line.split_once(": ")).map(|(kind, _)| kind).collect()
}

/// Every event of a shop, to be changed.
fn events(shop: &mut SimulatedShop) -> Vec<&mut Event> {
    let lanes = shop.orders.iter_mut().flat_map(|order| &mut order.lanes);
    let mut events: Vec<&mut Event> = lanes.flat_map(|lane| &mut lane.events).collect();
    events.sort_by_key(|event| event.at_ns);
    events
}

/// Every sale whose read was recorded: the count that it read, and its own.
fn sales_with_reads(shop: &mut SimulatedShop) -> Vec<(&mut i64, i64)> {
    let mut found = Vec::new();
    for lane in shop.orders.iter_mut().flat_map(|order| &mut order.lanes) {
        let mut read = None;
        for event in &mut lane.events {
            match &mut event.kind {
                EventKind::Read { sold, .. } => read = Some(sold),
                EventKind::Written { sold, .. } => {
                    found.extend(read.take().map(|read| (read, *sold)));
                }
                _ => {}
            }
        }
    }
    found
}

/// Every exclusive lease: its server, when it was granted, and until when it stood at least.
fn holds(shop: &SimulatedShop) -> Vec<(usize, u64, u64)> {
    let mut found = Vec::new();
    for lane in shop.orders.iter().flat_map(|order| &order.lanes) {
        let granted = lane.events.iter().find(|it| matches!(it.kind, EventKind::Granted { .. }));
        let read = lane.events.iter().find(|it| matches!(it.kind, EventKind::Read { .. }));
        let pair = granted.zip(read).filter(|(granted, read)| granted.at_ns + 1 < read.at_ns);
        found.extend(pair.map(|(granted, read)| (lane.server, granted.at_ns, read.at_ns)));
    }
    found
}

proptest! {
    /// Unknown replies did or did not take effect, servers died, holders slept: nothing is wrong.
    #[test]
    fn nothing_is_found_in_a_good_history(shop in shops()) {
        let verdict = verdict(&shop);
        prop_assert!(verdict.ok, "{verdict:#?}");
        prop_assert_eq!((verdict.oversold, verdict.lost_updates), (0, 0));
        prop_assert_eq!((verdict.overlaps.grants, verdict.overlaps.effects), (0, 0));
        prop_assert_eq!(verdict.fencing.unwrap_or(0), 0);
        prop_assert_eq!(verdict.unknown, shop.unknown);
        let slept = BTreeSet::from(["beliefs overlap"]);
        prop_assert!(kinds(&verdict).is_subset(&slept), "{verdict:#?}");
        prop_assert!(shop.slept || verdict.overlaps == Overlaps::default(), "{verdict:#?}");
        let unexplained = verdict.gaps.iter().any(|gap| gap.contains("explains"));
        prop_assert!(!unexplained, "{verdict:#?}");
    }

    /// What the history forgot is not held against anybody.
    #[test]
    fn nothing_is_found_in_what_is_left_of_a_good_history(shop in shops(), seed: u64) {
        let (left, recorded) = drop_oldest(&shop.records(), seed);
        let verdict = judge(&tally(&shop), &shake(&left, seed), recorded);
        prop_assert!(verdict.ok, "{verdict:#?}");
        prop_assert_eq!((verdict.overlaps.grants, verdict.overlaps.effects), (0, 0));
        prop_assert_eq!(verdict.fencing.unwrap_or(0), 0);
    }

    /// Parts, repetitions and order of records do not matter; also not to what is found.
    #[test]
    fn the_verdict_does_not_depend_on_how_records_came_in(
        mut shop in shops(),
        at: Index,
        shift in -3..3_i64,
        seed: u64,
    ) {
        let mut sales = sales_with_reads(&mut shop);
        if !sales.is_empty() {
            *at.get_mut(&mut sales).0 += shift;
        }
        let shaken = shake(&shop.records(), seed);
        let recorded = shaken.len() as u64;
        prop_assert_eq!(judge(&tally(&shop), &shaken, recorded), verdict(&shop));
    }

    #[test]
    fn a_stale_read_is_found(
        mut shop in shops(),
        at: Index,
        stale in prop_oneof![-3..0_i64, 1..4_i64],
    ) {
        let mut sales = sales_with_reads(&mut shop);
        prop_assume!(!sales.is_empty());
        *at.get_mut(&mut sales).0 += stale;
        let verdict = verdict(&shop);
        prop_assert!(!verdict.ok);
        prop_assert_eq!(verdict.overlaps.effects, 1, "{:#?}", verdict);
        let found = BTreeSet::from(["effects interleave", "beliefs overlap"]);
        prop_assert!(kinds(&verdict).is_subset(&found), "{verdict:#?}");
    }

    #[test]
    fn a_fencing_regression_is_found(mut shop in shops(), at: Index, by in 1..5_u64) {
        // Each sale under a token of its own, so that only one can be older than one before.
        let mut tokens: Vec<&mut u64> = Vec::new();
        for event in events(&mut shop) {
            if let EventKind::Written { fencing_token, sold, .. } = &mut event.kind {
                tokens.push(fencing_token.insert(sold.unsigned_abs() * 10));
            }
        }
        prop_assume!(tokens.len() > 1);
        let at = 1 + at.index(tokens.len() - 1);
        *tokens[at] = *tokens[at - 1] - by;
        let verdict = verdict(&shop);
        prop_assert!(!verdict.ok);
        prop_assert_eq!(verdict.fencing, Some(1), "{:#?}", verdict);
        let found = BTreeSet::from(["fencing regression", "beliefs overlap"]);
        prop_assert!(kinds(&verdict).is_subset(&found), "{verdict:#?}");
    }

    /// The lock let in a second one, who then did no harm: not a bug of the shop, but to be told.
    #[test]
    fn overlapping_grants_are_found(mut shop in shops(), at: Index) {
        let holds = holds(&shop);
        prop_assume!(!holds.is_empty());
        let (server, granted_ns, used_ns) = *at.get(&holds);
        let second = EventKind::Granted {
            since_ns: granted_ns,
            token: "intruder".to_owned(),
            fencing_token: None,
            until_ns: Some(used_ns),
            exclusive: true,
        };
        let (since_ns, how) = (used_ns, "released".to_owned());
        let released = EventKind::Released { since_ns, until_ns: Some(used_ns), how };
        let events = vec![
            event(granted_ns, EventKind::Invoke { quantity: 1 }),
            event(granted_ns + 1, second),
            event(used_ns + 1, released),
            event(used_ns + 2, EventKind::Fail { outcome: Outcome::Lost }),
        ];
        let lanes = vec![Lane { server, lock: "safe", events }];
        shop.orders.push(SimulatedOrder { order_id: "intruder".to_owned(), lanes });
        let verdict = verdict(&shop);
        prop_assert!(verdict.ok, "{verdict:#?}");
        prop_assert_eq!(verdict.overlaps.grants, 1, "{:#?}", verdict);
        prop_assert!(verdict.overlaps.beliefs >= 1, "{verdict:#?}");
        let found = BTreeSet::from(["grants overlap", "beliefs overlap"]);
        prop_assert_eq!(kinds(&verdict), found);
    }

    /// A failover to a replica that lacks the last sales, or a restart without persistence.
    #[test]
    fn a_sale_that_the_store_forgot_is_found(mut shop in shops(), units in 1..4_i64) {
        let known = shop.counts.sold - shop.untold;
        prop_assume!(known > 0);
        let forgotten = shop.untold + units.min(known);
        shop.counts.sold -= forgotten;
        shop.counts.stock += forgotten;
        let verdict = verdict(&shop);
        prop_assert!(!verdict.ok, "{verdict:#?}");
        let found = BTreeSet::from(["lost sales", "beliefs overlap"]);
        prop_assert!(kinds(&verdict).is_subset(&found), "{verdict:#?}");
    }

    /// Two buyers get the same units, and each is told that they are its own.
    #[test]
    fn units_sold_to_two_buyers_are_found(mut shop in shops(), at: Index) {
        let sold: Vec<Event> = events(&mut shop)
            .into_iter()
            .filter(|event| matches!(event.kind, EventKind::Written { .. }))
            .map(|event| event.clone())
            .collect();
        prop_assume!(!sold.is_empty());
        let again = vec![at.get(&sold).clone()];
        let lanes = vec![Lane { server: 0, lock: "atomic", events: again }];
        shop.orders.push(SimulatedOrder { order_id: "again".to_owned(), lanes });
        let verdict = verdict(&shop);
        prop_assert!(!verdict.ok);
        prop_assert!(kinds(&verdict).contains("sold twice"), "{verdict:#?}");
        // The ledger counted them once: it lacks a sale, unless an untold one hides that.
        let found = BTreeSet::from(["sold twice", "lost sales", "beliefs overlap"]);
        prop_assert!(kinds(&verdict).is_subset(&found), "{verdict:#?}");
    }

    /// A write that was sent again although it had taken effect.
    #[test]
    fn an_order_that_was_written_twice_is_found(mut shop in shops(), at: Index) {
        let (now_ns, counts) = (shop.now_ns(), shop.counts);
        let mut sellers: Vec<(&mut Lane, u32)> = Vec::new();
        for lane in shop.orders.iter_mut().flat_map(|order| &mut order.lanes) {
            let sold = lane.events.iter().find_map(|event| match event.kind {
                EventKind::Written { quantity, .. } => Some(quantity),
                _ => None,
            });
            sellers.extend(sold.map(|quantity| (lane, quantity)));
        }
        prop_assume!(!sellers.is_empty());
        let (lane, quantity) = at.get_mut(&mut sellers);
        let again = EventKind::Written {
            since_ns: now_ns + 1,
            stock: counts.stock - i64::from(*quantity),
            quantity: *quantity,
            sold: counts.sold + i64::from(*quantity),
            fencing_token: None,
        };
        lane.events.push(event(now_ns + 2, again));
        let units = i64::from(*quantity);
        // As if there had been more from the start.
        shop.counts = Counts { initial: counts.initial + units, sold: counts.sold + units, ..counts };
        let verdict = verdict(&shop);
        prop_assert!(!verdict.ok);
        prop_assert!(kinds(&verdict).contains("sold twice"), "{verdict:#?}");
        // Others may have sold between its read and its second write.
        let found = BTreeSet::from(["sold twice", "effects interleave", "beliefs overlap"]);
        prop_assert!(kinds(&verdict).is_subset(&found), "{verdict:#?}");
    }

    #[test]
    fn numbers_that_do_not_add_up_are_found(mut shop in shops(), units in 1..5_i64, which in 0..3) {
        let kind = match which {
            0 => {
                prop_assume!(shop.counts.sold >= units);
                shop.counts.initial = shop.counts.sold - units;
                shop.counts.stock = -units;
                "oversold"
            }
            1 => {
                shop.counts.stock += units;
                "lost updates"
            }
            _ => {
                shop.counts.stock -= units;
                "foreign write"
            }
        };
        let verdict = verdict(&shop);
        prop_assert!(!verdict.ok);
        prop_assert_eq!(verdict.oversold, if which == 0 { units } else { 0 });
        prop_assert_eq!(verdict.lost_updates, if which == 1 { units } else { 0 });
        let found = BTreeSet::from([kind, "beliefs overlap"]);
        prop_assert!(kinds(&verdict).contains(kind), "{verdict:#?}");
        prop_assert!(kinds(&verdict).is_subset(&found), "{verdict:#?}");
    }

    /// To count an unknown sale as a failure is the commonest false verdict, and to tell the buyer
    /// so is the bug.
    #[test]
    fn a_buyer_who_was_told_a_failure_is_found(mut shop in shops(), at: Index) {
        let mut sold: Vec<&mut Event> =
            events(&mut shop).into_iter().filter(|event| event.kind == EventKind::Ok).collect();
        prop_assume!(!sold.is_empty());
        at.get_mut(&mut sold).kind = EventKind::Fail { outcome: Outcome::Unavailable };
        let verdict = verdict(&shop);
        prop_assert!(!verdict.ok);
        let found = BTreeSet::from(["denied sale", "beliefs overlap"]);
        prop_assert!(kinds(&verdict).contains("denied sale"), "{verdict:#?}");
        prop_assert!(kinds(&verdict).is_subset(&found), "{verdict:#?}");
    }
}
