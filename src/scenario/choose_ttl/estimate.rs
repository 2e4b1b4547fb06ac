//! What samples say of what they were drawn from, and what they do not. Pure: no clock, no store.

use std::f64::consts::TAU;

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

    /// The probabilities that cannot be ruled out (Clopper and Pearson, Biometrika 26, 1934). With none
    /// of `n`, and with all, the doubt is about one side only, and for 5 % of it the bound is close to
    /// 3/n: the rule of three.
    pub fn interval(self, doubt: f64) -> (f64, f64) {
        let Self { k, n } = self;
        let side = if k == 0 || k == n { doubt } else { doubt / 2.0 };
        let low = if k == 0 { 0.0 } else { root(|p| at_least(k, n, p) >= side) };
        let high = if k == n { 1.0 } else { root(|p| at_most(k, n, p) <= side) };
        (low, high)
    }

    /// Whether so many can be expected of some probability from `low` to `high`: not if fewer than the
    /// doubt of all such samples were as far off.
    pub fn is_plausible(self, (low, high): (f64, f64), doubt: f64) -> bool {
        let Self { k, n } = self;
        at_least(k, n, high) >= doubt / 2.0 && at_most(k, n, low) >= doubt / 2.0
    }
}

/// Where something that is false becomes true, from 0 to 1.
fn root(is_true: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if is_true(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// The probability of at most `k` of `n`, where each comes about with probability `p`.
fn at_most(k: u64, n: u64, p: f64) -> f64 {
    if p <= 0.0 || k >= n {
        return 1.0;
    }
    if p >= 1.0 {
        return 0.0;
    }
    // Whichever tail is away from the mean: its terms only get smaller.
    if k as f64 > n as f64 * p {
        return 1.0 - at_least(k + 1, n, p);
    }
    let odds = p / (1.0 - p);
    let mut term = exactly(k, n, p);
    let mut sum = term;
    for i in (1..=k).rev() {
        term *= i as f64 / ((n - i + 1) as f64 * odds);
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    sum.min(1.0)
}

/// The probability of at least `k` of `n`.
fn at_least(k: u64, n: u64, p: f64) -> f64 {
    if k == 0 || p >= 1.0 {
        return 1.0;
    }
    if p <= 0.0 || k > n {
        return 0.0;
    }
    if k as f64 <= n as f64 * p {
        return 1.0 - at_most(k - 1, n, p);
    }
    let odds = p / (1.0 - p);
    let mut term = exactly(k, n, p);
    let mut sum = term;
    for i in k..n {
        term *= (n - i) as f64 * odds / (i + 1) as f64;
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    sum.min(1.0)
}

/// The probability of `k` of `n`.
fn exactly(k: u64, n: u64, p: f64) -> f64 {
    let ways = ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
    (ways + k as f64 * p.ln() + (n - k) as f64 * (-p).ln_1p()).exp()
}

/// By Stirling's series; its next term is below 10⁻⁹.
fn ln_factorial(n: u64) -> f64 {
    let x = n as f64;
    if n < 20 {
        return (2..=n).map(|i| (i as f64).ln()).sum();
    }
    x * x.ln() - x + (TAU * x).ln() / 2.0 + 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3))
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

    /// As R's `binom.test` gives them; and `1 - 0.05^(1/n)` for none of `n`.
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
            assert!(is_close(at_most(k, n, p), known), "{k} of {n}: {}", at_most(k, n, p));
            assert!(is_close(at_least(k + 1, n, p), 1.0 - known), "{k} of {n}");
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
