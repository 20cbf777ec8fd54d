//! The one door: REST, sign-in, functions, Realtime and health on one port of 127.0.0.1, with the habits of Supabase's gateway.

use crate::{
    auth::Auth,
    bounds::{Kept, Turns},
    drain,
    error::{Error, Result},
    keys::{Claims, Keys},
    lenient::Lenient,
    realtime::Realtime,
    rest::Rest,
};
use axum::{
    Json, Router,
    body::{Body, HttpBody, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::any,
};
use hub_api::Api;
use serde_json::{Value, json};
use std::{
    any::Any,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer},
};

/// Requests that run when the stack ends get this long.
const DRAIN: Duration = Duration::from_millis(1000);
const API_KEY: HeaderName = HeaderName::from_static("apikey");
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// A body arrives within this, or it is given up: slow ones hold memory.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// As long as REST waits for a connection.
const RUNS_WITHIN: Duration = Duration::from_secs(8);
/// An answer of so many bytes goes on its way at once, read or not.
const SMALL: u64 = 1024 * 1024;

/// Lets request targets be as REST clients write them.
struct Door(TcpListener);

impl axum::serve::Listener for Door {
    type Io = Lenient<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = axum::serve::Listener::accept(&mut self.0).await;
        // Or the second of two frames waits until the client has acknowledged the first: 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection is gone already");
        }
        (Lenient::new(stream), address)
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
    pub(crate) bodies: Turns,
    /// Requests to REST that are with the database.
    pub(crate) running: Turns,
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
        hub_api::listen(Door(listener), self.router(), stop, DRAIN).await;
    }

    /// All routes and layers.
    pub fn router(self) -> Router {
        let rest = any(rest).layer(middleware::from_fn_with_state(self.clone(), require_key));
        let auth = self.auth.router().layer(middleware::from_fn_with_state(self.clone(), take_key_if_any));
        let routes = Router::new()
            .route("/health", any(health))
            .route("/rest/v1", rest.clone())
            .route("/rest/v1/", rest.clone())
            .route("/rest/v1/{*path}", rest)
            .nest_service("/auth/v1", auth)
            // Asks for a key itself, in the words of Realtime's clients.
            .nest_service("/realtime/v1", self.realtime.router())
            .route_service("/functions/v1/{*path}", self.functions.clone().router())
            .fallback(unknown);
        around(routes.with_state(self))
    }
}

/// What every request goes through.
fn around(routes: Router) -> Router {
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
            HeaderName::from_static("x-request-id"),
            HeaderName::from_static("x-total-count"),
            HeaderName::from_static("x-supabase-api-version"),
            HeaderName::from_static("x-sb-error-code"),
        ])
        .max_age(Duration::from_secs(3600));
    let routes = routes.layer(CatchPanicLayer::custom(panicked));
    // To `CorsLayer` every OPTIONS is a preflight.
    let shared = routes.clone().layer(cors);
    Router::new()
        .fallback(move |request: Request| {
            let router = if asks_what_is_allowed(&request) { routes.clone() } else { shared.clone() };
            router.oneshot(request)
        })
        .layer(middleware::from_fn(one_authorization))
        .layer(middleware::from_fn(only_this_machine))
        .layer(middleware::from_fn(drain::drained))
        // And one of these themselves.
        .layer(CatchPanicLayer::custom(panicked))
}

/// Not a browser before a page's request, but somebody who wants to know what can be done with a table.
fn asks_what_is_allowed(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request.uri().path().starts_with("/rest/v1")
        && !request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
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
    // Before the body: who shows a token of nobody sends none.
    let caller = match gateway.rest.admit(request.headers()) {
        Ok(caller) => caller,
        Err(refused) => return *refused,
    };
    let (parts, body) = request.into_parts();
    let turn = gateway.bodies.turn(caller.name()).await;
    let body = match timeout(BODY_WITHIN, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 16 MB, or ended before its end");
        }
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the body did not arrive within 30 s"),
    };
    drop(turn);
    // Fewer of a caller than there are connections, and each to its end, also for who has gone: the database works on as long.
    let Ok(turn) = timeout(RUNS_WITHIN, gateway.running.turn(caller.name())).await else {
        return Rest::busy(&caller);
    };
    let run = tokio::spawn(async move { kept(gateway.rest.handle(&parts, body, &caller).await, turn) });
    match run.await {
        Ok(answer) => answer,
        Err(ended) => match ended.try_into_panic() {
            Ok(why) => std::panic::resume_unwind(why),
            Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "it is stopping"),
        },
    }
}

/// A large answer keeps its caller's turn until it is read: who asks and does not read would fill the memory.
fn kept(answer: Response, turn: Option<OwnedSemaphorePermit>) -> Response {
    if answer.body().size_hint().lower() <= SMALL {
        return answer;
    }
    answer.map(|body| Body::new(Kept { body, _turn: turn }))
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

/// As the gateway of the Supabase CLI's local stack: who shows no key is let through to sign-in, which asks for a token where it needs one.
async fn take_key_if_any(gateway: State<Gateway>, request: Request, next: Next) -> Response {
    // Any page that a browser shows could sign up, and read. What says where it comes from, and is not from here, shows the key.
    let foreign = request.headers().get(header::ORIGIN).is_some_and(|origin| {
        !origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_some_and(|(_, host)| is_local(host))
    });
    if foreign || request.headers().contains_key(API_KEY) || take_key(request.uri().query()).0.is_some() {
        return require_key(gateway, request, next).await;
    }
    next.run(request).await
}

/// As hosted: no request without a key of the project, and the key speaks for a caller without a token.
async fn require_key(State(gateway): State<Gateway>, mut request: Request, next: Next) -> Response {
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

    #[tokio::test]
    async fn a_panic_is_an_answer_with_an_id() {
        async fn panics() -> StatusCode {
            panic!("of a kind that nobody foresaw")
        }
        let listener = bind(0).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = around(Router::new().route("/", any(panics)));
        tokio::spawn(hub_api::listen(listener, router, CancellationToken::new(), DRAIN));
        let ask =
            || reqwest::Client::new().post(format!("http://{address}/")).header("origin", "http://localhost:3000");
        let mut ids = std::collections::HashSet::new();
        for body in [String::new(), "x".repeat(4 * 1024 * 1024)] {
            let answer = ask().body(body).send().await.unwrap();
            assert_eq!(answer.status(), 500);
            assert_eq!(answer.headers()["access-control-allow-origin"], "*", "or a page does not see it");
            let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
            let said: Value = answer.json().await.unwrap();
            assert!(said["message"].as_str().unwrap().contains(&id), "{said}");
            ids.insert(id);
        }
        assert_eq!(ids.len(), 2);
    }

    #[test]
    fn a_key_in_the_query_is_taken_out_of_it() {
        assert_eq!(take_key(Some("select=id&apikey=k&limit=1")), (Some("k".into()), Some("select=id&limit=1".into())));
        assert_eq!(take_key(Some("apikey=k")), (Some("k".into()), Some(String::new())));
        assert_eq!(take_key(Some("select=id")), (None, None));
        assert_eq!(take_key(None), (None, None));
    }
}
