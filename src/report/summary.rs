//! Samples in a few numbers.

use crate::measure::sample;

/// What samples come to. There is none without samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The least.
    pub least: f64,
    /// The one in the middle, or half-way between the two that are.
    pub median: f64,
    /// The most.
    pub most: f64,
    /// How many there are.
    pub count: usize,
}

impl Summary {
    /// Of samples that are numbers; others are left out.
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Self> {
        let sorted = sorted(samples);
        let (&least, &most) = (sorted.first()?, sorted.last()?);
        Some(Self { least, median: sample::median(&sorted), most, count: sorted.len() })
    }
}

/// The samples that are numbers, the least first.
pub(super) fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = samples.iter().copied().filter(|it| it.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// A number to be looked at: about three digits that count.
#[must_use]
pub fn short(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        it if !(1e-3..1e6).contains(&it) => format!("{number:.1e}"),
        it => {
            let decimals =
                if it < 10.0 { 2 + usize::from(it < 1.0) } else { usize::from(it < 100.0) };
            let text = format!("{number:.decimals$}");
            // Ticks of axes are round.
            if decimals == 0 {
                return text;
            }
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_to_a_few_numbers() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[f64::NAN, f64::INFINITY]), None);
        let summary = |samples: &[f64]| Summary::of(samples).unwrap();
        assert_eq!(summary(&[3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(summary(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(summary(&[f64::MAX, f64::MAX]).median, f64::MAX);
        let one = summary(&[7.0, f64::NAN]);
        assert_eq!((one.least, one.median, one.most, one.count), (7.0, 7.0, 7.0, 1));
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.25, 1.0, 1.234, 20.0, 45.67, 123.4, 999_999.0, 1e300, -1e-9];
        let texts = texts.map(short);
        let expected =
            ["0", "0.25", "1", "1.23", "20", "45.7", "123", "999999", "1.0e300", "-1.0e-9"];
        assert_eq!(texts, expected);
    }
}
