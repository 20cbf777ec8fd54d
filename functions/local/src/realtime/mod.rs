//! Supabase Realtime for one machine: `/realtime/v1/websocket` and `/realtime/v1/api/broadcast`, as official clients speak to it.
//!
//! ```text
//! Postgres ──log──▶ feed ──▶ rooms ─────────────▶ outbox ──▶ socket ──▶ client
//!                    └────▶ changes ─(who may?)─▶   ▲          │
//!            policies ◀── authorise ◀───────────────┴──────────┘
//! ```
//!
//! [`pgoutput`], [`filter`], [`presence`], [`channel`] read; [`rooms`] and [`outbox`] hand out; [`authorise`], [`messages`],
//! [`persist`] and [`changes`] ask the database; [`feed`] hears it; [`socket`] and [`rest`] are the doors. What the hub means by a
//! topic is in SQL: nothing here knows.

pub mod authorise;
pub mod changes;
pub mod channel;
pub mod feed;
pub mod filter;
pub mod messages;
pub mod outbox;
pub mod persist;
pub mod pgoutput;
pub mod presence;
mod rest;
pub mod rooms;
mod socket;

use crate::{
    error::{Error, Result},
    keys::{BadToken, Keys, Secrets},
    postgres::connect_options,
};
use authorise::Authoriser;
use axum::{
    Json, Router,
    extract::{Query, State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use changes::Changes;
use channel::Bearer;
use feed::{Feed, FeedOptions};
use hub::realtime::frame::Version;
use rooms::Rooms;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgPoolOptions};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle, time};
use tokio_util::sync::CancellationToken;

const CONNECTIONS: u32 = 5;
/// `hub dev` is ready when the stream flows; one that waits for a long transaction is not waited for.
const STREAM_WITHIN: Duration = Duration::from_secs(3);
const SOCKETS: usize = 20_000;
const MAX_FRAME: usize = 5 * 1024 * 1024;
const PAYLOAD: usize = 3 * 1024 * 1024;
/// What a socket reads at once: the memory it costs while nothing happens.
const READ_BUFFER: usize = 2048;
/// Frames that wait together are written together, up to this; a socket that was ever sent a burst keeps as much.
const WRITE_BUFFER: usize = 4096;

/// The endpoint. Cheap to clone.
#[derive(Clone)]
pub struct Realtime {
    inner: Arc<Inner>,
}

struct Inner {
    keys: Keys,
    pool: PgPool,
    rooms: Rooms,
    changes: Changes,
    authoriser: Authoriser,
    streaming: watch::Receiver<bool>,
    sockets: AtomicUsize,
    stop: CancellationToken,
    feed: JoinHandle<()>,
}

/// Why a token opens nothing, in the words that clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBearer {
    /// Its time is over.
    #[error("Token has expired")]
    Expired,
    /// It does not say who, or until when.
    #[error("Fields `role` and `exp` are required in JWT")]
    Incomplete,
    /// It is no token.
    #[error("The token provided is not a valid JWT")]
    Malformed,
    /// Somebody else made it.
    #[error("Failed to validate JWT signature")]
    Signature,
}

impl BadBearer {
    /// The error's code in replies to joins.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Expired | Self::Incomplete => "InvalidJWTToken",
            Self::Malformed => "MalformedJWT",
            Self::Signature => "JwtSignatureError",
        }
    }
}

impl From<BadToken> for BadBearer {
    fn from(bad: BadToken) -> Self {
        match bad {
            BadToken::Expired => Self::Expired,
            BadToken::Incomplete => Self::Incomplete,
            // Realtime's own words for a time that is not now.
            BadToken::Early => Self::Expired,
            BadToken::Invalid => Self::Malformed,
            BadToken::Signature => Self::Signature,
        }
    }
}

