//! The items of a cart: how they are read, merged and put in order.

use crate::{
    http::{
        fields::Fields,
        input::{item::CartItem, names::LockOrder},
        parameter::{ITEMS, ORDER, PRODUCT, QUANTITY},
        problem::Problem,
    },
    product::Item,
    stock::QUANTITY_MAX,
    strategy::StrategyId,
};

/// The items of an order, and whether they were given as a cart.
///
/// # Errors
/// They are not valid, or there are several and the strategy sells one product at a time.
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
        return Err(Problem::invalid(name, detail, "either items, or product and quantity"));
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
    let refuse = |detail: &str, valid: &str| Err(Problem::invalid(ITEMS.name, detail, valid));
    if items.is_empty() {
        return refuse("parameter \"items\" is empty", "at least one item");
    }
    if let Some(Item { product, quantity }) = too_many {
        let valid = format!("at most {QUANTITY_MAX} units of a product");
        let detail = format!("items: {quantity} units of {product}; expected {valid}");
        return refuse(&detail, &valid);
    }
    let row = strategy.row();
    if items.len() > 1 && !row.sells_carts {
        let valid = "one product per purchase";
        return refuse(&format!("items: {} sells {valid}", row.name), valid);
    }
    if fields.take(&ORDER)?.unwrap_or(LockOrder::Sorted) == LockOrder::Sorted {
        items.sort_unstable_by(|one, other| one.product.cmp(&other.product));
    }
    Ok((items, true))
}
