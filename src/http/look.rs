//! Looking at a product: which one, in which store, and what goes wrong then.

use axum::{
    extract::{Path, rejection::PathRejection},
    http::Uri,
};
use utoipa::{IntoParams, openapi};

use crate::{
    http::{
        fields::Fields,
        input::Input,
        parameter::{PRODUCT, Parameters, STORE_OF, describe_query},
        problem::{Problem, Valid},
    },
    product::Product,
    shop::LookError,
    strategy::StrategyId,
};

/// What to do when one of several stores is away.
pub const ONE_STORE: &str = "with lock=, only the store of that strategy is asked";

/// The parameters of a look at a product.
pub struct LookParameters;

impl LookParameters {
    const ALL: Parameters = &[&STORE_OF];
}

impl IntoParams for LookParameters {
    fn into_params(
        _: impl Fn() -> Option<openapi::path::ParameterIn>,
    ) -> Vec<openapi::path::Parameter> {
        describe_look(Self::ALL)
    }
}

/// Describes the product in the path, and the query.
pub fn describe_look(query: Parameters) -> Vec<openapi::path::Parameter> {
    let product = openapi::path::ParameterBuilder::new()
        .name("product")
        .parameter_in(openapi::path::ParameterIn::Path)
        .required(openapi::Required::True)
        .description(Some("The product."))
        .schema(Some(Product::schema().build()));
    std::iter::once(product.build()).chain(describe_query(query)).collect()
}

/// The product in the path.
pub fn in_path(path: Result<Path<String>, PathRejection>) -> Result<Product, Problem> {
    path.ok().and_then(|Path(name)| Product::parse(&name)).ok_or_else(|| {
        let detail = "the product in the path is not a product name";
        Problem::invalid_parameter(detail).blame(PRODUCT.name, Product::valid())
    })
}

/// The product in the path, and the strategy whose store is meant.
pub fn look(
    path: Result<Path<String>, PathRejection>,
    uri: &Uri,
) -> Result<(Product, Option<StrategyId>), Problem> {
    let product = in_path(path)?;
    let strategy = Fields::query(uri.query(), LookParameters::ALL)?.take(&STORE_OF)?;
    Ok((product, strategy))
}

impl From<LookError> for Problem {
    fn from(error: LookError) -> Self {
        match error {
            LookError::Store(error) => Self::from(error).advise(ONE_STORE),
            LookError::Ambiguous(_) => {
                let valid = StrategyId::names().iter().map(|&name| name.to_owned()).collect();
                Self::invalid_parameter(error.to_string()).blame(STORE_OF.name, Valid::OneOf(valid))
            }
        }
    }
}
