//! The reply to a purchase: what its receipt says, as JSON, status and header.

use axum::http::{HeaderValue, StatusCode};
use serde::Serialize;
use tokio::time::Duration;
use utoipa::{IntoResponses, ToSchema};

use crate::{
    http::problem::{Responses, describe_responses},
    order::{Order, receipt::Receipt},
    outcome::Outcome,
    stock::ledger::Line,
};
use locklab_locks::lock::Votes;

/// How a purchase ended. The first seven members are those of the PHP lab.
#[derive(Debug, Serialize, ToSchema)]
pub struct PurchaseReply {
    /// Whether the units were sold.
    success: bool,
    /// The process that served the purchase.
    process_id: u32,
    /// Whether the lock was granted; true for strategies that need none.
    lock_acquired: bool,
    /// The stock that was read; −1 if none was, and for a cart, whose items say it.
    stock_before: i64,
    /// The stock after the purchase; −1 if it was never read, and for a cart.
    stock_after: i64,
    /// Time for the whole purchase, release included.
    duration_ms: f64,
    /// Why nothing was sold; null if something was.
    error: Option<String>,
    /// How it ended.
    outcome: Outcome,
    /// The strategy.
    lock: &'static str,
    /// The name of the sale; null if there was none.
    order_id: Option<String>,
    /// Attempts to acquire the lock after the first.
    retries: u32,
    /// Time from wanting the lock to having it, or to giving up.
    wait_ms: f64,
    /// Time from the grant to the end of the release; 0 if nothing was held.
    hold_ms: f64,
    /// The fencing token of the lease; null for strategies that issue none, and for a cart.
    fencing_token: Option<u64>,
    /// Whether a lease had expired before the purchase was done with it; null in an answer that is
    /// repeated, of which that is no part.
    ttl_violated: Option<bool>,
    /// What the nodes did at the last try, under a lock that several grant together.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    votes: Option<Votes>,
    #[doc = "Why the purchase was carried out without its lock, under a strategy that has more \
             than that to go by."]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    degraded: Option<String>,
    /// How often leases were extended, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    extensions: Option<u32>,
    /// The items of a cart, in the order in which their locks were taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    items: Option<Vec<ItemReply>>,
}

/// What became of one item of a cart.
#[derive(Debug, Serialize, ToSchema)]
pub struct ItemReply {
    /// The product.
    product_id: String,
    /// Units wanted.
    quantity: u32,
    /// The stock that was read; −1 if none was.
    stock_before: i64,
    /// The stock after the purchase; −1 if it was never read.
    stock_after: i64,
    /// The fencing token of the lease; null for strategies that issue none.
    fencing_token: Option<u64>,
}

impl IntoResponses for PurchaseReply {
    fn responses() -> Responses {
        let decided = [
            (200, "The purchase was decided"),
            (409, "With strict: sold_out or conflict"),
            (412, "With strict: fenced or lost"),
            (423, "With strict: busy"),
        ];
        let problems = [400, 401, 404, 408, 409, 413, 415, 422, 429, 500, 503];
        describe_responses::<Self>(&decided, &problems)
    }
}

impl PurchaseReply {
    /// What a buyer is told.
    pub fn new(order: &Order, is_cart: bool, receipt: &Receipt) -> Self {
        let single = if is_cart {
            Line::default()
        } else {
            receipt.lines.first().copied().unwrap_or_default()
        };
        let items = order.items.iter().zip(&receipt.lines).map(|(item, line)| ItemReply {
            product_id: item.product.to_string(),
            quantity: item.quantity,
            stock_before: line.stock_before.unwrap_or(-1),
            stock_after: line.stock_after.unwrap_or(-1),
            fencing_token: line.fencing_token,
        });
        Self {
            success: receipt.outcome == Outcome::Sold,
            process_id: std::process::id(),
            lock_acquired: receipt.lock_acquired,
            stock_before: single.stock_before.unwrap_or(-1),
            stock_after: single.stock_after.unwrap_or(-1),
            duration_ms: millis(receipt.duration),
            error: receipt.error(),
            outcome: receipt.outcome,
            lock: order.strategy.row().name,
            order_id: receipt.order_id.clone(),
            retries: receipt.retries,
            wait_ms: millis(receipt.wait),
            hold_ms: millis(receipt.hold),
            fencing_token: single.fencing_token,
            ttl_violated: (!receipt.repeated).then_some(receipt.violation.is_some()),
            votes: receipt.votes,
            degraded: receipt.degraded.clone(),
            extensions: (order.extensions > 0).then_some(receipt.renewals),
            items: is_cart.then(|| items.collect()),
        }
    }
}

fn millis(duration: Duration) -> f64 {
    // Whole microseconds: more digits would only be noise on the wire.
    duration.as_micros() as f64 / 1000.0
}

/// The status of a reply.
pub fn status(outcome: Outcome, strict: bool) -> StatusCode {
    match outcome {
        Outcome::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Outcome::Error => StatusCode::INTERNAL_SERVER_ERROR,
        _ if !strict => StatusCode::OK,
        Outcome::Sold => StatusCode::OK,
        Outcome::SoldOut | Outcome::Conflict => StatusCode::CONFLICT,
        Outcome::Busy => StatusCode::LOCKED,
        Outcome::Fenced | Outcome::Lost => StatusCode::PRECONDITION_FAILED,
    }
}

/// Where the time went.
pub fn server_timing(receipt: &Receipt) -> Option<HeaderValue> {
    let Receipt { wait, work, paused, duration, .. } = *receipt;
    let backend = duration.saturating_sub(wait + work + paused);
    let parts = [("wait", wait), ("work", work), ("fault", paused), ("backend", backend)];
    let part = |(name, time)| format!("{name};dur={}", millis(time));
    HeaderValue::from_str(&parts.map(part).join(", ")).ok()
}
