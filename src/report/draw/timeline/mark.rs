//! Instants of a lane, as symbols: those that lie too close together are moved apart.

use plotters::{
    element::DashedPathElement,
    prelude::{Circle, PathElement, Polygon, RGBColor, Text, WHITE},
    style::{Color, ShapeStyle, text_anchor::HPos},
};

use crate::report::{
    Timeline,
    draw::{
        canvas::{Area, DrawError, INK, RED, SIZE, WIDTH, bold, fit},
        timeline::axis::Axis,
    },
    timeline::{EXPIRY, Lane, SOLD, TOO_MUCH},
};

/// How much room a callout has below its lane.
pub const CALLOUT: i32 = 28;
/// How many there are: more would say the same again.
const CALLOUTS_MAX: usize = 3;
/// Half as wide as the head of an arrow.
const ARROW: i32 = 7;
/// How large a letter's circle is.
const RADIUS: i32 = 8;
/// How far a letter may be from its instant; further, it is only a tick.
const APART_MAX: i32 = 48;
const GREEN: RGBColor = RGBColor(9, 105, 65);
/// On what is dark.
const SNOW: RGBColor = RGBColor(255, 255, 255);
const AMBER: RGBColor = RGBColor(180, 83, 9);

/// The marks of a lane. Where it is called out what was sold too much, no other arrow points at it.
pub fn draw(
    area: &Area<'_>,
    lane: &Lane,
    axis: &Axis,
    (top, row): (i32, i32),
    is_called_out: bool,
) -> Result<(), DrawError> {
    let mut marks: Vec<(i32, char)> =
        lane.marks.iter().map(|mark| (axis.x(mark.at_ns), mark.letter)).collect();
    marks.sort_unstable();
    let middle = top + row / 2;
    for &(x, _) in marks.iter().filter(|(_, letter)| *letter == EXPIRY) {
        draw_expiry(area, x, (top, top + row))?;
    }
    let radius = RADIUS.min(row / 2 - 1);
    let arrows = || marks.iter().filter(|(_, letter)| *letter == TOO_MUCH).map(|mark| mark.0);
    let mut free_from = i32::MIN;
    for &(x, letter) in marks.iter().filter(|(_, it)| !matches!(*it, EXPIRY | TOO_MUCH)) {
        let beside = |arrow: i32| (arrow - x.max(free_from)).abs() < radius + ARROW;
        let arrow = arrows().filter(|arrow| beside(*arrow)).max();
        let place = x.max(free_from).max(arrow.map_or(x, |arrow| arrow + radius + ARROW));
        let place = place.min(axis.pixels.end + 20);
        if place - x > APART_MAX || place < free_from {
            let tick = ShapeStyle::from(color(letter)).stroke_width(2);
            area.draw(&PathElement::new(vec![(x, top + 2), (x, top + row - 2)], tick))?;
            continue;
        }
        if place > x + radius {
            area.draw(&PathElement::new(vec![(x, middle), (place, middle)], INK))?;
        }
        draw_letter(area, letter, (place, middle), radius)?;
        free_from = place + 2 * radius + 2;
    }
    for x in arrows().skip(usize::from(is_called_out)) {
        draw_arrow(area, (x, top), (x, top + row - row / 4))?;
    }
    Ok(())
}

/// A mark as it is in lanes, in a box so high.
pub fn symbol(
    area: &Area<'_>,
    letter: char,
    (x, y): (i32, i32),
    height: i32,
) -> Result<(), DrawError> {
    match letter {
        EXPIRY => draw_expiry(area, x, (y - height / 2, y + height / 2)),
        TOO_MUCH => draw_arrow(area, (x, y - height / 2), (x, y + height / 2)),
        letter => draw_letter(area, letter, (x, y), RADIUS),
    }
}

fn color(letter: char) -> RGBColor {
    if letter == SOLD { GREEN } else { INK }
}

