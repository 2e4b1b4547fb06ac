//! The types that parameters have: how each is read, what is valid, how it is described.

pub mod item;
pub mod names;

use serde_json::Value;
use tokio::time::Duration;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

use crate::{
    http::problem::Valid,
    product::{PRODUCT_NAME_PATTERN, PRODUCT_NAME_VALID, Product},
    stock::{QUANTITY_MAX, STOCK_MAX},
};
use locklab_locks::{
    duration::{self, BareUnit, DURATION_PATTERN, DURATION_VALID},
    fault::{FAULT_PATTERN, FAULT_VALID, Fault},
};

/// The longest work between read and write.
const DELAY_MAX: Duration = Duration::from_secs(60);
/// The longest lease.
const TTL_MAX: Duration = Duration::from_secs(600);
/// The longest time to wait for a lock, and the longest delay between tries.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The most tries after the first.
const RETRIES_MAX: u64 = 1_000;
/// How often a lease may be extended: whoever could go on for ever would lock for ever.
pub const EXTENSIONS_MAX: u64 = 10;

/// A type that a parameter can have.
pub trait Input: Sized {
    /// Reads the text of a query string, or of a value in a JSON body.
    fn parse(text: &str) -> Option<Self>;
    /// What can be read.
    fn valid() -> Valid;
    /// What can be read, for the API description. Its types decide which JSON values are taken.
    fn schema() -> ObjectBuilder;
}

/// A whole number from `MIN` to `MAX`.
pub struct Whole<T, const MIN: u64, const MAX: u64>(pub T);

/// Units of one purchase.
pub type Quantity = Whole<u32, 1, { QUANTITY_MAX as u64 }>;
/// Units of a reset.
pub type Units = Whole<u64, 0, STOCK_MAX>;
/// Tries after the first.
pub type Retries = Whole<u32, 0, RETRIES_MAX>;
/// Extensions of a lease.
pub type Extensions = Whole<u32, 0, EXTENSIONS_MAX>;

impl<T: TryFrom<u64>, const MIN: u64, const MAX: u64> Input for Whole<T, MIN, MAX> {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|it| digits && (MIN..=MAX).contains(it))?;
        T::try_from(number).ok().map(Self)
    }

    fn valid() -> Valid {
        format!("a whole number from {MIN} to {MAX}").into()
    }

    fn schema() -> ObjectBuilder {
        let integer = ObjectBuilder::new().schema_type(Type::Integer);
        integer.minimum(Some(MIN)).maximum(Some(MAX))
    }
}

/// The work of a purchase.
pub struct Delay(pub Duration);

impl Input for Delay {
    fn parse(text: &str) -> Option<Self> {
        duration::parse(text, BareUnit::Micros).filter(|delay| *delay <= DELAY_MAX).map(Self)
    }

    fn valid() -> Valid {
        format!("{DURATION_VALID}, or in µs; at most {}s", DELAY_MAX.as_secs()).into()
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
        format!("{DURATION_VALID}, or in ms; whole ms from 1ms to {most}s").into()
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
        format!("{DURATION_VALID}, or in ms; at most {}s", WAIT_MAX.as_secs()).into()
    }

    fn schema() -> ObjectBuilder {
        duration_schema().minimum(Some(0)).maximum(Some(WAIT_MAX.as_millis() as u64))
    }
}

impl Input for Fault {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn valid() -> Valid {
        FAULT_VALID.into()
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
        PRODUCT_NAME_VALID.into()
    }

    fn schema() -> ObjectBuilder {
        // Shops like to number their products.
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Integer]))
            .pattern(Some(PRODUCT_NAME_PATTERN))
            .minimum(Some(0))
    }
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
