//! `/purchase`: from a request to an order, and from its receipt to a reply.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, Request, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::time::Duration;
use utoipa::{IntoParams, IntoResponses, PartialSchema, ToSchema, openapi};

use crate::{
    fault::{FAULTS_MAX, Fault, Faults},
    http::{
        App,
        fields::Fields,
        json::Json,
        parameter::{
            BASE, CAP, DELAY, FAULT, LOCK, MAX_RETRIES, PRODUCT, Parameters, QUANTITY, RETRY,
            STRICT, TTL, WAIT, describe_body, describe_query,
        },
        problem::{Problem, Responses, Valid, describe_responses},
        product::require_admin,
    },
    metrics::Shed,
    order::{Order, Outcome, Receipt},
    strategy::StrategyId,
    wait::Patience,
};

/// The parameters of a purchase.
pub struct PurchaseParameters;

impl PurchaseParameters {
    const ALL: Parameters = &[
        &PRODUCT,
        &QUANTITY,
        &LOCK,
        &DELAY,
        &TTL,
        &RETRY,
        &MAX_RETRIES,
        &WAIT,
        &BASE,
        &CAP,
        &FAULT,
        &STRICT,
    ];
}

impl IntoParams for PurchaseParameters {
    fn into_params(
        _: impl Fn() -> Option<openapi::path::ParameterIn>,
    ) -> Vec<openapi::path::Parameter> {
        describe_query(Self::ALL)
    }
}

impl PartialSchema for PurchaseParameters {
    fn schema() -> openapi::RefOr<openapi::Schema> {
        openapi::Schema::Object(describe_body(Self::ALL)).into()
    }
}

impl ToSchema for PurchaseParameters {}

/// How a purchase ended. The first seven members are those of the PHP lab.
#[derive(Debug, Serialize, ToSchema)]
pub struct PurchaseReply {
    /// Whether the units were sold.
    success: bool,
    /// The process that served the purchase.
    process_id: u32,
    /// Whether the lock was granted; true for strategies that need none.
    lock_acquired: bool,
    /// The stock that was read; −1 if none was.
    stock_before: i64,
    /// The stock after the purchase; −1 if it was never read.
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
    /// The fencing token of the lease; null for strategies that issue none.
    fencing_token: Option<u64>,
    /// Whether the lease had expired before the purchase was done with it.
    ttl_violated: bool,
}

impl IntoResponses for PurchaseReply {
    fn responses() -> Responses {
        let decided = [
            (200, "The purchase was decided"),
            (409, "With strict: sold_out or conflict"),
            (412, "With strict: fenced or lost"),
            (423, "With strict: busy"),
        ];
        describe_responses::<Self>(&decided, &[400, 401, 404, 408, 413, 415, 500, 503])
    }
}

impl PurchaseReply {
    fn new(order: &Order, receipt: &Receipt) -> Self {
        Self {
            success: receipt.outcome == Outcome::Sold,
            process_id: std::process::id(),
            lock_acquired: receipt.lock_acquired,
            stock_before: receipt.stock_before.unwrap_or(-1),
            stock_after: receipt.stock_after.unwrap_or(-1),
            duration_ms: millis(receipt.duration),
            error: explain(receipt),
            outcome: receipt.outcome,
            lock: order.strategy.row().name,
            order_id: receipt.order_id.as_ref().map(|id| id.as_str().to_owned()),
            retries: receipt.retries,
            wait_ms: millis(receipt.wait),
            hold_ms: millis(receipt.hold),
            fencing_token: receipt.fencing_token,
            ttl_violated: receipt.violation.is_some(),
        }
    }
}

fn explain(receipt: &Receipt) -> Option<String> {
    match receipt.outcome {
        Outcome::Sold => None,
        Outcome::SoldOut => Some("Insufficient stock".to_owned()),
        Outcome::Busy => Some("Failed to acquire lock".to_owned()),
        _ => receipt.failure.as_ref().map(ToString::to_string),
    }
}

fn millis(duration: Duration) -> f64 {
    // Whole microseconds: more digits would only be noise on the wire.
    duration.as_micros() as f64 / 1000.0
}

