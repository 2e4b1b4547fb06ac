//! Prometheus.

use metrics::Recorder;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

use super::{Kind, definitions::DEFINITIONS};

/// A recorder of its own for each server, with buckets and help texts set.
pub fn recorder() -> PrometheusRecorder {
    let with_buckets = DEFINITIONS.iter().fold(PrometheusBuilder::new(), |builder, definition| {
        let Kind::Histogram(bounds) = definition.kind else {
            return builder;
        };
        #[expect(clippy::expect_used, reason = "fails for no bounds only, and all are constants")]
        builder
            .set_buckets_for_metric(Matcher::Full(definition.name.to_owned()), bounds)
            .expect("a histogram has bounds")
    });
    let recorder = with_buckets.build_recorder();
    for definition in DEFINITIONS {
        let (name, help) = (definition.name.into(), definition.help.into());
        match definition.kind {
            Kind::Counter => recorder.describe_counter(name, None, help),
            Kind::Gauge => recorder.describe_gauge(name, None, help),
            Kind::Histogram(_) => recorder.describe_histogram(name, None, help),
        }
    }
    recorder
}
