//! How the values of flags are read, and what they are without the flag.

use std::{net::SocketAddr, ops::RangeInclusive};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use strum::VariantArray;
use tokio::time::Duration;

use crate::strategy::StrategyId;
use locklab_locks::{
    duration::{self, BareUnit, DURATION_VALID},
    wait::Policy,
};

/// The longest work: whoever waits for it gives up at some time.
const WORK_MAX: Duration = Duration::from_secs(20);

/// How long leases may last, as over HTTP.
const TTLS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(600);

/// A duration longer than 0; a bare number counts milliseconds.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = duration::parse_flag(text)?;
    if duration.is_zero() { Err("expected more than 0".to_owned()) } else { Ok(duration) }
}

/// A duration as a value that a flag takes.
pub(super) fn micros(duration: Duration) -> String {
    format!("{}us", duration.as_micros())
}

/// An IP address and a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:8080 or [::1]:0")
}

/// A number from 0 to 1.
pub(super) fn ratio(text: &str) -> Result<f64, &'static str> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or("expected a number from 0 to 1")
}

/// A seed for whoever gives none. It is short, because people type it again.
pub(super) fn random() -> u64 {
    rand::random::<u32>().into()
}

/// What was named, without what was named before.
pub(super) fn each_once<T: Copy + PartialEq>(named: &[T]) -> Vec<T> {
    let mut once = Vec::new();
    for one in named {
        if !once.contains(one) {
            once.push(*one);
        }
    }
    once
}

/// A strategy by its name.
pub(super) fn strategy() -> impl TypedValueParser<Value = StrategyId> {
    PossibleValuesParser::new(StrategyId::names()).try_map(|name| name.parse::<StrategyId>())
}

/// A wait policy by its name.
pub(super) fn policy() -> impl TypedValueParser<Value = Policy> {
    let names = Policy::VARIANTS.iter().map(|policy| policy.name());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Policy>())
}

/// A number of processes.
pub(super) fn processes() -> impl TypedValueParser<Value = u32> {
    clap::value_parser!(u32).range(1..=200)
}

/// How long a lease lasts: whole milliseconds, for that is what Redis measures.
pub(super) fn ttl(text: &str) -> Result<Duration, String> {
    let is_valid = |ttl: &Duration| ttl.subsec_micros().is_multiple_of(1_000) && TTLS.contains(ttl);
    duration::parse(text, BareUnit::Millis).filter(is_valid).ok_or_else(|| {
        format!("expected {DURATION_VALID}, whole ms from 1ms to {} s", TTLS.end().as_secs())
    })
}

/// How long work takes; a bare number counts milliseconds.
pub(super) fn work(text: &str) -> Result<Duration, String> {
    bounded(duration::parse(text, BareUnit::Millis))
}

/// How long work takes; a bare number counts microseconds, as it does for `delay` over HTTP.
pub(super) fn work_in_micros(text: &str) -> Result<Duration, String> {
    bounded(duration::parse(text, BareUnit::Micros))
}

fn bounded(work: Option<Duration>) -> Result<Duration, String> {
    work.filter(|work| *work <= WORK_MAX)
        .ok_or_else(|| format!("expected {DURATION_VALID}, at most {} s", WORK_MAX.as_secs()))
}
