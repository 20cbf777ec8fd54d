//! Users and their identities, as Supabase Auth keeps and shows them.

use super::refusal::Refusal;
use axum::http::StatusCode;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use sqlx::{PgConnection, PgExecutor, types::Json};
use uuid::Uuid;

const INSTANCE: Uuid = Uuid::nil();

/// A row of `auth.users`.
#[derive(Clone, sqlx::FromRow)]
pub struct User {
    /// The subject of its tokens.
    pub id: Uuid,
    aud: Option<String>,
    role: Option<String>,
    /// In lower case.
    pub email: Option<String>,
    pub(super) encrypted_password: Option<String>,
    email_confirmed_at: Option<DateTime<Utc>>,
    phone: Option<String>,
    phone_confirmed_at: Option<DateTime<Utc>>,
    confirmed_at: Option<DateTime<Utc>>,
    last_sign_in_at: Option<DateTime<Utc>>,
    raw_app_meta_data: Option<Json<Map<String, Value>>>,
    raw_user_meta_data: Option<Json<Map<String, Value>>>,
    created_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    banned_until: Option<DateTime<Utc>>,
    is_anonymous: bool,
}

/// A row of `auth.identities`.
#[derive(Clone, sqlx::FromRow)]
pub struct Identity {
    provider_id: String,
    user_id: Uuid,
    identity_data: Json<Map<String, Value>>,
    provider: String,
    last_sign_in_at: Option<DateTime<Utc>>,
    created_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    email: Option<String>,
    id: Uuid,
}

/// A user to be made.
#[derive(Clone)]
pub struct NewUser {
    /// Chosen by the maker, or random.
    pub id: Option<Uuid>,
    /// In lower case.
    pub email: String,
    /// In clear; `None` for one who can not sign in with a password.
    pub password: Option<String>,
    /// Whether the address counts as confirmed; without that there is no signing in.
    pub confirmed: bool,
    /// What the user may not change, such as `device`.
    pub app_metadata: Map<String, Value>,
    /// What the user may change.
    pub user_metadata: Map<String, Value>,
    /// The database role of the tokens.
    pub role: String,
    /// Whether the person did it; then `user_metadata` repeats what the identity claims, as with Supabase Auth.
    pub signed_up: bool,
    /// Until when the user may not sign in.
    pub banned_until: Option<DateTime<Utc>>,
}

impl NewUser {
    /// A confirmed user without a password.
    #[must_use]
    pub fn new(email: &str) -> Self {
        Self {
            id: None,
            email: email.to_lowercase(),
            password: None,
            confirmed: true,
            app_metadata: Map::new(),
            user_metadata: Map::new(),
            role: "authenticated".into(),
            signed_up: false,
            banned_until: None,
        }
    }
}

/// What is to change; `None` leaves it.
#[derive(Default)]
pub struct Update<'a> {
    pub email: Option<&'a str>,
    pub password: Option<&'a str>,
    /// Merged; a null removes a key.
    pub user_metadata: Option<&'a Map<String, Value>>,
    /// Merged; a null removes a key.
    pub app_metadata: Option<&'a Map<String, Value>>,
    pub role: Option<&'a str>,
    /// The address, the one there is or the new one, counts as confirmed.
    pub confirm: bool,
    /// `Some(None)` lifts a ban.
    pub banned_until: Option<Option<DateTime<Utc>>>,
}

/// Checks and lowers an address. The rule is loose on purpose: only a mail can tell.
pub fn address(email: &str) -> Result<String, Refusal> {
    let email = email.trim().to_lowercase();
    let valid = email.len() <= 255
        && !email
            .chars()
            .any(|character| character.is_whitespace() || character.is_control() || "<>\",;".contains(character))
        && email.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && !domain.contains('@')
                && domain.contains('.')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
        });
    if valid { Ok(email) } else { Err(Refusal::bad("Unable to validate email address: invalid format")) }
}

