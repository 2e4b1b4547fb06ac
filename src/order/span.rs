//! The spans of a purchase, by OpenTelemetry's conventions. They cost nothing unless somebody
//! collects them: all are of level TRACE and of a target of their own.

use opentelemetry::{
    Context, TraceId,
    propagation::{Extractor, TextMapPropagator},
    trace::TraceContextExt,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Level, Span, field::Empty, trace_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{
    order::{Order, receipt::Receipt},
    product::Product,
    run::RunId,
};

/// The target of all of them.
pub const TARGET: &str = "locklab::span";

/// The span that the client's `traceparent` names (W3C Trace Context), if spans are collected. One
/// that is not valid is as good as none, as the standard demands.
#[must_use]
pub fn parent(headers: &dyn Extractor) -> Option<Context> {
    let is_collected = tracing::span_enabled!(target: TARGET, Level::TRACE);
    is_collected.then(|| TraceContextPropagator::new().extract(headers))
}

/// All of a purchase, as a part of what the client does.
#[must_use]
pub fn purchase(order: &Order, parent: Option<Context>) -> Span {
    let span = trace_span!(
        target: TARGET,
        "purchase",
        otel.kind = "server",
        lock = order.strategy.row().name,
        product = %order.items[0].product,
        order_id = order.id.as_str(),
        run_id = order.run_id.as_ref().map(RunId::as_str),
        outcome = Empty,
        retries = Empty,
        otel.status_code = Empty,
        otel.status_description = Empty,
    );
    if let Some(parent) = parent {
        // Fails only where no spans are collected.
        span.set_parent(parent).ok();
    }
    span
}

/// Says on the span of a purchase, which is the present one, how it ended.
pub fn end(receipt: &Receipt) {
    let span = Span::current();
    span.record("outcome", <&str>::from(receipt.outcome)).record("retries", receipt.retries);
    if let Some(failure) = &receipt.failure
        && !receipt.is_decided()
    {
        let failure = tracing::field::display(failure);
        span.record("otel.status_code", "ERROR").record("otel.status_description", failure);
    }
}

/// The trace that the present span is in, if it is collected.
#[must_use]
pub fn trace_id() -> Option<String> {
    let context = Span::current().context();
    let trace = context.span().span_context().trace_id();
    (trace != TraceId::INVALID).then(|| trace.to_string())
}

macro_rules! steps {
    ($($(#[$about:meta])* $name:ident;)*) => {
        $($(#[$about])* #[must_use] pub fn $name() -> Span {
            trace_span!(target: TARGET, stringify!($name))
        })*
    };
}

steps! {
    /// From asking for the stock to knowing it.
    read;
    /// What the buyer does between read and write.
    work;
    /// From sending the write to its answer.
    write;
    /// From sending a step that reads and writes at once to its answer.
    take;
    /// From sending the order to the queue to its answer.
    queue;
}

/// From wanting the lock of a product to having it, or to giving up.
#[must_use]
pub fn acquire(product: &Product) -> Span {
    trace_span!(target: TARGET, "acquire", %product, retries = Empty)
}

/// From beginning to release a lock to the answer.
#[must_use]
pub fn release(product: &Product) -> Span {
    trace_span!(target: TARGET, "release", %product)
}
