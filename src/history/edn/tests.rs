//! What is exported reads back, and keeps the rules that checkers rely on.

mod linearizable;

use std::collections::BTreeMap;

use edn_format::{Keyword, Parser, ParserOptions, Value};
use linearizable::{inventory, is_linearizable, mutex, register};
use proptest::prelude::*;

use super::*;
use crate::history::{
    Event,
    shaken::{drop_oldest, shake},
    simulated::{event, shops},
};

/// An operation as it was read back.
#[derive(Debug, Clone)]
struct Line {
    index: i64,
    kind: String,
    process: i64,
    f: String,
    value: Value,
    time: i64,
    order: String,
    clock: String,
}

fn read_back(text: &str) -> Vec<Line> {
    let forms = Parser::from_iter(text.chars(), ParserOptions::default());
    forms.map(|form| line(form.expect("an operation"))).collect()
}

fn line(form: Value) -> Line {
    let Value::Map(mut op) = form else { panic!("not a map: {form}") };
    let mut take = |key| op.remove(&Value::from(Keyword::from_name(key))).expect(key);
    let int = |value| if let Value::Integer(it) = value { it } else { panic!("{value}") };
    let word = |value| if let Value::Keyword(it) = value { it } else { panic!("{value}") };
    let string = |value| if let Value::String(it) = value { it } else { panic!("{value}") };
    Line {
        index: int(take("index")),
        kind: word(take("type")).name().to_owned(),
        process: int(take("process")),
        f: word(take("f")).name().to_owned(),
        value: take("value"),
        time: int(take("time")),
        order: string(take("order")),
        clock: string(take("clock")),
    }
}

