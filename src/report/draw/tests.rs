//! Whatever was measured can be drawn.

use super::{
    canvas::{SIZE, fit, width},
    *,
};
use crate::report::{
    Timeline,
    picture::{Curve, Curves, Group, Groups},
    timeline::{Lane, Mark, Shade, Span},
};

fn groups(samples: Vec<Vec<f64>>) -> Groups {
    let group = |(number, samples)| Group { name: format!("group <{number}>"), samples };
    let groups = samples.into_iter().enumerate().map(group).collect();
    Groups { title: "how long & \"why\"".to_owned(), unit: "ms", groups }
}

/// The picture as a document, which it has to be.
fn drawn(picture: &Picture) -> String {
    let svg = svg(picture).unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap_or_else(|it| panic!("{it}: {svg}"));
    let root = document.root_element();
    let title =
        root.children().find(|child| child.has_tag_name(("http://www.w3.org/2000/svg", "title")));
    assert_eq!(title.and_then(|it| it.text()), Some(super::title(picture)));
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    svg
}

#[test]
fn whatever_was_measured_can_be_drawn() {
    let many = |count: u32| (0..count).map(f64::from).collect::<Vec<_>>();
    let sets: Vec<Vec<Vec<f64>>> = vec![
        vec![],
        vec![vec![]],
        vec![vec![], vec![1.0]],
        vec![vec![1.0]],
        vec![vec![0.0; 10], vec![0.0]],
        vec![vec![5.0; 3]],
        vec![vec![-1.0, 1.0]],
        vec![vec![-5.0]],
        vec![vec![f64::MAX, f64::MIN, f64::MIN_POSITIVE]],
        vec![vec![1e-300, 1e300]],
        vec![vec![1e-11, 1e300]],
        vec![vec![1e300, 1.000_000_1e300]],
        vec![vec![1e15, 1e15 + 1.0]],
        vec![vec![f64::NAN], vec![f64::INFINITY, 1.0]],
        vec![vec![f64::NAN]],
        vec![vec![1e-9, 1e-8]],
        vec![many(5_000), many(3)],
        vec![many(5); 300],
        vec![vec![1.0, 50.0, 5_000.0]; 20],
    ];
    for samples in sets {
        let pairs = |samples: &Vec<f64>| {
            let (up, down) = (samples.iter(), samples.iter().rev());
            up.copied().zip(down.copied()).collect()
        };
        let lines = samples.iter().map(|it| Curve { name: "a line".to_owned(), points: pairs(it) });
        let (lines, title) = (lines.collect(), "one against the other".to_owned());
        drawn(&Picture::Lines(Curves { title, x: "buyers", y: "ms", lines }));
        drawn(&Picture::Bars(groups(samples.clone())));
        drawn(&Picture::Distribution(groups(samples)));
    }
}

#[test]
fn what_is_left_out_is_said() {
    let bars = drawn(&Picture::Bars(groups(vec![vec![1.0]; 151])));
    assert!(bars.contains("and 1 more groups, not drawn"));
    let distribution = drawn(&Picture::Distribution(groups(vec![vec![1.0]; 22])));
    assert!(distribution.contains("and 2 more groups, not drawn"));
    assert!(distribution.contains("group &lt;0&gt; (1 samples)"), "{distribution}");
    let wide = drawn(&Picture::Distribution(groups(vec![vec![1.0, 1_000.0]])));
    assert!(wide.contains("ms, logarithmic") && !distribution.contains("logarithmic"));
    assert!(drawn(&Picture::Bars(groups(vec![]))).contains("nothing was measured"));
}

fn timeline(lanes: usize, marks: &[(u64, char)]) -> Timeline {
    let span = |from_ns, until_ns, shade| Span { from_ns, until_ns, shade };
    let mark = |&(at_ns, letter): &(u64, char)| Mark { at_ns, letter };
    let lane = |number| Lane {
        name: format!("buyer {number}"),
        spans: vec![
            span(0, 1_000, Shade::Granted),
            span(1_000, 1_500, Shade::Believed),
            span(0, u64::MAX, Shade::Overlap),
        ],
        marks: marks.iter().map(mark).collect(),
    };
    Timeline {
        title: "who had it".to_owned(),
        from_ns: 100,
        until_ns: 2_000,
        legend: vec![(Shade::Granted, "granted")],
        letters: vec![('X', "sold a unit that was not there"), ('T', "ttl"), ('W', "sold")],
        lanes: (0..lanes).map(lane).collect(),
    }
}

#[test]
fn whatever_happened_can_be_drawn() {
    let marks: Vec<_> =
        (0..500).map(|at| (at * 4, ['W', 'K', 'T', 'X'][at as usize % 4])).collect();
    for lanes in [0, 1, 2, 12, 13, 60, 61, 500] {
        for marks in [&[][..], &[(1_200, 'X')], &marks] {
            let svg = drawn(&Picture::Timeline(timeline(lanes, marks)));
            let told = svg.contains(&format!("the first 60 of {lanes} lanes"));
            assert_eq!(told, lanes > 60);
        }
    }
    let no_time = Timeline { until_ns: 100, ..timeline(2, &marks) };
    drawn(&Picture::Timeline(no_time));
    let backwards = Timeline { until_ns: 0, from_ns: u64::MAX, ..timeline(2, &marks) };
    drawn(&Picture::Timeline(backwards));
}

/// The write that sold too much is pointed at in words, besides the legend; but not over and over.
#[test]
fn what_was_sold_too_much_is_pointed_at() {
    let told = |lanes, marks| {
        let svg = drawn(&Picture::Timeline(timeline(lanes, marks)));
        svg.matches("sold a unit that was not there").count()
    };
    assert_eq!(told(2, &[(5, 'W')]), 1, "in the legend");
    assert_eq!(told(2, &[(5, 'X')]), 3);
    assert_eq!(told(40, &[(5, 'X')]), 4);
}

#[test]
fn texts_are_cut_in_their_middle() {
    assert_eq!(fit("short", SIZE, 200), "short");
    let cut = fit("a name that goes on and on and ends in 17", SIZE, 200);
    assert!(cut.starts_with("a name") && cut.contains('…') && cut.ends_with("in 17"), "{cut}");
    assert!(width(&cut, SIZE) <= 200, "{cut}");
    assert_eq!(fit("long", SIZE, 1), "…");
}
