//! `/purchase`: from a request to an order, and from its receipt to a reply.

use std::{str::FromStr, sync::Arc};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Request},
    response::{IntoResponse, Response},
};
use opentelemetry_http::HeaderExtractor;
use tokio::time::Duration;
use tracing::{Instrument, Span};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        self, ObjectBuilder, Required,
        path::{self, ParameterBuilder, ParameterIn},
        schema::Type,
    },
};

use crate::{
    http::{
        app::{App, require_admin},
        cart::take_items,
        fields::Fields,
        input::EXTENSIONS_MAX,
        json::Json,
        metrics::Shed,
        parameter::{
            BASE, BODY, CAP, DELAY, EXTENSIONS, FAULT, ITEMS, LOCK, MAX_RETRIES, ORDER, PRODUCT,
            Parameters, QUANTITY, RETRY, STRICT, TTL, WAIT, describe_body, describe_query,
        },
        problem::Problem,
        reply::{PurchaseReply, server_timing, status},
    },
    order::{
        Order,
        receipt::{Failure, Receipt},
        span,
    },
    outcome::Outcome,
    run::{RUN_ID_PATTERN, RUN_ID_VALID},
    stock::answer::{IdempotencyKey, KEY_MAX, KEY_VALID},
    strategy::StrategyId,
};
use locklab_locks::{
    fault::{Fault, Faults},
    token::Token,
    wait::Patience,
};

/// The header that names a purchase.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// The header that names a load test.
const RUN_ID: &str = "X-Run-Id";

/// The parameters of a purchase.
pub struct PurchaseParameters;

impl PurchaseParameters {
    const ALL: Parameters = &[
        &PRODUCT.any,
        &QUANTITY.any,
        &ITEMS.any,
        &ORDER.any,
        &LOCK.any,
        &DELAY.any,
        &TTL.any,
        &EXTENSIONS.any,
        &RETRY.any,
        &MAX_RETRIES.any,
        &WAIT.any,
        &BASE.any,
        &CAP.any,
        &FAULT.any,
        &STRICT.any,
    ];
}

impl IntoParams for PurchaseParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<path::Parameter> {
        let header = |name: &str, about: String, schema: ObjectBuilder| {
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Header)
                .required(Required::False)
                .description(Some(about))
                .schema(Some(schema.schema_type(Type::String)))
                .build()
        };
        let key = header(
            IDEMPOTENCY_KEY,
            format!(
                "Names the purchase of a product (of a cart: of the first by name): sent again, it \
                 gets the answer of the first time, unless that was a 5xx, until the product is \
                 reset or an hour is over. {KEY_VALID}."
            ),
            ObjectBuilder::new().max_length(Some(KEY_MAX + 2)),
        );
        let run_id = header(
            RUN_ID,
            format!("Names the load test, for logs and the history. {RUN_ID_VALID}."),
            ObjectBuilder::new().pattern(Some(RUN_ID_PATTERN)),
        );
        describe_query(Self::ALL).into_iter().chain([key, run_id]).collect()
    }
}

impl PartialSchema for PurchaseParameters {
    fn schema() -> openapi::RefOr<openapi::Schema> {
        openapi::Schema::Object(describe_body(Self::ALL)).into()
    }
}

impl ToSchema for PurchaseParameters {}