/// As Go writes a time: its fraction ends with its last digit that counts, and there is none where it is zero.
fn time(at: Option<DateTime<Utc>>) -> Value {
    at.map_or(Value::Null, |at| {
        let text = at.to_rfc3339_opts(SecondsFormat::Micros, true);
        format!("{}Z", text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.')).into()
    })
}

impl User {
    /// What the user may not change.
    #[must_use]
    pub fn app_metadata(&self) -> Value {
        Value::Object(self.raw_app_meta_data.clone().map(|json| json.0).unwrap_or_default())
    }

    /// What the user may change.
    #[must_use]
    pub fn user_metadata(&self) -> Value {
        Value::Object(self.raw_user_meta_data.clone().map(|json| json.0).unwrap_or_default())
    }

    pub(super) fn role(&self) -> &str {
        self.role.as_deref().filter(|role| !role.is_empty()).unwrap_or("authenticated")
    }

    pub(super) fn aud(&self) -> &str {
        self.aud.as_deref().filter(|aud| !aud.is_empty()).unwrap_or("authenticated")
    }

    pub(super) fn is_anonymous(&self) -> bool {
        self.is_anonymous
    }

    pub(super) fn is_banned(&self) -> bool {
        self.banned_until.is_some_and(|until| until > Utc::now())
    }

    pub(super) fn may_sign_in(&self) -> Result<(), Refusal> {
        if self.is_banned() {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "user_banned", "User is banned"));
        }
        if self.email_confirmed_at.is_none() {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "email_not_confirmed", "Email not confirmed"));
        }
        Ok(())
    }

    pub(super) fn json(&self, identities: &[Identity]) -> Value {
        let mut shown = json!({
            "id": self.id, "aud": self.aud(), "role": self.role(),
            "email": self.email.as_deref().unwrap_or(""), "phone": self.phone.as_deref().unwrap_or(""),
            "app_metadata": self.app_metadata(), "user_metadata": self.user_metadata(),
            "identities": identities.iter().filter(|identity| identity.user_id == self.id).map(Identity::json).collect::<Vec<_>>(),
            "created_at": time(self.created_at), "updated_at": time(self.updated_at), "is_anonymous": self.is_anonymous,
        });
        if let Some(shown) = shown.as_object_mut() {
            for (name, at) in [
                ("email_confirmed_at", self.email_confirmed_at),
                ("phone_confirmed_at", self.phone_confirmed_at),
                ("confirmed_at", self.confirmed_at),
                ("last_sign_in_at", self.last_sign_in_at),
                ("banned_until", self.banned_until),
            ] {
                if at.is_some() {
                    shown.insert(name.into(), time(at));
                }
            }
        }
        shown
    }
}

impl Identity {
    fn json(&self) -> Value {
        let mut shown = json!({
            "identity_id": self.id, "id": self.provider_id, "user_id": self.user_id, "identity_data": self.identity_data.0,
            "provider": self.provider, "created_at": time(self.created_at), "updated_at": time(self.updated_at),
        });
        if let Some(shown) = shown.as_object_mut() {
            if self.last_sign_in_at.is_some() {
                shown.insert("last_sign_in_at".into(), time(self.last_sign_in_at));
            }
            if let Some(email) = self.email.as_deref().filter(|email| !email.is_empty()) {
                shown.insert("email".into(), email.into());
            }
        }
        shown
    }
}

pub async fn by_email(database: impl PgExecutor<'_>, email: &str) -> sqlx::Result<Option<User>> {
    sqlx::query_as("select * from auth.users where email = $1 and not is_sso_user and deleted_at is null")
        .bind(email.to_lowercase())
        .fetch_optional(database)
        .await
}

pub async fn by_id(database: impl PgExecutor<'_>, id: Uuid) -> sqlx::Result<Option<User>> {
    sqlx::query_as("select * from auth.users where id = $1 and deleted_at is null")
        .bind(id)
        .fetch_optional(database)
        .await
}

pub async fn page(database: impl PgExecutor<'_>, limit: i64, offset: i64) -> sqlx::Result<Vec<User>> {
    sqlx::query_as("select * from auth.users where deleted_at is null order by created_at desc, id limit $1 offset $2")
        .bind(limit)
        .bind(offset)
        .fetch_all(database)
        .await
}

