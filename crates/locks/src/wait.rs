//! What a loser does: pure schedules of delays, and the bounded loops that try again: after a delay,
//! or when told to.

pub mod line;
mod on_release;
mod wakeup;

use enum_map::Enum;
use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng};
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};
use tokio::time::{self, Duration, Instant};
use tokio_util::sync::CancellationToken;

pub use self::{on_release::on_release, wakeup::Waitable};
use crate::random::Source;

/// A named way to wait (`retry=`).
#[derive(
    Enum,
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    EnumString,
    IntoStaticStr,
    VariantArray,
    Serialize,
    Deserialize,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Gives up after the first try.
    #[default]
    None,
    /// `base` before each retry: losers that met once meet again.
    Fixed,
    /// `min(cap, base · 2ⁿ)`: the same, less often.
    Exponential,
    /// "Full jitter": a random time from 0 to `min(cap, base · 2ⁿ)`.
    Jitter,
    /// "Decorrelated jitter": `min(cap, random from base to 3 · the delay before)`.
    Decorrelated,
    /// When the lock service tells that the holder has released, or its lease has ended, for which
    /// it looks every `cap`; see [`on_release`]. In the lock service's own queue, if it has one. A
    /// strategy without leases, whose losers have nobody to wait for, pauses as with `fixed`.
    Notify,
    /// In the order of arrival: of the buyers of a product at this server, only the first tries, as
    /// with `notify`, and it hands its turn to the next; see [`crate::wait::line`].
    Fifo,
}

impl Policy {
    /// Its name in the API and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// How long, how often and in which way somebody waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Patience {
    /// The way.
    pub policy: Policy,
    /// What the delays start from.
    pub base: Duration,
    /// What no delay exceeds.
    pub cap: Duration,
    /// Tries after the first.
    pub max_retries: u32,
    /// Time from the first try after which there is one last try.
    pub wait: Duration,
    /// What random delays are drawn from.
    pub seed: u64,
    /// Cancelled when nobody waits for the answer any more.
    #[serde(skip)]
    pub gone: CancellationToken,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            policy: Policy::None,
            base: Duration::from_millis(100),
            cap: Duration::from_secs(2),
            max_retries: 15,
            wait: Duration::from_secs(10),
            seed: Source::default().draw(),
            gone: CancellationToken::new(),
        }
    }
}

impl Patience {
    /// The delay before retry number `retry` (from 0), after a delay of `previous`.
    ///
    /// The jittered ones are those of Marc Brooker, "Exponential Backoff And Jitter", AWS
    /// Architecture Blog, 2015.
    pub fn delay(&self, retry: u32, previous: Duration, rng: &mut impl Rng) -> Duration {
        let grown = || self.base.saturating_mul(2_u32.saturating_pow(retry)).min(self.cap);
        match self.policy {
            Policy::None => Duration::ZERO,
            Policy::Fixed | Policy::Notify | Policy::Fifo => self.base.min(self.cap),
            Policy::Exponential => grown(),
            Policy::Jitter => rng.random_range(Duration::ZERO..=grown()),
            Policy::Decorrelated => {
                let most = previous.saturating_mul(3).max(self.base);
                rng.random_range(self.base..=most).min(self.cap)
            }
        }
    }

    /// Where its random delays come from.
    #[must_use]
    pub fn rng(&self) -> SmallRng {
        SmallRng::seed_from_u64(self.seed)
    }

    fn retries(&self) -> u32 {
        if self.policy == Policy::None { 0 } else { self.max_retries }
    }
}

/// How a loop of tries ended.
#[derive(Debug)]
pub struct Tried<T, E> {
    /// What the last try gave. `Ok(None)`: it lost, and patience was over.
    pub result: Result<Option<T>, E>,
    /// Tries after the first.
    pub retries: u32,
}

