//! The items of a cart: how they are read, merged and put in order.

use serde_json::Value;
use strum::{EnumString, IntoStaticStr, VariantArray};
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Type};

use crate::{
    http::{
        fields::Fields,
        input::{Input, Quantity, text_of},
        parameter::{ITEMS, ORDER, PRODUCT, QUANTITY},
        problem::{Problem, Valid},
    },
    product::{Item, Product},
    stock::QUANTITY_MAX,
    strategy::StrategyId,
};

/// One item of a cart.
pub struct CartItem(Item);

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
        let product = Product::valid();
        let (Valid::Words(product), Valid::Words(quantity)) = (product, Quantity::valid()) else {
            return Valid::Words(String::new());
        };
        Valid::Words(format!(
            "{{\"product_id\": {product}; \"quantity\": {quantity}, 1 if it is left out}}"
        ))
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

/// The items of an order, and whether they were given as a cart.
pub fn take_items(fields: &mut Fields, strategy: StrategyId) -> Result<(Vec<Item>, bool), Problem> {
    let is_cart = fields.has(&ITEMS);
    if !is_cart {
        let product = fields.take(&PRODUCT)?.unwrap_or_default();
        let quantity = fields.take(&QUANTITY)?.map_or(1, |quantity| quantity.0);
        // One item has but one order.
        fields.take(&ORDER)?;
        return Ok((vec![Item { product, quantity }], false));
    }
    let beside = [(PRODUCT.name, fields.has(&PRODUCT)), (QUANTITY.name, fields.has(&QUANTITY))];
    if let Some((name, _)) = beside.into_iter().find(|(_, given)| *given) {
        let detail = format!("parameter {name:?} is given beside \"items\"");
        let valid = Valid::Words("either items, or product and quantity".to_owned());
        return Err(Problem::invalid_parameter(detail).blame(name, valid));
    }
    let mut items: Vec<Item> = Vec::new();
    for CartItem(item) in fields.take_all(&ITEMS)? {
        match items.iter_mut().find(|it| it.product == item.product) {
            // To lock a product twice is to wait for oneself.
            Some(same) => same.quantity += item.quantity,
            None => items.push(item),
        }
    }
    let too_many = items.iter().find(|item| item.quantity > QUANTITY_MAX);
    let refuse = |detail: String, valid: String| {
        Err(Problem::invalid_parameter(detail).blame(ITEMS.name, Valid::Words(valid)))
    };
    if items.is_empty() {
        return refuse("parameter \"items\" is empty".to_owned(), "at least one item".to_owned());
    }
    if let Some(Item { product, quantity }) = too_many {
        let valid = format!("at most {QUANTITY_MAX} units of a product");
        return refuse(format!("items: {quantity} units of {product}; expected {valid}"), valid);
    }
    let row = strategy.row();
    if items.len() > 1 && !row.sells_carts {
        let valid = "one product per purchase".to_owned();
        return refuse(format!("items: {} sells {valid}", row.name), valid);
    }
    if fields.take(&ORDER)?.unwrap_or(LockOrder::Sorted) == LockOrder::Sorted {
        items.sort_unstable_by(|one, other| one.product.cmp(&other.product));
    }
    Ok((items, true))
}
