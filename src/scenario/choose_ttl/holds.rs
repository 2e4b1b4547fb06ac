//! Where hold times and work come from: a file of what was measured elsewhere, or a distribution.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use rand::{SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use rand_distr::{Distribution, LogNormal};
use tokio::time::Duration;

use crate::scenario::error::ScenarioError;

/// The most samples of a file.
const LINES_MAX: usize = 1_000_000;
/// The most bytes of a file.
const BYTES_MAX: u64 = 32 << 20;
/// The longest hold time: a day.
const HOLD_MAX_MS: f64 = 86_400_000.0;
/// The 99th percentile of the standard normal distribution.
const Z_99: f64 = 2.326_347_874;
/// How many times its 99th percentile work may take, so that a run ends.
const WORK_MAX: u32 = 10;

/// Reads hold times in ms, one a line; `-` is the standard input.
pub fn read(path: &Path) -> Result<Vec<f64>, ScenarioError> {
    let wrong = |what: String| ScenarioError::Usage(format!("--holds {}: {what}", path.display()));
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().lock().take(BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text))
    };
    read.map_err(|error| wrong(format!("{error}; name a text file with a duration a line, or -")))?;
    parse(&text).map_err(wrong)
}

fn parse(text: &str) -> Result<Vec<f64>, String> {
    if text.len() as u64 > BYTES_MAX || text.lines().nth(LINES_MAX).is_some() {
        return Err(format!(
            "expected at most {LINES_MAX} lines, and {} MiB; take some at random (shuf -n {LINES_MAX})",
            BYTES_MAX >> 20
        ));
    }
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty());
    let holds: Result<Vec<f64>, String> = lines
        .map(|(number, line)| {
            millis(line).ok_or_else(|| {
                let shown: String = line.chars().take(40).collect();
                format!(
                    "line {number}: {shown:?}: expected a duration above 0, and at most a day, such as \
                     250us, 12.5ms or 2s; a bare number is in ms"
                )
            })
        })
        .collect();
    let holds = holds?;
    if holds.is_empty() {
        Err("expected a duration a line; it has none".to_owned())
    } else {
        Ok(holds)
    }
}

fn millis(text: &str) -> Option<f64> {
    let digits = text.bytes().take_while(|c| c.is_ascii_digit() || *c == b'.').count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "us" => 1e-3,
        "ms" | "" => 1.0,
        "s" => 1e3,
        _ => return None,
    };
    let ms = number.parse::<f64>().ok()? * factor;
    (ms > 0.0 && ms <= HOLD_MAX_MS).then_some(ms)
}

/// Where hold times come from.
pub enum Source {
    /// They are measured, with work that is drawn.
    Drawn(Work),
    /// They were measured elsewhere, in ms.
    Given(Vec<f64>),
}

/// Log-normally distributed work.
pub struct Work {
    millis: LogNormal<f64>,
    most: Duration,
}

impl Work {
    /// Work with these quantiles.
    pub fn between(median: Duration, p99: Duration) -> Result<Self, ScenarioError> {
        if p99 < median {
            let text = format!("--work-p99: expected at least the --work-p50, {median:?}");
            return Err(ScenarioError::Usage(text));
        }
        let (median_ms, p99_ms) = (median.as_secs_f64() * 1e3, p99.as_secs_f64() * 1e3);
        let millis = LogNormal::new(median_ms.ln(), (p99_ms / median_ms).ln() / Z_99);
        let millis =
            millis.map_err(|error| ScenarioError::Usage(format!("--work-p99: {error}")))?;
        Ok(Self { millis, most: p99 * WORK_MAX })
    }

    /// So many pieces of work.
    pub fn draw(&self, count: usize, rng: &mut SmallRng) -> Vec<Duration> {
        let most_ms = self.most.as_secs_f64() * 1e3;
        let draws = (0..count).map(|_| self.millis.sample(rng).min(most_ms));
        draws.map(|ms| Duration::from_secs_f64(ms / 1e3)).collect()
    }
}

/// Draws from samples in ms, any of them again and again.
pub fn resample(samples: &[f64], count: usize, rng: &mut SmallRng) -> Vec<Duration> {
    let draws = (0..count).filter_map(|_| samples.choose(rng));
    draws.map(|ms| Duration::from_secs_f64(ms / 1e3)).collect()
}

/// What everything is drawn from.
pub fn rng(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_they_are_measured() {
        let read = parse("12ms\n250us\n\n 2s \n7\n12.5\r\n1.5 ms\n").unwrap();
        assert_eq!(read, [12.0, 0.25, 2_000.0, 7.0, 12.5, 1.5]);
        for (text, told) in [
            ("12ms\nsoon\n", "line 2: \"soon\": expected a duration above 0"),
            ("1\n\n-1ms\n", "line 3"),
            ("0\n", "line 1"),
            ("1.2.3\n", "line 1"),
            ("1e3\n", "line 1"),
            ("NaN\n", "line 1"),
            ("5m\n", "250us, 12.5ms or 2s"),
            ("90000s\n", "at most a day"),
            ("\n \n", "it has none"),
            ("", "it has none"),
            (&"1\n".repeat(LINES_MAX + 1), "at most 1000000 lines"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        assert_eq!(parse(&"1\n".repeat(LINES_MAX)).unwrap().len(), LINES_MAX);
    }

    #[test]
    fn work_has_the_quantiles_that_were_asked_for() {
        let [median, p99] = [10, 60].map(Duration::from_millis);
        let work = Work::between(median, p99).unwrap();
        let mut works = work.draw(20_000, &mut rng(1));
        works.sort_unstable();
        let near = |work: Duration, wanted: Duration| work.abs_diff(wanted) < wanted / 10;
        assert!(near(works[10_000], median) && near(works[19_800], p99), "{:?}", works[19_800]);
        assert!(works[19_999] <= p99 * WORK_MAX);
        assert!(Work::between(p99, median).is_err());
        let same = Work::between(median, median).unwrap().draw(3, &mut rng(1));
        assert!(same.iter().all(|work| near(*work, median)), "{same:?}");
    }

    #[test]
    fn the_same_seed_draws_the_same_work() {
        let draw = |seed| resample(&[1.0, 2.5, 3_000.0], 50, &mut rng(seed));
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let mut works = draw(7);
        works.sort_unstable();
        works.dedup();
        assert_eq!(works, [1_000, 2_500, 3_000_000].map(Duration::from_micros));
    }
}
