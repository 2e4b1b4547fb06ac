//! The names of the strategies.

#![expect(missing_docs, reason = "their rows in the table say what they are")]

use enum_map::Enum;
use serde::{Deserialize, Serialize};
use strum::{EnumCount, EnumString, IntoStaticStr, VariantArray, VariantNames};

/// A strategy, by its name.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    Enum,
    EnumCount,
    EnumString,
    IntoStaticStr,
    VariantArray,
    VariantNames,
    Serialize,
    Deserialize,
)]
#[strum(serialize_all = "kebab-case", const_into_str)]
#[strum(parse_err_ty = UnknownStrategy, parse_err_fn = unknown)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyId {
    None,
    Mutex,
    Naive,
    /// The default, as in the PHP lab's own HTTP server.
    #[default]
    Safe,
    Watchdog,
    Fenced,
    Redlock,
    Etcd,
    Zookeeper,
    PostgresAdvisory,
    MysqlLock,
    Layered,
    Optimistic,
    Atomic,
    Queue,
    PostgresRow,
    MysqlRow,
    PostgresOptimistic,
    MysqlOptimistic,
    PostgresAtomic,
    MysqlAtomic,
}

impl StrategyId {
    /// Every strategy, in the order in which people are shown them.
    pub fn all() -> impl Iterator<Item = Self> {
        <Self as VariantArray>::VARIANTS.iter().copied()
    }

    /// The names of all strategies.
    #[must_use]
    pub fn names() -> &'static [&'static str] {
        <Self as VariantNames>::VARIANTS
    }
}

/// No strategy has that name; the message lists those that exist.
#[derive(Debug, thiserror::Error)]
#[error("expected one of {}", StrategyId::names().join(", "))]
pub struct UnknownStrategy;

fn unknown(_: &str) -> UnknownStrategy {
    UnknownStrategy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for id in StrategyId::all() {
            assert_eq!(<&str>::from(id).parse::<StrategyId>().unwrap(), id);
        }
        assert!("safee".parse::<StrategyId>().is_err());
        assert!("SAFE".parse::<StrategyId>().is_err());
    }
}
