//! Histories written by hand: what is found, and in which words.

use super::*;
use crate::{
    history::{Event, EventKind, simulated::event},
    outcome::Outcome,
};
use locklab_locks::step::Step;

/// Times are in milliseconds here, as in what is found.
const MS: u64 = 1_000_000;

fn record(order_id: &str, server: &str, events: &[Event]) -> Record {
    Record {
        order_id: order_id.to_owned(),
        server: server.to_owned(),
        clock: "boot".to_owned(),
        lock: "safe".to_owned(),
        run_id: None,
        events: events.to_vec(),
    }
}

fn invoke(at: u64) -> Event {
    event(at * MS, EventKind::Invoke { quantity: 1 })
}

fn granted(at: u64, token: &str, until: Option<u64>) -> Event {
    let (since_ns, until_ns) = (at * MS, until.map(|until| until * MS));
    let (token, fencing_token, exclusive) = (token.to_owned(), None, true);
    event(at * MS, EventKind::Granted { since_ns, token, fencing_token, until_ns, exclusive })
}

fn read(at: u64, stock: i64, sold: i64) -> Event {
    event(at * MS, EventKind::Read { since_ns: at * MS, stock, sold })
}

fn written(at: u64, stock: i64, sold: i64) -> Event {
    fenced(at, stock, sold, None)
}

fn fenced(at: u64, stock: i64, sold: i64, fencing_token: Option<u64>) -> Event {
    let (since_ns, quantity) = (at * MS, 1);
    event(at * MS, EventKind::Written { since_ns, stock, quantity, sold, fencing_token })
}

fn released(at: u64, until: Option<u64>, how: &str) -> Event {
    let (until_ns, how) = (until.map(|until| until * MS), how.to_owned());
    event(at * MS, EventKind::Released { since_ns: at * MS, until_ns, how })
}

fn ok(at: u64) -> Event {
    event(at * MS, EventKind::Ok)
}

fn fail(at: u64, outcome: Outcome) -> Event {
    event(at * MS, EventKind::Fail { outcome })
}

fn unknown(at: u64, step: Step) -> Event {
    event(at * MS, EventKind::Unknown { step })
}

fn tally(initial: i64, stock: i64, sold: i64) -> Tally {
    Tally { initial, stock, sold }
}

fn judged(tally: &Tally, history: &[Record]) -> Verdict {
    judge(tally, history, history.len() as u64)
}

#[test]
fn conservation() {
    let judged = |initial, stock, sold| {
        let verdict = judge(&tally(initial, stock, sold), &[], 0);
        assert_eq!(verdict.ok, verdict.evidence.is_empty());
        (verdict.ok, verdict.oversold, verdict.lost_updates)
    };
    assert_eq!(judged(10, 10, 0), (true, 0, 0), "nothing sold");
    assert_eq!(judged(10, 7, 3), (true, 0, 0), "three sold");
    assert_eq!(judged(10, 0, 10), (true, 0, 0), "sold out");
    assert_eq!(judged(1, 0, 7), (false, 6, 6), "the race that the stock hides");
    assert_eq!(judged(10, 8, 3), (false, 0, 1), "a lost update without oversell");
    assert_eq!(judged(10, 6, 3), (false, 0, 0), "somebody else took a unit");
    assert_eq!(judged(1, -1, 2), (false, 1, 0), "an oversell that the stock shows");
}

/// Two buyers without a lock: the ledger shows the race, whatever the clocks say.
#[test]
fn the_race_that_everybody_knows() {
    let buyer = |name, server, read_at, written_at, sold| {
        let events = [invoke(0), read(read_at, 1, 0), written(written_at, 0, sold), ok(9)];
        record(name, server, &events)
    };
    let history = [buyer("3f2a9c01d4", "7-a", 1, 4, 2), buyer("b", "8-c", 2, 3, 1)];
    let verdict = judged(&tally(1, 0, 2), &history);
    let effects = Overlaps { effects: 1, ..Overlaps::default() };
    assert_eq!((verdict.ok, verdict.oversold, verdict.overlaps), (false, 1, effects));
    assert_eq!((verdict.events, verdict.unknown, verdict.fencing), (8, 0, None));
    assert_eq!(
        verdict.evidence,
        [
            "oversold: 2 units sold of 1",
            "lost updates: the stock is 0, but 1 − 2 sold = -1",
            "effects interleave: order 3f2a9c01… (server 7-a, safe) read at 1.000 ms, after 0 \
             units had been sold, and wrote unit 2 at 4.000 ms: 1 unit was sold in between",
        ]
    );
    assert!(verdict.gaps.is_empty());
}

