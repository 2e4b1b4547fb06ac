//! `/history/{product}`: what was recorded, one event per line.

use std::sync::Arc;

use axum::{
    extract::State,
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
        input::names::Format,
        look::{InPath, describe_look, evidence, look},
        parameter::{FORMAT, Parameters, STORE_OF},
        problem::{Problem, Responses, describe_responses},
    },
    run::RunId,
    stock::Evidence,
};

const JSON_LINES: &str = "application/jsonl";
const EDN: &str = "application/edn";

/// The parameters of a history.
pub struct HistoryParameters;

impl HistoryParameters {
    const ALL: Parameters = &[&STORE_OF.any, &FORMAT.any];
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
pub async fn get(State(app): State<Arc<App>>, path: InPath, uri: Uri) -> Result<Response, Problem> {
    let (product, mut fields) = look(path, &uri, HistoryParameters::ALL)?;
    let (store_of, format) = (fields.take(&STORE_OF)?, fields.take(&FORMAT)?);
    let (_, Evidence { history, .. }) = evidence(&app, &product, store_of).await?;
    let (media_type, text) = match format.unwrap_or(Format::Jsonl) {
        Format::Jsonl => (JSON_LINES, lines(&history)),
        Format::Edn => (EDN, edn(&history)),
    };
    Ok(([(header::CONTENT_TYPE, media_type)], text).into_response())
}

fn lines(history: &[Record]) -> String {
    let mut events: Vec<EventReply<'_>> = history.iter().flat_map(replies).collect();
    // Within a clock: between clocks there is no order of time.
    events.sort_unstable();
    // What was sent twice, for want of an answer, happened once.
    events.dedup();
    let lines = events.iter().filter_map(|reply| serde_json::to_string(reply).ok());
    lines.map(|line| line + "\n").collect()
}

fn replies(record: &Record) -> impl Iterator<Item = EventReply<'_>> {
    let Record { order_id, server, clock, lock, run_id, events } = record;
    let run_id = run_id.as_ref().map(RunId::as_str);
    events.iter().map(move |event| EventReply { clock, event, order_id, server, lock, run_id })
}
