//! Errors as the client sees them: `application/problem+json` (RFC 9457).

use std::{collections::BTreeMap, fmt};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{
    ToSchema,
    openapi::{self, ContentBuilder, Ref, RefOr},
};

use crate::{http::json, order::receipt::Failure, outcome::Outcome, product::Product};
use locklab_locks::error::BackendError;

const PROBLEM_JSON: &str = "application/problem+json";
/// What a backend that is away may need to come back, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// What would have been valid.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Valid {
    /// In words.
    Words(String),
    /// One of these.
    OneOf(Vec<String>),
}

impl fmt::Display for Valid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words(words) => f.write_str(words),
            Self::OneOf(several) => write!(f, "one of {}", several.join(", ")),
        }
    }
}

impl<T: Into<String>> From<T> for Valid {
    fn from(words: T) -> Self {
        Self::Words(words.into())
    }
}

/// An error reply.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem; a program may compare it.
    #[schema(example = "urn:locklab:problem:invalid-parameter")]
    r#type: &'static str,
    /// The kind of problem, in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request.
    detail: String,
    /// The parameter that is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    parameter: Option<String>,
    /// What would have been valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    valid: Option<Valid>,
    /// How the purchase ended, if it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    outcome: Option<Outcome>,
    /// The methods of the route, for the Allow header.
    #[serde(skip)]
    allow: Option<&'static str>,
}

