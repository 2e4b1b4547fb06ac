//! Inputs that are one of a few names.

use strum::{EnumString, IntoStaticStr, VariantArray};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::{
    http::{input::Input, problem::Valid},
    strategy::StrategyId,
};
use locklab_locks::wait::Policy;

/// In which order the locks of a cart are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum LockOrder {
    /// By the names of the products: nobody waits in a circle.
    Sorted,
    /// In the order in which the items are given: opposite orders wait for each other until a ttl
    /// ends it.
    Given,
}

/// How a history is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Format {
    /// One JSON object per line and event.
    Jsonl,
    /// One operation per line, as Jepsen writes them.
    Edn,
}

macro_rules! one_of_its_names {
    ($($type:ty),*) => {
        $(impl Input for $type {
            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn valid() -> Valid {
                Valid::OneOf(names::<Self>().map(str::to_owned).collect())
            }

            fn schema() -> ObjectBuilder {
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names::<Self>()))
            }
        })*
    };
}

one_of_its_names!(LockOrder, Format, Policy, StrategyId);

fn names<T: VariantArray>() -> impl Iterator<Item = &'static str>
where
    &'static str: From<&'static T>,
{
    T::VARIANTS.iter().map(<&str>::from)
}