pub async fn count(database: impl PgExecutor<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from auth.users where deleted_at is null").fetch_one(database).await
}

pub async fn identities(database: impl PgExecutor<'_>, users: &[Uuid]) -> sqlx::Result<Vec<Identity>> {
    sqlx::query_as("select * from auth.identities where user_id = any($1) order by created_at, id")
        .bind(users)
        .fetch_all(database)
        .await
}

pub async fn insert(database: &mut PgConnection, wanted: &NewUser, password_hash: Option<&str>) -> sqlx::Result<User> {
    let id = wanted.id.unwrap_or_else(Uuid::new_v4);
    let mut app = Map::from_iter([("provider".to_owned(), json!("email")), ("providers".to_owned(), json!(["email"]))]);
    for (name, value) in &wanted.app_metadata {
        match value {
            Value::Null => drop(app.remove(name)),
            value => drop(app.insert(name.clone(), value.clone())),
        }
    }
    // What the provider claims. Here that is the person: nothing of it is verified, and what they said when they signed up is part of it.
    let mut identity = Map::from_iter([
        ("sub".to_owned(), json!(id)),
        ("email".to_owned(), json!(wanted.email)),
        ("email_verified".to_owned(), json!(false)),
        ("phone_verified".to_owned(), json!(false)),
    ]);
    let mut data = wanted.user_metadata.clone();
    if wanted.signed_up {
        for (name, value) in data {
            identity.entry(name).or_insert(value);
        }
        data = identity.clone();
        data.retain(|_, value| !value.is_null());
    }
    if wanted.confirmed {
        data.insert("email_verified".into(), json!(true));
    }
    let user: User = sqlx::query_as(
        "insert into auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, last_sign_in_at,
                                 raw_app_meta_data, raw_user_meta_data, created_at, updated_at, banned_until,
                                 confirmation_token, recovery_token, email_change_token_new, email_change)
         values ($1, $2, 'authenticated', $3, $4, coalesce($5, ''), case when $6 then now() end, case when $7 then now() end,
                 $8, $9, now(), now(), $10, '', '', '', '')
         returning *",
    )
    .bind(INSTANCE)
    .bind(id)
    .bind(&wanted.role)
    .bind(&wanted.email)
    .bind(password_hash)
    .bind(wanted.confirmed)
    .bind(wanted.signed_up)
    .bind(Json(app))
    .bind(Json(data))
    .bind(wanted.banned_until)
    .fetch_one(&mut *database)
    .await?;
    sqlx::query(
        "insert into auth.identities (provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
         values ($1::text, $1, $2, 'email', now(), now(), now())",
    )
    .bind(id)
    .bind(Json(identity))
    .execute(database)
    .await?;
    Ok(user)
}

pub async fn insert_anonymous(database: &mut PgConnection, data: Map<String, Value>) -> sqlx::Result<User> {
    sqlx::query_as(
        "insert into auth.users (instance_id, id, aud, role, last_sign_in_at, raw_app_meta_data, raw_user_meta_data,
                                 created_at, updated_at, is_anonymous)
         values ($1, $2, 'authenticated', 'authenticated', now(), '{}', $3, now(), now(), true)
         returning *",
    )
    .bind(INSTANCE)
    .bind(Uuid::new_v4())
    .bind(Json(data))
    .fetch_one(database)
    .await
}

/// Brings a user of the stack's own to what it should be.
pub async fn set_up(
    database: &mut PgConnection,
    id: Uuid,
    password_hash: Option<&str>,
    app: &Map<String, Value>,
) -> sqlx::Result<User> {
    update(
        database,
        id,
        &Update {
            password: password_hash,
            app_metadata: Some(app),
            confirm: true,
            banned_until: Some(None),
            ..Update::default()
        },
    )
    .await
}

pub async fn signed_in(database: &mut PgConnection, id: Uuid) -> sqlx::Result<User> {
    sqlx::query("update auth.identities set last_sign_in_at = now(), updated_at = now() where user_id = $1 and provider = 'email'")
        .bind(id)
        .execute(&mut *database)
        .await?;
    sqlx::query_as("update auth.users set last_sign_in_at = now(), updated_at = now() where id = $1 returning *")
        .bind(id)
        .fetch_one(database)
        .await
}

