//! What pictures are drawn on, and how texts are written there.
//!
//! Fonts are those of whoever looks at it, so how wide a text will be is estimated, from above.

use std::io;

use maud::html;
use plotters::{
    coord::Shift,
    prelude::{
        DrawingArea, DrawingAreaErrorKind, IntoDrawingArea, IntoFont, RGBColor, SVGBackend, Text,
        TextStyle, WHITE,
    },
    style::{
        Color, FontStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

/// Why a picture could not be drawn.
pub type DrawError = DrawingAreaErrorKind<io::Error>;
/// What is drawn on.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// How wide pictures are.
pub const WIDTH: i32 = 960;
/// Text, axes and grids.
pub const INK: RGBColor = RGBColor(31, 41, 55);
pub const FAINT: RGBColor = RGBColor(107, 114, 128);
pub const GRID: RGBColor = RGBColor(226, 230, 236);
pub const RED: RGBColor = RGBColor(190, 18, 30);
/// The size of most text. The library has it 1.24 times as large as pixels.
pub const SIZE: f64 = 15.0;

/// A picture of this height, with a name for those who do not see it.
pub fn canvas(
    title: &str,
    height: i32,
    draw: impl FnOnce(&Area<'_>) -> Result<(), DrawError>,
) -> Result<String, DrawError> {
    let mut svg = String::new();
    let area =
        SVGBackend::with_string(&mut svg, (WIDTH as u32, height.max(1) as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    draw(&area)?;
    area.present()?;
    drop(area);
    let (head, body) = svg.split_once('>').unwrap_or((&svg, ""));
    let title = html! { title { (title) } }.into_string();
    Ok(format!("{head} role=\"img\">{title}{body}"))
}

/// What is shown where there is nothing to draw.
pub fn nothing(title: &str) -> Result<String, DrawError> {
    canvas(title, 48, |area| {
        area.draw(&Text::new("nothing was measured", (16, 24), style(SIZE, INK, HPos::Left)))
    })
}

/// How text is written, with the middle of its height where it is put.
pub fn style(size: f64, color: RGBColor, anchor: HPos) -> TextStyle<'static> {
    let style: TextStyle<'_> = ("sans-serif", size).into_font().into();
    TextStyle { color: color.to_backend_color(), ..style }.pos(Pos::new(anchor, VPos::Center))
}

/// How bold text is written.
pub fn bold(size: f64, color: RGBColor, anchor: HPos) -> TextStyle<'static> {
    let style: TextStyle<'_> = ("sans-serif", size, FontStyle::Bold).into_font().into();
    TextStyle { color: color.to_backend_color(), ..style }.pos(Pos::new(anchor, VPos::Center))
}

/// How wide a text is at most, in pixels.
pub fn width(text: &str, size: f64) -> i32 {
    let letters: f64 = text
        .chars()
        .map(|letter| match letter {
            'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | ' ' | 'f' | 't' | 'r' => 0.42,
            'm' | 'w' | 'M' | 'W' | '@' | '%' => 1.0,
            it if !it.is_ascii() => 1.05,
            it if it.is_uppercase() => 0.76,
            _ => 0.65,
        })
        .sum();
    (letters * size / 1.24).ceil() as i32
}

/// A text, or what fits of it: its middle is left out, for names often differ at their ends.
pub fn fit(text: &str, size: f64, room: i32) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let letters: Vec<char> = text.chars().collect();
    let cut = |kept: usize| {
        let (head, tail) = (&letters[..kept - kept / 3], &letters[letters.len() - kept / 3..]);
        head.iter().chain(&['…']).chain(tail).collect::<String>()
    };
    let fits = |kept: &usize| width(&cut(*kept), size) <= room;
    cut((0..letters.len()).rev().find(fits).unwrap_or(0))
}
