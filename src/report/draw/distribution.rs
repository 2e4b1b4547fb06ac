//! Which part of each group's samples is at most so much.

use std::ops::Range;

use super::{
    legend::{Legend, STROKES, Stroke, sample},
    scale::{self, Scale},
};
use crate::report::{
    draw::canvas::{DrawError, canvas, nothing},
    picture::{Group, Groups},
    summary::sorted,
};

/// How high the chart is.
const HEIGHT: i32 = 380;
/// How many groups are drawn.
const GROUPS_MAX: usize = 20;
const _: () = assert!(GROUPS_MAX <= STROKES);
/// How many steps of a group are drawn: more than there are pixels to tell them apart.
const STEPS_MAX: usize = 400;

pub fn draw(groups: &Groups) -> Result<String, DrawError> {
    let drawn = &groups.groups[..groups.groups.len().min(GROUPS_MAX)];
    let samples = drawn.iter().flat_map(|group| group.samples.iter().copied());
    let Some(span) = scale::span(samples) else { return nothing(&groups.title) };
    let entries = drawn.iter().enumerate().map(|(line, group)| {
        let count = sorted(&group.samples).len();
        let count = if count == 0 { "no samples".to_owned() } else { format!("{count} samples") };
        (Some(line), format!("{} ({count})", group.name))
    });
    let left = groups.groups.len() - drawn.len();
    let more = (left > 0).then(|| (None, format!("and {left} more groups, not drawn")));
    let legend = Legend::new(entries.chain(more));
    canvas(&groups.title, HEIGHT + legend.height, |area| {
        let (chart_area, _) = area.split_vertically(HEIGHT);
        let axis = Scale::of(span);
        let range = axis.range.clone();
        let how = if axis.is_logarithmic { ", logarithmic" } else { "" };
        let shows = format!("{}{how}", groups.unit);
        let parts = (Scale::parts(), "of the samples are at most");
        let chart = scale::chart(&chart_area, (axis, &shows), parts)?;
        for (line, group) in drawn.iter().enumerate() {
            let points = cumulative(group, &range);
            if !points.is_empty() {
                let points = points.iter().map(|point| chart.backend_coord(point)).collect();
                Stroke::of(line).draw(area, points)?;
            }
        }
        legend.draw(area, HEIGHT, |line, place| match line {
            Some(line) => sample(area, Stroke::of(line), place),
            None => Ok(()),
        })
    })
}

/// The corners of a group's steps, from one end of the axis to the other.
fn cumulative(group: &Group, range: &Range<f64>) -> Vec<(f64, f64)> {
    let samples: Vec<f64> = scale::drawable(sorted(&group.samples)).collect();
    let count = samples.len();
    let mut points = Vec::new();
    let mut reached = 0.0;
    for (index, &sample) in samples.iter().enumerate() {
        let part = (index + 1) as f64 / count as f64;
        // Of many samples, those at which another step begins.
        let step = |index: usize| index * STEPS_MAX / count.max(STEPS_MAX);
        if index > 0 && index + 1 < count && step(index) == step(index - 1) {
            continue;
        }
        if points.is_empty() {
            points.push((range.start, 0.0));
        }
        points.extend([(sample, reached), (sample, part)]);
        reached = part;
    }
    if count > 0 {
        points.push((range.end, 1.0));
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_go_up_from_nothing_to_all() {
        let group = |samples: Vec<f64>| Group { name: "g".to_owned(), samples };
        let range = 0.0..10.0;
        assert!(cumulative(&group(vec![]), &range).is_empty());
        let one = cumulative(&group(vec![4.0]), &range);
        assert_eq!(one, [(0.0, 0.0), (4.0, 0.0), (4.0, 1.0), (10.0, 1.0)]);
        for count in [2, 399, 400, 401, 100_000] {
            let points = cumulative(&group((0..count).map(f64::from).collect()), &range);
            assert!(points.len() <= 2 * (STEPS_MAX + 2) + 2, "{count}: {}", points.len());
            let parts: Vec<f64> = points.iter().map(|point| point.1).collect();
            assert!(parts.is_sorted() && parts[0] == 0.0 && parts.ends_with(&[1.0]), "{count}");
        }
    }
}
