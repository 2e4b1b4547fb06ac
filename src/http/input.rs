//! The types that parameters have: how each is read, what is valid, how it is described.

pub mod item;
pub mod names;

use serde_json::Value;
use strum::VariantArray;
use tokio::time::Duration;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

use crate::{
    duration::{self, BareUnit, DURATION_PATTERN, DURATION_VALID},
    fault::{FAULT_PATTERN, FAULT_VALID, Fault},
    http::problem::Valid,
    product::{PRODUCT_NAME_PATTERN, PRODUCT_NAME_VALID, Product},
    stock::{QUANTITY_MAX, STOCK_MAX},
    strategy::StrategyId,
    wait::Policy,
};

/// The longest work between read and write.
pub const DELAY_MAX: Duration = Duration::from_secs(60);
/// The longest lease.
pub const TTL_MAX: Duration = Duration::from_secs(600);

/// The longest time to wait for a lock, and the longest delay between tries.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// The most tries after the first.
pub const RETRIES_MAX: u32 = 1_000;
/// How often a lease may be extended: whoever could go on for ever would lock for ever.
pub const EXTENSIONS_MAX: u32 = 10;

/// A type that a parameter can have.
pub trait Input: Sized {
    /// Reads the text of a query string, or of a value in a JSON body.
    fn parse(text: &str) -> Option<Self>;
    /// What can be read.
    fn valid() -> Valid;
    /// The same for the API description. Its types decide which JSON values are taken.
    fn schema() -> ObjectBuilder;
}

/// Units of one purchase.
pub struct Quantity(pub u32);

impl Input for Quantity {
    fn parse(text: &str) -> Option<Self> {
        whole(text, 1..=QUANTITY_MAX.into()).and_then(|units| units.try_into().ok()).map(Self)
    }

    fn valid() -> Valid {
        Valid::Words(format!("a whole number from 1 to {QUANTITY_MAX}"))
    }

    fn schema() -> ObjectBuilder {
        integer().minimum(Some(1)).maximum(Some(QUANTITY_MAX))
    }
}

/// Units of a reset.
pub struct Units(pub u64);

impl Input for Units {
    fn parse(text: &str) -> Option<Self> {
        whole(text, 0..=STOCK_MAX).map(Self)
    }

    fn valid() -> Valid {
        Valid::Words(format!("a whole number from 0 to {STOCK_MAX}"))
    }

    fn schema() -> ObjectBuilder {
        integer().minimum(Some(0)).maximum(Some(STOCK_MAX))
    }
}

/// The work of a purchase.
pub struct Delay(pub Duration);

impl Input for Delay {
    fn parse(text: &str) -> Option<Self> {
        duration::parse(text, BareUnit::Micros).filter(|delay| *delay <= DELAY_MAX).map(Self)
    }

    fn valid() -> Valid {
        Valid::Words(format!("{DURATION_VALID}, or in µs; at most {}s", DELAY_MAX.as_secs()))
    }

    fn schema() -> ObjectBuilder {
        duration_schema().minimum(Some(0)).maximum(Some(DELAY_MAX.as_micros() as u64))
    }
}

/// How long a lease lasts: whole milliseconds, for that is what Redis measures.
pub struct Ttl(pub Duration);

impl Input for Ttl {
    fn parse(text: &str) -> Option<Self> {
        let ttl = duration::parse(text, BareUnit::Millis)?;
        let whole = ttl.subsec_micros().is_multiple_of(1_000);
        (whole && !ttl.is_zero() && ttl <= TTL_MAX).then_some(Self(ttl))
    }

    fn valid() -> Valid {
        let most = TTL_MAX.as_secs();
        Valid::Words(format!("{DURATION_VALID}, or in ms; whole ms from 1ms to {most}s"))
    }

    fn schema() -> ObjectBuilder {
        duration_schema().minimum(Some(1)).maximum(Some(TTL_MAX.as_millis() as u64))
    }
}

/// A time to wait.
pub struct Wait(pub Duration);

impl Input for Wait {
    fn parse(text: &str) -> Option<Self> {
        duration::parse(text, BareUnit::Millis).filter(|wait| *wait <= WAIT_MAX).map(Self)
    }