/// Tries until a try wins or fails, or patience is over: as many retries as allowed, the time, or
/// nobody who waits for the answer. There is a try after every delay, and none is longer than the
/// time that is left.
///
/// # Cancellation
/// As safe as `attempt` is.
pub async fn retry<T, E, F: Future<Output = Result<Option<T>, E>>>(
    patience: &Patience,
    rng: &mut impl Rng,
    mut attempt: impl FnMut() -> F,
) -> Tried<T, E> {
    let deadline = Instant::now() + patience.wait;
    let (mut retries, mut delay) = (0, patience.base);
    loop {
        let result = attempt().await;
        let lost = matches!(result, Ok(None));
        let left = deadline.saturating_duration_since(Instant::now());
        if !lost || retries >= patience.retries() || left.is_zero() {
            return Tried { result, retries };
        }
        delay = patience.delay(retries, delay, rng);
        let pause = time::sleep(delay.min(left));
        if patience.gone.run_until_cancelled(pause).await.is_none() {
            return Tried { result, retries };
        }
        retries += 1;
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn patience(policy: Policy) -> Patience {
        Patience { policy, ..Patience::default() }
    }

    fn millis(policy: Policy, retries: u32) -> Vec<u128> {
        let patience = patience(policy);
        let (mut rng, mut delay) = (StdRng::seed_from_u64(7), patience.base);
        let next = |retry| {
            delay = patience.delay(retry, delay, &mut rng);
            delay.as_millis()
        };
        (0..retries).map(next).collect()
    }

    #[test]
    fn schedules_without_chance() {
        assert_eq!(millis(Policy::Fixed, 3), [100, 100, 100]);
        assert_eq!(millis(Policy::Exponential, 7), [100, 200, 400, 800, 1600, 2000, 2000]);
        // 2ⁿ overflows long before that.
        assert_eq!(
            patience(Policy::Exponential).delay(4_000, Duration::ZERO, &mut rand::rng()),
            Duration::from_secs(2)
        );
    }

    #[test]
    fn full_jitter_fills_the_whole_range() {
        let (patience, mut rng) = (patience(Policy::Jitter), StdRng::seed_from_u64(1));
        let delays: Vec<Duration> =
            (0..1_000).map(|_| patience.delay(2, Duration::ZERO, &mut rng)).collect();
        assert!(delays.iter().all(|delay| *delay <= Duration::from_millis(400)));
        assert!(delays.iter().any(|delay| *delay < Duration::from_millis(20)));
        assert!(delays.iter().any(|delay| *delay > Duration::from_millis(380)));
    }

    #[test]
    fn decorrelated_jitter_depends_on_the_delay_before() {
        let (patience, mut rng) = (patience(Policy::Decorrelated), StdRng::seed_from_u64(1));
        let mut previous = patience.base;
        for retry in 0..1_000 {
            let delay = patience.delay(retry, previous, &mut rng);
            assert!(delay >= patience.base && delay <= (previous * 3).min(patience.cap));
            previous = delay;
        }
        let from_cap: Vec<_> =
            (0..100).map(|_| patience.delay(0, patience.cap, &mut rng)).collect();
        assert!(from_cap.contains(&patience.cap), "the cap cuts");
    }

    #[test]
    fn the_same_seed_gives_the_same_delays() {
        for policy in [Policy::Jitter, Policy::Decorrelated] {
            assert_eq!(millis(policy, 20), millis(policy, 20));
        }
    }

    /// Tries that lose `losses` times, then win.
    async fn run(patience: &Patience, losses: u32) -> (Tried<u32, ()>, Duration) {
        let (started, mut tries) = (Instant::now(), 0);
        let attempt = || {
            tries += 1;
            std::future::ready(Ok((tries > losses).then_some(tries)))
        };
        let tried = retry(patience, &mut rand::rng(), attempt).await;
        (tried, started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_retries_is_bounded() {
        let (tried, took) = run(&patience(Policy::None), 1).await;
        assert_eq!((tried.result, tried.retries, took), (Ok(None), 0, Duration::ZERO));
        let (tried, _) = run(&patience(Policy::Fixed), 15).await;
        assert_eq!((tried.result, tried.retries), (Ok(Some(16)), 15));
        let (tried, took) = run(&patience(Policy::Fixed), 99).await;
        assert_eq!((tried.result, tried.retries), (Ok(None), 15));
        assert_eq!(took, Duration::from_millis(1_500), "no pause after the last try");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_every_wait() {
        let wait = Duration::from_millis(250);
        let impatient = Patience { wait, ..patience(Policy::Fixed) };
        let (tried, took) = run(&impatient, 99).await;
        assert_eq!((tried.result, tried.retries, took), (Ok(None), 3, wait));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_ends_the_loop_and_is_kept() {
        let attempt = || std::future::ready(Err::<Option<()>, _>("broken"));
        let tried = retry(&patience(Policy::Fixed), &mut rand::rng(), attempt).await;
        assert_eq!((tried.result, tried.retries), (Err("broken"), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_who_waits_ends_the_wait() {
        let patience = patience(Policy::Fixed);
        patience.gone.cancel();
        let (tried, took) = run(&patience, 99).await;
        assert_eq!((tried.result, tried.retries, took), (Ok(None), 0, Duration::ZERO));
    }
}
