//! The hub over Postgres: a small pool, one method a statement of `sql/queries`.

use std::{str::FromStr, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, value::RawValue};
use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
    query_file, query_file_scalar,
    types::Json,
};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    pooler::{self, SESSION, Way},
    types::{
        AgentOffer, Attempt, Bridged, Channel, Classification, Command, Device, Explanation, Heartbeat, Invitation,
        Lead, Member, Message, Meta, Outgoing, Place, Reply, Running, Sent, Server, Sweep, Task, Thread, Undelivered,
    },
};

/// A worker claims, beats and reports at once, seldom more; a hundred workers must fit a small Postgres.
const CONNECTIONS: u32 = 5;
/// A connection that lay idle for longer is asked whether it still lives.
const ASK_AFTER: Duration = Duration::from_secs(1);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// After what was not to be had while it is found out what stands between.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// How often a call is made again that met another: it did nothing.
const MEETINGS: u32 = 5;
/// Whoever holds this session lock keeps time ("HUB\x01").
const KEEPER_LOCK: i64 = 0x4855_4201;

pub use crate::pooler::{BEGIN, Unnamed};

/// The hub over Postgres. Cheap to clone; clones share the pool.
#[derive(Debug, Clone)]
pub struct Db {
    pool: PgPool,
    options: Arc<PgConnectOptions>,
    way: Arc<Way>,
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
                    let mut transaction = $db.pool.begin_with(BEGIN).await?;
                    let answer = $query.$how(Unnamed(&mut transaction)).await?;
                    transaction.commit().await?;
                    Ok(answer)
                }
                .await
            };
            match outcome {
                Err(error) if meetings < MEETINGS && met_another(&error) => meetings += 1,
                outcome => break outcome?,
            }
            tokio::time::sleep(Duration::from_millis(u64::from(rand::random_range(1..=10 * meetings)))).await;
        }
    }};
}

/// Fetches rows that are one `Json` value each.
macro_rules! rows {
    ($db:expr, $query:expr) => {
        Ok(fetch!($db, fetch_all, $query).into_iter().map(|Json(row)| row).collect())
    };
}

