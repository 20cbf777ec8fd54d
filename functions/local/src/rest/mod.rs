//! REST: the crate `postrust-server` over the `public` schema, behind a layer that mends what clients trip over.
//!
//! Faults B1 to B3 are listed in this folder's README. Beyond them: a table or function made a moment ago is there at once.

mod mend;

use crate::{
    error::{Error, Result},
    keys::Secrets,
    postgres::connect_options,
};
use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request},
    response::{IntoResponse, Response},
};
use postrust_core::{AppConfig, SchemaCache, config::RoleSettings};
use postrust_server::AppState;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{
    Connection,
    postgres::{PgListener, PgPool, PgPoolOptions},
};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Mutex, time};
use tokio_util::sync::CancellationToken;

/// As hosted: a request for everything gets a thousand rows.
const MAX_ROWS: i64 = 1000;
pub(crate) const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// How deep a request may embed; clients go two or three levels down.
const DEPTH: usize = 8;
const POOL: u32 = 12;
/// A connection that lay idle for longer is asked whether it still lives.
const ASK_AFTER: Duration = Duration::from_secs(1);
/// A migration is many statements, each with its own notification.
const SETTLE: Duration = Duration::from_millis(40);
const RETRY: Duration = Duration::from_millis(500);

/// The REST layer of one stack.
#[derive(Clone)]
pub struct Rest {
    inner: Arc<Inner>,
}

struct Inner {
    app: Arc<AppState>,
    pool: PgPool,
    /// When the schema that is in use was begun to be read.
    read_at: Mutex<Instant>,
}

