//! The hub over Postgres: a small pool, and the session that keeps time. What is asked is in `contract`.

use std::{fmt::Display, io::ErrorKind, str::FromStr, sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
    query_file_scalar,
};
use tokio::time::timeout;

use crate::{
    error::{Error, Result},
    pooler::{self, SESSION, Way},
};

/// A worker claims, beats and reports at once, seldom more; a hundred workers must fit a small Postgres.
const CONNECTIONS: u32 = 5;
/// A connection that lay idle for longer is asked whether it still lives.
const ASK_AFTER: Duration = Duration::from_secs(1);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait after a failed attempt to find out what stands between.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// How often a call is made again that met another: it did nothing.
const MEETINGS: u32 = 5;
/// Whoever holds this session lock keeps time ("HUB\x01").
const KEEPER_LOCK: i64 = 0x4855_4201;

pub use crate::pooler::{BEGIN, Unnamed};

/// The hub over Postgres. Cheap to clone; clones share the pool.
#[derive(Debug, Clone)]
pub struct Db {
    pub(crate) pool: PgPool,
    options: Arc<PgConnectOptions>,
    pub(crate) way: Arc<Way>,
}

/// Fetches one statement. Without a session of ours it stands in a transaction: preparing and running it are two exchanges, and between
/// them a pooler would give us another server that knows nothing of the statement. What met another transaction did nothing, and is
/// done again.
macro_rules! fetch {
    ($db:expr, $how:ident, $query:expr) => {{
        let mut meetings = 0;
        loop {
            let outcome = if $db.way.is_session() {
                $query.$how(&$db.pool).await
            } else {
                async {
                    let mut transaction = $db.pool.begin_with($crate::db::BEGIN).await?;
                    let answer = $query.$how($crate::db::Unnamed(&mut transaction)).await?;
                    transaction.commit().await?;
                    Ok(answer)
                }
                .await
            };
            match outcome {
                Err(error) if $crate::db::met_another(&error, meetings) => meetings += 1,
                outcome => break outcome?,
            }
            $crate::db::make_way(meetings).await;
        }
    }};
}

pub(crate) use fetch;

impl Db {
    /// Connects. The first connection is made at once, so that what is wrong is said here and in a sentence.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Unreachable`], [`Error::Unauthorized`] or [`Error::Schema`] (no such database).
    pub async fn connect(url: &SecretString) -> Result<Self> {
        Self::connect_as(url, "hub").await
    }

    /// Connects under a name that an operator sees in `pg_stat_activity`.
    ///
    /// # Errors
    /// As [`Db::connect`].
    pub async fn connect_as(url: &SecretString, application: &str) -> Result<Self> {
        Self::connect_sized(url, application, CONNECTIONS).await
    }

    /// The same, with at most so many connections.
    ///
    /// # Errors
    /// As [`Db::connect`].
    pub async fn connect_sized(url: &SecretString, application: &str, connections: u32) -> Result<Self> {
        let db = Self::new(url, application, connections)?;
        let mut connection = open(&db.options).await?;
        // Where that can not be tried (a standby takes no LISTEN, one connection more is one too many) none is counted on.
        let session = timeout(CONNECT_WITHIN, pooler::keeps_sessions(&db.options, &mut connection)).await;
        db.way.found(session.map_err(|_| silent(&db.options))?.unwrap_or(false));
        drop(connection.close().await);
        Ok(db)
    }

    /// Connects when something is asked, and not before: for a process that must be there at once, whatever the database does. Beside
    /// it, what stands between is found out; until then each call is a transaction. Within a runtime.
    ///
    /// # Errors
    /// [`Error::Config`]: the URL is none.
    pub fn lazy(url: &SecretString, application: &str, connections: u32) -> Result<Self> {
        let db = Self::new(url, application, connections)?;
        let (options, way) = (Arc::clone(&db.options), Arc::downgrade(&db.way));
        tokio::spawn(async move {
            while let Some(way) = way.upgrade() {
                match try_out(&options).await {
                    Ok(session) => return way.found(session),
                    Err(_) => drop(way),
                }
                tokio::time::sleep(TRY_AGAIN).await;
            }
        });
        Ok(db)
    }