macro_rules! kinds {
    ($($constructor:ident, $status:ident, $type:literal, $title:literal;)*) => {
        $(
            #[doc = $title]
            pub fn $constructor(detail: impl Into<String>) -> Self {
                let r#type = concat!("urn:locklab:problem:", $type);
                Self::new(StatusCode::$status, r#type, $title, detail.into())
            }
        )*
    };
}

impl Problem {
    kinds! {
        invalid_parameter, BAD_REQUEST, "invalid-parameter", "A parameter is not valid";
        malformed_body, BAD_REQUEST, "malformed-body", "The body is not a JSON object";
        unauthorized, UNAUTHORIZED, "unauthorized", "The admin token is needed";
        unknown_route, NOT_FOUND, "unknown-route", "There is no such route";
        unknown_product, NOT_FOUND, "unknown-product", "The product is not on sale";
        method_not_allowed, METHOD_NOT_ALLOWED, "method-not-allowed",
            "The route has no such method";
        slow_body, REQUEST_TIMEOUT, "slow-body", "The body did not arrive in time";
        body_too_large, PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large";
        media_type, UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body is not JSON";
        key_in_use, CONFLICT, "idempotency-key-in-use", "The purchase is still being carried out";
        key_reused, UNPROCESSABLE_ENTITY, "idempotency-key-reused",
            "The key names another purchase";
        queue_full, TOO_MANY_REQUESTS, "queue-full", "Too many wait for the product";
        unavailable, SERVICE_UNAVAILABLE, "unavailable", "A backend does not answer";
        overload, SERVICE_UNAVAILABLE, "overload", "Too many purchases are in flight";
        draining, SERVICE_UNAVAILABLE, "draining", "The server is stopping";
        crashed, INTERNAL_SERVER_ERROR, "crashed", "The purchase crashed on demand";
        internal, INTERNAL_SERVER_ERROR, "internal", "The server failed";
    }

    fn new(status: StatusCode, r#type: &'static str, title: &'static str, detail: String) -> Self {
        let status = status.as_u16();
        Self {
            r#type,
            title,
            status,
            detail,
            parameter: None,
            valid: None,
            outcome: None,
            allow: None,
        }
    }

    /// A parameter that is not valid, and what would have been.
    #[must_use]
    pub fn invalid(parameter: &str, detail: impl Into<String>, valid: impl Into<Valid>) -> Self {
        let (parameter, valid) = (Some(parameter.to_owned()), Some(valid.into()));
        Self { parameter, valid, ..Self::invalid_parameter(detail) }
    }

    /// Says what the client can do about it.
    #[must_use]
    pub fn advise(mut self, advice: &str) -> Self {
        self.detail = format!("{}; {advice}", self.detail);
        self
    }

    /// Names the methods of the route.
    #[must_use]
    pub fn allow(mut self, methods: &'static str) -> Self {
        self.allow = Some(methods);
        self
    }

    /// The product was never reset.
    #[must_use]
    pub fn absent(product: &Product) -> Self {
        Self::unknown_product(format!(
            "product {product} is not on sale; POST /reset?product={product}&stock=1 puts it there"
        ))
    }

    /// A purchase that could not be carried out.
    #[must_use]
    pub fn failed_purchase(outcome: Outcome, failure: Option<&Failure>) -> Self {
        let mut problem = match (outcome, failure) {
            (_, Some(Failure::Absent(product))) => Self::absent(product),
            (_, Some(failure @ Failure::QueueFull(_))) => Self::queue_full(failure.to_string()),
            (_, Some(failure @ Failure::KeyInUse)) => Self::key_in_use(failure.to_string()),
            (_, Some(failure @ Failure::KeyReused(_))) => Self::key_reused(failure.to_string()),
            (Outcome::Unavailable, Some(failure)) => Self::unavailable(failure.to_string()),
            (_, Some(Failure::Backend { error, .. })) if error.is_crash() => {
                Self::crashed(error.to_string())
            }
            (_, Some(failure)) => Self::internal(failure.to_string()),
            (_, None) => Self::internal("the purchase failed without a reason"),
        };
        problem.outcome = Some(outcome);
        problem
    }
}

impl From<BackendError> for Problem {
    fn from(error: BackendError) -> Self {
        match error {
            // That somebody else keeps it busy is no answer to a question either.
            _ if error.is_passing() => Self::unavailable(error.to_string()),
            _ => Self::internal(error.to_string()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or_default();
        let body = json::to_line(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        match status {
            StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::CONFLICT
            | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            StatusCode::UNAUTHORIZED => {
                let bearer = HeaderValue::from_static("Bearer");
                headers.insert(header::WWW_AUTHENTICATE, bearer);
            }
            _ => {}
        }
        response
    }
}

/// The replies of a route, by status.
pub type Responses = BTreeMap<String, RefOr<openapi::Response>>;

/// Describes the replies of a route: those with a `T`, and those with a problem.
#[must_use]
pub fn describe_responses<T: ToSchema>(decided: &[(u16, &str)], problems: &[u16]) -> Responses {
    let mut responses = BTreeMap::<String, openapi::Response>::new();
    let mut describe = |status: u16, about: &str, schema: &str, media_type: &str| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
        let response = responses.entry(status.to_string()).or_default();
        if !response.description.is_empty() {
            response.description.push_str("; or: ");
        }
        response.description.push_str(about);
        response.content.insert(media_type.to_owned(), content.into());
    };
    for &(status, about) in decided {
        describe(status, about, &T::name(), "application/json");
    }
    for &status in problems {
        describe(status, about(status), &Problem::name(), PROBLEM_JSON);
    }
    responses.into_iter().map(|(status, response)| (status, RefOr::T(response))).collect()
}

fn about(status: u16) -> &'static str {
    match status {
        400 => "A parameter or the body is not valid; nothing happened",
        401 => "The admin token is needed",
        404 => "The product is not on sale",
        409 => "A purchase with this Idempotency-Key is still being carried out",
        429 => "The queue of the product is full; see Retry-After",
        422 => "The Idempotency-Key names another purchase",
        408 => "The body did not arrive in time",
        413 => "The body is too large",
        415 => "The body is not JSON",
        500 => "A backend refused, the server failed, or a fault crashed the purchase",
        _ => "A backend does not answer, or the server is stopping or overloaded; see Retry-After",
    }
}