/// Fetches exactly one such row.
macro_rules! row {
    ($db:expr, $query:expr) => {{
        let Json(row) = fetch!($db, fetch_one, $query);
        Ok(row)
    }};
}

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
        let options = &*db.options;
        let place = format!("{}:{}", options.get_host(), options.get_port());
        match tokio::time::timeout(CONNECT_WITHIN, PgConnection::connect_with(options)).await {
            Err(_) => Err(Error::Unreachable(format!(
                "Postgres at {place} does not answer within {} s: check host and port, and that no firewall stands between",
                CONNECT_WITHIN.as_secs()
            ))),
            Ok(Err(sqlx::Error::Io(io))) => Err(Error::Unreachable(format!(
                "Postgres at {place} can not be reached ({io}): is it running? `hub dev` starts one on this machine; \
                 otherwise check the host and port of the database URL"
            ))),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(mut connection)) => {
                // Where that can not be tried (a standby takes no LISTEN, one connection more is one too many) none is counted on.
                db.way.found(pooler::keeps_sessions(options, &mut connection).await.unwrap_or(false));
                drop(connection.close().await);
                Ok(db)
            }
        }
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
    /// key holds no session, and is not seen here.
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

    pub(crate) async fn claim(&self, device: &str, limit: i32, lease: Duration) -> Result<Vec<Task>> {
        rows!(self, query_file_scalar!("../../sql/queries/tasks/claim.sql", device, limit, lease.as_secs_f64()))
    }

    pub(crate) async fn report_progress(&self, task: Uuid, attempt: i32, note: &str) -> Result<()> {
        fetch!(self, execute, query_file!("../../sql/queries/tasks/report_progress.sql", task, attempt, note));
        Ok(())
    }

    pub(crate) async fn complete(&self, task: Uuid, attempt: i32, result: &str, meta: &Meta) -> Result<Task> {
        let meta = json(meta)?;
        row!(self, query_file_scalar!("../../sql/queries/tasks/complete.sql", task, attempt, result, meta))
    }

    pub(crate) async fn fail(
        &self,
        task: Uuid,
        attempt: i32,
        error: &str,
        retryable: bool,
        meta: &Meta,
    ) -> Result<Task> {
        let meta = json(meta)?;
        row!(self, query_file_scalar!("../../sql/queries/tasks/fail.sql", task, attempt, error, retryable, meta))
    }

    pub(crate) async fn cancel(&self, task: Uuid) -> Result<Task> {
        row!(self, query_file_scalar!("../../sql/queries/tasks/cancel.sql", task))
    }

    pub(crate) async fn retry(&self, task: Uuid) -> Result<Task> {
        row!(self, query_file_scalar!("../../sql/queries/tasks/retry.sql", task))
    }

    pub(crate) async fn explain(&self, task: Uuid) -> Result<Vec<Explanation>> {
        rows!(self, query_file_scalar!("../../sql/queries/tasks/explain.sql", task))
    }

    pub(crate) async fn tasks_between(&self, low: Uuid, high: Uuid) -> Result<Vec<Task>> {
        rows!(self, query_file_scalar!("../../sql/queries/tasks/between.sql", low, high))
    }

    pub(crate) async fn recent_tasks(
        &self,
        channel: Option<Uuid>,
        status: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Task>> {
        rows!(self, query_file_scalar!("../../sql/queries/tasks/recent.sql", channel, status, limit))
    }

    pub(crate) async fn attempts(&self, task: Uuid) -> Result<Vec<Attempt>> {
        rows!(self, query_file_scalar!("../../sql/queries/tasks/attempts.sql", task))
    }

    pub(crate) async fn register_device(
        &self,
        name: &str,
        platform: &str,
        agents: &[AgentOffer],
        capacity: i32,
    ) -> Result<Device> {
        let agents = json(&agents)?;
        row!(self, query_file_scalar!("../../sql/queries/devices/register.sql", name, platform, agents, capacity))
    }

    pub(crate) async fn heartbeat(&self, device: &str, running: &[Running]) -> Result<Heartbeat> {
        let running = json(&running)?;
        row!(self, query_file_scalar!("../../sql/queries/devices/heartbeat.sql", device, running))
    }

    pub(crate) async fn drain_device(&self, name: &str, drained: bool) -> Result<Device> {
        row!(self, query_file_scalar!("../../sql/queries/devices/drain.sql", name, drained))
    }

    pub(crate) async fn revoke_device(&self, name: &str, revoked: bool) -> Result<Device> {
        row!(self, query_file_scalar!("../../sql/queries/devices/revoke.sql", name, revoked))
    }

    pub(crate) async fn enroll_device(&self, name: &str, server: Uuid, enrolled: bool) -> Result<Device> {
        row!(self, query_file_scalar!("../../sql/queries/devices/enroll.sql", name, server, enrolled))
    }

    pub(crate) async fn devices(&self) -> Result<Vec<Device>> {
        rows!(self, query_file_scalar!("../../sql/queries/devices/list.sql"))
    }

    pub(crate) async fn servers(&self) -> Result<Vec<Server>> {
        rows!(self, query_file_scalar!("../../sql/queries/servers/list.sql"))
    }

    pub(crate) async fn channels(&self, server: Option<Uuid>) -> Result<Vec<Channel>> {
        rows!(self, query_file_scalar!("../../sql/queries/servers/channels.sql", server))
    }

    pub(crate) async fn members(&self, server: Uuid) -> Result<Vec<Member>> {
        rows!(self, query_file_scalar!("../../sql/queries/servers/members.sql", server))
    }

    pub(crate) async fn set_member(&self, server: Uuid, user: Uuid, role: Option<&str>) -> Result<Member> {
        row!(self, query_file_scalar!("../../sql/queries/servers/set_member.sql", server, user, role))
    }

    pub(crate) async fn invite(&self, server: Uuid, user: Uuid, role: Option<&str>) -> Result<Invitation> {
        row!(self, query_file_scalar!("../../sql/queries/servers/invite.sql", server, user, role))
    }

    /// What servers may name outside themselves. Written by `postgres` alone, so only here.
    ///
    /// # Errors
    /// None of its own.
    pub async fn places(&self) -> Result<Vec<Place>> {
        rows!(self, query_file_scalar!("../../sql/queries/servers/places.sql"))
    }

    /// Lets a server name something outside itself.
    ///
    /// # Errors
    /// `BadInput`: no such kind, or no target of that kind.
    pub async fn add_place(
        &self,
        kind: &str,
        server: Uuid,
        target: &str,
        device: Option<&str>,
        secret: Option<&str>,
    ) -> Result<Place> {
        row!(self, query_file_scalar!("../../sql/queries/servers/add_place.sql", kind, server, target, device, secret))
    }

    /// Takes places away; gives how many there were.
    ///
    /// # Errors
    /// None of its own.
    pub async fn remove_place(&self, kind: &str, server: Uuid, target: &str) -> Result<i64> {
        Ok(fetch!(
            self,
            fetch_one,
            query_file_scalar!("../../sql/queries/servers/remove_place.sql", kind, server, target)
        ))
    }

    pub(crate) async fn user_by_email(&self, email: &str) -> Result<Option<Uuid>> {
        Ok(fetch!(self, fetch_optional, query_file_scalar!("../../sql/queries/servers/user_by_email.sql", email)))
    }

    pub(crate) async fn send(
        &self,
        channel: Uuid,
        content: &str,
        thread: Option<Uuid>,
        key: Option<&str>,
    ) -> Result<Sent> {
        row!(self, query_file_scalar!("../../sql/queries/conversations/send.sql", channel, content, thread, key))
    }

    pub(crate) async fn execute_command(&self, channel: Uuid, command: &str) -> Result<Reply> {
        row!(self, query_file_scalar!("../../sql/queries/conversations/execute_command.sql", channel, command))
    }

    pub(crate) async fn post(
        &self,
        channel: Uuid,
        thread: Option<Uuid>,
        content: &str,
        key: Option<&str>,
    ) -> Result<Message> {
        // Twice: of two senders of one key the second may not see the first one's row in its snapshot yet.
        for _ in 0..2 {
            let row = fetch!(
                self,
                fetch_optional,
                query_file_scalar!("../../sql/queries/conversations/post.sql", channel, thread, content, key)
            );
            if let Some(Json(message)) = row {
                return Ok(message);
            }
        }
        Err(Error::Internal("the message was neither posted nor found".into()))
    }

    pub(crate) async fn messages_since(
        &self,
        channel: Uuid,
        after: i64,
        thread: Option<Uuid>,
        limit: i32,
    ) -> Result<Vec<Message>> {
        rows!(
            self,
            query_file_scalar!("../../sql/queries/conversations/messages_since.sql", channel, after, thread, limit)
        )
    }

    pub(crate) async fn threads(&self, channel: Option<Uuid>, archived: bool, limit: i64) -> Result<Vec<Thread>> {
        rows!(self, query_file_scalar!("../../sql/queries/conversations/threads.sql", channel, archived, limit))
    }

    pub(crate) async fn thread(&self, thread: Uuid) -> Result<Option<Thread>> {
        let row =
            fetch!(self, fetch_optional, query_file_scalar!("../../sql/queries/conversations/thread.sql", thread));
        Ok(row.map(|Json(thread)| thread))
    }

    pub(crate) async fn create_task_thread(&self, channel: Uuid, task: Uuid) -> Result<Thread> {
        row!(self, query_file_scalar!("../../sql/queries/conversations/create_task_thread.sql", channel, task))
    }

    pub(crate) async fn update_thread_status(&self, thread: Uuid, status: &str) -> Result<Thread> {
        row!(self, query_file_scalar!("../../sql/queries/conversations/update_thread_status.sql", thread, status))
    }

    pub(crate) async fn classify(&self, content: &str, channel: Option<Uuid>) -> Result<Classification> {
        row!(self, query_file_scalar!("../../sql/queries/conversations/classify.sql", content, channel))
    }

    pub(crate) async fn decay_threads(&self, limit: i32) -> Result<i32> {
        Ok(fetch!(self, fetch_one, query_file_scalar!("../../sql/queries/keeper/decay_threads.sql", limit)))
    }

    pub(crate) async fn recover(&self, limit: i32) -> Result<i32> {
        Ok(fetch!(self, fetch_one, query_file_scalar!("../../sql/queries/keeper/recover.sql", limit)))
    }

    pub(crate) async fn post_feeds(&self) -> Result<i32> {
        Ok(fetch!(self, fetch_one, query_file_scalar!("../../sql/queries/keeper/post_feeds.sql")))
    }

    pub(crate) async fn process_webhooks(&self, limit: i32) -> Result<i32> {
        Ok(fetch!(self, fetch_one, query_file_scalar!("../../sql/queries/keeper/process_webhooks.sql", limit)))
    }

    /// A command in the name of the bearer of `claims`, which the caller has verified: one exchange with the database.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`, `Conflict` (a channel that takes no commands).
    pub async fn execute_command_as(&self, claims: &Value, channel: Uuid, command: &str) -> Result<Reply> {
        row!(self, query_file_scalar!("../../sql/queries/koji/execute_command_as.sql", claims, channel, command))
    }

    /// A message in the name of the bearer of `claims`, which the caller has verified: what `hub_send` returns.
    ///
    /// # Errors
    /// As `hub_send`.
    pub async fn send_to_as(&self, claims: &Value, channel: &str, content: &str, key: Option<&str>) -> Result<Value> {
        row!(self, query_file_scalar!("../../sql/queries/edges/send_to_as.sql", claims, channel, content, key))
    }

    /// Stores a delivery whose signature the caller has checked: `{delivery, duplicate}`. The payload goes as it is, to the digit.
    ///
    /// # Errors
    /// `BadInput`.
    pub async fn receive_webhook(
        &self,
        provider: &str,
        delivery: &str,
        event: &str,
        payload: &RawValue,
        secret: &str,
    ) -> Result<Value> {
        row!(
            self,
            query_file_scalar!(
                "../../sql/queries/edges/receive_webhook.sql",
                provider,
                delivery,
                event,
                Json(payload) as _,
                secret
            )
        )
    }

    /// Takes in a message of a bridged chat.
    ///
    /// # Errors
    /// `BadInput`, `NotFound` (no such bridge).
    pub async fn receive_bridged(&self, message: &Bridged<'_>) -> Result<Value> {
        row!(
            self,
            query_file_scalar!(
                "../../sql/queries/edges/receive_bridged.sql",
                message.provider,
                message.target,
                message.external,
                message.author,
                message.content,
                message.reply_to,
                message.interaction,
                message.author_id,
                message.kind,
                message.elsewhere
            )
        )
    }

    /// Takes in an agent's message.
    ///
    /// # Errors
    /// `Forbidden`, `BadInput`, `Conflict`, `NotFound`.
    pub async fn receive_hook(
        &self,
        token: &SecretString,
        message: &str,
        target: &str,
        deliver: bool,
        key: Option<&str>,
    ) -> Result<Value> {
        let token = token.expose_secret();
        row!(self, query_file_scalar!("../../sql/queries/edges/receive_hook.sql", token, message, target, deliver, key))
    }

    pub(crate) async fn commands(&self) -> Result<Vec<Command>> {
        rows!(self, query_file_scalar!("../../sql/queries/koji/commands.sql"))
    }

    pub(crate) async fn claim_sweeps(&self, limit: i32, lease: Duration) -> Result<Vec<Sweep>> {
        rows!(self, query_file_scalar!("../../sql/queries/koji/claim_sweeps.sql", limit, lease.as_secs_f64()))
    }

    pub(crate) async fn complete_sweep(&self, sweep: &Sweep, found: &[Lead], source: &str) -> Result<Sweep> {
        let found = json(&found)?;
        row!(
            self,
            query_file_scalar!("../../sql/queries/koji/complete_sweep.sql", sweep.id, sweep.attempt, found, source)
        )
    }

    pub(crate) async fn fail_sweep(&self, sweep: &Sweep, error: &str, retryable: bool) -> Result<Sweep> {
        row!(
            self,
            query_file_scalar!("../../sql/queries/koji/fail_sweep.sql", sweep.id, sweep.attempt, error, retryable)
        )
    }

    pub(crate) async fn claim_outbox(&self, limit: i32, lease: Duration) -> Result<Vec<Outgoing>> {
        rows!(self, query_file_scalar!("../../sql/queries/outbox/claim.sql", limit, lease.as_secs_f64()))
    }

    pub(crate) async fn complete_outbox(
        &self,
        id: Uuid,
        attempt: i32,
        external_id: Option<&str>,
        parts: Option<&[String]>,
        note: Option<&str>,
    ) -> Result<()> {
        fetch!(
            self,
            execute,
            query_file!("../../sql/queries/outbox/complete.sql", id, attempt, external_id, parts, note)
        );
        Ok(())
    }

    pub(crate) async fn fail_outbox(
        &self,
        id: Uuid,
        attempt: i32,
        failed: &Undelivered,
    ) -> Result<Option<DateTime<Utc>>> {
        let after = failed.retry_after.map(|after| after.as_secs_f64());
        Ok(fetch!(
            self,
            fetch_one,
            query_file_scalar!(
                "../../sql/queries/outbox/fail.sql",
                id,
                attempt,
                failed.error,
                after,
                failed.permanent,
                failed.parts.as_deref()
            )
        ))
    }

    pub(crate) async fn outbox_due(&self) -> Result<Option<DateTime<Utc>>> {
        Ok(fetch!(self, fetch_one, query_file_scalar!("../../sql/queries/outbox/due.sql")))
    }

    pub(crate) async fn probe(&self, payload: &str) -> Result<()> {
        fetch!(self, execute, query_file!("../../sql/queries/wake/probe.sql", payload));
        Ok(())
    }
}

