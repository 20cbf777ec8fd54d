//! The routes and what stands around them: request ids, a log line each, limits, a timeout, and no panic that takes the rest along.

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
    routing::any,
};
use hub::db::Db;
use hub_edge::{Problem, Secrets};
use tokio::time::timeout;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{function, problem::problem, token::Verifier};

/// As long as a statement of a signed-in person may take on Supabase, and a little.
const WITHIN: Duration = Duration::from_secs(10);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The functions, over a database as the role that may speak for others (`postgres`). Cheap to clone.
#[derive(Clone)]
pub struct Api {
    pub(crate) db: Db,
    pub(crate) verifier: Verifier,
    pub(crate) secrets: Arc<Secrets>,
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
        Self { db, verifier, secrets: Arc::new(secrets) }
    }

    /// All functions, under `/functions/v1/`. CORS is left to who mounts it.
    pub fn router(self) -> Router {
        Router::new()
            .route("/functions/v1/{name}", any(function::serve))
            .fallback(function::unknown)
            .layer(middleware::from_fn(bounded))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(middleware::from_fn(told))
            .with_state(self)
    }
}

async fn bounded(request: Request, next: Next) -> Response {
    timeout(WITHIN, next.run(request)).await.unwrap_or_else(|_| problem(Problem::new(504, "this took too long")))
}

fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a request panicked");
    problem(Problem::new(500, "the hub could not do this; its log says why"))
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
