//! Lanes over one stretch of time.

mod axis;
mod mark;

use plotters::{
    prelude::{PathElement, RGBColor, Rectangle, Text},
    style::{Color, ShapeStyle, text_anchor::HPos},
};

use self::{axis::Axis, mark::Callout};
use super::legend::Legend;
use crate::report::{
    Timeline,
    draw::canvas::{
        Area, DrawError, FAINT, GRID, INK, RED, SIZE, WIDTH, canvas, fit, nothing, style, width,
    },
    timeline::{Lane, Shade},
};

/// How many lanes are drawn.
const LANES_MAX: usize = 60;
/// How wide names may be.
const NAMES_MAX: i32 = 230;
/// Above the lanes, to their right, and below them, for the axis.
const TOP: i32 = 12;
const RIGHT: i32 = 36;
const AXIS: i32 = 50;
const GRANTED: RGBColor = RGBColor(29, 95, 165);
const BELIEVED: RGBColor = RGBColor(178, 208, 238);

/// What has an entry in the legend.
#[derive(Debug, Clone, Copy)]
enum Symbol {
    Shade(Shade),
    Letter(char),
    /// Only words.
    None,
}

/// Where everything is.
struct Layout {
    /// Of each lane, its upper edge.
    tops: Vec<i32>,
    /// How high a lane is.
    row: i32,
    /// Where the last one ends.
    bottom: i32,
    /// How names are written.
    size: f64,
    axis: Axis,
}

pub fn draw(timeline: &Timeline) -> Result<String, DrawError> {
    if timeline.lanes.is_empty() {
        return nothing(&timeline.title);
    }
    let lanes = &timeline.lanes[..timeline.lanes.len().min(LANES_MAX)];
    let callouts = Callout::of(timeline, lanes);
    let layout = Layout::new(timeline, lanes, &callouts);
    let legend = legend(timeline, lanes.len());
    canvas(&timeline.title, layout.bottom + AXIS + legend.height, |area| {
        layout.draw_grid(area)?;
        for (number, (lane, &top)) in lanes.iter().zip(&layout.tops).enumerate() {
            layout.draw_lane(area, lane, top)?;
            let is_called_out = callouts.iter().any(|callout| callout.lane == number);
            mark::draw(area, lane, &layout.axis, (top, layout.row), is_called_out)?;
        }
        for callout in &callouts {
            let bar = layout.tops[callout.lane] + layout.row - layout.inset();
            callout.draw(area, layout.axis.x(callout.at_ns), bar)?;
        }
        legend.draw(area, layout.bottom + AXIS, |symbol, (x, y)| match symbol {
            Symbol::Shade(shade) => draw_shade(area, shade, (x, y - 8), (x + 24, y + 8)),
            Symbol::Letter(letter) => mark::symbol(area, letter, (x + 12, y), 20),
            Symbol::None => Ok(()),
        })
    })
}

fn legend(timeline: &Timeline, drawn: usize) -> Legend<Symbol> {
    let shades = timeline.legend.iter().map(|(shade, text)| (Symbol::Shade(*shade), *text));
    let letters = timeline.letters.iter().map(|(letter, text)| (Symbol::Letter(*letter), *text));
    let all = timeline.lanes.len();
    let note = (drawn < all)
        .then(|| (Symbol::None, format!("the first {drawn} of {all} lanes; the data have all")));
    let entries = shades.chain(letters).map(|(symbol, text)| (symbol, text.to_owned()));
    Legend::new(entries.chain(note))
}

impl Layout {
    fn new(timeline: &Timeline, lanes: &[Lane], callouts: &[Callout]) -> Self {
        let (row, size) = match lanes.len() {
            0..=12 => (32, SIZE),
            13..=30 => (25, SIZE),
            _ => (20, SIZE - 1.5),
        };
        let mut y = TOP;
        let mut tops = Vec::with_capacity(lanes.len());
        for lane in 0..lanes.len() {
            tops.push(y);
            let room = callouts.iter().any(|callout| callout.lane == lane);
            y += row + if room { mark::CALLOUT } else { 0 };
        }
        let names = lanes.iter().map(|lane| width(&lane.name, size)).max().unwrap_or(0);
        let left = names.min(NAMES_MAX) + 24;
        let axis = Axis::new(timeline.from_ns, timeline.until_ns, left..WIDTH - RIGHT);
        Self { tops, row, bottom: y + 4, size, axis }
    }

    /// From the edge of a lane to that of its spans.
    fn inset(&self) -> i32 {
        self.row / 8
    }

    fn draw_grid(&self, area: &Area<'_>) -> Result<(), DrawError> {
        let (ticks, unit) = self.axis.ticks();
        let text = || style(SIZE, INK, HPos::Center);
        for (x, label) in ticks {
            area.draw(&PathElement::new(vec![(x, TOP), (x, self.bottom)], GRID))?;
            area.draw(&PathElement::new(vec![(x, self.bottom), (x, self.bottom + 5)], FAINT))?;
            area.draw(&Text::new(label, (x, self.bottom + 16), text()))?;
        }
        let ends = vec![(self.axis.pixels.start, self.bottom), (self.axis.pixels.end, self.bottom)];
        area.draw(&PathElement::new(ends, FAINT))?;
        let middle = (self.axis.pixels.start + self.axis.pixels.end) / 2;
        area.draw(&Text::new(unit, (middle, self.bottom + 37), text()))
    }

    fn draw_lane(&self, area: &Area<'_>, lane: &Lane, top: i32) -> Result<(), DrawError> {
        let (axis, middle) = (&self.axis, top + self.row / 2);
        let name = fit(&lane.name, self.size, NAMES_MAX);
        let place = (axis.pixels.start - 12, middle);
        area.draw(&Text::new(name, place, style(self.size, INK, HPos::Right)))?;
        let line = vec![(axis.pixels.start, middle), (axis.pixels.end, middle)];
        area.draw(&PathElement::new(line, GRID))?;
        let mut spans = lane.spans.clone();
        spans.sort_by_key(|span| span.shade);
        for span in spans {
            let (from, until) = (axis.x(span.from_ns), axis.x(span.until_ns));
            // What was short is seen as well.
            let until = until.max(from + 2);
            let (upper, lower) = (top + self.inset(), top + self.row - self.inset());
            draw_shade(area, span.shade, (from, upper), (until, lower))?;
        }
        Ok(())
    }
}

/// Shades differ in more than their colour: what is only believed is a thin bar with an outline.
fn draw_shade(
    area: &Area<'_>,
    shade: Shade,
    (left, top): (i32, i32),
    (right, bottom): (i32, i32),
) -> Result<(), DrawError> {
    let thin = (bottom - top) / 4;
    let bar = |color: RGBColor, by: i32| {
        Rectangle::new([(left, top + by), (right, bottom - by)], color.filled())
    };
    match shade {
        Shade::Granted => area.draw(&bar(GRANTED, 0)),
        Shade::Overlap => area.draw(&bar(RED, 0)),
        Shade::Believed => {
            area.draw(&bar(BELIEVED, thin))?;
            let corners = [(left, top + thin), (right, bottom - thin)];
            area.draw(&Rectangle::new(corners, ShapeStyle::from(GRANTED)))
        }
    }
}
