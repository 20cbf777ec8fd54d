//! Sessions and their refresh tokens. A refresh token works once; the one after it replaces it. Using an old one again ends the
//! session, unless it is what a client does that lost the answer: the token just before the live one, or any within ten seconds.

use super::{
    refusal::Refusal,
    users::{self, User},
};
use crate::keys::{Keys, random_text};
use axum::{
    Json,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

const TOKEN_SECONDS: i64 = 3600;
const REUSE_SECONDS: i64 = 10;

/// What a client gets when it signs in.
pub struct Session {
    access_token: String,
    refresh_token: String,
    expires_at: i64,
    user: Value,
}

impl IntoResponse for Session {
    fn into_response(self) -> Response {
        Json(json!({
            "access_token": self.access_token, "token_type": "bearer", "expires_in": TOKEN_SECONDS, "expires_at": self.expires_at,
            "refresh_token": self.refresh_token, "user": self.user,
        }))
        .into_response()
    }
}

pub async fn exists(database: impl PgExecutor<'_>, session: Uuid, user: Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from auth.sessions where id = $1 and user_id = $2)")
        .bind(session)
        .bind(user)
        .fetch_one(database)
        .await
}

pub async fn end(database: impl PgExecutor<'_>, session: Option<Uuid>) -> sqlx::Result<()> {
    sqlx::query("delete from auth.sessions where id = $1").bind(session).execute(database).await.map(|_| ())
}

/// Ends all sessions of a user, but one if there is one to keep.
pub async fn end_all(database: impl PgExecutor<'_>, user: Uuid, keep: Option<Uuid>) -> sqlx::Result<()> {
    sqlx::query("delete from auth.sessions where user_id = $1 and id is distinct from $2")
        .bind(user)
        .bind(keep)
        .execute(database)
        .await
        .map(|_| ())
}

/// A new session of a user.
pub async fn open(
    database: &mut PgConnection,
    keys: &Keys,
    user: &User,
    method: &str,
    headers: &HeaderMap,
) -> Result<Session, Refusal> {
    let session = Uuid::new_v4();
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    sqlx::query("insert into auth.sessions (id, user_id, created_at, updated_at, aal, user_agent, tag) values ($1, $2, now(), now(), 'aal1', $3, $4)")
        .bind(session)
        .bind(user.id)
        .bind(agent)
        // How the person came in; the token says so.
        .bind(method)
        .execute(&mut *database)
        .await?;
    let refresh = new_refresh_token(database, user.id, session, None).await?;
    issue(database, keys, user, session, method, refresh).await
}

async fn new_refresh_token(
    database: &mut PgConnection,
    user: Uuid,
    session: Uuid,
    parent: Option<&str>,
) -> sqlx::Result<String> {
    let token = random_text(43);
    sqlx::query(
        "insert into auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, parent, session_id)
         values ('00000000-0000-0000-0000-000000000000', $1, $2::text, false, now(), now(), $3, $4)",
    )
    .bind(&token)
    .bind(user)
    .bind(parent)
    .bind(session)
    .execute(database)
    .await?;
    Ok(token)
}

async fn issue(
    database: &mut PgConnection,
    keys: &Keys,
    user: &User,
    session: Uuid,
    method: &str,
    refresh_token: String,
) -> Result<Session, Refusal> {
    let now = Utc::now().timestamp();
    let expires_at = now + TOKEN_SECONDS;
    let access_token = keys
        .sign(&json!({
            "iss": keys.issuer(), "sub": user.id, "aud": user.aud(), "exp": expires_at, "iat": now,
            "email": user.email.as_deref().unwrap_or(""), "phone": "",
            "app_metadata": user.app_metadata(), "user_metadata": user.user_metadata(), "role": user.role(),
            "aal": "aal1", "amr": [{"method": method, "timestamp": now}], "session_id": session, "is_anonymous": user.is_anonymous(),
        }))
        .map_err(Refusal::internal)?;
    let identities = users::identities(database, &[user.id]).await?;
    Ok(Session { access_token, refresh_token, expires_at, user: user.json(&identities) })
}

#[derive(sqlx::FromRow)]
struct Kept {
    id: i64,
    revoked: Option<bool>,
    updated_at: Option<DateTime<Utc>>,
}

#[derive(sqlx::FromRow)]
struct Live {
    token: String,
    parent: Option<String>,
}

/// The next token of a session for its refresh token.
pub async fn refresh(pool: &PgPool, keys: &Keys, token: &str) -> Result<Session, Refusal> {
    let unknown = || {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "refresh_token_not_found",
            "Invalid Refresh Token: Refresh Token Not Found",
        )
    };
    let mut transaction = pool.begin().await?;
    // The session's lock first: of two clients with one token, the second finds what the first left.
    let session: Option<(Uuid, Uuid, Option<String>)> = sqlx::query_as(
        "select s.id, s.user_id, s.tag from auth.sessions s
          where s.id = (select r.session_id from auth.refresh_tokens r where r.token = $1)
            for update",
    )
    .bind(token)
    .fetch_optional(&mut *transaction)
    .await?;
    let (session, user, method) = session.ok_or_else(unknown)?;
    let user = users::by_id(&mut *transaction, user).await?.ok_or_else(unknown)?;
    if user.is_banned() {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "user_banned", "Invalid Refresh Token: User Banned"));
    }
    let kept: Kept = sqlx::query_as("select id, revoked, updated_at from auth.refresh_tokens where token = $1")
        .bind(token)
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or_else(unknown)?;

    let mut again = None;
    if kept.revoked == Some(true) {
        let live: Option<Live> = sqlx::query_as(
            "select token, parent from auth.refresh_tokens where session_id = $1 and revoked is false order by id desc limit 1",
        )
        .bind(session)
        .fetch_optional(&mut *transaction)
        .await?;
        let recent = kept.updated_at.is_some_and(|at| Utc::now() - at <= Duration::seconds(REUSE_SECONDS));
        match live {
            Some(live) if live.parent.as_deref() == Some(token) || recent => again = Some(live.token),
            _ => {
                // Somebody has a copy: neither of the two goes on.
                sqlx::query("update auth.refresh_tokens set revoked = true, updated_at = now() where session_id = $1 and revoked is false")
                    .bind(session)
                    .execute(&mut *transaction)
                    .await?;
                transaction.commit().await?;
                return Err(Refusal::new(
                    StatusCode::BAD_REQUEST,
                    "refresh_token_already_used",
                    "Invalid Refresh Token: Already Used",
                ));
            }
        }
    }
    let next = match again {
        Some(live) => live,
        None => {
            sqlx::query("update auth.refresh_tokens set revoked = true, updated_at = now() where id = $1")
                .bind(kept.id)
                .execute(&mut *transaction)
                .await?;
            new_refresh_token(&mut transaction, user.id, session, Some(token)).await?
        }
    };
    sqlx::query("update auth.sessions set refreshed_at = now() at time zone 'utc', updated_at = now() where id = $1")
        .bind(session)
        .execute(&mut *transaction)
        .await?;
    let issued = issue(&mut transaction, keys, &user, session, method.as_deref().unwrap_or("password"), next).await?;
    transaction.commit().await?;
    Ok(issued)
}