/// A holder sleeps past its lease; the next one is let in, rightly, and both write.
#[test]
fn a_lease_that_ended_is_a_belief_and_no_grant() {
    let until = Some(10);
    let sleeper = [
        invoke(0),
        granted(1, "aa", until),
        read(2, 5, 0),
        written(30, 4, 2),
        released(31, until, "expired"),
        ok(32),
    ];
    let next = [
        invoke(0),
        granted(11, "bb", Some(20)),
        read(12, 5, 0),
        written(13, 4, 1),
        released(14, Some(20), "released"),
        ok(15),
    ];
    let history = [record("a", "s", &sleeper), record("b", "t", &next)];
    let verdict = judged(&tally(5, 4, 2), &history);
    assert_eq!(verdict.overlaps, Overlaps { grants: 0, beliefs: 1, effects: 1 });
    let line = "beliefs overlap: order a (server s, safe) believed to be alone from 1.000 ms to \
                31.000 ms, and order b (server t, safe) from 11.000 ms to 14.000 ms";
    assert!(verdict.evidence.iter().any(|it| it == line), "{:#?}", verdict.evidence);

    // Without the late write, the same is no bug.
    let mut fenced = sleeper.to_vec();
    fenced.splice(3.., [released(31, until, "expired"), fail(32, Outcome::Fenced)]);
    let history = [record("a", "s", &fenced), record("b", "t", &next)];
    let verdict = judged(&tally(5, 4, 1), &history);
    assert!(verdict.ok);
    assert_eq!(verdict.overlaps, Overlaps { grants: 0, beliefs: 1, effects: 0 });
}

/// FLUSHALL, or somebody's DEL: the lock service let in a second one while the first lease stood.
#[test]
fn a_lease_that_the_lock_service_lost() {
    let first = [granted(0, "aa", Some(100)), released(30, Some(100), "stolen")];
    let second = [granted(20, "bb", Some(120)), released(40, Some(120), "released")];
    let third = [granted(30, "cc", Some(130)), released(50, Some(130), "released")];
    let history = [record("a", "s", &first), record("b", "t", &second), record("c", "s", &third)];
    let verdict = judged(&tally(1, 1, 0), &history);
    // `c` was granted just when `a` gave up: that is no overlap of these two.
    assert_eq!(verdict.overlaps, Overlaps { grants: 2, beliefs: 2, effects: 0 });
    assert!(verdict.ok, "nobody sold anything");
    assert_eq!(
        verdict.evidence[0],
        "grants overlap: the lease of order a (server s, safe), granted at 0.000 ms, stood until \
         30.000 ms, and order b (server t, safe) was granted another at 20.000 ms"
    );
    assert_eq!(
        verdict.evidence[2],
        "lease lost: order a (server s, safe) held it until 100.000 ms, and found it stolen at \
         30.000 ms"
    );
    assert_eq!(verdict.evidence.len(), 5);
}

#[test]
fn what_shows_when_a_lease_stood() {
    let other =
        record("b", "t", &[granted(50, "bb", Some(60)), released(55, Some(60), "released")]);
    let grants = |events: &[Event]| {
        let history = [record("a", "s", events), other.clone()];
        let Overlaps { grants, beliefs, effects } = judged(&tally(9, 9, 0), &history).overlaps;
        assert_eq!(effects, 0);
        (grants, beliefs)
    };
    let renewed = [granted(1, "aa", Some(20)), released(90, Some(95), "released")];
    assert_eq!(grants(&renewed), (1, 1), "renewed: the release says until when");
    let dead = [granted(1, "aa", Some(20)), read(5, 9, 0)];
    assert_eq!(grants(&dead), (0, 0), "died: nothing says that it was renewed");
    let endless = [granted(1, "aa", None), read(70, 9, 0)];
    assert_eq!(grants(&endless), (1, 1), "never ends, and was still used");
    let broken = [granted(1, "aa", None), read(2, 9, 0), unknown(70, Step::Work)];
    assert_eq!(grants(&broken), (0, 1), "its process may have lost it before it said so");
    let handed = [granted(52, "bb", Some(60)), released(58, Some(60), "released")];
    assert_eq!(grants(&handed), (0, 0), "the same lease");
    let lost = [granted(1, "aa", Some(90)), released(40, Some(90), "unknown")];
    assert_eq!(grants(&lost), (0, 0), "the release may have had its effect at once");
    let twice = [granted(1, "aa", Some(90)), granted(30, "cc", Some(40)), read(70, 9, 0)];
    assert_eq!(grants(&twice), (0, 1), "who asks for another does not use the first any more");
    let mut shared = granted(1, "aa", Some(90));
    if let EventKind::Granted { exclusive, .. } = &mut shared.kind {
        *exclusive = false;
    }
    assert_eq!(grants(&[shared, read(70, 9, 0)]), (0, 0), "nobody promised anything");
}

