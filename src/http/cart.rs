//! The items of a cart: how they are read, merged and put in order.

use crate::{
    http::{
        fields::Fields,
        input::{item::CartItem, names::LockOrder},
        parameter::{ITEMS, ORDER, PRODUCT, QUANTITY},
        problem::{Problem, Valid},
    },
    product::Item,
    stock::QUANTITY_MAX,
    strategy::StrategyId,
};

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
