//! What the suites share: a database of its own for each test, a folder for projects, worker processes, all gone at the end.

#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a test that can not go on says so and ends")]

mod cluster;
mod dev;
mod pooler;
mod processes;
mod proxy;
mod worker;

pub use cluster::Cluster;
pub use dev::Dev;
pub use pooler::Pooler;
pub use processes::{Part, Process, of_attempts, write_program};
pub use proxy::{Expiring, Line, Proxy};
pub use worker::Worker;

use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgPool,
    postgres::{PgConnectOptions, PgListener},
};
use std::{
    future::Future,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};
use uuid::Uuid;

/// For a machine that hangs; nothing is expected to take a fraction of it.
pub const BOUND: Duration = Duration::from_secs(90);

/// The project of the channel `quick`, as a path below the projects root.
pub const PROJECT: &str = "Desktop/homelab";

pub struct World {
    pub url: SecretString,
    pub pool: PgPool,
    name: String,
    admin: PgConnectOptions,
    folder: tempfile::TempDir,
}

const CLOCK: &str = "
    alter function pg_catalog.now() rename to now_of_the_machine;
    alter function pg_catalog.clock_timestamp() rename to clock_of_the_machine;
    create function pg_catalog.now() returns timestamptz language sql stable parallel safe as
      $$ select coalesce(nullif(current_setting('hub_test.now', true), '')::timestamptz, pg_catalog.now_of_the_machine()) $$;
    create function pg_catalog.clock_timestamp() returns timestamptz language sql volatile parallel safe as
      $$ select coalesce(nullif(current_setting('hub_test.now', true), '')::timestamptz, pg_catalog.clock_of_the_machine()) $$";

/// A `command` agent for every model that runs `script` by `sh -c`.
pub fn agent(name: &str, script: &str) -> Value {
    json!({ "agent": name, "models": ["any"], "kind": "command", "argv": ["sh", "-c", script, "sh", "{prompt}"] })
}

impl World {
    /// Migrated, with the default servers.
    pub async fn new() -> World {
        let world = World::bare().await;
        hub_migrate::migrate(&world.url, &|_| {}).await.expect("migrates");
        world
    }

    /// The same, in a database with a clock of its own: a session that sets `hub_test.now` is at that moment, whatever the time is.
    /// The functions that tell the time are put in their place before the schema is there, so it does not know.
    pub async fn with_clock() -> World {
        let world = World::empty().await;
        let mut connection = world.admin.clone().database(&world.name).connect().await.expect("connects");
        sqlx::raw_sql(CLOCK).execute(&mut connection).await.expect("makes a clock");
        connection.close().await.expect("closes");
        world.prepare(&admin_url()).await;
        hub_migrate::migrate(&world.url, &|_| {}).await.expect("migrates");
        world
    }

    /// The same in a Postgres of the caller's.
    pub async fn within(cluster: &Cluster) -> World {
        let world = World::empty_at(&cluster.url()).await;
        world.prepare(&cluster.url()).await;
        hub_migrate::migrate(&world.url, &|_| {}).await.expect("migrates");
        world
    }

    /// Prepared as a Supabase project is, and nothing more.
    pub async fn bare() -> World {
        let world = World::empty().await;
        world.prepare(&admin_url()).await;
        world
    }

    async fn prepare(&self, admin_url: &str) {
        let url = format!("{}/{}", admin_url.rsplit_once('/').expect("names a database").0, self.name);
        hub_migrate::platform(&url.into(), &|_| {}).await.expect("prepares");
    }

    /// A new database with nothing in it.
    pub async fn empty() -> World {
        World::empty_at(&admin_url()).await
    }

