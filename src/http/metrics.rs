//! What the HTTP layer records: its routes and statuses are known to `http/`, which names them.

use std::{collections::HashMap, sync::Arc};

use enum_map::{Enum, EnumMap};
use metrics::{Counter, Gauge, Histogram, Label};
use parking_lot::RwLock;
use strum::IntoStaticStr;
use tokio::time::Duration;

use crate::measure::{definitions as def, exporter::Exporter};
use locklab_locks::measure::raised::Raised;

/// Why a request was turned away before it reached the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Shed {
    Overload,
    Draining,
    QueueFull,
}

/// Method, route and status of a response.
type ResponseKey = (&'static str, &'static str, u16);

/// Handles of the HTTP layer.
pub struct HttpMetrics {
    exporter: Arc<Exporter>,
    /// Filled by [`Self::declare`]; bounded because routes and statuses are.
    responses: RwLock<HashMap<ResponseKey, Histogram>>,
    in_flight: Gauge,
    shed: EnumMap<Shed, Counter>,
}

impl HttpMetrics {
    /// Starts every series at 0.
    #[must_use]
    pub fn new(exporter: Arc<Exporter>) -> Self {
        Self {
            responses: RwLock::default(),
            in_flight: def::REQUESTS_IN_FLIGHT.gauge(exporter.registry(), &[]),
            shed: def::REQUESTS_SHED.counters(exporter.registry(), &[], "reason"),
            exporter,
        }
    }

    /// Starts the series of a response that a route can give at 0.
    pub fn declare(&self, method: &'static str, route: &'static str, status: u16) {
        drop(self.histogram(method, route, status));
    }

    fn histogram(&self, method: &'static str, route: &'static str, status: u16) -> Histogram {
        let make = || {
            let labels = vec![
                Label::new("http_request_method", method),
                Label::new("http_route", route),
                Label::new("http_response_status_code", status.to_string()),
            ];
            def::HTTP_REQUEST_DURATION.histogram_labelled(self.exporter.registry(), labels)
        };
        self.responses.write().entry((method, route, status)).or_insert_with(make).clone()
    }

    /// A request was answered, or its client has gone.
    pub fn response(&self, method: &'static str, route: &'static str, status: u16, took: Duration) {
        let known = self.responses.read().get(&(method, route, status)).cloned();
        known.unwrap_or_else(|| self.histogram(method, route, status)).record(took);
    }

    /// A purchase starts; the gauge falls when the guard is dropped.
    pub fn in_flight(&self) -> Raised {
        Raised::one(self.in_flight.clone())
    }

    /// A purchase was turned away.
    pub fn shed(&self, reason: Shed) {
        self.shed[reason].increment(1);
    }
}
