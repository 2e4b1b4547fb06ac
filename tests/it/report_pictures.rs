//! A report that was made up, with every kind of picture, small and large.

use locklab::report::{
    Part, Picture, Report, Timeline,
    picture::{Curve, Curves, Group, Groups},
    timeline::{Lane, Mark, Shade, Span},
};

const MS: u64 = 1_000_000;

/// The report.
pub fn report() -> Report {
    let mut report = Report::new("made-up");
    for lanes in [2, 10, 50, 75] {
        let mut part = Part::new(format!("{lanes} buyers"));
        part.check("the unit is sold once", "it was sold twice", lanes > 2);
        part.pictures.push(Picture::Timeline(timeline(lanes)));
        report.parts.push(part);
    }
    let mut part = Part::new("figures");
    part.unknown("they are as expected", "nobody knows what to expect");
    part.measure("how long a purchase took", "ms", samples(3, 40));
    let (title, columns) = ("locks side by side".to_owned(), ["lock", "p50 ms", "what it costs"]);
    let columns = columns.map(str::to_owned).to_vec();
    let row = |lock: &str| vec![lock.to_owned(), "1.5".to_owned(), "a word or two ".repeat(9)];
    part.tables.push(locklab::report::Table {
        title,
        columns,
        rows: ["safe", "none"].map(row).to_vec(),
    });
    let picture = |title: &str, count: usize, spread: i32| {
        let group = |number| Group { name: name(number), samples: samples(number, spread) };
        let groups = (0..count).map(group).collect();
        Groups { title: format!("{title}, {count} groups"), unit: "ms", groups }
    };
    part.pictures.push(Picture::Distribution(picture("how long it took", 3, 2)));
    part.pictures.push(Picture::Distribution(picture("how long it took", 22, 300)));
    part.pictures.push(Picture::Bars(picture("side by side", 4, 30)));
    let mut many = picture("side by side", 150, 4000);
    many.groups[3].samples.clear();
    many.groups[5].samples = vec![0.0];
    part.pictures.push(Picture::Bars(many));
    part.pictures.push(Picture::Lines(lines(3)));
    part.pictures.push(Picture::Lines(lines(12)));
    let empty = Groups { title: "of nothing".to_owned(), unit: "ms", groups: Vec::new() };
    part.pictures.push(Picture::Bars(empty));
    report.parts.push(part);
    report
}

fn name(number: usize) -> String {
    let locks =
        ["safe", "postgres-advisory", "mysql-row with an uncommonly long name that goes on"];
    format!("{} {number}", locks[number % locks.len()])
}

/// Always the same, and different from group to group.
fn samples(group: usize, spread: i32) -> Vec<f64> {
    let sample = |number: i32| {
        let angle = f64::from(number * 37 % 101) / 101.0;
        (1.0 + group as f64 / 4.0) * (1.0 + f64::from(spread) * angle.powi(4))
    };
    (0..200).map(sample).collect()
}

fn timeline(lanes: u64) -> Timeline {
    let span = |from, until, shade| Span { from_ns: from * MS, until_ns: until * MS, shade };
    let mark = |at, letter| Mark { at_ns: at * MS, letter };
    let lane = |number: u64| {
        let from = 1_000 + number * 9;
        let mut spans = vec![span(from, from + 30, Shade::Granted)];
        let mut marks = vec![mark(from + 28, 'W'), mark(from + 29, 'R')];
        if number % 7 == 1 {
            spans.push(span(from + 30, from + 60, Shade::Believed));
            spans.push(span(from + 4, from + 12, Shade::Overlap));
            marks = vec![mark(from + 30, 'T'), mark(from + 60, 'X'), mark(from + 62, 'R')];
        }
        Lane { name: format!("buyer {number}"), spans, marks }
    };
    Timeline {
        title: format!("{lanes} buyers, and who had the lock"),
        from_ns: 1_000 * MS,
        until_ns: (1_000 + lanes * 9 + 70) * MS,
        legend: vec![
            (Shade::Granted, "has the lock"),
            (Shade::Believed, "only believes so"),
            (Shade::Overlap, "at the same time as somebody else"),
        ],
        letters: vec![
            ('W', "sold"),
            ('R', "released"),
            ('T', "its ttl was over"),
            ('X', "sold a unit that was not there any more"),
        ],
        lanes: (0..lanes).map(lane).collect(),
    }
}

fn lines(count: usize) -> Curves {
    let point = |line: usize, at: i32| {
        let x = f64::from(at * at);
        (x, 1e4 / (1.0 + line as f64) * (1.0 - (-x / 40.0).exp()))
    };
    let line =
        |line| Curve { name: name(line), points: (1..12).map(|at| point(line, at)).collect() };
    let lines = (0..count).map(line).collect();
    Curves {
        title: format!("how much is sold, {count} locks"),
        x: "buyers at once",
        y: "purchases/s",
        lines,
    }
}
