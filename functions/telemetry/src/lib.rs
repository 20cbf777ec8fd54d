//! What a program tells of itself: log lines on standard error, and, where OpenTelemetry's standard variables say where to
//! (`OTEL_EXPORTER_OTLP_ENDPOINT`), spans by OTLP over HTTP. A caller's `traceparent` is continued, so that a request is one trace from whoever
//! sent it to the database.

use std::io::IsTerminal;

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry::{
    propagation::TextMapPropagator,
    trace::{TraceContextExt, TracerProvider},
};
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tokio::runtime::Handle;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{EnvFilter, Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
/// What belongs to the hub: a library's spans are its own affair, those of the exporter's HTTP client would never end.
const OURS: [&str; 6] = ["hub", "hub_api", "hub_keeper", "hub_lambda", "hub_local", "hub_worker"];

/// Log and spans, as long as it lives.
#[must_use]
pub struct Telemetry {
    spans: Option<SdkTracerProvider>,
}

/// Begins to log, by `HUB_LOG` or else `quiet`, and to export spans if an endpoint is configured. Called inside a tokio runtime that has
/// more threads than one: spans are sent by it.
pub fn start(service: &'static str, quiet: &str) -> Telemetry {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(EnvFilter::try_from_env("HUB_LOG").unwrap_or_else(|_| quiet.into()));
    let wanted = ENDPOINTS.iter().any(|name| std::env::var(name).is_ok_and(|value| !value.trim().is_empty()));
    let spans = wanted.then(|| exporter(service)).transpose();
    let (spans, fault) = match spans {
        Ok(spans) => (spans, None),
        Err(fault) => (None, Some(fault)),
    };
    let traced = spans.as_ref().map(|spans| {
        tracing_opentelemetry::layer()
            .with_tracer(spans.tracer("hub"))
            .with_filter(OURS.into_iter().map(|target| (target, tracing::Level::INFO)).collect::<Targets>())
    });
    tracing_subscriber::registry().with(lines).with(traced).init();
    if let Some(fault) = fault {
        tracing::error!(error = %fault, "no spans are exported: OTEL_EXPORTER_OTLP_ENDPOINT and its like are not right");
    }
    Telemetry { spans }
}

fn exporter(service: &'static str) -> Result<SdkTracerProvider, opentelemetry_otlp::ExporterBuildError> {
    let client = Client { http: reqwest::Client::new(), runtime: Handle::current() };
    let exporter = SpanExporter::builder().with_http().with_http_client(client).build()?;
    // OTEL_SERVICE_NAME wins.
    let resource = Resource::builder();
    let named = std::env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty());
    let resource = if named { resource } else { resource.with_service_name(service) };
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build())
}

impl Telemetry {
    /// Sends what waits, and returns when it is sent: a process that is frozen between requests sends nothing by itself.
    pub async fn flush(&self) {
        let Some(spans) = self.spans.clone() else { return };
        // It blocks, and what it blocks on runs in this runtime.
        let flushed = tokio::task::spawn_blocking(move || spans.force_flush()).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "spans were not exported");
        }
    }

    /// Sends what waits, for the last time. Called outside the runtime, which must still be there.
    pub fn end(self) {
        if let Some(Err(error)) = self.spans.map(|spans| spans.shutdown()) {
            tracing::warn!(%error, "spans were not exported");
        }
    }
}

/// Makes `span` a part of the trace that a request's `traceparent` names, if it names one, and notes its id for the log.
pub fn continue_trace(span: &tracing::Span, headers: &http::HeaderMap) {
    let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    if parent.span().span_context().is_valid() {
        span.record("trace.id", tracing::field::display(parent.span().span_context().trace_id()));
        // An error means that nobody exports.
        drop(span.set_parent(parent));
    }
}

/// The exporter calls from a thread without a runtime.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        self.runtime
            .spawn(async move {
                let response = http.execute(request.try_into()?).await?;
                let mut answer = Response::builder().status(response.status());
                if let Some(headers) = answer.headers_mut() {
                    headers.clone_from(response.headers());
                }
                Ok(answer.body(response.bytes().await?)?)
            })
            .await?
    }
}
