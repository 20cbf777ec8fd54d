//! One transaction a request: its settings and its role, the statement, and the end that the request and the settings want.

use super::{
    claims::Caller,
    openapi::{self, Usable},
    plan::{Kind, Plan},
    refusal::Refusal,
    refuse,
    request::{Action, Request, media::Media, prefer::Count},
    schema::{Function, Schema, TxEnd},
    statement::{
        Statement,
        sql::{Sql, Value, ident, literal},
    },
};
use axum::body::Bytes;
use sqlx::{
    AssertSqlSafe, Column, PgConnection, Postgres, Row, TypeInfo, ValueRef,
    pool::PoolConnection,
    postgres::{PgPool, PgRow, PgTypeKind},
};

/// What the database made of a request.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many rows there are in all, if that was asked.
    pub total: Option<i64>,
    /// How many rows are in the answer, or were written.
    pub rows: i64,
    /// The new row's key: pairs of a name and a condition.
    pub location: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// `response.headers`
    pub headers: Option<String>,
    /// `response.status`
    pub status: Option<String>,
    /// How many rows were new, if that can differ.
    pub inserted: Option<i64>,
}

/// A connection with a transaction. Whoever gives it up before its end, even by not being asked any more, closes it: nobody must get a
/// connection that has another's role.
struct Held {
    connection: Option<PoolConnection<Postgres>>,
}

impl Held {
    /// Begins the transaction and says all that holds in it, in one exchange.
    async fn begin(pool: &PgPool, opening: String) -> Result<Self, sqlx::Error> {
        let mut held = Self { connection: Some(pool.acquire().await?) };
        match held.say(opening).await {
            Ok(()) => Ok(held),
            Err(error) => {
                held.rollback().await;
                Err(error)
            }
        }
    }

    fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.connection.as_deref_mut().ok_or(sqlx::Error::WorkerCrashed)
    }

    async fn say(&mut self, text: String) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(text)).execute(self.connection()?).await.map(drop)
    }

    async fn fetch(&mut self, sql: &Sql) -> Result<Vec<PgRow>, sqlx::Error> {
        let mut query = sqlx::query(AssertSqlSafe(sql.text().to_owned())).persistent(sql.recurs());
        for value in sql.values() {
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Bytes(bytes) => query.bind(bytes.as_ref()),
            };
        }
        query.fetch_all(self.connection()?).await
    }

    async fn commit(mut self) -> Result<(), sqlx::Error> {
        let said = self.say("commit".into()).await;
        // A constraint that is checked at the end ends the transaction, too.
        if matches!(said, Ok(()) | Err(sqlx::Error::Database(_))) {
            drop(self.connection.take());
        }
        said
    }

    /// If it can not, the connection is closed, and with it everything is undone.
    async fn rollback(mut self) {
        if self.say("rollback".into()).await.is_ok() {
            drop(self.connection.take());
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.connection.take().map(PoolConnection::detach));
    }
}

/// Runs the statement of a plan.
///
/// # Errors
/// What Postgres refuses, and what the request wants to be refused when it is done: then nothing of it stays.
pub async fn run(
    pool: &PgPool,
    schema: &Schema,
    request: &Request,
    plan: &Plan<'_>,
    statement: &Statement,
    caller: &Caller,
) -> Result<Outcome, Refusal> {
    let refused = |error: sqlx::Error| Refusal::of_database(&error, caller.known);
    let opening = opening(schema, request, plan.function(), is_read_only(plan), caller);
    let mut held = Held::begin(pool, opening).await.map_err(refused)?;
    match within(&mut held, schema, request, plan, statement, caller).await {
        Ok(outcome) if rolls_back(schema, request) => {
            // What would be found out at the end is found out now.
            let checked = held.say("set constraints all immediate".into()).await;
            held.rollback().await;
            checked.map_err(refused)?;
            Ok(outcome)
        }
        // It changed nothing that its end could refuse: the answer does not wait for that.
        Ok(outcome) if is_read_only(plan) => {
            tokio::spawn(held.commit());
            Ok(outcome)
        }
        Ok(outcome) => {
            held.commit().await.map_err(refused)?;
            Ok(outcome)
        }
        Err(refusal) => {
            held.rollback().await;
            Err(refusal)
        }
    }
}

