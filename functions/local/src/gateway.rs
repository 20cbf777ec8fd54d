//! The one door: REST, sign-in, functions, Realtime and health on one port of 127.0.0.1, with the habits of Supabase's gateway.

use crate::{
    auth::Auth,
    bounds::Bodies,
    error::{Error, Result},
    keys::{BadToken, Claims, Keys},
    realtime::Realtime,
    rest::{MAX_BODY_BYTES, Rest, bearer},
};
use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::any,
};
use hub_api::Api;
use postrust_server::lenient_uri::LenientStream;
use serde_json::{Value, json};
use std::{
    any::Any,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer},
};

/// Requests that run when the stack ends get this long.
const DRAIN: Duration = Duration::from_millis(1000);
const API_KEY: HeaderName = HeaderName::from_static("apikey");
/// A body arrives within this, or it is given up: slow ones hold memory.
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// Lets request targets be as REST clients write them.
struct Lenient(TcpListener);

impl axum::serve::Listener for Lenient {
    type Io = LenientStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = axum::serve::Listener::accept(&mut self.0).await;
        // Or the second of two frames waits until the client has acknowledged the first: 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection is gone already");
        }
        (LenientStream::new(stream), address)
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// What the gateway leads to.
#[derive(Clone)]
pub struct Gateway {
    /// Verifies keys.
    pub keys: Keys,
    /// `/rest/v1`.
    pub rest: Rest,
    /// `/auth/v1`.
    pub auth: Auth,
    /// `/functions/v1`.
    pub functions: Api,
    /// `/realtime/v1`.
    pub realtime: Realtime,
    /// Bodies for REST that are being read.
    pub(crate) bodies: Bodies,
}

/// Takes the port, before anything slow is done.
///
/// # Errors
/// [`Error::PortInUse`].
pub async fn bind(port: u16) -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|_| Error::PortInUse {
        port,
        what: "the gateway",
        option: "--port",
    })
}

impl Gateway {
    /// Serves until `stop`, then lets running requests end for a moment.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        hub_api::listen(Lenient(listener), self.router(), stop, DRAIN).await;
    }

    /// All routes and layers.
    pub fn router(self) -> Router {
        let cors = CorsLayer::new()
            .allow_origin(AllowOrigin::any())
            .allow_methods(AllowMethods::list([
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PATCH,
                Method::PUT,
                Method::DELETE,
                Method::OPTIONS,
            ]))
            // Clients send headers of their own (x-client-info, prefer, accept-profile, …): whatever they ask for.
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers([
                header::CONTENT_ENCODING,
                header::CONTENT_LOCATION,
                header::CONTENT_RANGE,
                header::CONTENT_TYPE,
                header::DATE,
                header::LINK,
                header::LOCATION,
                HeaderName::from_static("preference-applied"),
                HeaderName::from_static("range-unit"),
                HeaderName::from_static("x-total-count"),
                HeaderName::from_static("x-supabase-api-version"),
                HeaderName::from_static("x-sb-error-code"),
            ])
            .max_age(Duration::from_secs(3600));
        let rest = any(rest).layer(middleware::from_fn_with_state(self.clone(), require_key));
        let auth = self.auth.router().layer(middleware::from_fn_with_state(self.clone(), require_key));
        Router::new()
            .route("/health", any(health))
            .route("/rest/v1", rest.clone())
            .route("/rest/v1/", rest.clone())
            .route("/rest/v1/{*path}", rest)
            .nest_service("/auth/v1", auth)
            // Asks for a key itself, in the words of Realtime's clients.
            .nest_service("/realtime/v1", self.realtime.router())
            .route_service("/functions/v1/{*path}", self.functions.clone().router())
            .fallback(unknown)
            .layer(CatchPanicLayer::custom(panicked))
            .layer(cors)
            .layer(middleware::from_fn(one_authorization))
            .layer(middleware::from_fn(only_this_machine))
            .with_state(self)
    }
}

async fn rest(State(gateway): State<Gateway>, mut request: Request) -> Response {
    let path = request.uri().path().strip_prefix("/rest/v1").unwrap_or("");
    let path = if path.is_empty() { "/" } else { path };
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    match Uri::try_from(target) {
        Ok(uri) => *request.uri_mut() = uri,
        Err(_) => return plain(StatusCode::BAD_REQUEST, "the address can not be read"),
    }
    // Before the body: who shows a token of nobody sends none. Its words are REST's own, which it finds for a request without a body as well.
    let caller =
        match request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer) {
            None => Err(BadToken::Invalid),
            Some(token) => gateway.keys.verify(token),
        };
    let caller = match caller {
        Ok(claims) => claims,
        Err(BadToken::Incomplete) => return unauthorised("the token does not say when it ends (exp)"),
        Err(BadToken::Early) => return unauthorised("the token does not count yet (nbf)"),
        Err(BadToken::Expired | BadToken::Signature | BadToken::Invalid) => {
            *request.body_mut() = Body::empty();
            request.headers_mut().remove(header::CONTENT_LENGTH);
            return gateway.rest.handle(request).await;
        }
    };
    let (parts, body) = request.into_parts();
    let name = |claim: &str| caller.get(claim).and_then(Value::as_str);
    let turn = gateway.bodies.turn(name("sub").or(name("role")).unwrap_or("")).await;
    let body = match timeout(BODY_WITHIN, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 16 MB, or ended before its end");
        }
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the body did not arrive within 30 s"),
    };
    drop(turn);
    gateway.rest.handle(Request::from_parts(parts, Body::from(body))).await
}