fn draw_letter(
    area: &Area<'_>,
    letter: char,
    (x, y): (i32, i32),
    radius: i32,
) -> Result<(), DrawError> {
    // A ring of white tells it from the bar that it lies on.
    area.draw(&Circle::new((x, y), radius + 1, WHITE.filled()))?;
    area.draw(&Circle::new((x, y), radius, color(letter).filled()))?;
    let size = f64::from(radius) * 1.65;
    area.draw(&Text::new(letter.to_string(), (x, y), bold(size, SNOW, HPos::Center)))
}

fn draw_expiry(area: &Area<'_>, x: i32, (top, bottom): (i32, i32)) -> Result<(), DrawError> {
    let wide = ShapeStyle::from(WHITE).stroke_width(4);
    area.draw(&PathElement::new(vec![(x, top), (x, bottom)], wide))?;
    let amber = ShapeStyle::from(AMBER).stroke_width(2);
    area.draw(&DashedPathElement::new([(x, top), (x, bottom)], 4, 2, amber))
}

/// A bold arrow, upwards or downwards, with a seam of white around it.
fn draw_arrow(area: &Area<'_>, from: (i32, i32), to: (i32, i32)) -> Result<(), DrawError> {
    let back = if to.1 > from.1 { -9 } else { 9 };
    let head = |half: i32, more: i32| {
        let edge = to.1 + back + more * back.signum();
        vec![(to.0, to.1 - more * back.signum()), (to.0 - half, edge), (to.0 + half, edge)]
    };
    let shaft = vec![from, (to.0, to.1 + back)];
    area.draw(&PathElement::new(shaft.clone(), ShapeStyle::from(WHITE).stroke_width(6)))?;
    area.draw(&Polygon::new(head(ARROW + 1, 1), WHITE))?;
    area.draw(&PathElement::new(shaft, ShapeStyle::from(RED).stroke_width(3)))?;
    area.draw(&Polygon::new(head(ARROW - 1, 0), RED))
}

/// What points at a mark from below its lane, and says what it is.
pub struct Callout {
    pub lane: usize,
    pub at_ns: u64,
    text: String,
}

impl Callout {
    /// The first writes that sold too much, one for each lane.
    pub fn of(timeline: &Timeline, lanes: &[Lane]) -> Vec<Self> {
        let meaning = timeline.letters.iter().find(|(letter, _)| *letter == TOO_MUCH);
        let text = meaning.map_or("", |(_, text)| text);
        let first = lanes.iter().enumerate().filter_map(|(lane, it)| {
            let marks = it.marks.iter().filter(|mark| mark.letter == TOO_MUCH);
            let at_ns = marks.map(|mark| mark.at_ns).min()?;
            Some(Self { lane, at_ns, text: text.to_owned() })
        });
        let mut callouts: Vec<Self> = first.collect();
        callouts.sort_by_key(|callout| callout.at_ns);
        callouts.truncate(CALLOUTS_MAX);
        callouts
    }

    /// Draws it, from the lower edge of its lane's bars on.
    pub fn draw(&self, area: &Area<'_>, x: i32, bar: i32) -> Result<(), DrawError> {
        let y = bar + CALLOUT - 8;
        // On that side on which there is more room.
        let is_left = x > WIDTH / 2;
        let (end, anchor) = if is_left { (x - 14, HPos::Right) } else { (x + 14, HPos::Left) };
        let room = if is_left { end - 16 } else { WIDTH - 16 - end };
        let text = fit(&self.text, SIZE * 1.1, room);
        let line = ShapeStyle::from(RED).stroke_width(3);
        area.draw(&PathElement::new(vec![(end, y), (x, y), (x, y - 6)], line))?;
        draw_arrow(area, (x, y), (x, bar - 2))?;
        let place = (end + if is_left { -4 } else { 4 }, y);
        area.draw(&Text::new(text, place, bold(SIZE, RED, anchor)))
    }
}
