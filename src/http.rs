//! The HTTP edge: the only place that knows axum. One list of routes; everything else is in the
//! shop.

mod about;
pub mod app;
mod body;
mod cart;
mod fields;
mod history;
mod input;
mod json;
mod look;
pub mod metrics;
mod parameter;
mod problem;
mod product;
mod purchase;
mod reply;
mod serve;

use std::{any::Any, sync::Arc};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tokio::time::Instant;
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        self, RefOr, Required,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use axum::Router;

pub use self::serve::serve;
use self::{app::App, problem::Problem};
use crate::{http::metrics::HttpMetrics, verdict::Overlaps};

/// Every route, with its description.
fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(purchase::post, purchase::get))
        .routes(routes!(product::reset_post, product::reset_get))
        .routes(routes!(product::stock))
        .routes(routes!(product::audit))
        .routes(routes!(history::get))
        .routes(routes!(about::strategies))
        .routes(routes!(about::livez))
        .routes(routes!(about::readyz))
        .routes(routes!(about::metrics))
        .routes(routes!(about::openapi))
        .routes(routes!(about::page))
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Locklab", description = "Sells one scarce item under whichever lock you name."),
    components(schemas(
        about::HealthReply,
        about::StrategiesReply,
        history::EventReply,
        problem::Problem,
        product::AuditReply,
        product::ResetReply,
        product::StockReply,
        reply::ItemReply,
        reply::PurchaseReply,
        Overlaps,
    )),
    modifiers(&AdminToken)
)]
struct Description;

/// Describes the bearer token of `--admin-token`.
struct AdminToken;

impl Modify for AdminToken {
    fn modify(&self, openapi: &mut openapi::OpenApi) {
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        openapi.components.get_or_insert_default().add_security_scheme("admin", bearer);
    }
}

/// The API description: `/openapi.json`.
#[must_use]
pub fn description() -> openapi::OpenApi {
    let mut description = routes().into_openapi();
    for item in description.paths.paths.values_mut() {
        let body = item.post.as_mut().and_then(|post| post.request_body.as_mut());
        if let Some(RefOr::T(body)) = body {
            // The macro knows optional bodies only as nullable ones, which these are not.
            body.required = Some(Required::False);
        }
    }
    description
}

/// The whole server as a service that needs no socket.
pub fn router(app: Arc<App>) -> Router {
    let router = axum::Router::from(routes());
    declare(&app.http, &description());
    let no_store = HeaderValue::from_static("no-store");
    router
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, no_store))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), measure))
        .with_state(app)
}

/// What a request counts as whose client hung up before there was a response: nobody gets it, and
/// it is nginx's name for that.
const CLIENT_GONE: u16 = 499;

/// Starts the series of every reply that a route can give, and of giving none.
fn declare(metrics: &HttpMetrics, description: &openapi::OpenApi) {
    for (path, item) in &description.paths.paths {
        let Some(route) = known_route(path) else {
            continue;
        };
        for (method, operation) in [("GET", &item.get), ("POST", &item.post)] {
            let Some(operation) = operation else { continue };
            metrics.declare(method, route, CLIENT_GONE);
            for status in operation.responses.responses.keys() {
                if let Ok(status) = status.parse() {
                    metrics.declare(method, route, status);
                }
            }
        }
    }
}

/// The routes as label values.
const ROUTES: [&str; 11] = [
    "/purchase",
    "/reset",
    "/stock/{product}",
    "/audit/{product}",
    "/history/{product}",
    "/strategies",
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/",
];

fn known_route(path: &str) -> Option<&'static str> {
    ROUTES.into_iter().find(|route| *route == path)
}

/// A request under way. It is measured when it is dropped: with its response, or without one, for
/// then the server has dropped it because its client hung up.
struct Measured {
    app: Arc<App>,
    method: &'static str,
    route: &'static str,
    status: u16,
    started: Instant,
}

impl Drop for Measured {
    fn drop(&mut self) {
        let Self { method, route, status, started, .. } = *self;
        self.app.http.response(method, route, status, started.elapsed());
    }
}

/// Measures every request. Label values come from fixed lists only, whatever is requested.
async fn measure(
    State(app): State<Arc<App>>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let method = match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        _ => "_OTHER",
    };
    let route = matched.and_then(|matched| known_route(matched.as_str())).unwrap_or("unmatched");
    let mut measured = Measured { app, method, route, status: CLIENT_GONE, started };
    let response = next.run(request).await;
    measured.status = response.status().as_u16();
    response
}

async fn no_such_route(request: Request) -> Problem {
    let (path, routes) = (fields::shorten(request.uri().path()), ROUTES.join(" "));
    Problem::unknown_route(format!("no route {path}; there are {routes}"))
}

async fn no_such_method(request: Request) -> Problem {
    let problem =
        Problem::method_not_allowed(format!("{} is not allowed; see Allow", request.method()));
    // axum would list HEAD, which comes with GET, but must not buy or reset anything.
    let has_effects = ["/purchase", "/reset"].contains(&request.uri().path());
    if has_effects { problem.allow("GET, POST") } else { problem }
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::internal("the server failed; the log says why").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_a_label_value() {
        let described: Vec<String> = description().paths.paths.into_keys().collect();
        assert_eq!(described.len(), ROUTES.len(), "{described:?}");
        assert!(described.iter().all(|path| known_route(path).is_some()), "{described:?}");
    }
}
