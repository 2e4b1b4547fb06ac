//! Which load test a purchase belongs to: a name that is safe in a log line, a label and a URL.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// The longest run id, in bytes.
pub const RUN_ID_MAX: usize = 64;

/// What a run id may be, in words and as a pattern.
pub const RUN_ID_VALID: &str = "1 to 64 of the characters A-Z a-z 0-9 _ . -";
/// What a run id may be as a regular expression, for the API description.
pub const RUN_ID_PATTERN: &str = "^[A-Za-z0-9_.-]{1,64}$";

/// What a client calls its load test: k6's `testid`. It comes with the header `X-Run-Id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunId(Arc<str>);

impl RunId {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text was not a run id; [`RUN_ID_VALID`] says what is.
#[derive(Debug, thiserror::Error)]
#[error("expected {RUN_ID_VALID}")]
pub struct InvalidRunId;

impl FromStr for RunId {
    type Err = InvalidRunId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b"_.-".contains(&c);
        if (1..=RUN_ID_MAX).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidRunId)
        }
    }
}
