//! Prometheus: what was measured, as text.

use std::sync::Arc;

use metrics::Recorder;
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use super::{definitions as def, runtime};
use locklab_locks::{
    fault, lease,
    measure::{Definition, Kind, Registry},
    wires::{
        metrics::{BackendMetrics, Wire},
        redlock,
    },
};

/// Every metric: those of the server, and those of the locks that it uses.
pub fn definitions() -> impl Iterator<Item = &'static Definition> {
    let lists = [
        def::DEFINITIONS,
        lease::metrics::DEFINITIONS,
        locklab_locks::wires::metrics::DEFINITIONS,
        redlock::DEFINITIONS,
        fault::DEFINITIONS,
    ];
    lists.into_iter().flatten().copied()
}

/// A registry of its own for each server, with buckets and help texts set.
pub struct Exporter {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl Default for Exporter {
    fn default() -> Self {
        let recorder = Arc::new(recorder());
        let build =
            [("version", env!("CARGO_PKG_VERSION")), ("revision", env!("LOCKLAB_REVISION"))];
        def::BUILD_INFO.gauge(&*recorder, &build).set(1.0);
        Self { handle: recorder.handle(), recorder }
    }
}

impl Exporter {
    /// Where series are registered.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &*self.recorder
    }

    /// Where series are registered, for who registers some later on.
    #[must_use]
    pub fn shared_registry(&self) -> Arc<Registry> {
        Arc::clone(&self.recorder) as _
    }

    /// What the client of a server records, whose name becomes a label value: one of a few that the
    /// configuration knows.
    #[must_use]
    pub fn backend(&self, wire: Wire, name: &'static str) -> Arc<BackendMetrics> {
        Arc::new(BackendMetrics::new(&self.shared_registry(), wire, name))
    }

    /// The Prometheus text. Takes milliseconds after heavy recording: not for a request worker.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render() + &runtime::render()
    }

    /// Moves recorded samples into their buckets. Without it they pile up until the next scrape.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn recorder() -> PrometheusRecorder {
    let with_buckets = definitions().fold(PrometheusBuilder::new(), |builder, definition| {
        let Kind::Histogram(bounds) = definition.kind else {
            return builder;
        };
        #[expect(clippy::expect_used, reason = "fails for no bounds only, and all are constants")]
        builder
            .set_buckets_for_metric(Matcher::Full(definition.name.to_owned()), bounds)
            .expect("a histogram has bounds")
    });
    let recorder = with_buckets.build_recorder();
    for definition in definitions() {
        let (name, help) = (definition.name.into(), definition.help.into());
        match definition.kind {
            Kind::Counter => recorder.describe_counter(name, None, help),
            Kind::Gauge => recorder.describe_gauge(name, None, help),
            Kind::Histogram(_) => recorder.describe_histogram(name, None, help),
        }
    }
    recorder
}
