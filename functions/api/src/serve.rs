//! The functions alone, on a port of their own: `hub serve`.

use std::{future::IntoFuture, io, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderName, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tokio::{net::TcpListener, time::sleep};
use tokio_util::sync::CancellationToken;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::router::Api;

/// Requests that run when it is told to stop get this long.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until `stop`, then lets running requests end.
///
/// # Errors
/// When the listener fails.
pub async fn serve(api: Api, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
    let health = Router::new().route("/health", get(health)).with_state(api.clone());
    // As the functions of a Supabase project answer a browser.
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::any())
        .allow_methods([Method::POST, Method::GET, Method::OPTIONS])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("apikey"),
            HeaderName::from_static("x-client-info"),
            HeaderName::from_static("x-request-id"),
        ])
        .expose_headers([HeaderName::from_static("x-request-id")])
        .max_age(Duration::from_secs(3600));
    let router = health.fallback_service(api.router()).layer(cors);
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned()).into_future();
    tokio::select! {
        outcome = serving => outcome,
        () = async {
            stop.cancelled().await;
            sleep(DRAIN).await;
        } => Ok(()),
    }
}

async fn health(State(api): State<Api>) -> Response {
    let well = api.db.ping().await.is_ok();
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = if well { "ok" } else { "unreachable" };
    (status, Json(json!({"status": word, "database": word}))).into_response()
}