#[test]
fn clocks_that_cannot_be_compared() {
    let other = Record {
        clock: "another".to_owned(),
        ..record("b", "t", &[granted(1, "bb", Some(9)), released(3, Some(9), "released")])
    };
    let events = [granted(1, "aa", Some(9)), released(3, Some(9), "released")];
    let verdict = judged(&tally(1, 1, 0), &[record("a", "s", &events), other]);
    assert_eq!(verdict.overlaps, Overlaps::default());
    assert_eq!(verdict.gaps.len(), 1, "{:?}", verdict.gaps);
    assert!(verdict.gaps[0].contains("recorded by 2 clocks"), "{:?}", verdict.gaps);
}

/// A reply was lost. Whether or not the sale took effect, nothing is wrong; one that failed would
/// have to be missing from the ledger, and one that succeeded would have to be there.
#[test]
fn an_unknown_sale_is_neither_a_sale_nor_a_failure() {
    let lost = [invoke(0), read(1, 5, 0), unknown(2, Step::Write)];
    let died = [invoke(0), read(1, 5, 0)];
    for events in [lost.as_slice(), died.as_slice()] {
        let history = [record("a", "s", events)];
        for sold in [0, 1] {
            let verdict = judged(&tally(5, 5 - sold, sold), &history);
            assert!(verdict.ok, "{verdict:#?}");
            assert_eq!((verdict.unknown, verdict.gaps.as_slice()), (1, [].as_slice()));
        }
        // Nor does it explain more than itself.
        let verdict = judged(&tally(5, 2, 3), &history);
        assert!(verdict.ok);
        assert!(verdict.gaps[0].starts_with("2 units sold that no order"), "{verdict:#?}");
    }
    // Before anything could have been sold, it explains nothing.
    let history = [record("a", "s", &[invoke(0), unknown(2, Step::Acquire)])];
    let verdict = judged(&tally(5, 4, 1), &history);
    assert_eq!((verdict.unknown, verdict.gaps.len()), (1, 1));
}

#[test]
fn what_the_history_forgot_is_a_gap() {
    let history = [record("a", "s", &[written(5, 0, 9), ok(6)])];
    let verdict = judge(&tally(9, 0, 9), &history, 12);
    assert!(verdict.ok);
    let gap = "the history no longer has 11 of its records: what they held was not judged";
    assert_eq!(verdict.gaps, [gap]);
    // What is left still shows that the ledger went back.
    let verdict = judge(&tally(9, 1, 8), &history, 12);
    let lost = "lost sales: the store confirmed 1 unit more than the 8 in its ledger: it has \
                forgotten sales";
    assert_eq!((verdict.ok, verdict.evidence.as_slice()), (false, [lost.to_owned()].as_slice()));
}

/// With `queue`, one server talks to the buyer, and another sells.
#[test]
fn an_order_that_two_servers_recorded() {
    let buyer = record("a", "front", &[invoke(0), ok(9)]);
    let consumer = [granted(1, "aa", Some(50)), read(2, 5, 0), written(3, 4, 1)];
    let consumer = record("a", "consumer", &consumer);
    let verdict = judged(&tally(5, 4, 1), &[consumer.clone(), buyer, consumer]);
    assert!(verdict.ok && verdict.gaps.is_empty(), "{verdict:#?}");
    assert_eq!((verdict.events, verdict.unknown), (5, 0), "the repetition is no second sale");
}