fn status(outcome: Outcome, strict: bool) -> StatusCode {
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

/// Buys units of a product.
///
/// A purchase that was decided is a 200, whoever won; `strict=true` maps outcomes to statuses.
#[utoipa::path(
    post,
    operation_id = "purchase",
    path = "/purchase",
    tag = "shop",
    params(PurchaseParameters),
    request_body(content = PurchaseParameters, description = "The query wins; what it overrides is not looked at."),
    responses(PurchaseReply)
)]
pub async fn post(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let admin = require_admin(app.admin_token.as_deref(), request.headers());
    let mut fields = Fields::read(request, PurchaseParameters::ALL).await?;
    let strategy = fields.take(&LOCK)?.unwrap_or_default();
    let order = Order {
        product: fields.take(&PRODUCT)?.unwrap_or_default(),
        quantity: fields.take(&QUANTITY)?.map_or(1, |quantity| quantity.0),
        strategy,
        delay: fields.take(&DELAY)?.map_or(Duration::from_millis(1), |delay| delay.0),
        ttl: fields.take(&TTL)?.map_or(Duration::from_secs(5), |ttl| ttl.0),
        patience: patience(&mut fields)?,
        faults: Faults::new(faults(&mut fields, strategy, admin)?, Arc::clone(&app.metrics)),
    };
    // Dropped with this handler, when the client hangs up: who still waits for a lock then gives up.
    let _client = order.patience.gone.clone().drop_guard();
    let strict = fields.take(&STRICT)?.is_some_and(|strict| strict.0);
    let (order, receipt) = carry_out(&app, order).await?;
    let status = status(receipt.outcome, strict);
    if status.is_server_error() {
        return Err(Problem::failed_purchase(receipt.outcome, receipt.failure.as_ref()));
    }
    let mut response = (status, Json(PurchaseReply::new(&order, &receipt))).into_response();
    if let Ok(timing) = server_timing(&receipt) {
        response.headers_mut().insert("server-timing", timing);
    }
    Ok(response)
}

/// Buys units of a product, for URLs that are pasted.
#[utoipa::path(
    get,
    operation_id = "purchase_by_url",
    path = "/purchase",
    tag = "shop",
    params(PurchaseParameters),
    responses(PurchaseReply)
)]
pub async fn get(state: State<Arc<App>>, request: Request<Body>) -> Result<Response, Problem> {
    post(state, request).await
}

/// The faults that were asked for, if whoever asked may, and if the strategy has such steps.
fn faults(
    fields: &mut Fields,
    strategy: StrategyId,
    admin: Result<(), Problem>,
) -> Result<Vec<Fault>, Problem> {
    let faults = fields.take_all(&FAULT)?;
    if !faults.is_empty() {
        admin?;
    }
    if faults.len() > FAULTS_MAX {
        let detail = format!("parameter \"fault\" is given {} times", faults.len());
        let valid = Valid::Words(format!("at most {FAULTS_MAX} times"));
        return Err(Problem::invalid_parameter(detail).blame(FAULT.name, valid));
    }
    let row = strategy.row();
    if let Some(fault) = faults.iter().find(|fault| !row.steps.contains(&fault.step)) {
        let steps: Vec<&str> = row.steps.iter().map(|step| step.name()).collect();
        let valid = format!("a fault at one of {}", steps.join(", "));
        let detail = format!("fault {fault}: {} has no such step; expected {valid}", row.name);
        return Err(Problem::invalid_parameter(detail).blame(FAULT.name, Valid::Words(valid)));
    }
    Ok(faults)
}

fn patience(fields: &mut Fields) -> Result<Patience, Problem> {
    let default = Patience::default();
    Ok(Patience {
        policy: fields.take(&RETRY)?.unwrap_or(default.policy),
        base: fields.take(&BASE)?.map_or(default.base, |base| base.0),
        cap: fields.take(&CAP)?.map_or(default.cap, |cap| cap.0),
        max_retries: fields.take(&MAX_RETRIES)?.map_or(default.max_retries, |most| most.0),
        wait: fields.take(&WAIT)?.map_or(default.wait, |wait| wait.0),
        gone: default.gone,
    })
}

/// Runs the purchase in a task of its own: a client that hangs up drops this handler, and must not
/// drop a critical section in the middle.
async fn carry_out(app: &Arc<App>, order: Order) -> Result<(Order, Receipt), Problem> {
    if app.draining.is_cancelled() {
        app.metrics.http.shed(Shed::Draining);
        return Err(Problem::draining("the server is stopping; try again elsewhere"));
    }
    let Ok(place) = Arc::clone(&app.places).try_acquire_owned() else {
        app.metrics.http.shed(Shed::Overload);
        return Err(Problem::overload("too many purchases are in flight; try again"));
    };
    let (shop, abandon, strategy) = (Arc::clone(&app.shop), app.abandon.clone(), order.strategy);
    let in_flight = app.metrics.http.in_flight();
    let purchase = app.purchases.spawn(async move {
        let receipt = abandon.run_until_cancelled(shop.purchase(&order)).await;
        drop((in_flight, place));
        receipt.map(|receipt| (order, receipt))
    });
    match purchase.await {
        Ok(Some(done)) => Ok(done),
        Ok(None) => Err(Problem::draining("the server stopped before the purchase was done")),
        Err(error) => {
            tracing::error!(%error, "a purchase broke");
            app.metrics.purchase(strategy, Outcome::Error);
            Err(Problem::internal("the purchase broke; the log says why"))
        }
    }
}

fn server_timing(receipt: &Receipt) -> Result<HeaderValue, axum::http::header::InvalidHeaderValue> {
    let backend = receipt.duration.saturating_sub(receipt.wait + receipt.work);
    let (wait, work, backend) = (millis(receipt.wait), millis(receipt.work), millis(backend));
    HeaderValue::from_str(&format!("wait;dur={wait}, work;dur={work}, backend;dur={backend}"))
}
