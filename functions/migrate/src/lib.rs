//! Bringing a database to the schema of this build: the platform files on a bare Postgres, the migrations, the demo data.
//!
//! Two programs apply the same files: `hub migrate` (refinery, history in `hub_internal.refinery_schema_history`) and the
//! Supabase CLI (`supabase_migrations.schema_migrations`). Each run here reads and writes both histories, so a database that
//! one of them deployed is recognised by the other.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails"))]

mod driver;
mod repair;

use chrono::{SecondsFormat, Utc};
use hub::{
    Error, Result,
    db::{BEGIN, Unnamed},
};
use include_dir::{Dir, include_dir};
use refinery_core::{
    Migration,
    traits::r#async::{AsyncMigrate, AsyncTransaction},
};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, Postgres, Transaction, postgres::PgConnectOptions,
};
use std::{collections::BTreeSet, str::FromStr};

use crate::driver::Database;
pub use crate::repair::{missing_functions, repair};

mod embedded {
    refinery::embed_migrations!("../../migrations");
}

const HISTORY: &str = "hub_internal.refinery_schema_history";
/// Key of the advisory lock that keeps two runners apart ("HUBM").
const LOCK: i64 = 0x4855_424d;

/// What Supabase has and a bare Postgres lacks; applied in the order of names.
static PLATFORM: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sql/platform");
static MIGRATIONS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../migrations");
static SEED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../seed");

/// What a run of [`migrate`] did.
#[derive(Debug, Default)]
pub struct Report {
    /// Names of the migrations applied now, in order.
    pub applied: Vec<String>,
    /// How many had been applied by the Supabase CLI and are now in our history, too.
    pub recognised: usize,
}

/// Prepares a bare Postgres: roles, `auth`, `realtime`, grants. `url` must be a superuser's; running it again does no harm.
///
/// # Errors
/// [`Error::Schema`] if the user is no superuser; database errors with the file's name.
pub async fn platform(url: &SecretString, say: &(dyn Fn(&str) + Sync)) -> Result<()> {
    let mut connection = connect(url).await?;
    let mut transaction = begin(&mut connection).await?;
    require_encoding(&mut transaction).await?;
    let superuser: bool = sqlx::query_scalar("select rolsuper from pg_roles where rolname = current_user")
        .fetch_one(Unnamed(&mut transaction))
        .await?;
    transaction.commit().await?;
    if !superuser {
        return Err(Error::Schema(
            "preparing a bare Postgres takes a superuser: connect as one, then run `hub migrate` as postgres".into(),
        ));
    }
    run_files(&mut connection, &PLATFORM, say).await
}

/// Applies what is not applied yet, all in one transaction. Any number of runners may try at once.
///
/// # Errors
/// [`Error::Schema`] if the database was migrated by other versions of these files, or is not prepared.
pub async fn migrate(url: &SecretString, say: &(dyn Fn(&str) + Sync)) -> Result<Report> {
    let mut connection = connect(url).await?;
    // All of it in one transaction, the lock too: a pooler may keep no session, and where something fails nothing is left behind.
    let mut transaction = begin(&mut connection).await?;
    require_encoding(&mut transaction).await?;
    let alone: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
        .bind(LOCK)
        .fetch_one(Unnamed(&mut transaction))
        .await?;
    if !alone {
        say("another `hub migrate` is at work on this database: waiting for it");
        sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(Unnamed(&mut transaction)).await?;
    }
    require_platform(&mut transaction).await?;
    sqlx::raw_sql("create schema if not exists hub_internal").execute(&mut *transaction).await?;
    let report = apply(&mut transaction, say).await?;
    transaction.commit().await?;
    connection.close().await?;
    Ok(report)
}

/// Demo data: people's fourth server and rows that make answers interesting. Idempotent.
///
/// # Errors
/// Database errors with the file's name.
pub async fn seed(url: &SecretString, say: &(dyn Fn(&str) + Sync)) -> Result<()> {
    let mut connection = connect(url).await?;
    run_files(&mut connection, &SEED, say).await
}

/// How a database stands to the migrations of this build.
#[derive(Debug, Default)]
pub struct State {
    /// Names of those it lacks, in order.
    pub pending: Vec<String>,
    /// Names of those it has and this build does not know.
    pub unknown: Vec<String>,
}

/// Names of the migrations that the database lacks, in order.
///
/// # Errors
/// As [`state`].
pub async fn pending(url: &SecretString) -> Result<Vec<String>> {
    Ok(state(url).await?.pending)
}