/// One server gave up waiting, another knows: the fate is known.
#[test]
fn certainty_wins() {
    let gave_up = record("a", "front", &[invoke(0), unknown(5, Step::Take)]);
    for end in [ok(9), fail(9, Outcome::SoldOut)] {
        let sold = i64::from(end.kind == EventKind::Ok);
        let tally = tally(5, 5 - sold, sold);
        let verdict = judged(&tally, &[gave_up.clone(), record("a", "consumer", &[end])]);
        assert!(verdict.ok && verdict.gaps.is_empty(), "{verdict:#?}");
        assert_eq!(verdict.unknown, 0);
    }
}

/// Who was told that it has the units has them, also if the history lost how they were written.
#[test]
fn a_buyer_who_was_told_a_sale_that_is_nowhere() {
    let verdict = judged(&tally(5, 5, 0), &[record("a", "s", &[invoke(0), ok(9)])]);
    assert!(verdict.evidence[0].starts_with("lost sales: the store confirmed 1 unit more"));
    assert!(!verdict.ok);
}

/// Of several reads, the write follows from the last one before it.
#[test]
fn a_try_that_was_repeated() {
    let rival = record("b", "s", &[invoke(0), written(2, 4, 1), ok(3)]);
    let mut events = vec![invoke(0), read(1, 5, 0), read(4, 4, 1), written(5, 3, 2), ok(6)];
    let tally = tally(5, 3, 2);
    assert!(judged(&tally, &[record("a", "s", &events), rival.clone()]).ok);
    // Nor from a look at what it wrote.
    events.insert(4, read(6, 3, 2));
    assert!(judged(&tally, &[record("a", "s", &events), rival.clone()]).ok);
    events.remove(2);
    let verdict = judged(&tally, &[record("a", "s", &events), rival]);
    assert_eq!(verdict.overlaps.effects, 1);
}

#[test]
fn sales_of_the_same_units() {
    let sale = |name, sold| record(name, "s", &[invoke(0), written(5, 5 - sold, sold), ok(6)]);
    // A replica that lacked the last sale took over, and sold that unit again.
    let verdict = judged(&tally(5, 3, 2), &[sale("a", 1), sale("b", 2), sale("c", 2)]);
    assert_eq!(
        verdict.evidence,
        [
            "lost sales: the store confirmed 1 unit more than the 2 in its ledger: it has \
             forgotten sales",
            "sold twice: order b (server s, safe) got unit 2, of which order c (server s, safe) \
             got unit 2",
        ]
    );
    let twice = [invoke(0), read(1, 5, 0), written(2, 4, 1), written(3, 3, 2), ok(4)];
    let verdict = judged(&tally(5, 3, 2), &[record("a", "s", &twice)]);
    let line = "sold twice: order a was written 2 times: as unit 1, then as unit 2";
    assert_eq!(verdict.evidence, [line]);
    assert!(!verdict.ok);
}

#[test]
fn a_fencing_token_that_went_back() {
    let sale = |name, sold, token| record(name, "s", &[fenced(5, 9 - sold, sold, Some(token))]);
    // The same lease may write again; tokens may be left out.
    let history = [sale("a", 1, 3), sale("b", 2, 3), sale("c", 3, 7), sale("d", 4, 9)];
    assert_eq!(judged(&tally(9, 5, 4), &history).fencing, Some(0));
    // Both that came after 7 are late, also the one that is newer than the other.
    let history = [sale("a", 1, 7), sale("b", 2, 4), sale("c", 3, 5), sale("d", 4, 7)];
    let verdict = judged(&tally(9, 5, 4), &history);
    assert_eq!((verdict.ok, verdict.fencing), (false, Some(2)));
    assert_eq!(
        verdict.evidence[1],
        "fencing regression: order c (server s, safe) wrote unit 3 under token 5, after order a \
         (server s, safe) had written unit 1 under token 7"
    );
}

#[test]
fn a_failure_that_was_none() {
    let events = [invoke(0), written(1, 4, 1), fail(2, Outcome::Error)];
    let verdict = judged(&tally(5, 4, 1), &[record("a", "s", &events)]);
    let line = "denied sale: order a (server s, safe) ended as error, which promises that nothing \
                was sold, but the store sold it unit 1";
    assert_eq!((verdict.ok, verdict.evidence.as_slice()), (false, [line.to_owned()].as_slice()));
}