impl Rest {
    /// Connects, reads the schema and follows its changes until `stop`.
    ///
    /// # Errors
    /// [`Error::Rest`] when the database can not be reached or read.
    pub async fn start(port: u16, secrets: &Secrets, stop: CancellationToken) -> Result<Self> {
        let mut config = AppConfig::default();
        config.db_schemas = vec!["public".into()];
        config.db_extra_search_path = vec!["public".into(), "extensions".into()];
        config.db_anon_role = Some("anon".into());
        config.db_max_rows = Some(MAX_ROWS);
        config.db_pool_size = POOL;
        config.max_body_size = MAX_BODY_BYTES;
        config.jwt_secret = Some(secrets.jwt_secret.expose_secret().to_owned());
        config.compat_mode = true;
        // `authenticator` changes into these with SET ROLE, which does not apply what ALTER ROLE says of them.
        let timeout = |milliseconds| {
            let mut settings = RoleSettings::default();
            settings.statement_timeout = Some(milliseconds);
            settings
        };
        config.role_settings = HashMap::from([
            ("anon".to_owned(), timeout(3000)),
            ("authenticated".to_owned(), timeout(8000)),
            ("service_role".to_owned(), timeout(8000)),
        ]);

        let pool = PgPoolOptions::new()
            .max_connections(POOL)
            // As hub::db does: to ask each connection before each request whether it lives would be an exchange more.
            .test_before_acquire(false)
            .before_acquire(|connection, known| {
                Box::pin(async move {
                    if known.idle_for > ASK_AFTER {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .acquire_timeout(Duration::from_secs(8))
            .connect_with(connect_options(port, "authenticator", &secrets.authenticator_password))
            .await
            .map_err(|error| Error::Rest(error.to_string()))?;
        let began = Instant::now();
        let cache = SchemaCache::load_with_search_path(&pool, &config.db_schemas, &config.db_extra_search_path)
            .await
            .map_err(|error| Error::Rest(error.to_string()))?;
        let app = AppState::new(pool.clone(), cache, config).map_err(|error| Error::Rest(error.to_string()))?;
        let rest = Self { inner: Arc::new(Inner { app: Arc::new(app), pool, read_at: Mutex::new(began) }) };
        tokio::spawn(rest.clone().follow(stop));
        Ok(rest)
    }

    /// Whether the database answers REST's own role.
    pub async fn healthy(&self) -> bool {
        let ask = sqlx::query("select 1").execute(&self.inner.pool);
        matches!(time::timeout(Duration::from_secs(2), ask).await, Ok(Ok(_)))
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.inner.pool.close().await;
    }

    /// Answers one request; its path is without the mount (`/messages`, `/rpc/send`).
    pub async fn handle(&self, request: Request) -> Response {
        let arrived = Instant::now();
        let (parts, body) = request.into_parts();
        if let Some(why) = parts.uri.query().and_then(mend::too_much) {
            return refuse(StatusCode::BAD_REQUEST, why);
        }
        let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the request's body is too large");
        };
        let Some(parts) = mended(parts) else {
            return refuse(StatusCode::BAD_REQUEST, "the request's address can not be read");
        };
        let anonymous = is_anonymous(&parts.headers);
        let body = match parts.uri.path().strip_prefix("/rpc/").filter(|_| parts.method == Method::POST) {
            Some(function) => match self.arguments(function, body).await {
                Ok(body) => body,
                Err(refused) => return refused,
            },
            None => body,
        };

        let answer = self.ask(&parts, body.clone()).await;
        let answer = match self.after_a_miss(answer, arrived).await {
            Ok(answer) => answer,
            Err(_) => self.ask(&parts, body).await,
        };
        forbidden_not_unauthorized(answer, anonymous).await
    }

    /// Mends B6: an argument that is null would reach the function as an empty text. It is left out where its default is null, and means the same;
    /// where the default is something else the caller would get what they did not ask for, and is told.
    async fn arguments(&self, function: &str, body: Bytes) -> Result<Bytes, Response> {
        let Some((named, nulls)) = mend::nulls(&body) else { return Ok(body) };
        // Of an argument with a default other than null. The names of the arguments that have one are the last.
        let defaults: Result<Vec<String>, _> = sqlx::query_scalar(
            "select a.name from pg_catalog.pg_proc p
              cross join lateral unnest(p.proargnames) with ordinality a (name, n)
              cross join lateral pg_catalog.pg_get_function_arg_default(p.oid, a.n::int) d (said)
              where p.pronamespace = 'public'::regnamespace and p.proname = $1 and a.name = any ($2) and d.said !~* '^null(::|$)'",
        )
        .bind(function)
        .bind(&nulls)
        .fetch_all(&self.inner.pool)
        .await;
        match defaults {
            Ok(defaults) => match defaults.first() {
                Some(name) => Err(refuse(
                    StatusCode::BAD_REQUEST,
                    &format!("the argument {name} is null: give a value, or leave it out"),
                )),
                None => Ok(named),
            },
            Err(_) => Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "the database can not be reached")),
        }
    }

    async fn ask(&self, parts: &request::Parts, body: Bytes) -> Response {
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = parts.headers.clone();
        postrust_server::handle_request(State(self.inner.app.clone()), request).await
    }

    /// Something the schema in use does not have: `Err` if it was read again meanwhile and the question is worth repeating. That
    /// a notification about the change is on its way helps nobody who asks now.
    async fn after_a_miss(&self, answer: Response, arrived: Instant) -> Result<Response, ()> {
        if !matches!(answer.status(), StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST) {
            return Ok(answer);
        }
        let (answer, said) = opened(answer).await;
        let missing = matches!(
            said.as_ref().and_then(|said| said["code"].as_str()),
            Some("PGRST200" | "PGRST202" | "PGRST204" | "PGRST205")
        );
        if missing && self.reload(arrived).await { Err(()) } else { Ok(answer) }
    }

    /// Reads the schema, unless that has been done since `needed`. One reads, the others wait for it.
    async fn reload(&self, needed: Instant) -> bool {
        let mut read_at = self.inner.read_at.lock().await;
        if *read_at >= needed {
            return true;
        }
        let began = Instant::now();
        match self.inner.app.reload_schema().await {
            Ok(()) => {
                *read_at = began;
                true
            }
            Err(error) => {
                tracing::warn!(rest.error = %error, "the schema could not be read; the previous one stays");
                false
            }
        }
    }

    /// Reads the schema at each notification, and after every gap in listening, when notifications were lost.
    async fn follow(self, stop: CancellationToken) {
        let mut first = true;
        while !stop.is_cancelled() {
            let listening = async {
                let mut listener = PgListener::connect_with(&self.inner.pool).await?;
                // A reconnect must come back here, to look again.
                listener.eager_reconnect(false);
                listener.listen("pgrst").await?;
                if !first {
                    self.reload(Instant::now()).await;
                }
                first = false;
                while listener.try_recv().await?.is_some() {
                    while let Ok(Ok(Some(_))) = time::timeout(SETTLE, listener.try_recv()).await {}
                    self.reload(Instant::now()).await;
                }
                Ok::<_, sqlx::Error>(())
            };
            tokio::select! {
                () = stop.cancelled() => return,
                outcome = listening => tracing::debug!(rest.listening = ?outcome.err(), "the REST layer listens again"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = time::sleep(RETRY) => {}
            }
        }
    }
}

fn mended(mut parts: request::Parts) -> Option<request::Parts> {
    if let Some(query) = parts.uri.query() {
        let query = mend::query(query);
        let path = parts.uri.path();
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        parts.uri = Uri::try_from(target).ok()?;
    }
    if parts.method == Method::HEAD {
        // Some clients send a length with HEAD and no body.
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    Some(parts)
}

/// B3: who has a role and may not is forbidden; only the anonymous are asked who they are.
async fn forbidden_not_unauthorized(answer: Response, anonymous: bool) -> Response {
    if answer.status() != StatusCode::UNAUTHORIZED || anonymous {
        return answer;
    }
    let (mut answer, said) = opened(answer).await;
    if said.is_some_and(|said| said["code"] == "42501") {
        *answer.status_mut() = StatusCode::FORBIDDEN;
        answer.headers_mut().remove(header::WWW_AUTHENTICATE);
    }
    answer
}

/// The answer whole again, and its body as JSON if it is that.
async fn opened(answer: Response) -> (Response, Option<Value>) {
    let (parts, body) = answer.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let said = serde_json::from_slice(&bytes).ok();
    (Response::from_parts(parts, Body::from(bytes)), said)
}

/// Reads the role from the token without verifying it: whoever gets as far as a refusal by the database had a valid one.
fn is_anonymous(headers: &HeaderMap) -> bool {
    let Some(token) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer) else {
        return true;
    };
    let mut validation = jsonwebtoken::Validation::default();
    validation.insecure_disable_signature_validation();
    validation.validate_aud = false;
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    jsonwebtoken::decode::<Value>(token, &jsonwebtoken::DecodingKey::from_secret(&[]), &validation)
        .ok()
        .is_none_or(|data| data.claims["role"].as_str().is_none_or(|role| role == "anon"))
}

/// The token of an `Authorization` value.
pub(crate) fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

fn refuse(status: StatusCode, message: &str) -> Response {
    let mut answer =
        axum::Json(json!({"code": "PGRST100", "details": null, "hint": null, "message": message})).into_response();
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
