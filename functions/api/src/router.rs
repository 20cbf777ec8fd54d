//! The routes and what stands around them: request ids, a log line each, limits, a timeout, and no panic that takes the rest along.

use std::{
    any::Any,
    fmt,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use hub::db::Db;
use tokio::time::timeout;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{koji, problem::Problem, token::Verifier};

/// A command has at most 4,000 characters of up to twelve bytes (`\ud83d\ude00`) each.
const BODY_BYTES: usize = 64 * 1024;
/// As long as a statement of a signed-in person may take on Supabase, and a little.
const WITHIN: Duration = Duration::from_secs(10);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The functions, over a database as the role that may speak for others (`postgres`). Cheap to clone.
#[derive(Clone)]
pub struct Api {
    pub(crate) db: Db,
    pub(crate) verifier: Verifier,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Api")
    }
}

impl Api {
    /// The functions over this database, for bearers of tokens that `verifier` knows.
    #[must_use]
    pub fn new(db: Db, verifier: Verifier) -> Self {
        Self { db, verifier }
    }

    /// All functions, under `/functions/v1/`. CORS is left to who mounts it.
    pub fn router(self) -> Router {
        Router::new()
            .route("/functions/v1/koji-discord-bot", post(koji::command))
            .fallback(unknown)
            .method_not_allowed_fallback(other_method)
            .layer(DefaultBodyLimit::max(BODY_BYTES))
            .layer(middleware::from_fn(json_only))
            .layer(middleware::from_fn(bounded))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(middleware::from_fn(told))
            .with_state(self)
    }
}

async fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no function of that name").hint("There is koji-discord-bot.")
}

async fn other_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this function takes POST")
}

/// A body of another kind is refused by name; one without a kind is taken for what it should be.
async fn json_only(request: Request, next: Next) -> Response {
    let kind =
        request.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("").to_ascii_lowercase());
    match kind.as_deref().map(|kind| kind.split(';').next().unwrap_or("").trim()) {
        None | Some("application/json") => {}
        Some(kind) if kind.starts_with("application/") && kind.ends_with("+json") => {}
        Some(_) => {
            return Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
                .into_response();
        }
    }
    let response = next.run(request).await;
    // The extractor's own words are no problem+json.
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let detail = format!("the body is larger than {} KB", BODY_BYTES / 1024);
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response();
    }
    response
}

async fn bounded(request: Request, next: Next) -> Response {
    timeout(WITHIN, next.run(request))
        .await
        .unwrap_or_else(|_| Problem::new(StatusCode::GATEWAY_TIMEOUT, "this took too long").into_response())
}

fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a request panicked");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the hub could not do this; its log says why").into_response()
}

/// Gives the request an id, or keeps the caller's if it is a plain one, and logs what became of it. No contents, no tokens.
async fn told(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let given = request.headers().get(REQUEST_ID).filter(|id| {
        id.to_str().is_ok_and(|id| {
            (1..=64).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        })
    });
    let id = given.cloned().or_else(|| HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()).ok());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(id) = id {
        tracing::info!(
            request.id = id.to_str().unwrap_or(""),
            http.method = %method,
            http.path = %path,
            duration_ms = begun.elapsed().as_secs_f64() * 1000.0,
            http.status = response.status().as_u16(),
            "request"
        );
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}
