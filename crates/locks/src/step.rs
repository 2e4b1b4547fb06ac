//! The named steps at which a fault can strike, and at which a failure is blamed.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

/// A step of a purchase. A fault strikes whenever its step is reached, so again with each retry; at
#[doc = " a step that talks to a server, just before it does, except for a lost reply, which \
          strikes after."]
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    EnumString,
    IntoStaticStr,
    VariantArray,
    Serialize,
    Deserialize,
)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Step {
    Acquire,
    BetweenSetnxAndExpire,
    AfterAcquire,
    RaiseBar,
    LockRow,
    Read,
    Work,
    BeforeWrite,
    Write,
    AfterWrite,
    Take,
    AfterTake,
    Enqueue,
    Release,
}

impl Step {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether it has an effect at a server and a reply that can be lost.
    #[must_use]
    pub fn has_reply(self) -> bool {
        matches!(
            self,
            Self::Acquire
                | Self::RaiseBar
                | Self::Write
                | Self::Take
                | Self::Enqueue
                | Self::Release
        )
    }
}