/// A session of its own that keeps time while it holds the lock.
#[derive(Debug)]
pub struct KeeperSession {
    connection: PgConnection,
}

impl KeeperSession {
    /// Connects outside the pool: the lock is the session's, and the session is nobody else's.
    ///
    /// # Errors
    /// As [`Db::connect`].
    pub async fn open(db: &Db) -> Result<Self> {
        let options = db.options().clone().application_name("hub keeper");
        let connection = tokio::time::timeout(CONNECT_WITHIN, PgConnection::connect_with(&options))
            .await
            .map_err(|_| Error::Unreachable("Postgres does not answer".into()))??;
        let mut this = Self { connection };
        sqlx::raw_sql(SESSION).execute(&mut this.connection).await?;
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

    /// `hub_decay_threads`: how many threads went a step on.
    ///
    /// # Errors
    /// What the database says.
    pub async fn decay_threads(&mut self, limit: i32) -> Result<i32> {
        Ok(query_file_scalar!("../../sql/queries/keeper/decay_threads.sql", limit)
            .fetch_one(&mut self.connection)
            .await?)
    }

    /// `hub_recover`: how many tasks it mended.
    ///
    /// # Errors
    /// What the database says.
    pub async fn recover(&mut self, limit: i32) -> Result<i32> {
        Ok(query_file_scalar!("../../sql/queries/keeper/recover.sql", limit).fetch_one(&mut self.connection).await?)
    }

    /// `hub_post_feeds`: how many messages it posted.
    ///
    /// # Errors
    /// What the database says.
    pub async fn post_feeds(&mut self) -> Result<i32> {
        Ok(query_file_scalar!("../../sql/queries/keeper/post_feeds.sql").fetch_one(&mut self.connection).await?)
    }

    /// Ends the session and with it the lock.
    pub async fn close(self) {
        // A connection that is gone already has given up the lock.
        drop(self.connection.close().await);
    }
}

/// Whether a transaction was undone only because of another: under read committed that is a deadlock, under what somebody else set it may
/// be a row that was changed meanwhile.
fn met_another(error: &sqlx::Error) -> bool {
    matches!(error.as_database_error().and_then(|error| error.code()).as_deref(), Some("40001" | "40P01"))
}

async fn try_out(options: &PgConnectOptions) -> Result<bool> {
    let open = tokio::time::timeout(CONNECT_WITHIN, PgConnection::connect_with(options));
    let mut connection = open.await.map_err(|_| Error::Unreachable("Postgres does not answer".into()))??;
    let session = pooler::keeps_sessions(options, &mut connection).await?;
    drop(connection.close().await);
    Ok(session)
}

fn json<T: serde::Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::Internal(format!("not to be written as JSON: {error}")))
}