impl Realtime {
    /// Starts, and waits a moment for the stream.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn start(port: u16, secrets: &Secrets, keys: Keys, stop: CancellationToken) -> Result<Self> {
        let role = "hub_realtime";
        let password = &secrets.realtime_password;
        let connect = connect_options(port, role, password)
            .application_name("hub realtime")
            // Nothing that is written here outlives the process: subscriptions, and rows to ask policies with that are rolled back.
            .options([
                ("search_path", "pg_catalog, pg_temp"),
                ("timezone", "UTC"),
                ("statement_timeout", "8s"),
                ("synchronous_commit", "off"),
            ]);
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(Duration::from_secs(8))
            .connect_with(connect)
            .await
            .map_err(Error::Database)?;
        let rooms = Rooms::default();
        let changes = Changes::start(pool.clone(), stop.clone()).await?;
        let options = FeedOptions {
            host: "127.0.0.1".into(),
            port,
            user: role.into(),
            password: password.clone(),
            database: "postgres".into(),
        };
        let feed = Feed::new(options, pool.clone(), rooms.clone(), changes.clone());
        let mut streaming = feed.status();
        let feed = tokio::spawn(feed.run(stop.clone()));
        if time::timeout(STREAM_WITHIN, streaming.wait_for(|streaming| *streaming)).await.is_err() {
            tracing::warn!(
                "Realtime waits for the replication stream; until it flows, broadcasts of the database are late"
            );
        }
        let authoriser = Authoriser::new(pool.clone());
        let sockets = AtomicUsize::new(0);
        Ok(Self { inner: Arc::new(Inner { keys, pool, rooms, changes, authoriser, streaming, sockets, stop, feed }) })
    }

    /// All routes, below `/realtime/v1`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/websocket", get(open))
            .route("/api/broadcast", any(rest::batch))
            .route("/api/broadcast/{topic}/events/{event}", any(rest::single))
            .fallback(unknown)
            .layer(axum::extract::DefaultBodyLimit::max(MAX_FRAME))
            .with_state(self.clone())
    }

    /// Whether the stream flows.
    #[must_use]
    pub fn flows(&self) -> bool {
        *self.inner.streaming.borrow()
    }

    /// Ends what `stop` has not ended yet.
    pub async fn close(&self) {
        self.inner.feed.abort();
        self.inner.pool.close().await;
    }

    fn streaming(&self) -> watch::Receiver<bool> {
        let mut streaming = self.inner.streaming.clone();
        streaming.mark_unchanged();
        streaming
    }

    async fn stopped(&self) {
        self.inner.stop.cancelled().await;
    }

    fn rooms(&self) -> &Rooms {
        &self.inner.rooms
    }

    fn changes(&self) -> &Changes {
        &self.inner.changes
    }

    fn authoriser(&self) -> &Authoriser {
        &self.inner.authoriser
    }

    fn pool(&self) -> &PgPool {
        &self.inner.pool
    }

    fn bearer(&self, token: &SecretString) -> std::result::Result<Bearer, BadBearer> {
        let claims = self.inner.keys.verify(token.expose_secret())?;
        let expires = claims.get("exp").and_then(Value::as_i64).ok_or(BadBearer::Incomplete)?;
        if !claims.get("role").is_some_and(Value::is_string) {
            return Err(BadBearer::Incomplete);
        }
        Ok(Bearer { token: token.clone(), claims, expires })
    }
}

/// Counted as long as it lives.
struct Seat(Realtime);

impl Seat {
    fn take(realtime: &Realtime) -> Option<Self> {
        let seat = Self(realtime.clone());
        (realtime.inner.sockets.fetch_add(1, Ordering::Relaxed) < SOCKETS).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.inner.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Deserialize)]
struct Handshake {
    apikey: Option<String>,
    vsn: Option<String>,
}

async fn open(
    State(realtime): State<Realtime>,
    Query(handshake): Query<Handshake>,
    headers: HeaderMap,
    upgrade: std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(SecretString::from);
    let Some(key) = header("x-api-key").or_else(|| header("apikey")).or(handshake.apikey.map(SecretString::from))
    else {
        return refuse(StatusCode::UNAUTHORIZED, "API key is missing");
    };
    let key = match realtime.bearer(&key) {
        Ok(key) => key,
        Err(bad) => return refuse(StatusCode::UNAUTHORIZED, &bad.to_string()),
    };
    let Some(version) = Version::of(handshake.vsn.as_deref()) else {
        return refuse(StatusCode::BAD_REQUEST, "vsn must be 1.0.0 or 2.0.0");
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let Some(seat) = Seat::take(&realtime) else {
        return refuse(StatusCode::TOO_MANY_REQUESTS, "Too many connected users");
    };
    upgrade
        .max_message_size(MAX_FRAME)
        .max_frame_size(MAX_FRAME)
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .on_upgrade(async move |socket| {
            let stop = realtime.inner.stop.clone();
            socket::serve(socket, realtime, version, key.token, stop).await;
            drop(seat);
        })
}

async fn unknown() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"message": "no Route matched with those values"}))).into_response()
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"error": message}))).into_response()
}
