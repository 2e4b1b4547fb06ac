//! What this process tells others while it runs: log lines, and spans if somebody collects them.

use std::io::{self, IsTerminal};

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use tokio::time::Duration;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{ParseError, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};
use url::Url;

use crate::{
    cli::{Config, LogFormat, Secret},
    order::span,
};

/// The longest wait for a collector to take what it is sent.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter is not one.
    #[error(
        "--log (LOCKLAB_LOG): {0}; expected error, warn, info, debug, trace, or a filter such as \
         info,locklab=debug"
    )]
    Log(#[from] ParseError),
    /// The collector's address is not one. It is not repeated, for it may hold a password.
    #[error(
        "--otlp-endpoint (LOCKLAB_OTLP_ENDPOINT): expected http://host:port; for TLS, run a \
         collector beside locklab"
    )]
    Endpoint,
    /// The exporter could not be built.
    #[error("--otlp-endpoint (LOCKLAB_OTLP_ENDPOINT): {0}; expected http://host:port")]
    Exporter(#[from] ExporterBuildError),
}

/// The log, and the spans that have not been sent yet.
pub struct Telemetry {
    spans: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts to log to stderr, and to send spans to the collector, if there is to be one.
    ///
    /// # Errors
    /// The configuration is not valid. A collector that is away is not an error: spans that cannot
    /// be sent are dropped, and the log says so.
    pub fn start(config: &Config) -> Result<Self, TelemetryError> {
        let filter = EnvFilter::try_new(&config.log)?;
        let spans = config.otlp_endpoint().map(|url| provider(url, config.otlp_sample));
        let spans = spans.transpose()?;
        let log = tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            // A log that nobody reads any more is not worth a panic.
            .log_internal_errors(false);
        let log: Box<dyn Layer<Registry> + Send + Sync> = match config.log_format {
            LogFormat::Human => Box::new(log.with_ansi(io::stderr().is_terminal())),
            LogFormat::Json => Box::new(log.json().flatten_event(true).with_span_list(false)),
        };
        let ours = filter_fn(|metadata| metadata.is_span() && metadata.target() == span::TARGET);
        let layer = spans.as_ref().map(|spans| {
            let tracer = spans.tracer(env!("CARGO_PKG_NAME"));
            tracing_opentelemetry::layer()
                .with_tracer(tracer)
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_level(false)
                .with_tracked_inactivity(false)
                .with_filter(ours)
        });
        tracing_subscriber::registry().with(log.with_filter(filter)).with(layer).init();
        Ok(Self { spans })
    }

    /// Sends the spans that have not been sent yet, for a bounded time.
    pub async fn close(self) {
        let Some(spans) = self.spans else { return };
        let closed =
            tokio::task::spawn_blocking(move || spans.shutdown_with_timeout(EXPORT_TIMEOUT));
        if let Ok(Err(error)) = closed.await {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Sends spans in batches, from a bounded queue: those that find it full are dropped. A parent that
/// came with `traceparent` decides whether a purchase is sampled, and `sample` for all others.
fn provider(endpoint: &Secret, sample: f64) -> Result<SdkTracerProvider, TelemetryError> {
    let url = Url::parse(endpoint.expose()).ok();
    let url = url.filter(|url| url.scheme() == "http" && url.has_host());
    let endpoint = url.ok_or(TelemetryError::Endpoint)?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/')))
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let resource = Resource::builder_empty().with_service_name(env!("CARGO_PKG_NAME"));
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample)));
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampler)
        .with_resource(resource.build());
    Ok(provider.build())
}