    fn new(url: &SecretString, application: &str, connections: u32) -> Result<Self> {
        let options = PgConnectOptions::from_str(url.expose_secret())
            .map_err(|_| {
                Error::Config("the database URL is not of the form postgres://user:password@host:port/database".into())
            })?
            .application_name(application)
            // PgBouncer refuses who asks for it; since Postgres 12 numbers are whole without.
            .extra_float_digits(None)
            .log_statements(log::LevelFilter::Off)
            .log_slow_statements(log::LevelFilter::Off, Duration::ZERO);
        let way = Arc::new(Way::default());
        let (made, used) = (Arc::clone(&way), Arc::clone(&way));
        let pool = PgPoolOptions::new()
            .after_connect(move |connection, _| {
                let session = made.is_session();
                Box::pin(async move {
                    if session {
                        sqlx::raw_sql(SESSION).execute(connection).await?;
                    }
                    Ok(())
                })
            })
            .max_connections(connections)
            // The pool would ask each connection whether it lives before each statement: an exchange more. One that was in use a moment
            // ago does.
            .test_before_acquire(false)
            .before_acquire(move |connection, known| {
                let early = used.session_for().is_some_and(|since| known.age > since);
                Box::pin(async move {
                    // Made before it was known that it is a session of ours: without our settings.
                    if early {
                        return Ok(false);
                    }
                    if known.idle_for > ASK_AFTER {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            // A connection keeps the largest buffer that it ever needed: one payload of 25 MB each, and a program of 15 MB has ten times that.
            // Nothing is done where they are small.
            .after_release(|connection, _| {
                connection.shrink_buffers();
                Box::pin(async { Ok(true) })
            })
            .acquire_timeout(CONNECT_WITHIN)
            .idle_timeout(Duration::from_secs(300))
            .connect_lazy_with(options.clone());
        Ok(Self { pool, options: Arc::new(options), way })
    }

    /// A transaction, for what this crate has no call for (`hub doctor`). What is asked in it is asked by [`Unnamed`].
    ///
    /// # Errors
    /// What the connection says.
    pub async fn begin(&self) -> Result<sqlx::PgTransaction<'static>> {
        Ok(self.pool.begin_with(BEGIN).await?)
    }

    /// How to connect once more, outside the pool.
    #[must_use]
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// What the connection says.
    pub async fn ping(&self) -> Result<()> {
        Ok(self.pool.acquire().await?.ping().await?)
    }

    /// Whether no session is ours, as far as was found out: a pooler in transaction mode stands between, so no LISTEN, no session lock.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        !self.way.is_session()
    }

    /// Tries again whether a session is ours: a pooler may have been changed, or Postgres been busy.
    ///
    /// # Errors
    /// What the connection says.
    pub async fn look_again(&self) -> Result<bool> {
        if !self.way.is_session() {
            self.way.found(try_out(&self.options).await?);
        }
        Ok(self.way.is_session())
    }

    /// Under which name a session keeps time for this hub, if one does. Who keeps it through a transaction pooler or the service
    /// key holds no session, and is seen in `hub_internal.kept_time` alone.
    ///
    /// # Errors
    /// What the database says.
    pub async fn kept_by(&self) -> Result<Option<String>> {
        let query = sqlx::query_scalar(
            "select coalesce(nullif(a.application_name, ''), 'process ' || l.pid)
               from pg_locks l left join pg_stat_activity a on a.pid = l.pid
              where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
                and l.database = (select d.oid from pg_database d where d.datname = current_database())
                and (l.classid::bigint << 32) + l.objid::bigint = $1",
        )
        .bind(KEEPER_LOCK);
        let mut transaction = self.begin().await?;
        Ok(query.fetch_optional(Unnamed(&mut transaction)).await?)
    }
}

/// One connection, outside of any pool. Of what can not be reached it says the place and what to do.
///
/// # Errors
/// As [`Db::connect`].
pub async fn open(options: &PgConnectOptions) -> Result<PgConnection> {
    let place = place(options);
    match timeout(CONNECT_WITHIN, PgConnection::connect_with(options)).await {
        Err(_) => Err(silent(options)),
        // What rustls refuses comes as data that are not valid. It would do so again.
        Ok(Err(sqlx::Error::Io(io))) if io.kind() == ErrorKind::InvalidData => Err(no_tls(&place, &io)),
        Ok(Err(sqlx::Error::Tls(tls))) => Err(no_tls(&place, &tls)),
        Ok(Err(sqlx::Error::Io(io))) => Err(Error::Unreachable(format!(
            "Postgres at {place} can not be reached ({io}): is it running? `hub dev` starts one on this machine; \
             otherwise check the host and port of the database URL"
        ))),
        Ok(Err(sqlx::Error::Protocol(text))) => Err(Error::Unreachable(format!(
            "the connection to Postgres at {place} broke as it was made ({text}): is it Postgres that listens there, and is it running? \
             Check the host and port of the database URL"
        ))),
        Ok(outcome) => Ok(outcome?),
    }
}

fn place(options: &PgConnectOptions) -> String {
    format!("{}:{}", options.get_host(), options.get_port())
}

fn silent(options: &PgConnectOptions) -> Error {
    Error::Unreachable(format!(
        "Postgres at {} does not answer within {} s: check host and port, and that no firewall stands between",
        place(options),
        CONNECT_WITHIN.as_secs()
    ))
}

fn no_tls(place: &str, why: &dyn Display) -> Error {
    Error::Config(format!(
        "no TLS connection to Postgres at {place} ({why}): check sslmode in the database URL, and for verify-ca and verify-full \
         sslrootcert and the name of the host"
    ))
}

/// A session of its own that keeps time while it holds the lock.
#[derive(Debug)]
pub struct KeeperSession {
    pub(crate) connection: PgConnection,
}

impl KeeperSession {
    /// Connects outside the pool: the lock is the session's, and the session is nobody else's.
    ///
    /// # Errors
    /// As [`Db::connect`].
    pub async fn open(db: &Db) -> Result<Self> {
        let options = db.options().clone().application_name("hub keeper");
        let mut this = Self { connection: open(&options).await? };
        sqlx::raw_sql(SESSION).execute(&mut this.connection).await?;
        // A keeper that is frozen, or cut off, says nothing for longer than a round: its session ends, and another keeps time.
        sqlx::raw_sql("set idle_session_timeout = '90s'").execute(&mut this.connection).await?;
        Ok(this)
    }

    /// Whether this session keeps time from now on. Ask once: a session that holds the lock gets it again and again.
    ///
    /// # Errors
    /// What the connection says.
    pub async fn try_lock(&mut self) -> Result<bool> {
        Ok(query_file_scalar!("../../sql/queries/keeper/try_lock.sql", KEEPER_LOCK)
            .fetch_one(&mut self.connection)
            .await?)
    }

    /// Ends the session and with it the lock.
    pub async fn close(self) {
        // A connection that is gone already has given up the lock.
        drop(self.connection.close().await);
    }
}

/// Whether a transaction was undone only because of another, and not too often yet: under read committed that is a deadlock, under what
/// somebody else set it may be a row that was changed meanwhile.
pub(crate) fn met_another(error: &sqlx::Error, meetings: u32) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    meetings < MEETINGS && matches!(code.as_deref(), Some("40001" | "40P01"))
}

/// Lets the other through.
pub(crate) async fn make_way(meetings: u32) {
    tokio::time::sleep(Duration::from_millis(u64::from(rand::random_range(1..=10 * meetings)))).await;
}

async fn try_out(options: &PgConnectOptions) -> Result<bool> {
    let mut connection = open(options).await?;
    let session = timeout(CONNECT_WITHIN, pooler::keeps_sessions(options, &mut connection));
    let session = session.await.map_err(|_| silent(options))??;
    drop(connection.close().await);
    Ok(session)
}

/// As a statement takes it.
pub(crate) fn as_json<T: serde::Serialize + ?Sized>(value: &T) -> sqlx::Result<Value> {
    serde_json::to_value(value).map_err(|error| sqlx::Error::Encode(error.into()))
}
