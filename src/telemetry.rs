//! What this process tells others while it runs: log lines, and spans if somebody collects them.

use std::io::{self, IsTerminal};

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::{
    Request, Response, Uri,
    body::Bytes,
    header::{AUTHORIZATION, HOST, HeaderValue},
};
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use tokio::{
    runtime::Handle,
    time::{self, Duration},
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{ParseError, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};
use url::Url;

use crate::{
    cli::{Config, LogFormat, Secret},
    client,
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
        .with_http_client(Collector::at(&endpoint)?)
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

/// A collector of traces. Batches are sent by a thread that has no runtime, so on the server's.
#[derive(Debug)]
struct Collector {
    runtime: Handle,
    host: String,
    port: u16,
    authorization: Option<HeaderValue>,
}

impl Collector {
    fn at(endpoint: &Url) -> Result<Self, TelemetryError> {
        let host = endpoint.host_str().ok_or(TelemetryError::Endpoint)?;
        let (user, password) = (endpoint.username(), endpoint.password().unwrap_or_default());
        let authorization = match (user, password) {
            ("", "") => None,
            _ => {
                let pair = BASE64_STANDARD.encode(format!("{user}:{password}"));
                let basic = HeaderValue::try_from(format!("Basic {pair}"));
                Some(basic.map_err(|_| TelemetryError::Endpoint)?)
            }
        };
        Ok(Self {
            runtime: Handle::current(),
            // As a socket's address has it: an IPv6 address without its brackets.
            host: host.trim_matches(['[', ']']).to_owned(),
            port: endpoint.port_or_known_default().unwrap_or(80),
            authorization,
        })
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let authority = request.uri().authority().map(|it| it.as_str().to_owned());
        let host = authority.unwrap_or_default();
        let host = host.rsplit_once('@').map_or(host.as_str(), |(_, host)| host);
        request.headers_mut().insert(HOST, HeaderValue::try_from(host)?);
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = Uri::try_from(path)?;
        let address = (self.host.clone(), self.port);
        let sent = self.runtime.spawn(async move {
            time::timeout(EXPORT_TIMEOUT, client::send(address, request)).await
        });
        sent.await??
    }
}