/// Checks what every checker takes for granted.
fn check_rules(lines: &[Line]) {
    let mut outstanding: BTreeMap<i64, Line> = BTreeMap::new();
    let mut gone = Vec::new();
    let mut now = 0;
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(line.index, at as i64);
        assert!(line.time >= now, "time goes back at {line:?}");
        now = line.time;
        match line.kind.as_str() {
            "invoke" => {
                assert!(!gone.contains(&line.process), "{line:?}: nobody knows where it is");
                let other = outstanding.insert(line.process, line.clone());
                assert!(other.is_none(), "{line:?} while {other:?}");
            }
            how => {
                let invoked = outstanding.remove(&line.process).expect("an invocation");
                assert_eq!((&invoked.f, &invoked.order), (&line.f, &line.order));
                match how {
                    "ok" => {}
                    "fail" => assert_eq!(invoked.value, line.value),
                    "info" => gone.push(line.process),
                    _ => panic!("{line:?}"),
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn every_history_keeps_the_rules(shop in shops(), seed: u64) {
        let records = shop.records();
        let text = edn(&records);
        let lines = read_back(&text);
        check_rules(&lines);
        // Nothing is lost, and nothing depends on how the records came in.
        let ok = |f: &str| lines.iter().filter(|it| it.f == f && it.kind == "ok").count();
        let events: Vec<&EventKind> =
            records.iter().flat_map(|it| &it.events).map(|it| &it.kind).collect();
        let count = |is: fn(&EventKind) -> bool| events.iter().filter(|it| is(it)).count();
        prop_assert_eq!(ok("read"), count(|it| matches!(it, EventKind::Read { .. })));
        prop_assert_eq!(ok("write"), count(|it| matches!(it, EventKind::Written { .. })));
        prop_assert_eq!(ok("acquire"), count(|it| matches!(it, EventKind::Granted { .. })));
        prop_assert_eq!(ok("purchase"), count(|it| *it == EventKind::Ok));
        let invoked = |it: &&Line| it.f == "purchase" && it.kind == "invoke";
        prop_assert_eq!(lines.iter().filter(invoked).count(), shop.orders.len());
        prop_assert_eq!(text.lines().filter(|it| !it.starts_with(';')).count(), lines.len());
        prop_assert_eq!(edn(&shake(&records, seed)), text);
    }

    #[test]
    fn what_is_left_of_a_history_keeps_the_rules(shop in shops(), seed: u64) {
        let (left, _) = drop_oldest(&shop.records(), seed);
        check_rules(&read_back(&edn(&left)));
    }

    #[test]
    fn strings_are_read_back_as_they_were(order_id in ".*", clock in "[\"\\\\\n\r\t ;a]*") {
        let record = Record {
            order_id,
            server: "s".to_owned(),
            clock,
            lock: "safe".to_owned(),
            run_id: None,
            events: vec![event(1, EventKind::Invoke { quantity: 1 }), event(2, EventKind::Ok)],
        };
        let text = edn(std::slice::from_ref(&record));
        prop_assert_eq!(text.matches('\n').count(), 2);
        let lines = read_back(&text);
        prop_assert_eq!(&lines[0].order, &record.order_id);
        prop_assert_eq!(&lines[0].clock, &record.clock);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A checker finds in a good history what it should: a mutex, a register, an inventory.
    #[test]
    fn a_good_history_is_linearizable(shop in shops()) {
        let text = edn(&shop.records_by(&[("boot", 9); 2]));
        let lines = read_back(&text);
        prop_assert!(is_linearizable(&lines, 0, mutex));
        prop_assert!(is_linearizable(&lines, shop.counts.initial, inventory));
        // Nobody can say what a lost take wrote, and the export says that.
        let whole = !text.starts_with("; lost replies: ");
        prop_assert!(!whole || is_linearizable(&lines, shop.counts.initial, register));
    }
}

fn record(order_id: &str, events: Vec<Event>) -> Record {
    Record {
        order_id: order_id.to_owned(),
        server: "s".to_owned(),
        clock: "boot".to_owned(),
        lock: "fenced".to_owned(),
        run_id: None,
        events,
    }
}

fn granted(at_ns: u64, token: &str, until_ns: Option<u64>) -> Event {
    let (since_ns, token, fencing_token) = (at_ns - 1, token.to_owned(), Some(7));
    event(at_ns, EventKind::Granted { since_ns, token, fencing_token, until_ns, exclusive: true })
}

fn released(at_ns: u64, until_ns: Option<u64>, how: &str) -> Event {
    let (since_ns, how) = (at_ns - 1, how.to_owned());
    event(at_ns, EventKind::Released { since_ns, until_ns, how })
}

/// An export without what says where each line comes from.
fn exported(records: &[Record]) -> Vec<String> {
    let text = edn(records);
    let lines = text.lines().map(|line| line.split_once(", :order").unwrap().0[1..].to_owned());
    lines.collect()
}

#[test]
fn a_purchase_from_beginning_to_end() {
    let events = vec![
        event(100, EventKind::Invoke { quantity: 2 }),
        granted(103, "aa", Some(900)),
        event(106, EventKind::Read { since_ns: 105, stock: 5, sold: 4 }),
        event(
            109,
            EventKind::Written {
                since_ns: 107,
                stock: 3,
                quantity: 2,
                sold: 6,
                fencing_token: Some(7),
            },
        ),
        released(112, Some(900), "released"),
        event(113, EventKind::Ok),
    ];
    assert_eq!(
        exported(&[record("a", events)]),
        [
            ":index 0, :type :invoke, :process 0, :f :purchase, :value [2 nil], :time 0",
            ":index 1, :type :invoke, :process 1, :f :acquire, :value nil, :time 2",
            ":index 2, :type :ok, :process 1, :f :acquire, :value 7, :time 3",
            ":index 3, :type :invoke, :process 1, :f :read, :value nil, :time 5",
            ":index 4, :type :ok, :process 1, :f :read, :value 5, :time 6",
            ":index 5, :type :invoke, :process 1, :f :write, :value 3, :time 7",
            ":index 6, :type :ok, :process 1, :f :write, :value 3, :time 9",
            ":index 7, :type :invoke, :process 1, :f :release, :value 7, :time 11",
            ":index 8, :type :ok, :process 1, :f :release, :value 7, :time 12",
            ":index 9, :type :ok, :process 0, :f :purchase, :value [2 3], :time 13",
        ]
    );
}

/// Lost replies and deaths are `:info`, and whoever gave up is a `:fail`.
#[test]
fn what_nobody_knows() {
    let lost = vec![
        event(10, EventKind::Invoke { quantity: 1 }),
        event(12, EventKind::Read { since_ns: 11, stock: 5, sold: 0 }),
        event(19, EventKind::Unknown { step: Step::Write }),
    ];
    assert_eq!(
        exported(&[record("a", lost)]),
        [
            ":index 0, :type :invoke, :process 0, :f :purchase, :value [1 nil], :time 0",
            ":index 1, :type :invoke, :process 1, :f :read, :value nil, :time 1",
            ":index 2, :type :ok, :process 1, :f :read, :value 5, :time 2",
            ":index 3, :type :invoke, :process 1, :f :write, :value 4, :time 3",
            ":index 4, :type :info, :process 0, :f :purchase, :value [1 nil], :time 9, \
             :error :write",
            ":index 5, :type :info, :process 1, :f :write, :value 4, :time 9",
        ]
    );
    let busy = vec![
        event(10, EventKind::Invoke { quantity: 1 }),
        event(19, EventKind::Fail { outcome: Outcome::Busy }),
    ];
    assert_eq!(
        exported(&[record("a", busy)]),
        [
            ":index 0, :type :invoke, :process 0, :f :acquire, :value nil, :time 0",
            ":index 1, :type :invoke, :process 1, :f :purchase, :value [1 nil], :time 0",
            ":index 2, :type :fail, :process 0, :f :acquire, :value nil, :time 9",
            ":index 3, :type :fail, :process 1, :f :purchase, :value [1 nil], :time 9, \
             :error :busy",
        ]
    );
}

/// How leases end, as `type@time` of their releases.
#[test]
fn how_leases_end() {
    let releases = |records: &[Record]| -> Vec<String> {
        let lines = read_back(&edn(records)).into_iter();
        let releases = lines.filter(|line| line.f == "release");
        releases.map(|line| format!("{}@{}", line.kind, line.time)).collect()
    };
    let one = |end: Vec<Event>| {
        let mut events = vec![granted(1, "aa", Some(50))];
        events.extend(end);
        releases(&[record("a", events)])
    };
    assert_eq!(one(vec![]), ["invoke@50", "info@50"], "expires");
    assert_eq!(one(vec![released(9, Some(50), "released")]), ["invoke@8", "ok@9"]);
    assert_eq!(one(vec![released(9, Some(50), "unknown")]), ["invoke@8", "info@9"]);
    let lost = ["invoke@8", "invoke@8", "info@8", "fail@9"];
    assert_eq!(one(vec![released(9, Some(50), "stolen")]), lost, "gone by then, not by us");
    let late = ["invoke@50", "info@50", "invoke@89", "fail@90"];
    assert_eq!(one(vec![released(90, Some(50), "expired")]), late);
    // One lease that two orders had in turn ends once.
    let (first, second) = (vec![granted(1, "aa", Some(50))], vec![granted(20, "aa", Some(70))]);
    let records = [record("a", first), record("b", second)];
    assert_eq!(releases(&records), ["invoke@70", "info@70"]);
    let acquired = read_back(&edn(&records));
    assert_eq!(acquired.iter().filter(|line| line.f == "acquire").count(), 2, "one, with its ok");
}

/// The checks of others fail where they should.
#[test]
fn a_bad_history_is_not_linearizable() {
    let hold = |name, from, to| {
        record(name, vec![granted(from, name, Some(to)), released(to, Some(to), "released")])
    };
    let held = |records: &[Record]| is_linearizable(&read_back(&edn(records)), 0, mutex);
    assert!(held(&[hold("a", 1, 20), hold("b", 30, 40)]));
    assert!(!held(&[hold("a", 1, 20), hold("b", 10, 40)]));

    let buy = |name, from: u64, left| {
        let written = EventKind::Written {
            since_ns: from + 2,
            stock: left,
            quantity: 1,
            sold: 1,
            fencing_token: None,
        };
        let events = vec![
            event(from, EventKind::Invoke { quantity: 1 }),
            event(from + 1, EventKind::Read { since_ns: from, stock: left + 1, sold: 0 }),
            event(from + 3, written),
            event(from + 4, EventKind::Ok),
        ];
        record(name, events)
    };
    for (second, good) in [(buy("b", 20, 3), true), (buy("b", 20, 4), false)] {
        let lines = read_back(&edn(&[buy("a", 10, 4), second]));
        assert_eq!(is_linearizable(&lines, 5, register), good);
        assert_eq!(is_linearizable(&lines, 5, inventory), good);
    }
}

/// A process whose operation nobody knows the end of is never used again, nor one that may still be
/// busy.
#[test]
fn when_an_order_gets_another_process() {
    let read = |since_ns, at_ns| event(at_ns, EventKind::Read { since_ns, stock: 5, sold: 0 });
    let events = vec![
        read(1, 4),
        read(5, 7),
        read(7, 9),
        granted(12, "aa", Some(90)),
        released(14, Some(90), "unknown"),
        read(16, 18),
    ];
    let lines = read_back(&edn(&[record("a", events)]));
    check_rules(&lines);
    let invoked = lines.iter().filter(|line| line.kind == "invoke");
    let processes: Vec<i64> = invoked.map(|line| line.process).collect();
    // The third read began in the nanosecond in which the second ended.
    assert_eq!(processes, [0, 0, 1, 1, 1, 2]);
}

#[test]
fn what_an_export_cannot_show_is_announced() {
    let other =
        Record { clock: "another".to_owned(), ..record("b", vec![event(5, EventKind::Ok)]) };
    let text = edn(&[record("a", vec![event(900, EventKind::Invoke { quantity: 1 })]), other]);
    let warnings: Vec<&str> = text.lines().filter(|line| line.starts_with(';')).collect();
    assert_eq!(warnings.len(), 2, "clocks, and an order that may have sold: {text}");
    assert_eq!(read_back(&text).len(), 1);
    assert_eq!(edn(&[]), "");
}
