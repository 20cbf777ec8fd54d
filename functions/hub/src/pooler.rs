//! What stands between us and Postgres: nothing, a pooler that keeps our session, or one in transaction mode, which gives each
//! transaction whatever server is free. Found out by trying, since no address tells: only a session hears what it listens for.
//!
//! Without a session a statement that was prepared a moment ago may be unknown, or be somebody else's of the same name. So until a
//! session is proven every call is a transaction of its own, and its statement has no name.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use futures_util::{future::BoxFuture, stream::BoxStream};
use sqlx::{
    AssertSqlSafe, Connection, Either, Execute, Executor, PgConnection, Postgres, Row, SqlStr,
    error::BoxDynError,
    postgres::{
        PgArguments, PgConnectOptions, PgListener, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo,
    },
};
use tokio::time::timeout;

/// A database, a role or a pooler may have other defaults, and what relies on these would fail now and then: a message is numbered by
/// who locks the channel first and then reads it, which a snapshot from before does not see.
pub(crate) const SESSION: &str = "set default_transaction_isolation = 'read committed'; set row_security = on; \
     set standard_conforming_strings = on; set idle_in_transaction_session_timeout = '60s'";
/// Begins a transaction with the settings that a session of ours has: a pooler lends the session to others.
pub const BEGIN: &str = "begin isolation level read committed; set local row_security = on; \
     set local standard_conforming_strings = on; set local idle_in_transaction_session_timeout = '60s'";

const OPEN_WITHIN: Duration = Duration::from_secs(5);
/// A session hears itself within milliseconds. What is not heard in this time is polled for.
const HEARD_WITHIN: Duration = Duration::from_secs(2);

/// What is known of it.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// Since when a session is known to be kept.
    session: OnceLock<Instant>,
}

impl Way {
    pub fn is_session(&self) -> bool {
        self.session.get().is_some()
    }

    /// For how long that is known: a connection that is older was made without [`SESSION`].
    pub fn session_for(&self) -> Option<Duration> {
        self.session.get().map(Instant::elapsed)
    }

    pub fn found(&self, session: bool) {
        if session {
            self.session.get_or_init(Instant::now);
        }
    }
}

/// A listener of its own, on these channels.
pub(crate) async fn listener(options: &PgConnectOptions, channels: &[&str]) -> sqlx::Result<PgListener> {
    // A pool of one: the listener must not take a connection away from the claims.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .acquire_timeout(OPEN_WITHIN)
        .connect_with(options.clone().application_name("hub listener"))
        .await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.ignore_pool_close_event(true);
    listener.eager_reconnect(false);
    listener.listen_all(channels.iter().copied()).await?;
    Ok(listener)
}

/// Whether what is said on one connection is heard on another that listens. On the same connection it would be heard through any pooler.
///
/// The channel is this question's own: behind a pooler in transaction mode the server that listens is anybody's next, and whoever has it
/// when something is said hears what they did not ask for, in the middle of their own call. So it is asked only where nothing speaks
/// against a session.
pub(crate) async fn keeps_sessions(options: &PgConnectOptions, speaker: &mut PgConnection) -> sqlx::Result<bool> {
    if shares_servers(options, speaker).await? {
        return Ok(false);
    }
    let mine = format!("hub_probe_{}", uuid::Uuid::new_v4().simple());
    let mut listener = listener(options, &[&mine]).await?;
    match sqlx::raw_sql(AssertSqlSafe(format!("notify {mine}"))).execute(speaker).await {
        Ok(_) => {}
        // It heard itself, since it got the server that listens.
        Err(sqlx::Error::Protocol(_)) => return Ok(false),
        Err(error) => return Err(error),
    }
    let heard = async {
        while let Some(heard) = listener.try_recv().await? {
            if heard.channel() == mine {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let heard = timeout(HEARD_WITHIN, heard).await.unwrap_or(Ok(false));
    if !matches!(heard, Ok(true)) {
        // Whichever server that is: behind such a pooler nobody listens.
        listener.unlisten_all().await.ok();
    }
    heard
}

/// Whether a pooler gives the server that one connection used to another: what a session has set is looked for by the next call of another
/// connection, and by the next of the same. It leaves nothing behind that anybody notices, and holds nothing while it waits. Where others
/// come in between, both may miss it once; hardly three times.
async fn shares_servers(options: &PgConnectOptions, speaker: &mut PgConnection) -> sqlx::Result<bool> {
    let connecting = PgConnection::connect_with(options);
    let mut other = timeout(OPEN_WITHIN, connecting).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
    let mut shared = false;
    for _ in 0..3 {
        let mine = uuid::Uuid::new_v4().simple().to_string();
        let set = format!("select set_config('hub.session', '{mine}', false)");
        sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut *speaker).await?;
        shared = session_of(&mut other).await?.as_deref() == Some(&mine)
            || session_of(speaker).await?.as_deref() != Some(&mine);
        if shared {
            break;
        }
    }
    other.close().await?;
    Ok(shared)
}

async fn session_of(connection: &mut PgConnection) -> sqlx::Result<Option<String>> {
    sqlx::raw_sql("select current_setting('hub.session', true)").fetch_one(connection).await?.try_get(0)
}

/// A connection on which no statement gets a name.
#[derive(Debug)]
pub struct Unnamed<'c>(pub &'c mut PgConnection);

struct Once<Q>(Q);

impl<'q, Q: Execute<'q, Postgres>> Execute<'q, Postgres> for Once<Q> {
    fn sql(self) -> SqlStr {
        self.0.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.0.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.0.take_arguments()
    }

    fn persistent(&self) -> bool {
        false
    }
}

impl<'c> Executor<'c> for Unnamed<'c> {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Either<PgQueryResult, PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.0.fetch_many(Once(query))
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.0.fetch_optional(Once(query))
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        self.0.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<sqlx::Describe<Postgres>>>
    where
        'c: 'e,
    {
        self.0.describe(sql)
    }
}
