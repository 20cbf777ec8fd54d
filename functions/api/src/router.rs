//! The routes and what stands around them: request ids, traces, a log line each, and no panic that takes the rest along.

use std::{
    any::Any,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, header},
    middleware::{self, Next},
    response::Response,
    routing::{any, get},
};
use hub::db::Db;
use hub_edge::{Problem, Secrets};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{Instrument, field::Empty};

use crate::{function, limit::Limit, openapi, problem::problem, telemetry, token::Verifier};

/// All bodies that are being read or stored, in KB: ten of the largest at once, and memory stays flat.
const ROOM: usize = 256 * 1024;
/// A body arrives within this, or it is given up: slow ones hold memory.
const BODY_WITHIN: Duration = Duration::from_secs(10);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where a request comes from, as its host knows it: an extension of the request.
#[derive(Clone, Debug)]
pub struct Address(pub Arc<str>);

/// The functions, over a database as the role that may speak for others (`postgres`). Cheap to clone.
#[derive(Clone)]
pub struct Api {
    pub(crate) db: Db,
    pub(crate) verifier: Verifier,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) limit: Option<Limit>,
    pub(crate) room: Arc<Semaphore>,
    pub(crate) body_within: Duration,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Api")
    }
}

impl Api {
    /// The functions over this database, for bearers of tokens that `verifier` knows, and for providers whose `secrets` are set.
    #[must_use]
    pub fn new(db: Db, verifier: Verifier, secrets: Secrets) -> Self {
        Self {
            db,
            verifier,
            secrets: Arc::new(secrets),
            limit: None,
            room: Arc::new(Semaphore::new(ROOM)),
            body_within: BODY_WITHIN,
        }
    }

    /// The same, for bodies that arrive within this; ten seconds unless said.
    #[must_use]
    pub fn body_within(mut self, most: Duration) -> Self {
        self.body_within = most;
        self
    }

    /// The same, for callers that may not ask more often than this.
    #[must_use]
    pub fn limited(mut self, limit: Option<Limit>) -> Self {
        self.limit = limit;
        self
    }

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
    telemetry::continue_trace(&span, request.headers());
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
