//! `/reset`, `/stock/{product}` and `/audit/{product}`: the state of a product, and what it proves.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{Request, Uri},
};
use serde::Serialize;
use utoipa::{IntoParams, IntoResponses, PartialSchema, ToSchema, openapi};

use crate::{
    http::{
        app::{App, require_admin},
        fields::Fields,
        json::Json,
        look::{InPath, LookParameters, ONE_STORE, evidence, look},
        parameter::{BODY, PRODUCT, Parameters, STOCK, STORE_OF, describe_body, describe_query},
        problem::{Problem, Responses, describe_responses},
    },
    stock::Evidence,
    strategy::server::Store,
    verdict::{self, Overlaps},
};

/// The parameters of a reset.
pub struct ResetParameters;

impl ResetParameters {
    const ALL: Parameters = &[&PRODUCT.any, &STOCK.any, &STORE_OF.any];
}

impl IntoParams for ResetParameters {
    fn into_params(
        _: impl Fn() -> Option<openapi::path::ParameterIn>,
    ) -> Vec<openapi::path::Parameter> {
        describe_query(Self::ALL)
    }
}

impl PartialSchema for ResetParameters {
    fn schema() -> openapi::RefOr<openapi::Schema> {
        openapi::Schema::Object(describe_body(Self::ALL)).into()
    }
}

impl ToSchema for ResetParameters {}

/// A product was put on sale afresh.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResetReply {
    /// Always `ok`.
    status: &'static str,
    /// The product.
    product_id: String,
    /// Units on sale.
    stock: u64,
}

impl IntoResponses for ResetReply {
    fn responses() -> Responses {
        let done = [(200, "The product is on sale afresh")];
        describe_responses::<Self>(&done, &[400, 401, 408, 413, 415, 500, 503])
    }
}

/// Puts a product on sale afresh: sets its stock, clears its ledger and forgets who holds it.
#[utoipa::path(
    post,
    operation_id = "reset",
    path = "/reset",
    tag = "shop",
    params(ResetParameters),
    request_body(content = ResetParameters, description = BODY),
    responses(ResetReply),
    security((), ("admin" = []))
)]
pub async fn reset_post(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Json<ResetReply>, Problem> {
    require_admin(app.admin_token.as_deref(), request.headers())?;
    let mut fields = Fields::read(request, ResetParameters::ALL).await?;
    let product = fields.take(&PRODUCT)?.unwrap_or_default();
    let stock = fields.take(&STOCK)?.map_or(1, |stock| stock.0);
    let strategy = fields.take(&STORE_OF)?;
    app.shop.reset(&product, stock, strategy).await.map_err(|error| match strategy {
        Some(_) => Problem::from(error),
        None => Problem::from(error).advise(ONE_STORE),
    })?;
    Ok(Json(ResetReply { status: "ok", product_id: product.to_string(), stock }))
}

/// Puts a product on sale afresh, for URLs that are pasted.
#[utoipa::path(
    get,
    operation_id = "reset_by_url",
    path = "/reset",
    tag = "shop",
    params(ResetParameters),
    responses(ResetReply),
    security((), ("admin" = []))
)]
pub async fn reset_get(
    state: State<Arc<App>>,
    request: Request<Body>,
) -> Result<Json<ResetReply>, Problem> {
    reset_post(state, request).await
}

/// The state of a product.
#[derive(Debug, Serialize, ToSchema)]
pub struct StockReply {
    /// The product.
    product_id: String,
    /// Where these numbers are kept.
    store: Store,
    /// Units left, as far as the stock knows.
    stock: i64,
    /// Units at the last reset.
    initial: i64,
    /// Units sold since, from the ledger.
    sold: i64,
    /// Units sold beyond what there was.
    oversold: i64,
    /// Units that were sold and that the stock still has.
    lost_updates: i64,
}

impl IntoResponses for StockReply {
    fn responses() -> Responses {
        let found = [(200, "The product is on sale")];
        describe_responses::<Self>(&found, &[400, 404, 500, 503])
    }
}

/// Says how much of a product is left and how much was sold.
#[utoipa::path(
    get,
    path = "/stock/{product}",
    tag = "evidence",
    params(LookParameters),
    responses(StockReply)
)]
pub async fn stock(
    State(app): State<Arc<App>>,
    path: InPath,
    uri: Uri,
) -> Result<Json<StockReply>, Problem> {
    let (product, mut fields) = look(path, &uri, LookParameters::ALL)?;
    let store = app.shop.where_sold(&product, fields.take(&STORE_OF)?).await?;
    let tally = app.shop.tally(&product, store).await?;
    let tally = tally.ok_or_else(|| Problem::absent(&product))?;
    Ok(Json(StockReply {
        product_id: product.to_string(),
        store,
        stock: tally.stock,
        initial: tally.initial,
        sold: tally.sold,
        oversold: tally.oversold(),
        lost_updates: tally.lost_updates(),
    }))
}

/// The verdict over a product.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditReply {
    /// Whether every unit is accounted for, none was sold twice, no effects interleaved, fencing
    /// tokens never went back, and no buyer was told anything that is not so.
    ok: bool,
    /// The product.
    product_id: String,
    /// Where its numbers and its history are kept.
    store: Store,
    /// Units at the last reset.
    initial: i64,
    /// Units left, as far as the stock knows.
    stock: i64,
    /// Units sold since, from the ledger.
    sold: i64,
    /// Units sold beyond what there was.
    oversold: i64,
    /// Units that were sold and that the stock still has.
    lost_updates: i64,
    /// What overlapped.
    overlaps: Overlaps,
    /// Sales under an older fencing token than one before; null if no sale carried a token.
    fencing: Option<u64>,
    /// Orders whose buyer was not told how they ended.
    unknown: u64,
    /// Events that were judged.
    events: u64,
    /// Each finding, in words. Overlaps of grants and beliefs are among them, but do not make `ok`
    /// false.
    evidence: Vec<String>,
    /// What the history cannot show, in words.
    gaps: Vec<String>,
}

impl IntoResponses for AuditReply {
    fn responses() -> Responses {
        let found = [(200, "The product is on sale, and this is the verdict")];
        describe_responses::<Self>(&found, &[400, 404, 500, 503])
    }
}

/// Judges a product by its numbers and its history.
#[utoipa::path(
    get,
    path = "/audit/{product}",
    tag = "evidence",
    params(LookParameters),
    responses(AuditReply)
)]
pub async fn audit(
    State(app): State<Arc<App>>,
    path: InPath,
    uri: Uri,
) -> Result<Json<AuditReply>, Problem> {
    let (product, mut fields) = look(path, &uri, LookParameters::ALL)?;
    let (store, evidence) = evidence(&app, &product, fields.take(&STORE_OF)?).await?;
    let Evidence { tally, history, recorded } = evidence;
    let verdict = verdict::judge(&tally, &history, recorded);
    Ok(Json(AuditReply {
        ok: verdict.ok,
        product_id: product.to_string(),
        store,
        initial: tally.initial,
        stock: tally.stock,
        sold: tally.sold,
        oversold: verdict.oversold,
        lost_updates: verdict.lost_updates,
        overlaps: verdict.overlaps,
        fencing: verdict.fencing,
        unknown: verdict.unknown,
        events: verdict.events,
        evidence: verdict.evidence,
        gaps: verdict.gaps,
    }))
}
