//! What the server says of itself: strategies, health, metrics, the API, and a page for people.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{Html, IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::{
    backends::Health,
    http::{
        app::App,
        json::Json,
        problem::{Problem, Responses, describe_responses},
    },
    strategy::{
        StrategyId,
        server::{Backend, Store},
    },
};
use locklab_locks::{step::Step, wires::circuit};

/// Every strategy.
#[derive(Debug, Serialize, ToSchema)]
pub struct StrategiesReply {
    /// In the order in which people are shown them.
    strategies: Vec<StrategyReply>,
}

/// One strategy.
#[derive(Debug, Serialize, ToSchema)]
pub struct StrategyReply {
    /// The value of `lock=`.
    name: &'static str,
    /// The protocol in a line.
    summary: &'static str,
    /// Which kind of store it sells from.
    store: Store,
    /// What the test suite demands of it.
    expected: String,
    /// Whether it can be used now.
    available: bool,
    /// Why not, and what to do; null if it can.
    reason: Option<String>,
    /// Whether it sells several products at once, all or nothing.
    sells_carts: bool,
    /// Whether a purchase may ask for its leases to be extended: `extensions`.
    extends_leases: bool,
    /// The steps of a purchase, in order.
    steps: &'static [Step],
}

impl IntoResponses for StrategiesReply {
    fn responses() -> Responses {
        describe_responses::<Self>(&[(200, "All strategies, available or not")], &[])
    }
}

/// Lists the strategies.
#[utoipa::path(get, path = "/strategies", tag = "about", responses(StrategiesReply))]
pub async fn strategies(State(app): State<Arc<App>>) -> Json<StrategiesReply> {
    let strategies = StrategyId::all().map(|id| {
        let row = id.row();
        let reason = app.backends.reason_against(row);
        StrategyReply {
            name: row.name,
            summary: row.summary,
            store: row.store,
            expected: row.expected.to_string(),
            available: reason.is_none(),
            reason,
            sells_carts: row.sells_carts,
            extends_leases: row.extends_leases,
            steps: row.steps,
        }
    });
    Json(StrategiesReply { strategies: strategies.collect() })
}

/// Whether the server is alive or ready.
#[derive(Debug, Serialize, ToSchema)]
pub struct HealthReply {
    /// `alive` or `ready`.
    status: &'static str,
    /// What the last probe of each backend found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backends: Vec<BackendReply>,
}

/// The health of a backend.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackendReply {
    /// Which backend.
    name: Backend,
    /// Whether the last probe was answered.
    up: bool,
    /// Whether commands are let through.
    circuit: circuit::State,
}

impl IntoResponses for HealthReply {
    fn responses() -> Responses {
        describe_responses::<Self>(&[(200, "It is")], &[503])
    }
}

/// Says that the process is alive; touches nothing.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "about",
    responses((status = 200, description = "It is", body = HealthReply))
)]
pub async fn livez() -> Json<HealthReply> {
    Json(HealthReply { status: "alive", backends: Vec::new() })
}

/// Says whether purchases can be carried out, from what the last probe found.
#[utoipa::path(get, path = "/readyz", tag = "about", responses(HealthReply))]
pub async fn readyz(State(app): State<Arc<App>>) -> Result<Json<HealthReply>, Problem> {
    if app.draining.is_cancelled() {
        return Err(Problem::draining("the server is stopping"));
    }
    let health = app.backends.health();
    // Without Redis most strategies cannot sell, the default among them; without another backend,
    // some.
    let is_redis = |health: &&Health| health.backend == Backend::Redis;
    if health.iter().filter(is_redis).any(|health| !health.is_reachable()) {
        return Err(Problem::unavailable("redis does not answer"));
    }
    let backends = health
        .into_iter()
        .map(|Health { backend: name, up, circuit }| BackendReply { name, up, circuit })
        .collect();
    Ok(Json(HealthReply { status: "ready", backends }))
}

/// The metrics, as Prometheus text.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "about",
    responses(
        (status = 200, description = "Every series", body = String, content_type = "text/plain"),
        (status = 500, description = "They could not be rendered", body = Problem,
         content_type = "application/problem+json"),
    )
)]
pub async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    app.shop.metrics().presence.show_peaks();
    let exporter = Arc::clone(&app.exporter);
    // Rendering drains every histogram: milliseconds that no purchase should wait for.
    let text = tokio::task::spawn_blocking(move || exporter.render()).await;
    let text = text.map_err(|error| Problem::internal(format!("rendering broke: {error}")))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// This description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "about",
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
pub async fn openapi(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.openapi.clone()).into_response()
}

/// A page for people.
#[utoipa::path(
    get,
    path = "/",
    tag = "about",
    responses((status = 200, description = "A page", body = String, content_type = "text/html"))
)]
pub async fn page() -> Html<&'static str> {
    Html(include_str!("page.html"))
}
