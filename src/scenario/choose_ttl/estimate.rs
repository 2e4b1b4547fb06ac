//! What samples say of what they were drawn from, and what they do not. Pure: no clock, no store.

use statrs::distribution::{Beta, ContinuousCDF};

/// What is said is true of 95 of 100 such samples.
pub const DOUBT: f64 = 0.05;

/// How many samples it takes until the greatest of them is hardly below the quantile: with fewer,
/// nothing that was seen bounds it from above.
pub fn samples_for(q: f64) -> usize {
    (DOUBT.ln() / q.ln()).ceil() as usize
}

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub k: u64,
    pub n: u64,
}

impl Share {
    /// How many of these samples are greater.
    pub fn above(sorted: &[f64], limit: f64) -> Self {
        let below = sorted.partition_point(|sample| *sample <= limit);
        Self { k: (sorted.len() - below) as u64, n: sorted.len() as u64 }
    }

    /// The part that it is.
    pub fn ratio(self) -> f64 {
        self.k as f64 / self.n as f64
    }

    /// The probabilities that cannot be ruled out (Clopper and Pearson, Biometrika 26, 1934). With
    /// none of `n`, and with all, the doubt is about one side only, and for 5 % of it the bound is
    /// close to 3/n: the rule of three.
    pub fn interval(self, doubt: f64) -> (f64, f64) {
        let is_one_sided = self.k == 0 || self.k == self.n;
        self.bounds(if is_one_sided { doubt } else { doubt / 2.0 })
    }

    /// Whether so many can be expected of some probability from `low` to `high`: not if fewer than
    /// the doubt of all such samples were as far off.
    pub fn is_plausible(self, (low, high): (f64, f64), doubt: f64) -> bool {
        let (least, most) = self.bounds(doubt / 2.0);
        least <= high && most >= low
    }

    /// The least probability of which so many or more come with this doubt, and the greatest of
    /// which so many or fewer do: quantiles of beta distributions.
    fn bounds(self, doubt: f64) -> (f64, f64) {
        let (k, rest) = (self.k as f64, (self.n - self.k) as f64);
        let quantile = |a: f64, b: f64, part: f64| Some(Beta::new(a, b).ok()?.inverse_cdf(part));
        // Of none, nothing bounds them from below, and of all, nothing from above.
        let least = quantile(k, rest + 1.0, doubt).unwrap_or(0.0);
        let most = quantile(k + 1.0, rest, 1.0 - doubt).unwrap_or(1.0);
        (least, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_things_take_many_samples() {
        // Wilks, Annals of Mathematical Statistics 12, 1941.
        assert_eq!([samples_for(0.5), samples_for(0.9), samples_for(0.95)], [5, 29, 59]);
        assert_eq!([samples_for(0.99), samples_for(0.999)], [299, 2_995]);
    }

    fn is_close(seen: f64, known: f64) -> bool {
        (seen - known).abs() < 5e-5
    }

    #[test]
    fn a_sample_as_long_as_the_limit_is_not_above_it() {
        assert_eq!(Share::above(&[1.0, 2.0, 2.0, 3.0], 2.0), Share { k: 1, n: 4 });
        assert_eq!(Share::above(&[1.0], 0.0).ratio(), 1.0);
    }

    /// R's `binom.test` gives these, and `1 - 0.05^(1/n)` those for none of `n`.
    #[test]
    fn intervals_are_those_of_clopper_and_pearson() {
        for (k, n, low, high) in [
            (1, 10, 0.002_53, 0.445_02),
            (5, 100, 0.016_43, 0.112_83),
            (50, 100, 0.398_32, 0.601_68),
            (8, 10, 0.443_90, 0.974_79),
            (0, 300, 0.0, 0.009_94),
            (0, 3_000, 0.0, 0.001_00),
            (10, 10, 0.741_13, 1.0),
        ] {
            let seen = Share { k, n }.interval(DOUBT);
            assert!(is_close(seen.0, low) && is_close(seen.1, high), "{k} of {n}: {seen:?}");
        }
        let many = Share { k: 500_000, n: 1_000_000 }.interval(DOUBT);
        assert!((many.0 - 0.499_02).abs() < 1e-5 && (many.1 - 0.500_98).abs() < 1e-5, "{many:?}");
    }

    #[test]
    fn tails_are_those_of_the_binomial_distribution() {
        for (k, n, p, known) in [
            (0, 10, 0.5, 0.000_98),
            (5, 10, 0.5, 0.623_05),
            (9, 10, 0.5, 0.999_02),
            (3, 100, 0.01, 0.981_63),
            (60, 100, 0.5, 0.982_40),
        ] {
            // At most `k` come with the probability that is known, and more with the rest of it.
            let (most, least) =
                (Share { k, n }.bounds(known).1, Share { k: k + 1, n }.bounds(1.0 - known).0);
            assert!(
                (most - p).abs() < 1e-3 && (least - p).abs() < 1e-3,
                "{k} of {n}: {most} {least}"
            );
        }
        let plausible = |k, range| Share { k, n: 100 }.is_plausible(range, 1e-4);
        assert!(plausible(50, (0.5, 0.5)) && plausible(66, (0.5, 0.5)));
        assert!(!plausible(75, (0.5, 0.5)) && !plausible(25, (0.5, 0.5)));
        assert!(
            plausible(75, (0.5, 0.7)) && plausible(0, (0.0, 0.0)) && plausible(100, (1.0, 1.0))
        );
        assert!(!plausible(1, (0.0, 0.0)) && !plausible(99, (1.0, 1.0)));
    }
}
