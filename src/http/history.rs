//! `/history/{product}`: what was recorded, one event per line.

use std::sync::Arc;

use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::{Uri, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{
    IntoParams, IntoResponses, ToSchema,
    openapi::{
        self, ContentBuilder, ObjectBuilder, Ref, RefOr, ResponseBuilder,
        schema::{SchemaType, Type},
    },
};

use crate::{
    history::{Event, Record, edn::edn},
    http::{
        app::App,
        fields::Fields,
        input::names::Format,
        look::{describe_look, in_path},
        parameter::{FORMAT, Parameters, STORE_OF},
        problem::{Problem, Responses, describe_responses},
    },
    run::RunId,
};

const JSON_LINES: &str = "application/jsonl";
const EDN: &str = "application/edn";

/// The parameters of a history.
pub struct HistoryParameters;

impl HistoryParameters {
    const ALL: Parameters = &[&STORE_OF, &FORMAT];
}

impl IntoParams for HistoryParameters {
    fn into_params(
        _: impl Fn() -> Option<openapi::path::ParameterIn>,
    ) -> Vec<openapi::path::Parameter> {
        describe_look(Self::ALL)
    }
}

/// One event, as a line of its own.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
pub struct EventReply<'a> {
    /// Names the clock: only times of the same one can be compared.
    clock: &'a str,
    /// What happened, and when.
    #[serde(flatten)]
    event: &'a Event,
    /// Names the order.
    order_id: &'a str,
    /// Names the server process that recorded it.
    server: &'a str,
    /// The strategy.
    lock: &'a str,
    /// The load test, if its client named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<&'a str>,
}

/// The history, whichever way it is written.
pub struct HistoryReply;

impl IntoResponses for HistoryReply {
    fn responses() -> Responses {
        let text = |about: &str| {
            let schema_type = SchemaType::Type(Type::String);
            let schema = ObjectBuilder::new().schema_type(schema_type).description(Some(about));
            ContentBuilder::new().schema(Some(schema)).build()
        };
        let line = ContentBuilder::new().schema(Some(Ref::from_schema_name("EventReply"))).build();
        let found = ResponseBuilder::new()
            .description("What was recorded, as far as it is kept, in the order of time")
            .content(JSON_LINES, line)
            .content(EDN, text("One operation per line"));
        let problems = describe_responses::<()>(&[], &[400, 404, 500, 503]);
        let found = ("200".to_owned(), RefOr::T(found.build()));
        problems.into_iter().chain([found]).collect()
    }
}

/// Lists what was recorded of a product's purchases.
#[utoipa::path(
    get,
    path = "/history/{product}",
    tag = "evidence",
    params(HistoryParameters),
    responses(HistoryReply)
)]
pub async fn get(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let product = in_path(path)?;
    let mut fields = Fields::query(uri.query(), HistoryParameters::ALL)?;
    let (strategy, format) = (fields.take(&STORE_OF)?, fields.take(&FORMAT)?);
    let store = app.shop.where_sold(&product, strategy).await?;
    let evidence = app.shop.evidence(&product, store).await?;
    let evidence = evidence.ok_or_else(|| Problem::absent(&product))?;
    let (media_type, text) = match format.unwrap_or(Format::Jsonl) {
        Format::Jsonl => (JSON_LINES, lines(&evidence.history)),
        Format::Edn => (EDN, edn(&evidence.history)),
    };
    Ok(([(header::CONTENT_TYPE, media_type)], text).into_response())
}

fn lines(history: &[Record]) -> String {
    let mut events: Vec<EventReply<'_>> = history.iter().flat_map(replies).collect();
    // Within a clock: between clocks there is no order of time.
    events.sort_unstable();
    // What was sent twice, for want of an answer, happened once.
    events.dedup();
    let mut lines = String::new();
    for line in events.iter().filter_map(|reply| serde_json::to_string(reply).ok()) {
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}

fn replies(record: &Record) -> impl Iterator<Item = EventReply<'_>> {
    let Record { order_id, server, clock, lock, run_id, events } = record;
    let run_id = run_id.as_ref().map(RunId::as_str);
    events.iter().map(move |event| EventReply { clock, event, order_id, server, lock, run_id })
}
