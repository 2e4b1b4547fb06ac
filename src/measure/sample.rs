//! Statistics of samples. Of none, every one is NaN: nothing was measured.

/// The value that such a part of all samples does not exceed, by the nearest rank.
#[must_use]
pub fn quantile(samples: &[f64], part: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

/// The one in the middle, or half-way between the two that are.
#[must_use]
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    // Halved first: the sum might be too much for a number.
    sorted[last / 2] / 2.0 + sorted[sorted.len() / 2] / 2.0
}

/// Their mean.
#[must_use]
pub fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}

/// Their standard deviation: of these, not of what they may be taken from.
#[must_use]
pub fn deviation(samples: &[f64]) -> f64 {
    let mean = mean(samples);
    self::mean(&samples.iter().map(|sample| (sample - mean).powi(2)).collect::<Vec<_>>()).sqrt()
}

/// Jain's index: 1 if all are equal, 1/n if one has everything (Jain, Chiu, Hawe, "A Quantitative
/// Measure of Fairness and Discrimination", 1984). If all are 0, nobody is treated unfairly: 1.
#[must_use]
pub fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    if squares == 0.0 && !shares.is_empty() {
        return 1.0;
    }
    sum * sum / (shares.len() as f64 * squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let samples = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&samples, 0.5), 2.0);
        assert_eq!(quantile(&samples, 0.75), 3.0);
        assert_eq!((quantile(&samples, 0.0), quantile(&samples, 1.0)), (1.0, 4.0));
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        let of = [0.5, 0.9, 0.99, 0.999, 1.0].map(|part| quantile(&hundred, part));
        assert_eq!(of, [50.0, 90.0, 99.0, 100.0, 100.0]);
        assert_eq!((quantile(&[7.0], 0.5), median(&samples)), (7.0, 2.5));
        assert!(median(&[]).is_nan() && median(&[f64::MAX, f64::MAX]) == f64::MAX);
        assert!(quantile(&[], 0.5).is_nan() && mean(&[]).is_nan() && deviation(&[]).is_nan());
    }

    #[test]
    fn deviation_is_that_of_a_known_case() {
        assert_eq!(deviation(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), 2.0);
    }

    #[test]
    fn fairness_lies_between_one_for_all_and_one_of_many() {
        assert_eq!(jain(&[3.0, 3.0, 3.0]), 1.0);
        assert_eq!(jain(&[1.0, 0.0, 0.0, 0.0]), 0.25);
        assert_eq!(jain(&[0.0, 0.0]), 1.0);
        assert!(jain(&[]).is_nan());
    }
}
