//! One quantity against another.

use plotters::{prelude::Circle, style::Color};

use super::{
    legend::{Legend, STROKES, Stroke, sample},
    scale::{self, Scale},
};
use crate::report::{
    draw::canvas::{DrawError, canvas, nothing},
    picture::Curves,
};

/// How high the chart is.
const HEIGHT: i32 = 380;

pub fn draw(lines: &Curves) -> Result<String, DrawError> {
    let drawn = &lines.lines[..lines.lines.len().min(STROKES)];
    let all = || drawn.iter().flat_map(|line| points(&line.points));
    let spans = (scale::span(all().map(|it| it.0)), scale::span(all().map(|it| it.1)));
    let (Some(across), Some(up)) = spans else { return nothing(&lines.title) };
    let entries = drawn.iter().enumerate().map(|(number, line)| (Some(number), line.name.clone()));
    let left = lines.lines.len() - drawn.len();
    let more = (left > 0).then(|| (None, format!("and {left} more lines, not drawn")));
    let legend = Legend::new(entries.chain(more));
    canvas(&lines.title, HEIGHT + legend.height, |area| {
        let (chart_area, _) = area.split_vertically(HEIGHT);
        let (x, y) = (Scale::from_zero(across), Scale::from_zero(up));
        let chart = scale::chart(&chart_area, (x, lines.x), (y, lines.y))?;
        for (number, line) in drawn.iter().enumerate() {
            let stroke = Stroke::of(number);
            let points: Vec<_> = points(&line.points).map(|it| chart.backend_coord(&it)).collect();
            for &point in &points {
                area.draw(&Circle::new(point, 4, stroke.color.filled()))?;
            }
            if points.len() > 1 {
                stroke.draw(area, points)?;
            }
        }
        legend.draw(area, HEIGHT, |number, place| match number {
            Some(number) => sample(area, Stroke::of(number), place),
            None => Ok(()),
        })
    })
}

/// The points that can be drawn.
fn points(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    points.iter().filter_map(|&(x, y)| {
        let mut both = scale::drawable([x, y]);
        both.next().zip(both.next())
    })
}