/// In the words of PostgREST.
fn unauthorised(message: &str) -> Response {
    let body = json!({"code": "PGRST301", "details": null, "hint": null, "message": message});
    let mut response = (StatusCode::UNAUTHORIZED, Json(body)).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// A fault of ours, or of a crate behind us, is an answer and no closed connection; the log has its id.
fn panicked(why: Box<dyn Any + Send + 'static>) -> Response {
    let id = uuid::Uuid::new_v4().to_string();
    let why = why.downcast_ref::<String>().map(String::as_str).or_else(|| why.downcast_ref::<&str>().copied());
    tracing::error!(request.id = %id, panic = why.unwrap_or("?"), "a request panicked");
    let body = json!({"code": "XX000", "details": null, "hint": "The log of `hub dev` has more, under this id.",
                      "message": format!("the request {id} could not be answered")});
    let mut response = (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response();
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    response
}

/// Two of them are two answers to who is calling: which one counts must not depend on who reads it.
async fn one_authorization(request: Request, next: Next) -> Response {
    if [header::AUTHORIZATION, API_KEY].iter().any(|name| request.headers().get_all(name).iter().nth(1).is_some()) {
        return plain(StatusCode::BAD_REQUEST, "the header Authorization or apikey is there twice");
    }
    next.run(request).await
}

async fn health(State(gateway): State<Gateway>) -> Response {
    let healthy = gateway.rest.healthy().await;
    let word = |well| if well { "ok" } else { "unreachable" };
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response =
        (status, Json(json!({"status": word(healthy), "database": word(healthy), "rest": word(healthy), "realtime": word(gateway.realtime.flows())})))
            .into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn unknown() -> Response {
    plain(StatusCode::NOT_FOUND, "no Route matched with those values")
}

fn plain(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"message": message}))).into_response()
}

/// A web page can make a browser send requests to 127.0.0.1 under a name of its own (DNS rebinding): then the browser lets the page
/// read the answers. Such a request carries that name.
async fn only_this_machine(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let host = host.or_else(|| request.uri().host());
    if host.is_some_and(is_local) {
        next.run(request).await
    } else {
        plain(StatusCode::FORBIDDEN, "this server answers to localhost and 127.0.0.1 only")
    }
}

fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, tail)) if port_only(tail) => return name == "::1",
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) if port_only(&format!(":{port}")) => name,
            Some(_) => return false,
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1"
}

fn port_only(tail: &str) -> bool {
    tail.is_empty() || tail.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

/// As hosted: no request without a key of the project, and the key speaks for a caller without a token.
async fn require_key(State(gateway): State<Gateway>, mut request: Request, next: Next) -> Response {
    // Fetched by programs that have no key yet.
    if request.uri().path().ends_with("/.well-known/jwks.json") {
        return next.run(request).await;
    }
    let (from_query, rest_of_query) = take_key(request.uri().query());
    let from_header = request.headers().get(API_KEY).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let Some(key) = from_header.or(from_query).filter(|key| !key.is_empty()) else {
        let body = json!({
            "message": "No API key found in request",
            "hint": "No `apikey` request header or url param was found.",
        });
        return (StatusCode::UNAUTHORIZED, Json(body)).into_response();
    };
    if !gateway.keys.verify(&key).is_ok_and(|claims| is_project_key(&claims)) {
        let body = json!({
            "message": "Invalid API key",
            "hint": "Double check your Supabase `anon` or `service_role` API key.",
        });
        return (StatusCode::UNAUTHORIZED, Json(body)).into_response();
    }
    if let Some(query) = rest_of_query {
        let path = request.uri().path();
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        if let Ok(uri) = Uri::try_from(target) {
            *request.uri_mut() = uri;
        }
    }
    speak_for_caller(request.headers_mut(), &key);
    next.run(request).await
}

fn speak_for_caller(headers: &mut HeaderMap, key: &str) {
    if headers.contains_key(header::AUTHORIZATION) {
        return;
    }
    if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {key}")) {
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
}

/// A person's token is no key of the project.
fn is_project_key(claims: &Claims) -> bool {
    matches!(claims.get("role").and_then(Value::as_str), Some("anon" | "service_role"))
}

/// The key in the query string, and the query without it.
fn take_key(query: Option<&str>) -> (Option<String>, Option<String>) {
    let Some(query) = query.filter(|query| query.split('&').any(|pair| pair.starts_with("apikey="))) else {
        return (None, None);
    };
    let key = query.split('&').find_map(|pair| pair.strip_prefix("apikey=")).map(str::to_owned);
    let rest = query.split('&').filter(|pair| !pair.starts_with("apikey=")).collect::<Vec<_>>().join("&");
    (key, Some(rest))
}

/// The address of a listener.
///
/// # Errors
/// When the system does not tell.
pub fn address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|source| Error::Io { what: "ask for the gateway's port".into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["localhost", "LOCALHOST:54321", "127.0.0.1", "127.0.0.1:54321", "[::1]", "[::1]:54321"] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:54321",
            "127.0.0.1:54321.evil.example",
            "[::1].evil",
            "[::2]",
            "::1",
            "localhost:",
            "0.0.0.0",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn a_key_in_the_query_is_taken_out_of_it() {
        assert_eq!(take_key(Some("select=id&apikey=k&limit=1")), (Some("k".into()), Some("select=id&limit=1".into())));
        assert_eq!(take_key(Some("apikey=k")), (Some("k".into()), Some(String::new())));
        assert_eq!(take_key(Some("select=id")), (None, None));
        assert_eq!(take_key(None), (None, None));
    }
}
