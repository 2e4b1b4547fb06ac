//! One item of a cart, as JSON.

use serde_json::Value;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Type};

use crate::{
    http::{
        input::{Input, Quantity, text_of},
        problem::Valid,
    },
    product::{Item, Product},
};

/// One item of a cart.
pub struct CartItem(pub Item);

impl Input for CartItem {
    fn parse(text: &str) -> Option<Self> {
        let Value::Object(members) = serde_json::from_str(text).ok()? else { return None };
        let (mut product, mut quantity) = (None, None);
        for (name, value) in &members {
            match name.as_str() {
                "product" | "product_id" if product.is_none() => {
                    product = Some(text_of::<Product>(value).and_then(|it| Product::parse(&it))?);
                }
                "quantity" => {
                    let units = text_of::<Quantity>(value).and_then(|it| Quantity::parse(&it))?;
                    quantity = Some(units.0);
                }
                _ => return None,
            }
        }
        Some(Self(Item { product: product?, quantity: quantity.unwrap_or(1) }))
    }

    fn valid() -> Valid {
        let (product, quantity) = (Product::valid(), Quantity::valid());
        let quantity = format!("{quantity}, 1 if it is left out");
        format!("{{\"product_id\": {product}; \"quantity\": {quantity}}}").into()
    }

    fn schema() -> ObjectBuilder {
        let product = || Product::schema().build();
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .property("product_id", product())
            .property("product", product())
            .property("quantity", Quantity::schema().default(Some(1.into())).build())
            .min_properties(Some(1))
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
    }
}