/// Buys units of a product.
///
/// A purchase that was decided is a 200, whoever won; `strict=true` maps outcomes to statuses.
#[utoipa::path(
    post,
    operation_id = "purchase",
    path = "/purchase",
    tag = "shop",
    params(PurchaseParameters),
    request_body(content = PurchaseParameters, description = BODY),
    responses(PurchaseReply),
    security((), ("admin" = []))
)]
pub async fn post(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let admin = require_admin(app.admin_token.as_deref(), request.headers());
    let parent = span::parent(&HeaderExtractor(request.headers()));
    let name = header(request.headers(), IDEMPOTENCY_KEY, KEY_VALID);
    let run_id = header(request.headers(), RUN_ID, RUN_ID_VALID);
    let mut fields = Fields::read(request, PurchaseParameters::ALL).await?;
    let strategy = fields.take(&LOCK)?.unwrap_or_default();
    let (items, is_cart) = take_items(&mut fields, strategy)?;
    let order = Order {
        id: Token::random(),
        items,
        key: None,
        run_id: run_id?,
        strategy,
        delay: fields.take(&DELAY)?.map_or(Duration::from_millis(1), |delay| delay.0),
        ttl: ttl(&mut fields, &app, strategy)?,
        extensions: extensions(&mut fields, strategy)?,
        patience: patience(&mut fields)?,
        faults: Faults::new(faults(&mut fields, strategy, admin)?, Arc::clone(&app.faults)),
    };
    let strict = fields.take(&STRICT)?.is_some_and(|strict| strict.0);
    // Dropped with this handler, when the client hangs up: who still waits for a lock then gives
    // up.
    let _client = order.patience.gone.clone().drop_guard();
    let span = span::purchase(&order, parent);
    let (order, receipt) = carry_out(&app, order, name?, span).await?;
    let status = status(receipt.outcome, strict);
    let is_shed = matches!(receipt.failure, Some(Failure::QueueFull(_)));
    if is_shed {
        app.http.shed(Shed::QueueFull);
    }
    if is_shed || status.is_server_error() {
        return Err(Problem::failed_purchase(receipt.outcome, receipt.failure.as_ref()));
    }
    let reply = PurchaseReply::new(&order, is_cart, &receipt);
    let mut response = (status, Json(reply)).into_response();
    if receipt.repeated {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    if let Some(timing) = server_timing(&receipt) {
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
    responses(PurchaseReply),
    security((), ("admin" = []))
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
    let row = strategy.row();
    if let Some(fault) = faults.iter().find(|fault| !row.steps.contains(&fault.step)) {
        let steps: Vec<&str> = row.steps.iter().map(|step| step.name()).collect();
        let valid = format!("a fault at one of {}", steps.join(", "));
        let detail = format!("fault {fault}: {} has no such step; expected {valid}", row.name);
        return Err(Problem::invalid(FAULT.name, detail, valid));
    }
    Ok(faults)
}

/// The header of that name, if there is one, and if it is what it has to be.
fn header<T: FromStr>(
    headers: &HeaderMap,
    name: &'static str,
    valid: &str,
) -> Result<Option<T>, Problem> {
    let mut given = headers.get_all(name).iter();
    let (Some(value), None) = (given.next(), given.next()) else {
        if !headers.contains_key(name) {
            return Ok(None);
        }
        let detail = format!("header {name} is given more than once");
        return Err(Problem::invalid(name, detail, "at most once"));
    };
    let parsed = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    parsed
        .map(Some)
        .ok_or_else(|| Problem::invalid(name, format!("header {name}: expected {valid}"), valid))
}

/// The ttl that was asked for, if the strategy's backend takes it.
fn ttl(fields: &mut Fields, app: &App, strategy: StrategyId) -> Result<Duration, Problem> {
    let ttl = fields.take(&TTL)?.map_or(Duration::from_secs(5), |ttl| ttl.0);
    match app.backends.ttl_max(strategy.row()) {
        Some(most) if ttl > most => {
            let valid = format!("at most {} ms under {}", most.as_millis(), strategy.row().name);
            let detail = format!("ttl: expected {valid}, as --redlock-restart-delay has it");
            Err(Problem::invalid(TTL.name, detail, valid))
        }
        _ => Ok(ttl),
    }
}

/// How often leases are to be extended, if the strategy does such a thing.
fn extensions(fields: &mut Fields, strategy: StrategyId) -> Result<u32, Problem> {
    let extensions = fields.take(&EXTENSIONS)?.map_or(0, |most| most.0);
    if extensions == 0 || strategy.row().extends_leases {
        return Ok(extensions);
    }
    let extending = StrategyId::all().map(StrategyId::row).filter(|row| row.extends_leases);
    let extending: Vec<&str> = extending.map(|row| row.name).collect();
    let (name, extending) = (strategy.row().name, extending.join(", "));
    let valid = format!("0 under {name}; up to {EXTENSIONS_MAX} under {extending}");
    let detail = format!("extensions: expected {valid}; got {extensions}");
    Err(Problem::invalid(EXTENSIONS.name, detail, valid))
}

fn patience(fields: &mut Fields) -> Result<Patience, Problem> {
    let default = Patience::default();
    Ok(Patience {
        policy: fields.take(&RETRY)?.unwrap_or(default.policy),
        base: fields.take(&BASE)?.map_or(default.base, |base| base.0),
        cap: fields.take(&CAP)?.map_or(default.cap, |cap| cap.0),
        max_retries: fields.take(&MAX_RETRIES)?.map_or(default.max_retries, |most| most.0),
        wait: fields.take(&WAIT)?.map_or(default.wait, |wait| wait.0),
        ..default
    })
}

/// Runs the purchase in a task of its own: a client that hangs up drops this handler, and must not
/// drop a critical section in the middle.
async fn carry_out(
    app: &Arc<App>,
    mut order: Order,
    name: Option<IdempotencyKey>,
    span: Span,
) -> Result<(Order, Receipt), Problem> {
    if app.draining.is_cancelled() {
        app.http.shed(Shed::Draining);
        return Err(Problem::draining("the server is stopping; try again elsewhere"));
    }
    let Ok(place) = Arc::clone(&app.places).try_acquire_owned() else {
        app.http.shed(Shed::Overload);
        return Err(Problem::overload("too many purchases are in flight; try again"));
    };
    let (seller, abandon, strategy) = (Arc::clone(app), app.abandon.clone(), order.strategy);
    let in_flight = app.http.in_flight();
    let purchase = async move {
        let receipt = abandon.run_until_cancelled(async {
            match name {
                Some(name) => seller.shop.purchase_once(&mut order, name).await,
                None => seller.shop.purchase(&order).await,
            }
        });
        let receipt = receipt.await?;
        seller.log.note(&order, &receipt);
        span::end(&receipt);
        drop((in_flight, place));
        Some((order, receipt))
    };
    let purchase = app.purchases.spawn(purchase.instrument(span));
    match purchase.await {
        Ok(Some(done)) => Ok(done),
        Ok(None) => Err(Problem::draining("the server stopped before the purchase was done")),
        Err(error) => {
            tracing::error!(%error, "a purchase broke");
            app.shop.metrics().purchase(strategy, Outcome::Error);
            Err(Problem::internal("the purchase broke; the log says why"))
        }
    }
}