/// What the caller may use of the request's schema.
///
/// # Errors
/// What Postgres refuses.
pub async fn usable(pool: &PgPool, schema: &Schema, request: &Request, caller: &Caller) -> Result<Usable, Refusal> {
    let refused = |error: sqlx::Error| Refusal::of_database(&error, caller.known);
    let mut held = Held::begin(pool, opening(schema, request, None, true, caller)).await.map_err(refused)?;
    let usable = openapi::usable(held.connection().map_err(refused)?, &request.schema).await;
    held.rollback().await;
    usable.map_err(refused)
}

async fn within(
    held: &mut Held,
    schema: &Schema,
    request: &Request,
    plan: &Plan<'_>,
    statement: &Statement,
    caller: &Caller,
) -> Result<Outcome, Refusal> {
    let refused = |error: sqlx::Error| Refusal::of_database(&error, caller.known);
    let rows = held.fetch(&statement.main).await.map_err(refused)?;
    if let Media::Plan(_) = &plan.media {
        return Ok(Outcome { body: lines(&rows).map_err(refused)?, ..Outcome::default() });
    }
    let row = rows.first().ok_or(sqlx::Error::RowNotFound).map_err(refused)?;
    let mut outcome = outcome(row).map_err(refused)?;
    check(request, plan, &outcome)?;
    if let Some(guess) = &statement.guess {
        let rows = held.fetch(guess).await.map_err(refused)?;
        let guessed = rows.first().map(guessed).transpose().map_err(refused)?.flatten();
        let beyond = outcome.total > schema.settings.max_rows && schema.settings.max_rows.is_some();
        outcome.total = match request.prefer.count {
            Some(Count::Planned) => guessed,
            Some(Count::Estimated) if beyond => outcome.total.max(guessed),
            _ => outcome.total,
        };
    }
    Ok(outcome)
}

fn bytes(row: &PgRow, at: usize) -> Result<Option<Bytes>, sqlx::Error> {
    let value = row.try_get_raw(at)?;
    if value.is_null() {
        return Ok(None);
    }
    let raw = value.as_bytes().map_err(sqlx::Error::Decode)?;
    // In binary form this type has a version before its text.
    let is_jsonb = |name: &str| name.eq_ignore_ascii_case("jsonb");
    let kind = row.column(at).type_info();
    let tagged = is_jsonb(kind.name()) || matches!(kind.kind(), PgTypeKind::Domain(base) if is_jsonb(base.name()));
    Ok(Some(Bytes::copy_from_slice(if tagged { raw.get(1..).unwrap_or(raw) } else { raw })))
}

fn outcome(row: &PgRow) -> Result<Outcome, sqlx::Error> {
    let location: Option<String> = row.try_get(2)?;
    let location = location.map(|text| serde_json::from_str(&text)).transpose();
    Ok(Outcome {
        total: row.try_get(0)?,
        rows: row.try_get(1)?,
        location: location.map_err(|error| sqlx::Error::Decode(error.into()))?.unwrap_or_default(),
        body: bytes(row, 3)?.unwrap_or_default(),
        headers: row.try_get(4)?,
        status: row.try_get(5)?,
        inserted: row.try_get::<Option<i32>, _>(6)?.map(i64::from),
    })
}

/// The lines of a plan.
fn lines(rows: &[PgRow]) -> Result<Bytes, sqlx::Error> {
    let mut text = Vec::new();
    for row in rows {
        text.extend(bytes(row, 0)?.unwrap_or_default());
        text.push(b'\n');
    }
    Ok(text.into())
}

fn guessed(row: &PgRow) -> Result<Option<i64>, sqlx::Error> {
    let plan = bytes(row, 0)?.unwrap_or_default();
    let plan: serde_json::Value = serde_json::from_slice(&plan).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(plan.pointer("/0/Plan/Plan Rows").and_then(serde_json::Value::as_i64))
}

