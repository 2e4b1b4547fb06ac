//! Looking at a product: which one, in which store, and what goes wrong then.

use axum::{
    extract::{Path, rejection::PathRejection},
    http::Uri,
};
use utoipa::{IntoParams, openapi};

use crate::{
    http::{
        app::App,
        fields::Fields,
        input::Input,
        parameter::{PRODUCT, Parameters, STORE_OF, describe_query},
        problem::Problem,
    },
    product::Product,
    shop::LookError,
    stock::Evidence,
    strategy::{StrategyId, server::Store},
};

/// What to do when one of several stores is away.
pub const ONE_STORE: &str = "with lock=, only the store of that strategy is asked";

/// The parameters of a look at a product.
pub struct LookParameters;

impl LookParameters {
    /// All of them.
    pub const ALL: Parameters = &[&STORE_OF.any];
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

/// The product in the path, if it is one.
pub type InPath = Result<Path<String>, PathRejection>;

/// The product in the path, and what the query says of it.
///
/// # Errors
/// One of them is not valid.
pub fn look(path: InPath, uri: &Uri, known: Parameters) -> Result<(Product, Fields), Problem> {
    let product = path.ok().and_then(|Path(name)| Product::parse(&name)).ok_or_else(|| {
        let detail = "the product in the path is not a product name";
        Problem::invalid(PRODUCT.name, detail, Product::valid())
    })?;
    Ok((product, Fields::query(uri.query(), known)?))
}

/// The store that is meant, and what there is of a product in it.
///
/// # Errors
/// The product is not on sale there, the store does not answer, or it is not clear which is meant.
pub async fn evidence(
    app: &App,
    product: &Product,
    store_of: Option<StrategyId>,
) -> Result<(Store, Evidence), Problem> {
    let store = app.shop.where_sold(product, store_of).await?;
    let evidence = app.shop.evidence(product, store).await?;
    Ok((store, evidence.ok_or_else(|| Problem::absent(product))?))
}

impl From<LookError> for Problem {
    fn from(error: LookError) -> Self {
        match error {
            LookError::Store(error) => Self::from(error).advise(ONE_STORE),
            LookError::Ambiguous(_) => {
                Self::invalid(STORE_OF.name, error.to_string(), StrategyId::valid())
            }
        }
    }
}