    fn valid() -> Valid {
        Valid::Words(format!("{DURATION_VALID}, or in ms; at most {}s", WAIT_MAX.as_secs()))
    }

    fn schema() -> ObjectBuilder {
        duration_schema().minimum(Some(0)).maximum(Some(WAIT_MAX.as_millis() as u64))
    }
}

/// Tries after the first.
pub struct Retries(pub u32);

impl Input for Retries {
    fn parse(text: &str) -> Option<Self> {
        whole(text, 0..=RETRIES_MAX.into()).and_then(|retries| retries.try_into().ok()).map(Self)
    }

    fn valid() -> Valid {
        Valid::Words(format!("a whole number from 0 to {RETRIES_MAX}"))
    }

    fn schema() -> ObjectBuilder {
        integer().minimum(Some(0)).maximum(Some(RETRIES_MAX))
    }
}

/// Extensions of a lease.
pub struct Extensions(pub u32);

impl Input for Extensions {
    fn parse(text: &str) -> Option<Self> {
        whole(text, 0..=EXTENSIONS_MAX.into()).and_then(|most| most.try_into().ok()).map(Self)
    }

    fn valid() -> Valid {
        Valid::Words(format!("a whole number from 0 to {EXTENSIONS_MAX}"))
    }

    fn schema() -> ObjectBuilder {
        integer().minimum(Some(0)).maximum(Some(EXTENSIONS_MAX))
    }
}

impl Input for Policy {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn valid() -> Valid {
        Valid::OneOf(Policy::VARIANTS.iter().map(|policy| policy.name().to_owned()).collect())
    }

    fn schema() -> ObjectBuilder {
        let names = Policy::VARIANTS.iter().map(|policy| policy.name());
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names))
    }
}

impl Input for Fault {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn valid() -> Valid {
        Valid::Words(FAULT_VALID.to_owned())
    }

    fn schema() -> ObjectBuilder {
        ObjectBuilder::new().schema_type(Type::String).pattern(Some(FAULT_PATTERN.as_str()))
    }
}

/// Yes or no.
pub struct Flag(pub bool);

impl Input for Flag {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }

    fn valid() -> Valid {
        Valid::OneOf(vec!["true".to_owned(), "false".to_owned()])
    }

    fn schema() -> ObjectBuilder {
        ObjectBuilder::new().schema_type(Type::Boolean)
    }
}

impl Input for Product {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn valid() -> Valid {
        Valid::Words(PRODUCT_NAME_VALID.to_owned())
    }

    fn schema() -> ObjectBuilder {
        // Shops like to number their products.
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Integer]))
            .pattern(Some(PRODUCT_NAME_PATTERN))
            .minimum(Some(0))
    }
}

impl Input for StrategyId {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn valid() -> Valid {
        Valid::OneOf(StrategyId::names().iter().map(|&name| name.to_owned()).collect())
    }

    fn schema() -> ObjectBuilder {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(StrategyId::names().iter().copied()))
    }
}

fn whole(text: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && range.contains(number))
}

fn integer() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer)
}

fn duration_schema() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Integer]))
        .pattern(Some(DURATION_PATTERN))
}

/// The text of a JSON value, if the type takes values of that kind.
#[must_use]
pub fn text_of<T: Input>(value: &Value) -> Option<String> {
    let takes = |wanted: Type| match T::schema().build().schema_type {
        SchemaType::Type(only) => only == wanted,
        SchemaType::Array(several) => several.contains(&wanted),
        SchemaType::AnyValue => true,
    };
    match value {
        Value::String(text) if takes(Type::String) => Some(text.clone()),
        Value::Object(_) if takes(Type::Object) => Some(value.to_string()),
        Value::Bool(flag) if takes(Type::Boolean) => Some(flag.to_string()),
        Value::Number(number) if takes(Type::Integer) => {
            // JSON knows one kind of number: 1.0 is as whole as 1, as long as a float can tell it
            // from its neighbours. No parameter takes a negative or a fractional one; as the name
            // of a product it would only look like text.
            const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
            let whole = |float: &f64| float.fract() == 0.0 && (0.0..=EXACT_MAX).contains(float);
            let number =
                number.as_u64().or_else(|| number.as_f64().filter(whole).map(|it| it as u64));
            number.map(|number| number.to_string())
        }
        _ => None,
    }
}
