//! The functions alone, on a port of their own: `hub serve`.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{
    host::{Address, Api},
    listen::listen,
};

/// Requests that run when it is told to stop get this long.
const DRAIN: Duration = Duration::from_secs(10);

/// What browsers may do, as the functions of a Supabase project answer them.
pub fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::any())
        .allow_methods([Method::POST, Method::GET, Method::OPTIONS])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("apikey"),
            HeaderName::from_static("x-client-info"),
            HeaderName::from_static("x-request-id"),
            HeaderName::from_static("traceparent"),
        ])
        .expose_headers([HeaderName::from_static("x-request-id"), header::RETRY_AFTER])
        .max_age(Duration::from_secs(3600))
}

/// Serves until `stop`, then lets running requests end. `proxies` stand in front and append to `X-Forwarded-For` whom they speak for.
pub async fn serve(api: Api, listener: TcpListener, proxies: usize, stop: CancellationToken) {
    let health = Router::new().route("/health", get(health)).with_state(api.clone());
    let told = middleware::map_request(move |ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request| {
        let address = address(peer, request.headers(), proxies);
        request.extensions_mut().insert(Address(address.into()));
        async { request }
    });
    let router = health.fallback_service(api.router()).layer(told).layer(cors());
    listen(listener, router, stop, DRAIN).await;
}

async fn health(State(api): State<Api>) -> Response {
    let well = api.db.ping().await.is_ok();
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = if well { "ok" } else { "unreachable" };
    (status, Json(json!({"status": word, "database": word}))).into_response()
}

/// Who is at the other end. Of `X-Forwarded-For` only what our own proxies wrote counts: anybody can send the rest.
fn address(peer: SocketAddr, headers: &HeaderMap, proxies: usize) -> String {
    let written = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = written.flat_map(|value| value.split(',')).map(str::trim).collect();
    match proxies.checked_sub(1).and_then(|before| hops.iter().rev().nth(before)) {
        Some(hop) => (*hop).to_owned(),
        None => peer.ip().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_set_the_callers_address() {
        let peer: SocketAddr = "10.0.0.1:5".parse().unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(address(peer, &headers, 0), "10.0.0.1");
        assert_eq!(address(peer, &headers, 1), "10.0.0.1");
        headers.append("x-forwarded-for", "6.6.6.6, 1.2.3.4".parse().unwrap());
        headers.append("x-forwarded-for", "10.0.0.2".parse().unwrap());
        assert_eq!(address(peer, &headers, 0), "10.0.0.1");
        assert_eq!(address(peer, &headers, 1), "10.0.0.2");
        assert_eq!(address(peer, &headers, 2), "1.2.3.4");
    }
}
