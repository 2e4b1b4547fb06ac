//! Time, from 0.

use std::ops::Range;

use super::super::scale::round_step;
use crate::report::summary::short;

/// Shorter stretches of time are told in ms.
const SECONDS_FROM_NS: u64 = 2_000_000_000;

/// A stretch of time, and where it is drawn.
pub struct Axis {
    from_ns: u64,
    until_ns: u64,
    /// From where to where.
    pub pixels: Range<i32>,
}

impl Axis {
    pub fn new(from_ns: u64, until_ns: u64, pixels: Range<i32>) -> Self {
        Self { from_ns, until_ns: until_ns.max(from_ns.saturating_add(1)), pixels }
    }

    /// Where an instant is; one that is not on the axis is at its end.
    pub fn x(&self, at_ns: u64) -> i32 {
        let at_ns = at_ns.clamp(self.from_ns, self.until_ns);
        let part = (at_ns - self.from_ns) as f64 / (self.until_ns - self.from_ns) as f64;
        self.pixels.start + (part * f64::from(self.pixels.end - self.pixels.start)).round() as i32
    }

    /// Where round times are and what they are, and their unit.
    pub fn ticks(&self) -> (Vec<(i32, String)>, &'static str) {
        let all_ns = self.until_ns - self.from_ns;
        let (unit_ns, unit) = if all_ns < SECONDS_FROM_NS { (1e6, "ms") } else { (1e9, "s") };
        let all = all_ns as f64 / unit_ns;
        let step = round_step(all);
        let count = (all / step).floor() as u64;
        let tick = |number: u64| {
            let value = number as f64 * step;
            (self.x(self.from_ns + (value * unit_ns) as u64), short(value))
        };
        ((0..=count).map(tick).collect(), unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let ticks = |all_ns: u64| {
            let (ticks, unit) = Axis::new(7, 7u64.saturating_add(all_ns), 100..900).ticks();
            let labels: Vec<String> = ticks.iter().map(|tick| tick.1.clone()).collect();
            assert!((2..=10).contains(&labels.len()), "{all_ns}: {labels:?}");
            assert!(ticks.iter().all(|tick| (100..=900).contains(&tick.0)), "{all_ns}");
            (labels.join(" "), unit)
        };
        assert_eq!(ticks(450_000_000), ("0 50 100 150 200 250 300 350 400 450".into(), "ms"));
        assert_eq!(ticks(10_000_000_000), ("0 2 4 6 8 10".into(), "s"));
        for all_ns in [1, 999, 1_000_000, 1_999_999_999, 2_000_000_000, u64::MAX / 2, u64::MAX] {
            ticks(all_ns);
        }
    }

    #[test]
    fn an_axis_of_no_time_has_a_place() {
        let axis = Axis::new(5, 5, 0..10);
        assert_eq!((axis.x(0), axis.x(5), axis.x(u64::MAX)), (0, 0, 10));
        assert_eq!(Axis::new(u64::MAX, 0, 0..10).x(3), 0);
    }
}
