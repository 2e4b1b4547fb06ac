//! Groups one below the other: the median as a bar, from the least to the most as a whisker.

use plotters::{
    prelude::{ChartBuilder, PathElement, RGBColor, Rectangle, Text},
    style::{Color, ShapeStyle, text_anchor::HPos},
};

use super::scale::{self, Scale};
use crate::report::{
    draw::canvas::{DrawError, FAINT, GRID, INK, SIZE, WIDTH, canvas, fit, nothing, style, width},
    picture::Groups,
    summary::{Summary, short},
};

/// How high a group is.
const ROW: i32 = 26;
/// Above the groups, and below them, for the axis.
const TOP: i32 = 14;
const AXIS: i32 = 50;
/// How many groups are drawn.
const GROUPS_MAX: usize = 150;
/// How wide names may be.
const NAMES_MAX: i32 = 340;
const BAR: RGBColor = RGBColor(120, 170, 215);

pub fn draw(groups: &Groups) -> Result<String, DrawError> {
    let drawn = &groups.groups[..groups.groups.len().min(GROUPS_MAX)];
    let summaries: Vec<_> = drawn.iter().map(|group| Summary::of(&group.samples)).collect();
    let ends = summaries.iter().flatten().flat_map(|it| [it.least, it.most]);
    let Some(span) = scale::span(ends) else { return nothing(&groups.title) };
    let values: Vec<String> = summaries.iter().map(|it| value(it.as_ref())).collect();
    let widest = |texts: &mut dyn Iterator<Item = i32>| texts.max().unwrap_or(0);
    let names = widest(&mut drawn.iter().map(|it| width(&it.name, SIZE))).min(NAMES_MAX) + 24;
    let right = widest(&mut values.iter().map(|it| width(it, SIZE))) + 24;
    let bottom = TOP + ROW * drawn.len() as i32;
    let left = groups.groups.len() - drawn.len();
    let note = if left > 0 { ROW } else { 0 };
    canvas(&groups.title, bottom + AXIS + note, |area| {
        let (chart_area, _) = area.split_vertically(bottom + AXIS);
        let mut builder = ChartBuilder::on(&chart_area);
        builder.margin_top(TOP).margin_right(right).x_label_area_size(AXIS);
        builder.y_label_area_size(names);
        let mut chart = builder.build_cartesian_2d(Scale::from_zero(span), Scale::parts())?;
        let text = style(SIZE, INK, HPos::Center);
        chart
            .configure_mesh()
            .x_desc(groups.unit)
            .disable_y_mesh()
            .y_labels(0)
            .label_style(text.clone())
            .axis_desc_style(text)
            .axis_style(FAINT)
            .bold_line_style(GRID)
            .light_line_style(GRID)
            .draw()?;
        let x = |value: f64| {
            let value = scale::drawable([value]).next().unwrap_or(0.0);
            chart.backend_coord(&(value, 0.0)).0
        };
        let line = |points: Vec<(i32, i32)>| {
            area.draw(&PathElement::new(points, ShapeStyle::from(INK).stroke_width(2)))
        };
        for (row, (group, (summary, value))) in
            drawn.iter().zip(summaries.iter().zip(&values)).enumerate()
        {
            let y = TOP + ROW * row as i32 + ROW / 2;
            let name = fit(&group.name, SIZE, NAMES_MAX);
            area.draw(&Text::new(name, (names - 10, y), style(SIZE, INK, HPos::Right)))?;
            let place = (WIDTH - 12, y);
            area.draw(&Text::new(value.as_str(), place, style(SIZE, INK, HPos::Right)))?;
            let Some(Summary { least, median, most, .. }) = *summary else { continue };
            let (zero, median) = (x(0.0), x(median));
            let corners = [(zero.min(median), y - 8), (zero.max(median), y + 8)];
            area.draw(&Rectangle::new(corners, BAR.filled()))?;
            line(vec![(median, y - 8), (median, y + 8)])?;
            line(vec![(x(least), y), (x(most), y)])?;
            for end in [x(least), x(most)] {
                line(vec![(end, y - 4), (end, y + 4)])?;
            }
        }
        if left > 0 {
            let text = format!("and {left} more groups, not drawn");
            let place = (16, bottom + AXIS + ROW / 2);
            area.draw(&Text::new(text, place, style(SIZE, INK, HPos::Left)))?;
        }
        Ok(())
    })
}

/// What a group comes to, in words.
fn value(summary: Option<&Summary>) -> String {
    match summary {
        None => "no samples".to_owned(),
        Some(Summary { median, count: 1, .. }) => short(*median),
        Some(Summary { least, median, most, .. }) => {
            format!("{} ({} to {})", short(*median), short(*least), short(*most))
        }
    }
}
