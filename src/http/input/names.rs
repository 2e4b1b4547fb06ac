//! Inputs that are one of a few names.

use strum::{EnumString, IntoStaticStr, VariantArray};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::http::{input::Input, problem::Valid};

/// In which order the locks of a cart are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum LockOrder {
    /// By the names of the products: nobody waits in a circle.
    Sorted,
    /// As the items are given: opposite orders wait for each other until a ttl ends it.
    Given,
}

impl Input for LockOrder {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn valid() -> Valid {
        let names = Self::VARIANTS.iter().map(|order| <&str>::from(order).to_owned());
        Valid::OneOf(names.collect())
    }

    fn schema() -> ObjectBuilder {
        let names = Self::VARIANTS.iter().map(<&str>::from);
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names))
    }
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

impl Input for Format {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn valid() -> Valid {
        let names = Self::VARIANTS.iter().map(|format| <&str>::from(format).to_owned());
        Valid::OneOf(names.collect())
    }

    fn schema() -> ObjectBuilder {
        let names = Self::VARIANTS.iter().map(<&str>::from);
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names))
    }
}