/// How the database stands to this build's migrations. Changes nothing.
///
/// # Errors
/// [`Error::Schema`] if the database was migrated by other versions of these files.
pub async fn state(url: &SecretString) -> Result<State> {
    let mut connection = connect(url).await?;
    let mut transaction = begin(&mut connection).await?;
    let mut applied: BTreeSet<i64> = supabase_history(&mut transaction).await?;
    let history: Option<String> =
        sqlx::query_scalar("select to_regclass($1)::text").bind(HISTORY).fetch_one(Unnamed(&mut transaction)).await?;
    let runner = embedded::migrations::runner();
    let mut unknown = Vec::new();
    if history.is_some() {
        // The CLI's history has a project's own migrations, too: only ours says what is not known here.
        let ours: Vec<(i64, String, String)> =
            sqlx::query_as(AssertSqlSafe(format!("select version, name, checksum from {HISTORY} order by version")))
                .fetch_all(Unnamed(&mut transaction))
                .await?;
        for (version, name, checksum) in ours {
            match runner.get_migrations().iter().find(|migration| migration.version() == version) {
                Some(migration) if checksum != migration.checksum().to_string() => {
                    return Err(divergent(&migration.to_string()));
                }
                Some(_) => {}
                None => unknown.push(format!("V{version}__{name}")),
            }
            applied.insert(version);
        }
    }
    transaction.rollback().await?;
    connection.close().await?;
    let pending =
        runner.get_migrations().iter().filter(|m| !applied.contains(&m.version())).map(ToString::to_string).collect();
    Ok(State { pending, unknown })
}

async fn apply(connection: &mut PgConnection, say: &(dyn Fn(&str) + Sync)) -> Result<Report> {
    let mut runner = embedded::migrations::runner().set_grouped(true);
    runner.set_migration_table_name(HISTORY);

    let mut database = Database(connection);
    database.execute([Database::assert_migrations_table_query(HISTORY).as_str()].into_iter()).await?;
    let mut report = Report { recognised: recognise(database.0, &runner).await?, ..Report::default() };

    // The table name stands in front of the schema's own; without this, refinery would look for it in `public`.
    match runner.run_async(&mut database).await {
        Ok(done) => {
            let names: BTreeSet<i64> = done.applied_migrations().iter().map(Migration::version).collect();
            report.applied = runner
                .get_migrations()
                .iter()
                .filter(|m| names.contains(&m.version()))
                .map(ToString::to_string)
                .collect();
        }
        Err(error) => return Err(explain(error)),
    }
    for name in &report.applied {
        say(&format!("applied {name}"));
    }
    record_for_supabase(database.0, &runner).await?;
    Ok(report)
}

/// Takes what the Supabase CLI applied into our history.
async fn recognise(connection: &mut PgConnection, runner: &refinery::Runner) -> Result<usize> {
    let pushed = supabase_history(connection).await?;
    let mut count = 0;
    for migration in runner.get_migrations().iter().filter(|m| pushed.contains(&m.version())) {
        let done = sqlx::query(AssertSqlSafe(format!(
            "insert into {HISTORY} (version, name, applied_on, checksum) values ($1, $2, $3, $4) on conflict (version) do nothing"
        )))
        .bind(migration.version())
        .bind(migration.name())
        .bind(Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true))
        .bind(migration.checksum().to_string())
        .execute(Unnamed(connection))
        .await?;
        count += usize::try_from(done.rows_affected()).unwrap_or(0);
    }
    Ok(count)
}

/// Tells the Supabase CLI what is here, so that `db push` and `migration list` say the truth.
async fn record_for_supabase(connection: &mut PgConnection, runner: &refinery::Runner) -> Result<()> {
    sqlx::raw_sql(
        "create schema if not exists supabase_migrations;
         create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
         alter table supabase_migrations.schema_migrations add column if not exists statements text[];
         alter table supabase_migrations.schema_migrations add column if not exists name text;",
    )
    .execute(&mut *connection)
    .await?;
    for migration in runner.get_migrations() {
        sqlx::query("insert into supabase_migrations.schema_migrations (version, name) values ($1, $2) on conflict (version) do nothing")
            .bind(migration.version().to_string())
            .bind(migration.name())
            .execute(Unnamed(connection))
            .await?;
    }
    Ok(())
}

async fn supabase_history(connection: &mut PgConnection) -> Result<BTreeSet<i64>> {
    let table: Option<String> = sqlx::query_scalar("select to_regclass('supabase_migrations.schema_migrations')::text")
        .fetch_one(Unnamed(connection))
        .await?;
    if table.is_none() {
        return Ok(BTreeSet::new());
    }
    let versions: Vec<String> = sqlx::query_scalar("select version from supabase_migrations.schema_migrations")
        .fetch_all(Unnamed(connection))
        .await?;
    Ok(versions.iter().filter_map(|version| version.parse().ok()).collect())
}

