//! Every parameter of the API: how it is read, what is valid, how it is described. The server and
//! `/openapi.json` both work from this table, so neither can know more than the other.

use std::marker::PhantomData;

use serde_json::Value;
use tokio::time::Duration;
use utoipa::openapi::{
    Required,
    path::{self, ParameterBuilder, ParameterIn},
    schema::{AdditionalProperties, Object, ObjectBuilder, SchemaType, Type},
};

use crate::{
    duration::{self, BareUnit, DURATION_PATTERN, DURATION_VALID},
    http::problem::Valid,
    product::{PRODUCT_NAME_PATTERN, PRODUCT_NAME_VALID, Product},
    stock::{QUANTITY_MAX, STOCK_MAX},
    strategy::{self, StrategyId},
};

/// The longest work between read and write.
pub const DELAY_MAX: Duration = Duration::from_secs(60);
/// The longest lease.
pub const TTL_MAX: Duration = Duration::from_secs(600);

/// A type that a parameter can have.
pub trait Input: Sized {
    /// Reads the text of a query string, or of a scalar in a JSON body.
    fn parse(text: &str) -> Option<Self>;
    /// What can be read.
    fn valid() -> Valid;
    /// The same for the API description. Its types decide which JSON scalars are taken.
    fn schema() -> ObjectBuilder;
}

/// A parameter that holds a `T`.
pub struct Parameter<T> {
    /// Its name.
    pub name: &'static str,
    alias: Option<&'static str>,
    about: &'static str,
    default: Option<&'static str>,
    value: PhantomData<fn() -> T>,
}

impl<T> Parameter<T> {
    const fn new(name: &'static str, default: Option<&'static str>, about: &'static str) -> Self {
        Self { name, alias: None, about, default, value: PhantomData }
    }

    /// The name that the PHP lab gave it.
    const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }
}

/// What to buy, reset or look at.
pub const PRODUCT: Parameter<Product> =
    Parameter::new("product", Some("default"), "The product.").alias("product_id");
/// How many units to buy.
pub const QUANTITY: Parameter<Quantity> = Parameter::new("quantity", Some("1"), "Units to buy.");
/// The strategy of a purchase.
pub const LOCK: Parameter<StrategyId> =
    Parameter::new("lock", Some("safe"), "The strategy.").alias("lock_strategy");
/// The strategy that names a store.
pub const STORE_OF: Parameter<StrategyId> =
    Parameter::new("lock", None, "A strategy: its store is meant.").alias("lock_strategy");
/// The work of a purchase.
pub const DELAY: Parameter<Delay> = Parameter::new(
    "delay",
    Some("1ms"),
    "Work between read and write, at least; the timer's step is 1 ms. A bare number is in µs.",
);
/// How long a lease lasts.
pub const TTL: Parameter<Ttl> =
    Parameter::new("ttl", Some("5s"), "How long a lease lasts. A bare number is in ms.");
/// Whether losing is an HTTP failure.
pub const STRICT: Parameter<Flag> = Parameter::new(
    "strict",
    Some("false"),
    "Maps outcomes to statuses: 409 sold_out and conflict, 423 busy, 412 fenced and lost.",
);
/// What a reset puts on sale.
pub const STOCK: Parameter<Units> = Parameter::new("stock", Some("1"), "Units to put on sale.");

/// A parameter whatever its type.
pub trait AnyParameter: Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// The name that the PHP lab gave it.
    fn alias(&self) -> Option<&'static str>;
    /// Its value and purpose, for the API description.
    fn describe(&self) -> Object;
}

impl<T: Input> AnyParameter for Parameter<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn alias(&self) -> Option<&'static str> {
        self.alias
    }

    fn describe(&self) -> Object {
        let default = self.default.map(|text| match T::schema().build().schema_type {
            SchemaType::Type(Type::Integer | Type::Boolean) => {
                serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
            }
            _ => Value::from(text),
        });
        T::schema().description(Some(self.about)).default(default).build()
    }
}

/// The parameters of a route.
pub type Parameters = &'static [&'static dyn AnyParameter];

/// Describes parameters of the query string, aliases included.
#[must_use]
pub fn describe_query(parameters: Parameters) -> Vec<path::Parameter> {
    let named = |parameter: &dyn AnyParameter, name: &str| {
        let mut schema = parameter.describe();
        let mut about = schema.description.take();
        if name != parameter.name() {
            about = Some(format!("Another name of `{}`: give one of the two.", parameter.name()));
        }
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(about)
            .schema(Some(schema))
            .build()
    };
    let both = |parameter: &&'static dyn AnyParameter| {
        let names = std::iter::once(parameter.name()).chain(parameter.alias());
        names.map(|name| named(*parameter, name)).collect::<Vec<_>>()
    };
    parameters.iter().flat_map(both).collect()
}

/// Describes a JSON body with these members, aliases included.
#[must_use]
pub fn describe_body(parameters: Parameters) -> Object {
    let body = ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    let with_both = |body: ObjectBuilder, parameter: &&'static dyn AnyParameter| {
        let names = std::iter::once(parameter.name()).chain(parameter.alias());
        names.fold(body, |body, name| body.property(name, parameter.describe()))
    };
    parameters.iter().fold(body, with_both).build()
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
        Valid::OneOf(strategy::names().into_iter().map(str::to_owned).collect())
    }

    fn schema() -> ObjectBuilder {
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(strategy::names()))
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

/// The text of a JSON scalar, if the type takes scalars of that kind.
#[must_use]
pub fn scalar_text<T: Input>(value: &Value) -> Option<String> {
    let takes = |wanted: Type| match T::schema().build().schema_type {
        SchemaType::Type(only) => only == wanted,
        SchemaType::Array(several) => several.contains(&wanted),
        SchemaType::AnyValue => true,
    };
    match value {
        Value::String(text) if takes(Type::String) => Some(text.clone()),
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
