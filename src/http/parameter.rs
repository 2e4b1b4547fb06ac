//! Every parameter of the API. The server and `/openapi.json` both work from this table, so neither
//! can know more than the other.

use std::{marker::PhantomData, ops::Deref};

use serde_json::Value;
use utoipa::openapi::{
    Required,
    path::{self, ParameterBuilder, ParameterIn},
    schema::{AdditionalProperties, ArrayBuilder, Object, ObjectBuilder, Schema, SchemaType, Type},
};

use crate::{
    http::input::{
        Delay, Extensions, Flag, Input, Quantity, Retries, Ttl, Units, Wait,
        item::CartItem,
        names::{Format, LockOrder},
    },
    product::{ITEMS_MAX, Product},
    strategy::StrategyId,
};
use locklab_locks::{
    fault::{FAULTS_MAX, Fault},
    wait::Policy,
};

/// A parameter, whatever its type.
pub struct AnyParameter {
    /// Its name.
    pub name: &'static str,
    alias: Option<&'static str>,
    about: &'static str,
    default: Option<&'static str>,
    /// How often it may be given; more than once, or as an array, if that is more than one.
    pub most: usize,
    schema: fn() -> ObjectBuilder,
}

/// A parameter that holds a `T`.
pub struct Parameter<T> {
    /// What there is to know without the type.
    pub any: AnyParameter,
    value: PhantomData<fn() -> T>,
}

impl<T> Deref for Parameter<T> {
    type Target = AnyParameter;

    fn deref(&self) -> &AnyParameter {
        &self.any
    }
}

impl<T: Input> Parameter<T> {
    const fn new(name: &'static str, default: Option<&'static str>, about: &'static str) -> Self {
        let schema = T::schema;
        let any = AnyParameter { name, alias: None, about, default, most: 1, schema };
        Self { any, value: PhantomData }
    }

    /// May be given so many times, or as an array.
    const fn up_to(mut self, most: usize) -> Self {
        self.any.most = most;
        self
    }

    /// The name that the PHP lab gave it.
    const fn alias(mut self, alias: &'static str) -> Self {
        self.any.alias = Some(alias);
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
pub const STORE_OF: Parameter<StrategyId> = Parameter::new(
    "lock",
    None,
    "A strategy: its store is meant. Without it, a reset is one in every store, and looked at is \
     the store that the product was sold from.",
)
.alias("lock_strategy");
/// The work of a purchase.
pub const DELAY: Parameter<Delay> = Parameter::new(
    "delay",
    Some("1ms"),
    "Work between read and write, at least; the timer's step is 1 ms. A bare number is in µs.",
);
/// How long a lease lasts.
pub const TTL: Parameter<Ttl> = Parameter::new(
    "ttl",
    Some("5s"),
    "How long a lease lasts; of a database's session, how long it may say nothing. A bare number \
     is in ms.",
);
/// How often a lease is extended.
pub const EXTENSIONS: Parameter<Extensions> = Parameter::new(
    "extensions",
    Some("0"),
    "How often a lease of redlock is extended, at most, while the work goes on: each ttl / 3.",
);
/// What a loser does.
pub const RETRY: Parameter<Policy> =
    Parameter::new("retry", Some("none"), "What to do when somebody else holds the lock.");
/// How often a loser tries again.
pub const MAX_RETRIES: Parameter<Retries> =
    Parameter::new("max_retries", Some("15"), "Tries after the first.");
/// How long a loser tries.
pub const WAIT: Parameter<Wait> = Parameter::new(
    "wait",
    Some("10s"),
    "Time after which there is one last try, or nobody waits for a row any longer. A bare number \
     is in ms.",
);
/// Where back-off starts.
pub const BASE: Parameter<Wait> =
    Parameter::new("base", Some("100ms"), "What delays start from. A bare number is in ms.");
/// Where back-off ends.
pub const CAP: Parameter<Wait> =
    Parameter::new("cap", Some("2s"), "What no delay exceeds. A bare number is in ms.");
/// What is to go wrong.
pub const FAULT: Parameter<Fault> =
    Parameter::new("fault", None, "What is to go wrong, and where; several may.").up_to(FAULTS_MAX);
/// What to buy, all or nothing.
pub const ITEMS: Parameter<CartItem> = Parameter::new(
    "items",
    None,
    "Several products, all or nothing, instead of product and quantity; in a query, each as JSON.",
)
.up_to(ITEMS_MAX);
/// In which order the locks of a cart are taken.
pub const ORDER: Parameter<LockOrder> =
    Parameter::new("order", Some("sorted"), "In which order the locks of the items are taken.");
/// Whether losing is an HTTP failure.
pub const STRICT: Parameter<Flag> = Parameter::new(
    "strict",
    Some("false"),
    "Maps outcomes to statuses: 409 sold_out and conflict, 423 busy, 412 fenced and lost.",
);
/// How a history is written down.
pub const FORMAT: Parameter<Format> = Parameter::new(
    "format",
    Some("jsonl"),
    "One JSON object per event, or one operation per line in Jepsen's edn.",
);
/// What a reset puts on sale.
pub const STOCK: Parameter<Units> = Parameter::new("stock", Some("1"), "Units to put on sale.");

impl AnyParameter {
    /// Its names: the one that the PHP lab gave it is among them.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.name].into_iter().chain(self.alias)
    }

    /// Its value and purpose, for the API description.
    fn describe(&self) -> Schema {
        let default = self.default.map(|text| match (self.schema)().build().schema_type {
            SchemaType::Type(Type::Integer | Type::Boolean) => {
                serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
            }
            _ => Value::from(text),
        });
        let value = (self.schema)().description(Some(self.about)).default(default).build();
        if self.most > 1 {
            let several = ArrayBuilder::new().items(value).max_items(Some(self.most));
            return Schema::Array(several.description(Some(self.about)).build());
        }
        Schema::Object(value)
    }
}

/// What a body is said to be good for.
pub const BODY: &str = "The query wins; what it overrides is not looked at.";

/// The parameters of a route.
pub type Parameters = &'static [&'static AnyParameter];

fn by_name(all: Parameters) -> impl Iterator<Item = (&'static str, &'static AnyParameter)> {
    all.iter().flat_map(|parameter| parameter.names().map(move |name| (name, *parameter)))
}

/// Describes parameters of the query string, aliases included.
#[must_use]
pub fn describe_query(parameters: Parameters) -> Vec<path::Parameter> {
    let describe = |(name, parameter): (&str, &AnyParameter)| {
        let about = if name == parameter.name {
            parameter.about.to_owned()
        } else {
            format!("Another name of `{}`: give one of the two.", parameter.name)
        };
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some(about))
            .schema(Some(parameter.describe()))
            .build()
    };
    by_name(parameters).map(describe).collect()
}

/// Describes a JSON body with these members, aliases included.
#[must_use]
pub fn describe_body(parameters: Parameters) -> Object {
    let body = ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    let property = |body: ObjectBuilder, (name, parameter): (&str, &AnyParameter)| {
        body.property(name, parameter.describe())
    };
    by_name(parameters).fold(body, property).build()
}
