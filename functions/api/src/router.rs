//! The routes and what stands around them: request ids, traces, a log line each, and no panic that takes the rest along.

use std::{any::Any, time::Instant};

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, header},
    middleware::{self, Next},
    response::Response,
    routing::{any, get},
};
use hub_edge::Problem;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{Instrument, field::Empty};

use crate::{function, host::Api, openapi, problem::problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl Api {
    /// All functions, under `/functions/v1/`. CORS is left to who mounts it.
    pub fn router(self) -> Router {
        Router::new()
            .route("/functions/v1/openapi.json", get(openapi::document).fallback(openapi::only_read))
            .route("/functions/v1/{name}", any(function::serve))
            .route("/functions/v1/github-webhook/{secret}", any(function::serve))
            .fallback(function::unknown)
            .layer(CatchPanicLayer::custom(panicked))
            .layer(middleware::from_fn(told))
            .with_state(self)
    }
}

fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a request panicked");
    problem(Problem::new(500, "the hub could not do this; its log says why"))
}

/// Gives the request an id, or keeps the caller's if it is a plain one, and logs what became of it. No contents, no tokens.
async fn told(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    });
    let id = given.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    let span = tracing::info_span!(
        "request",
        otel.kind = "server",
        request.id = %id,
        trace.id = Empty,
        http.request.method = %request.method(),
        url.path = request.uri().path(),
        http.response.status_code = Empty,
    );
    hub_telemetry::continue_trace(&span, request.headers());
    async {
        let mut response = next.run(request).await;
        let status = response.status().as_u16();
        span.record("http.response.status_code", status);
        tracing::info!(duration_ms = begun.elapsed().as_secs_f64() * 1000.0, "request");
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(REQUEST_ID, id);
        }
        response
    }
    .instrument(span.clone())
    .await
}
