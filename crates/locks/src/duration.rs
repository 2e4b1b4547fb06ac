//! Durations as people type them: `250us`, `5ms`, `2s`, or a bare number.

use std::time::Duration;

/// What a duration may look like, in words.
pub const DURATION_VALID: &str = "a whole number with a unit, such as 250us, 5ms or 2s";
/// What a duration may look like as a regular expression, for an API description.
pub const DURATION_PATTERN: &str = "^[0-9]+(us|ms|s)?$";

/// The unit of a number that has none. Milliseconds everywhere except for `delay`, which the
/// command line of the PHP lab took in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareUnit {
    /// A bare number counts microseconds.
    Micros,
    /// A bare number counts milliseconds.
    Millis,
}

/// Reads a duration, or gives `None` when the text is not one or does not fit.
#[must_use]
pub fn parse(text: &str, bare: BareUnit) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let micros = match (unit, bare) {
        ("us", _) | ("", BareUnit::Micros) => 1,
        ("ms", _) | ("", BareUnit::Millis) => 1_000,
        ("s", _) => 1_000_000,
        _ => return None,
    };
    number.checked_mul(micros).map(Duration::from_micros)
}

/// Reads a duration of the command line, where a bare number counts milliseconds.
///
/// # Errors
/// Says what is valid when the text is not a duration.
pub fn parse_flag(text: &str) -> Result<Duration, String> {
    parse(text, BareUnit::Millis).ok_or_else(|| format!("expected {DURATION_VALID}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_bare_numbers() {
        let cases = [
            ("250us", BareUnit::Millis, Some(250)),
            ("5ms", BareUnit::Micros, Some(5_000)),
            ("2s", BareUnit::Micros, Some(2_000_000)),
            ("7", BareUnit::Millis, Some(7_000)),
            ("7", BareUnit::Micros, Some(7)),
            ("0", BareUnit::Millis, Some(0)),
            ("", BareUnit::Millis, None),
            ("ms", BareUnit::Millis, None),
            ("-1ms", BareUnit::Millis, None),
            ("1.5s", BareUnit::Millis, None),
            ("1 s", BareUnit::Millis, None),
            ("1m", BareUnit::Millis, None),
            ("18446744073709551615s", BareUnit::Millis, None),
            ("99999999999999999999", BareUnit::Millis, None),
        ];
        for (text, bare, micros) in cases {
            assert_eq!(parse(text, bare), micros.map(Duration::from_micros), "{text:?}");
        }
    }
}
