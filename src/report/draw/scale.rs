//! Axes over numbers: never empty, never with more than can be drawn, and with few round ticks.
//! Those of the library look for ticks for ever where numbers are too large for the differences
//! between them.

use std::ops::Range;

use plotters::{
    coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter},
    prelude::{Cartesian2d, SVGBackend},
    prelude::{ChartBuilder, ChartContext},
    style::text_anchor::HPos,
};

use crate::report::{
    draw::canvas::{Area, DrawError, FAINT, GRID, INK, SIZE, style},
    summary::short,
};

/// Beyond this, differences are no numbers any more.
const MOST: f64 = 1e300;
/// Closer to 0 than this, nothing can be told apart from it.
const LEAST: f64 = 1e-12;
/// How many ticks there are at most, about.
const TICKS: f64 = 9.0;

/// The values that can be drawn.
pub fn drawable(values: impl IntoIterator<Item = f64>) -> impl Iterator<Item = f64> {
    values.into_iter().filter(|it| it.is_finite()).map(|it| it.clamp(-MOST, MOST))
}

/// The least and the most of them.
pub fn span(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    drawable(values).fold(None, |span, it| {
        let (least, most) = span.unwrap_or((it, it));
        Some((it.min(least), it.max(most)))
    })
}

/// An axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// From where to where.
    pub range: Range<f64>,
    /// Whether it shows ratios, and not differences.
    pub is_logarithmic: bool,
    /// Whether its values are told as parts of a hundred.
    percent: bool,
}

impl Scale {
    /// Begins at 0, unless something is less.
    pub fn from_zero((least, most): (f64, f64)) -> Self {
        let (least, most) = (least.min(0.0), most.max(0.0));
        let room = (most - least) * 0.04;
        let range = match room {
            room if room < LEAST => 0.0..1.0,
            room if least < 0.0 => least - room..most + room,
            room => 0.0..most + room,
        };
        Self { range, is_logarithmic: false, percent: false }
    }

    /// Begins at 0, unless values lie so far apart that only their ratios can be shown.
    pub fn of(span: (f64, f64)) -> Self {
        let (least, most) = span;
        if least > LEAST && most / least > 100.0 {
            Self { range: least / 1.1..most * 1.1, is_logarithmic: true, percent: false }
        } else {
            Self::from_zero(span)
        }
    }

    /// From nothing to all.
    pub fn parts() -> Self {
        Self { range: 0.0..1.0, is_logarithmic: false, percent: true }
    }

    /// Round values.
    fn ticks(&self) -> Vec<f64> {
        let Range { start, end } = self.range;
        if self.is_logarithmic {
            let (first, last) = (start.log10().ceil() as i32, end.log10().floor() as i32);
            let stride = 1 + f64::from(last - first).div_euclid(TICKS) as usize;
            return (first..=last).step_by(stride).map(|it| 10f64.powi(it)).collect();
        }
        let step = round_step(end - start);
        let (first, last) = ((start / step).ceil() as i32, (end / step).floor() as i32);
        (first..=last).map(|number| f64::from(number) * step).collect()
    }
}

/// How far ticks are apart on an axis so long.
pub fn round_step(length: f64) -> f64 {
    let scale = 10f64.powf((length / TICKS).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * scale);
    steps.into_iter().find(|step| length / step <= TICKS).unwrap_or(length)
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let Range { start, end } = self.range;
        let value = value.clamp(start, end);
        let part = if self.is_logarithmic {
            (value / start).ln() / (end / start).ln()
        } else {
            (value - start) / (end - start)
        };
        first + (part * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // The grid has no lines between ticks.
        if hint.bold_points() == 0 { Vec::new() } else { self.ticks() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, value: &f64) -> String {
        if self.percent { format!("{:.0} %", value * 100.0) } else { short(*value) }
    }
}

/// A chart with its axes, and where things are on it.
pub type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Scale, Scale>>;

/// Draws two axes, with what they show.
pub fn chart<'a, 'b>(
    area: &'a Area<'b>,
    (x, x_shows): (Scale, &str),
    (y, y_shows): (Scale, &str),
) -> Result<Chart<'a, 'b>, DrawError> {
    let mut builder = ChartBuilder::on(area);
    builder.margin(14).margin_right(30).x_label_area_size(46).y_label_area_size(80);
    let mut chart = builder.build_cartesian_2d(x, y)?;
    let text = style(SIZE, INK, HPos::Center);
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(x_shows).y_desc(y_shows).label_style(text.clone()).axis_desc_style(text);
    mesh.axis_style(FAINT).bold_line_style(GRID).light_line_style(GRID).draw()?;
    Ok(chart)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_never_empty() {
        for values in [&[0.0][..], &[1e-300], &[-1.0], &[f64::MAX, f64::MIN], &[5.0, 5.0]] {
            let range = Scale::from_zero(span(values.iter().copied()).unwrap()).range;
            assert!(range.start < range.end && (range.end - range.start).is_finite(), "{values:?}");
        }
        assert_eq!(span([f64::NAN, f64::INFINITY]), None);
        let is_logarithmic = |span| Scale::of(span).is_logarithmic;
        assert!(is_logarithmic((1.0, 101.0)) && !is_logarithmic((1.0, 99.0)));
        assert!(!is_logarithmic((0.0, 1e9)) && !is_logarithmic((-1.0, 1e9)));
    }

    #[test]
    fn ticks_are_round_and_few() {
        let ticks = |least, most| Scale::of((least, most)).ticks();
        assert_eq!(ticks(0.0, 10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(-1.0, 1.0), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        assert_eq!(ticks(1.0, 2_000.0), [1.0, 10.0, 100.0, 1_000.0]);
        assert_eq!(Scale::parts().ticks().len(), 6);
        for span in [(1e-11, 1e300), (-1e300, 1e300), (0.0, 1e-9), (1e15, 1e15 + 1.0), (0.0, 0.0)] {
            let count = Scale::of(span).ticks().len();
            assert!((2..=11).contains(&count), "{span:?}: {count}");
        }
    }

    #[test]
    fn values_have_their_places() {
        let place = |span, value: f64| Scale::of(span).map(&value, (0, 1_000));
        assert_eq!((place((0.0, 100.0), 0.0), place((0.0, 100.0), 52.0)), (0, 500));
        assert_eq!(place((1.0, 1e4), 100.0), 500);
        assert_eq!((place((1.0, 1e4), -1.0), place((0.0, 1.0), 1e300)), (0, 1_000));
    }
}
