//! How a purchase can end, and where a lease can be seen to have outlived its deadline.

use enum_map::Enum;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};
use utoipa::ToSchema;

/// How one purchase ended.
#[derive(
    Enum,
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    IntoStaticStr,
    VariantArray,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The buyer has the units.
    Sold,
    /// There were fewer units than wanted.
    SoldOut,
    /// Somebody else held the lock until the buyer gave up.
    Busy,
    /// The store refused the write, for a newer holder had been granted the lock.
    Fenced,
    /// The lease was lost, and the work stopped before the write.
    Lost,
    /// The product changed between read and write in a way that the store could see.
    Conflict,
    /// A backend did not answer.
    Unavailable,
    /// A backend refused, or the purchase broke.
    Error,
}

/// Where it was first seen that a lease had outlived its deadline.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Violation {
    /// While a cart still waited for another lock.
    Acquire,
    /// During the work.
    Work,
    /// At the write: just before it or just after it.
    Write,
    /// At the release.
    Release,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcomes_are_these() {
        let labels: Vec<&str> = Outcome::VARIANTS.iter().map(Into::into).collect();
        let pinned =
            ["sold", "sold_out", "busy", "fenced", "lost", "conflict", "unavailable", "error"];
        assert_eq!(labels, pinned);
    }
}