/// What the request does not want to have been done.
fn check(request: &Request, plan: &Plan<'_>, outcome: &Outcome) -> Result<(), Refusal> {
    if request.action == Action::Put {
        return if outcome.rows == 1 { Ok(()) } else { Err(refuse::mismatched_put()) };
    }
    if matches!(plan.media, Media::Object { .. }) && outcome.rows != 1 {
        return Err(refuse::not_single(outcome.rows));
    }
    let bounded = matches!(request.action, Action::Update | Action::Delete | Action::Call | Action::CallToRead);
    match request.prefer.max_affected {
        Some(most) if bounded && request.prefer.strict == Some(true) && outcome.rows > most => {
            Err(refuse::too_many_affected(outcome.rows))
        }
        _ => Ok(()),
    }
}

fn is_read_only(plan: &Plan<'_>) -> bool {
    match &plan.kind {
        Kind::Read => true,
        Kind::Write(_) => false,
        Kind::Call(call) => call.read_only,
    }
}

fn rolls_back(schema: &Schema, request: &Request) -> bool {
    let wanted = match schema.settings.tx_end {
        TxEnd::Commit | TxEnd::CommitAllowOverride => false,
        TxEnd::Rollback | TxEnd::RollbackAllowOverride => true,
    };
    request.prefer.rollback.unwrap_or(wanted)
}

const ISOLATIONS: [&str; 4] = ["read uncommitted", "read committed", "repeatable read", "serializable"];

/// What begins the transaction and says all that must hold in it.
fn opening(
    schema: &Schema,
    request: &Request,
    function: Option<&Function>,
    read_only: bool,
    caller: &Caller,
) -> String {
    let settings = &schema.settings;
    let role = schema.roles.get(&caller.role);
    let isolation = function
        .and_then(|function| function.isolation.as_deref())
        .or_else(|| role.and_then(|role| role.isolation.as_deref()));
    let mut text = "begin".to_owned();
    if let Some(isolation) = isolation.and_then(|wanted| ISOLATIONS.iter().find(|known| **known == wanted)) {
        text.push_str(" isolation level ");
        text.push_str(isolation);
    }
    text.push_str(if read_only { " read only; select " } else { "; select " });
    let path: Vec<String> =
        std::iter::once(&request.schema).chain(&settings.extra_search_path).map(|name| ident(name)).collect();
    let path = path.join(", ");
    set(&mut text, "search_path", &path);
    // Before the role: `authenticator` may be allowed to set what the role is not.
    for (name, value) in role.iter().flat_map(|role| &role.values) {
        set(&mut text, name, value);
    }
    set(&mut text, "request.jwt.claims", &caller.claims);
    set(&mut text, "request.method", request.method.as_str());
    set(&mut text, "request.path", &request.path);
    set(&mut text, "request.headers", &request.headers);
    set(&mut text, "request.cookies", &request.cookies);
    if let Some(zone) = &request.prefer.timezone {
        set(&mut text, "timezone", zone);
    }
    text.truncate(text.len() - 2);
    // A statement of its own: pg_stat_statements keeps as it was written, token and all, what ends under another role than it began under.
    text.push_str("; select ");
    set(&mut text, "role", &caller.role);
    for (name, value) in function.iter().flat_map(|function| &function.settings) {
        set(&mut text, name, value);
    }
    text.truncate(text.len() - 2);
    if let Some(before) = &settings.pre_request {
        text.push_str("; select ");
        text.push_str(&quoted(before));
        text.push_str("()");
    }
    text
}

fn set(text: &mut String, name: &str, value: &str) {
    text.push_str("set_config(");
    text.push_str(&literal(name));
    text.push_str(", ");
    text.push_str(&literal(value));
    text.push_str(", true), ");
}

/// A name as a setting has it: in its parts, each in quotes unless it is already.
fn quoted(name: &str) -> String {
    let parts: Vec<String> = name
        .split('.')
        .map(|part| ident(part.strip_prefix('"').and_then(|part| part.strip_suffix('"')).unwrap_or(part)))
        .collect();
    parts.join(".")
}