pub async fn update(database: &mut PgConnection, id: Uuid, change: &Update<'_>) -> sqlx::Result<User> {
    let user: User = sqlx::query_as(
        "update auth.users u
            set email = coalesce($2, u.email),
                encrypted_password = coalesce($3, u.encrypted_password),
                raw_user_meta_data = (coalesce(u.raw_user_meta_data, '{}') || case when $7 then '{\"email_verified\": true}' else '{}' end::jsonb
                                      || coalesce($4, '{}'))
                                     - array(select e.key from jsonb_each($4) e where e.value = 'null'),
                raw_app_meta_data = (coalesce(u.raw_app_meta_data, '{}') || coalesce($5, '{}'))
                                    - array(select e.key from jsonb_each($5) e where e.value = 'null'),
                role = coalesce($6, u.role),
                email_confirmed_at = case when $7 then coalesce(u.email_confirmed_at, now()) else u.email_confirmed_at end,
                banned_until = case when $8 then $9 else u.banned_until end,
                is_anonymous = u.is_anonymous and $2 is null,
                updated_at = now()
          where u.id = $1
         returning *",
    )
    .bind(id)
    .bind(change.email)
    .bind(change.password)
    .bind(change.user_metadata.map(Json))
    .bind(change.app_metadata.map(Json))
    .bind(change.role)
    .bind(change.confirm)
    .bind(change.banned_until.is_some())
    .bind(change.banned_until.flatten())
    .fetch_one(&mut *database)
    .await?;
    if let Some(email) = change.email {
        sqlx::query(
            "insert into auth.identities (provider_id, user_id, identity_data, provider, created_at, updated_at)
             values ($1::text, $1, jsonb_build_object('sub', $1::text, 'email', $2::text, 'email_verified', $3::boolean, 'phone_verified', false),
                     'email', now(), now())
             on conflict (provider_id, provider) do update
                set identity_data = auth.identities.identity_data || jsonb_build_object('email', $2::text, 'email_verified', $3::boolean),
                    updated_at = now()",
        )
        .bind(id)
        .bind(email)
        .bind(change.confirm)
        .execute(database)
        .await?;
    }
    Ok(user)
}

pub async fn delete(database: &mut PgConnection, id: Uuid, soft: bool) -> sqlx::Result<bool> {
    let done = if soft {
        sqlx::query("delete from auth.sessions where user_id = $1").bind(id).execute(&mut *database).await?;
        sqlx::query("delete from auth.identities where user_id = $1").bind(id).execute(&mut *database).await?;
        sqlx::query(
            "update auth.users
                set deleted_at = now(), email = null, phone = null, encrypted_password = '', raw_user_meta_data = '{}',
                    raw_app_meta_data = '{}', updated_at = now()
              where id = $1 and deleted_at is null",
        )
        .bind(id)
        .execute(database)
        .await?
    } else {
        sqlx::query("delete from auth.users where id = $1").bind(id).execute(database).await?
    };
    Ok(done.rows_affected() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_addresses_are_checked() {
        assert_eq!(address(" Ada@Example.Org ").unwrap(), "ada@example.org");
        assert_eq!(address("device+mac1@hub.invalid").unwrap(), "device+mac1@hub.invalid");
        for wrong in [
            "",
            "ada",
            "ada@",
            "@example.org",
            "ada@example",
            "a b@example.org",
            "a@b@c.d",
            "ada@example.",
            "x<y@z.org",
        ] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_written_as_go_does() {
        let shown = |text: &str| time(Some(text.parse().unwrap()));
        assert_eq!(shown("2026-11-29T10:00:00Z"), "2026-11-29T10:00:00Z");
        assert_eq!(shown("2026-11-29T10:00:00.120300Z"), "2026-11-29T10:00:00.1203Z");
        assert_eq!(shown("2026-11-29T10:00:00.000001Z"), "2026-11-29T10:00:00.000001Z");
        assert_eq!(time(None), Value::Null);
    }
}