async fn require_platform(connection: &mut PgConnection) -> Result<()> {
    let prepared: bool = sqlx::query_scalar(
        "select to_regprocedure('auth.uid()') is not null
            and (select count(*) from pg_roles where rolname in ('anon', 'authenticated', 'service_role')) = 3",
    )
    .fetch_one(Unnamed(connection))
    .await?;
    if !prepared {
        return Err(Error::Schema(
            "this Postgres has no `auth` schema or API roles: it is not a Supabase project. \
             Run `hub migrate --platform` once as a superuser, then `hub migrate` as postgres"
                .into(),
        ));
    }
    // Rights on a database are no part of its dump: restored into another cluster it is like new in this.
    let (allowed, database, user): (bool, String, String) = sqlx::query_as(
        "select has_database_privilege(current_database(), 'create') and has_schema_privilege('public', 'create'),
                current_database()::text, current_user::text",
    )
    .fetch_one(Unnamed(connection))
    .await?;
    if !allowed {
        return Err(Error::Schema(format!(
            "{user} may make nothing in the database {database}, as after a restore into another cluster: \
             run `hub migrate --platform` as a superuser first, then `hub migrate` and `hub migrate --repair` as postgres"
        )));
    }
    Ok(())
}

/// Every text here may hold every character.
async fn require_encoding(connection: &mut PgConnection) -> Result<()> {
    let (encoding, database): (String, String) =
        sqlx::query_as("select current_setting('server_encoding'), current_database()::text")
            .fetch_one(Unnamed(connection))
            .await?;
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(Error::Schema(format!(
        "the database {database} has the encoding {encoding}, in which most texts can not be kept: the hub needs UTF8. \
         Make one: create database hub template template0 encoding 'UTF8'"
    )))
}

async fn run_files(
    connection: &mut PgConnection,
    folder: &'static Dir<'static>,
    say: &(dyn Fn(&str) + Sync),
) -> Result<()> {
    let mut files: Vec<_> = folder.files().filter(|file| file.path().extension().is_some_and(|e| e == "sql")).collect();
    files.sort_by_key(|file| file.path());
    for file in files {
        let name = file.path().display();
        let sql = file.contents_utf8().ok_or_else(|| Error::Schema(format!("{name} is not UTF-8")))?;
        sqlx::raw_sql(sql)
            .execute(&mut *connection)
            .await
            .map_err(|error| Error::Schema(format!("{name}: {}", describe(&error))))?;
        say(&format!("ran {name}"));
    }
    Ok(())
}

/// The name and the text of every migration, in order.
pub(crate) fn sources() -> Vec<(&'static str, &'static str)> {
    let mut files: Vec<_> =
        MIGRATIONS.files().filter(|file| file.path().extension().is_some_and(|e| e == "sql")).collect();
    files.sort_by_key(|file| file.path());
    files.into_iter().filter_map(|file| Some((file.path().file_name()?.to_str()?, file.contents_utf8()?))).collect()
}

/// A transaction with the settings that everything here relies on. A notice is for the person at psql; in a log it is noise.
pub(crate) async fn begin(connection: &mut PgConnection) -> Result<Transaction<'_, Postgres>> {
    let begin = format!("{BEGIN}; set local client_min_messages = warning");
    Ok(connection.begin_with(AssertSqlSafe(begin)).await?)
}

pub(crate) async fn connect(url: &SecretString) -> Result<PgConnection> {
    let options = PgConnectOptions::from_str(url.expose_secret())
        .map_err(|_| Error::Config("DATABASE_URL is not a postgres:// URL".into()))?
        // Neither these nor `options` pass every pooler.
        .extra_float_digits(None)
        .log_statements(log::LevelFilter::Off);
    hub::db::open(&options).await
}

fn divergent(name: &str) -> Error {
    Error::Schema(format!(
        "the database was migrated by another version of {name}. Before 1.0 migrations are edited in place: \
         start with a new database (`hub dev --reset` on a laptop)"
    ))
}

fn explain(error: refinery::Error) -> Error {
    match error.kind() {
        refinery::error::Kind::DivergentVersion(_, migration) => divergent(&migration.to_string()),
        refinery::error::Kind::MissingVersion(migration) => Error::Schema(format!(
            "the database has {migration}, which this program does not know: use a newer build, or a new database (`hub dev --reset` on a laptop)"
        )),
        _ => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(inner) = source {
                text = describe(inner);
                // Below a database's error there is only a part of it again.
                source = inner.source().filter(|_| !inner.is::<sqlx::Error>());
            }
            Error::Schema(text)
        }
    }
}

/// Postgres' own words, with detail and hint: that is where a refused adoption says why.
pub(crate) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let database = error.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
    match database.and_then(|e| e.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()) {
        Some(e) => [Some(e.message()), e.detail(), e.hint(), e.r#where()]
            .into_iter()
            .flatten()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("\n"),
        None => error.to_string(),
    }
}