    async fn empty_at(admin_url: &str) -> World {
        let admin = PgConnectOptions::from_str(admin_url).expect("HUB_TEST_ADMIN_URL is a URL");
        let name = format!("faults_{}", Uuid::new_v4().simple());
        let mut connection = admin.connect().await.expect("Postgres answers: run through tests/run");
        for sql in [
            "do $$ begin create role postgres login createdb createrole replication bypassrls; exception when duplicate_object or unique_violation then null; end $$".to_owned(),
            format!("create database {name} template template0"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("makes a database");
        }
        connection.close().await.expect("closes");
        let options = admin.clone().username("postgres").database(&name);
        let url = format!("postgres://postgres@{}:{}/{name}", options.get_host(), options.get_port());
        World::with(url, options, admin, name)
    }

    /// A database that is there, and that its owner removes.
    fn at(url: &str, admin_url: &str) -> World {
        let options = |url| PgConnectOptions::from_str(url).expect("an address");
        World::with(url.to_owned(), options(url), options(admin_url), format!("faults_{}", Uuid::new_v4().simple()))
    }

    fn with(url: String, options: PgConnectOptions, admin: PgConnectOptions, name: String) -> World {
        let pool = PgPool::connect_lazy_with(options.application_name("faults"));
        let folder = tempfile::tempdir().expect("a folder");
        // Where the default channels' tasks work.
        std::fs::create_dir_all(folder.path().join(PROJECT)).expect("a project");
        World { url: url.into(), pool, name, admin, folder }
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub async fn sql(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&self.pool)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The SQLSTATE if it is refused.
    pub async fn try_sql(&self, sql: &str) -> Result<(), String> {
        let mut connection = self.pool.acquire().await.expect("a connection");
        match sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *connection).await {
            Ok(_) => Ok(()),
            Err(error) => {
                // Postgres sends the error before it lets go of the row locks: whoever claims next, on another connection, would skip
                // the row. An answer on the same connection comes after.
                connection.ping().await.expect("the connection stands");
                Err(error.as_database_error().and_then(|e| e.code()).map(|code| code.into_owned()).unwrap_or_default())
            }
        }
    }

    pub async fn count(&self, sql: &'static str, task: Uuid) -> i64 {
        sqlx::query_scalar(sql).bind(task).fetch_one(&self.pool).await.expect(sql)
    }

    pub async fn count_all(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect(sql)
    }

    pub async fn one_text(&self, sql: &'static str) -> String {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect(sql)
    }

    pub async fn text(&self, sql: &'static str, task: Uuid) -> String {
        sqlx::query_scalar(sql).bind(task).fetch_one(&self.pool).await.expect(sql)
    }

    /// Sends to a flat channel.
    pub async fn send(&self, content: &str) -> Uuid {
        self.send_with(content, "priority = 5").await
    }

    /// The same, with something about the task set before anybody can claim it.
    pub async fn send_with(&self, content: &str, set: &str) -> Uuid {
        let mut transaction = self.pool.begin().await.expect("begins");
        let id: Uuid = sqlx::query_scalar("select (public.hub_send(c.id, $1) -> 'task' ->> 'id')::uuid from public.hub_channels c where c.name = 'quick'")
            .bind(content)
            .fetch_one(&mut *transaction)
            .await
            .expect("sends");
        sqlx::raw_sql(AssertSqlSafe(format!("update public.mac_tasks set {set} where id = '{id}'")))
            .execute(&mut *transaction)
            .await
            .expect("sets");
        transaction.commit().await.expect("commits");
        id
    }

    /// What the queries of sql/checks find; nothing, where all is well.
    pub async fn checked(&self) -> String {
        checked(&self.pool).await
    }

    /// The port of its Postgres.
    pub fn port(&self) -> u16 {
        self.admin.get_port()
    }

    pub async fn listen(&self, channel: &str) -> PgListener {
        let mut listener = PgListener::connect_with(&self.pool).await.expect("connects");
        listener.listen(channel).await.expect("listens");
        listener
    }

    pub async fn heard(&self, listener: &mut PgListener) {
        tokio::time::timeout(BOUND, listener.recv()).await.expect("nothing was notified").expect("receives");
    }

    pub async fn until(&self, task: Uuid, status: &str) {
        let found = wait(|| async {
            (self.text("select status from public.mac_tasks where id = $1", task).await == status).then_some(())
        })
        .await;
        if found.is_none() {
            let row: Value = sqlx::query_scalar("select to_jsonb(t) from public.mac_tasks t where id = $1")
                .bind(task)
                .fetch_one(&self.pool)
                .await
                .expect("row");
            panic!("never became {status}: {row:#}");
        }
    }

    pub async fn until_note(&self, task: Uuid, note: &str) {
        let seen = || async {
            let text = self.text("select coalesce(partial_output, '') from public.mac_tasks where id = $1", task).await;
            text.contains(note).then_some(())
        };
        assert!(wait(seen).await.is_some(), "never said {note}");
    }

    /// Until this query gives `expected`.
    pub async fn until_text(&self, sql: &'static str, expected: &str) {
        let found = wait(|| async { (self.one_text(sql).await == expected).then_some(()) }).await;
        assert!(found.is_some(), "{sql} never gave {expected}, but {}", self.one_text(sql).await);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let (admin, name) = (self.admin.clone(), self.name.clone());
        // On a thread of its own: a runtime can not be blocked on from within itself.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async {
                let mut connection = admin.connect().await.ok()?;
                sqlx::raw_sql(AssertSqlSafe(format!("drop database if exists {name} with (force)")))
                    .execute(&mut connection)
                    .await
                    .ok()
            })
        });
        let _ = dropped.join();
    }
}

/// What the queries of sql/checks find in a database.
pub async fn checked(pool: &PgPool) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql/checks");
    let mut found = String::new();
    for file in std::fs::read_dir(folder).expect("sql/checks").map(|file| file.expect("a file").path()) {
        if file.extension().is_some_and(|extension| extension == "sql") {
            let sql = std::fs::read_to_string(&file).expect("reads");
            let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(pool).await;
            let rows = rows.unwrap_or_else(|error| panic!("{}: {error}", file.display())).len();
            if rows > 0 {
                found.push_str(&format!("{}: {rows} rows\n", file.display()));
            }
        }
    }
    found
}

fn admin_url() -> String {
    std::env::var("HUB_TEST_ADMIN_URL").expect("HUB_TEST_ADMIN_URL is not set: run through tests/run")
}

/// A program of the suites' Postgres, if it has it.
pub fn postgres_program(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("HUB_TEST_POSTGRES_BIN")?).join(name);
    path.is_file().then_some(path)
}

/// The program `hub`.
pub fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    target.join("release/hub")
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port()
}

/// Asks again and again until there is an answer, with a bound.
pub async fn wait<T, F: Future<Output = Option<T>>>(ask: impl Fn() -> F) -> Option<T> {
    let deadline = tokio::time::Instant::now() + BOUND;
    while tokio::time::Instant::now() < deadline {
        if let Some(answer) = ask().await {
            return Some(answer);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}
