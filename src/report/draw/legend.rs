//! What lines and symbols mean, in rows below a picture.

use plotters::{
    element::DashedPathElement,
    prelude::{PathElement, RGBColor, Text},
    style::{ShapeStyle, text_anchor::HPos},
};

use crate::report::draw::canvas::{Area, DrawError, INK, SIZE, WIDTH, fit, style, width};

/// How high a row is.
pub const ROW: i32 = 24;
/// From the sides of the picture.
const MARGIN: i32 = 16;
/// How much room a symbol has.
const SYMBOL: i32 = 34;
/// Between entries.
const GAP: i32 = 22;

/// Colours that those tell apart who do not see them all (Okabe and Ito, "Color Universal Design").
const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(176, 82, 140),
    RGBColor(0, 0, 0),
    RGBColor(200, 135, 0),
    RGBColor(60, 150, 205),
];
/// How long dashes are, and how far apart.
const DASHES: [Option<(i32, i32)>; 3] = [None, Some((8, 5)), Some((2, 4))];
/// How many lines can be told apart.
pub const STROKES: usize = COLORS.len() * DASHES.len();

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Stroke {
    /// Its colour.
    pub color: RGBColor,
    /// Its dashes, unless it has none.
    pub dash: Option<(i32, i32)>,
}

impl Stroke {
    /// Of the line with this number.
    pub fn of(line: usize) -> Self {
        let dash = DASHES[(line / COLORS.len()) % DASHES.len()];
        Self { color: COLORS[line % COLORS.len()], dash }
    }

    /// Draws a line through these points of an area.
    pub fn draw(self, area: &Area<'_>, points: Vec<(i32, i32)>) -> Result<(), DrawError> {
        let style = ShapeStyle::from(self.color).stroke_width(2);
        match self.dash {
            None => area.draw(&PathElement::new(points, style)),
            Some((long, apart)) => area.draw(&DashedPathElement::new(points, long, apart, style)),
        }
    }
}

/// Entries, each with a symbol.
pub struct Legend<S> {
    entries: Vec<(S, String)>,
    places: Vec<(i32, i32)>,
    /// How high it is.
    pub height: i32,
}

impl<S: Copy> Legend<S> {
    /// Gives every entry its place.
    pub fn new(entries: impl IntoIterator<Item = (S, String)>) -> Self {
        let room = WIDTH - 2 * MARGIN - SYMBOL;
        let entries: Vec<(S, String)> =
            entries.into_iter().map(|(symbol, text)| (symbol, fit(&text, SIZE, room))).collect();
        let (mut x, mut y) = (MARGIN, ROW / 2);
        let mut places = Vec::with_capacity(entries.len());
        for (_, text) in &entries {
            let wide = SYMBOL + width(text, SIZE);
            if x > MARGIN && x + wide > WIDTH - MARGIN {
                (x, y) = (MARGIN, y + ROW);
            }
            places.push((x, y));
            x += wide + GAP;
        }
        let height = if entries.is_empty() { 0 } else { y + ROW };
        Self { entries, places, height }
    }

    /// Draws it at this height, each symbol into a box of this size: from its left, around its
    /// middle.
    pub fn draw(
        &self,
        area: &Area<'_>,
        top: i32,
        symbol: impl Fn(S, (i32, i32)) -> Result<(), DrawError>,
    ) -> Result<(), DrawError> {
        for ((what, text), (x, y)) in self.entries.iter().zip(&self.places) {
            symbol(*what, (*x, top + y))?;
            let place = (x + SYMBOL, top + y);
            area.draw(&Text::new(text.as_str(), place, style(SIZE, INK, HPos::Left)))?;
        }
        Ok(())
    }
}

/// A piece of a line, as a symbol.
pub fn sample(area: &Area<'_>, stroke: Stroke, (x, y): (i32, i32)) -> Result<(), DrawError> {
    stroke.draw(area, vec![(x, y), (x + SYMBOL - 8, y)])
}
