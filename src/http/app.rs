//! What the handlers share.

use std::sync::Arc;

use axum::{
    body::Bytes,
    http::{HeaderMap, header},
};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    backends::Backends,
    http::{metrics::HttpMetrics, problem::Problem},
    measure::exporter::Exporter,
    order::log::PurchaseLog,
    shop::Shop,
};
use locklab_locks::fault::FaultMetrics;

/// The handles that every handler works with.
pub struct App {
    /// Where purchases are carried out.
    pub shop: Arc<Shop>,
    /// The servers behind it.
    pub backends: Arc<Backends>,
    /// Where measurements go.
    pub exporter: Arc<Exporter>,
    /// What the routes record.
    pub http: HttpMetrics,
    /// Who counts the faults of orders.
    pub faults: Arc<FaultMetrics>,
    /// Places for purchases in flight; more are turned away.
    pub places: Arc<Semaphore>,
    /// Logs purchases that fail or take long.
    pub log: PurchaseLog,
    /// The purchases in flight, including those whose client has gone.
    pub purchases: TaskTracker,
    /// Cancelled when the server starts to stop.
    pub draining: CancellationToken,
    /// Cancelled when purchases in flight have had their time.
    pub abandon: CancellationToken,
    /// What `/reset` demands as a bearer token.
    pub admin_token: Option<String>,
    /// The API description.
    pub openapi: Bytes,
}

/// Whether the request may do what only an admin may.
///
/// # Errors
/// The server has an admin token, and the request does not.
pub fn require_admin(expected: Option<&str>, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(expected) = expected else {
        return Ok(());
    };
    let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    // The scheme is case-insensitive, the token is not.
    let (scheme, given) = given.and_then(|value| value.split_at_checked(7)).unwrap_or_default();
    // In constant time: the duration of a comparison must not tell how much of a guess was right.
    if scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(given.ct_eq(expected.as_bytes())) {
        return Ok(());
    }
    Err(Problem::unauthorized("this server wants Authorization: Bearer with its admin token"))
}
