//! OpenTelemetry traces, as a collector gets them.

use std::sync::Arc;

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use locklab::strategy::{Family, table::STRATEGIES};
use locklab_locks::step::Step;
use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{Span, status::StatusCode as SpanStatus},
};
use parking_lot::Mutex;
use prost::Message;
use reqwest::Method;
use tokio::net::TcpListener;

use crate::server::Server;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT: &str = "00f067aa0ba902b7";

type Spans = Arc<Mutex<Vec<Span>>>;

/// Takes traces as OTLP over HTTP, like any collector.
async fn collector() -> (String, Spans) {
    let spans = Spans::default();
    let take = |State(spans): State<Spans>, body: Bytes| async move {
        let request = ExportTraceServiceRequest::decode(body).expect("protobuf");
        for resource in request.resource_spans {
            let name = &resource.resource.as_ref().unwrap().attributes[0];
            assert_eq!(name.key, "service.name");
            spans.lock().extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
        StatusCode::OK
    };
    let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&spans));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, spans)
}

/// Buys, as a part of a trace that the client has begun.
async fn buy(server: &Server, query: &str, traceparent: &str) {
    let request = server.request(Method::POST, &format!("/purchase?{query}"));
    let request = request.header("traceparent", traceparent).header("x-run-id", "run-1");
    server.exchange(request).await;
}

/// Stops the server, which sends what it has not sent yet.
async fn end(server: Server) {
    server.signal(Signal::SIGTERM);
    assert!(server.ended().await.success());
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    let value = found.value.as_ref()?.value.as_ref()?;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    match value {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Every step of a purchase is a span below that of the purchase, which is below the client's.
#[tokio::test]
async fn a_purchase_is_a_part_of_the_clients_trace() {
    let (url, spans) = collector().await;
    let server = Server::full(&["--otlp-endpoint", &url]).await;
    let traceparent = format!("00-{TRACE}-{CLIENT}-01");
    for strategy in STRATEGIES {
        let name = strategy.name;
        server.reset(name, 1).await;
        buy(&server, &format!("product={name}&lock={name}"), &traceparent).await;
    }
    end(server).await;
    let spans = spans.lock();
    for strategy in STRATEGIES {
        let is_of = |span: &&Span| attribute(span, "lock").as_deref() == Some(strategy.name);
        let purchase = spans.iter().find(is_of).unwrap_or_else(|| panic!("{}", strategy.name));
        assert_eq!(purchase.name, "purchase");
        assert_eq!(hex(&purchase.trace_id), TRACE);
        assert_eq!(hex(&purchase.parent_span_id), CLIENT);
        assert_eq!(attribute(purchase, "outcome").as_deref(), Some("sold"));
        assert_eq!(attribute(purchase, "run_id").as_deref(), Some("run-1"));
        let steps = spans.iter().filter(|span| span.parent_span_id == purchase.span_id);
        let mut steps: Vec<&Span> = steps.collect();
        steps.sort_by_key(|span| span.start_time_unix_nano);
        let names: Vec<&str> = steps.iter().map(|span| span.name.as_str()).collect();
        let expected: &[&str] = match (strategy.family, strategy.name) {
            (Family::Lock, _) => &["acquire", "read", "work", "write", "release"],
            (_, "queue") => &["queue"],
            _ if strategy.steps.contains(&Step::Read) => &["read", "work", "write"],
            _ => &["take", "work"],
        };
        assert_eq!(names, expected, "{}", strategy.name);
        for step in steps {
            assert!(step.end_time_unix_nano <= purchase.end_time_unix_nano, "{}", step.name);
        }
    }
}

/// What fails is marked, and the log names the trace.
#[tokio::test]
async fn failures_are_marked() {
    let (url, spans) = collector().await;
    let mut server = Server::start_unread(&["--otlp-endpoint", &url]);
    let mut log = server.log.take().unwrap();
    buy(&server, "lock=safe&fault=crash@work", &format!("00-{TRACE}-{CLIENT}-01")).await;
    end(server).await;
    let spans = spans.lock();
    let purchase = spans.iter().find(|span| span.name == "purchase").unwrap();
    let status = purchase.status.as_ref().unwrap();
    assert_eq!(status.code, SpanStatus::Error as i32);
    assert!(status.message.contains("work"), "{}", status.message);
    let text = std::io::read_to_string(&mut log).unwrap();
    let line = text.lines().find(|line| line.contains("a purchase failed")).unwrap();
    assert!(line.contains(&format!("trace_id=\"{TRACE}\"")), "{line}");
}

/// The client decides whether its trace is sampled; without one, the configuration does.
#[tokio::test]
async fn what_is_not_sampled_is_not_sent() {
    let (url, spans) = collector().await;
    let server = Server::start(&["--otlp-endpoint", &url, "--otlp-sample", "0"]);
    buy(&server, "lock=none", &format!("00-{TRACE}-{CLIENT}-00")).await;
    // Not valid: as good as none.
    buy(&server, "lock=none", "00-nonsense").await;
    server.post("/purchase?lock=none").await;
    buy(&server, "lock=safe", &format!("00-{TRACE}-{CLIENT}-01")).await;
    end(server).await;
    let spans = spans.lock();
    let purchases: Vec<_> = spans.iter().filter(|span| span.name == "purchase").collect();
    let locks: Vec<_> = purchases.iter().filter_map(|span| attribute(span, "lock")).collect();
    assert_eq!(locks, ["safe"]);
}

/// A collector that is away costs spans, and nothing else.
#[tokio::test]
async fn without_a_collector_purchases_go_on() {
    let server = Server::start(&["--otlp-endpoint", "http://127.0.0.1:9"]);
    let replies = server.race(20, "lock=none&delay=1ms").await;
    assert!(replies.iter().all(|reply| reply.outcome() == "sold"));
    end(server).await;
}
