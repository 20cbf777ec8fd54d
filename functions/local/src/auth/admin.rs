//! Users as an operator with the service key sees them.

use super::{
    Auth, Body, PerhapsBody,
    refusal::{Answer, Refusal},
    session,
    users::{self, NewUser, Update, User},
};
use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::IntoResponse,
};
use chrono::{DateTime, Duration, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

const PER_PAGE: i64 = 50;
const MAX_PER_PAGE: i64 = 1000;

impl Auth {
    fn only_service(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match self.claims(headers)?.get("role").and_then(Value::as_str) {
            Some("service_role" | "supabase_admin") => Ok(()),
            _ => Err(Refusal::new(StatusCode::FORBIDDEN, "not_admin", "User not allowed")),
        }
    }

    async fn one(&self, id: &str) -> Result<User, Refusal> {
        let id = Uuid::parse_str(id)
            .map_err(|_| Refusal::new(StatusCode::NOT_FOUND, "validation_failed", "user_id must be an UUID"))?;
        users::by_id(&self.inner.pool, id)
            .await?
            .ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "user_not_found", "User not found"))
    }

    async fn shown(&self, user: &User) -> Answer {
        let identities = users::identities(&self.inner.pool, &[user.id]).await?;
        Ok(Json(user.json(&identities)).into_response())
    }
}

#[derive(Deserialize)]
pub struct Page {
    #[serde(default)]
    page: Option<String>,
    #[serde(default)]
    per_page: Option<String>,
}

pub async fn list(State(auth): State<Auth>, Query(page): Query<Page>, headers: HeaderMap) -> Answer {
    auth.only_service(&headers)?;
    let number =
        |text: Option<String>, otherwise: i64| match text.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
            None => Ok(otherwise),
            Some(text) => text
                .parse::<u32>()
                .map(i64::from)
                .map_err(|_| Refusal::bad(format!("Bad Pagination Parameters: {text:?} is no number"))),
        };
    let page_number = number(page.page, 1)?.max(1);
    let per_page = match number(page.per_page, PER_PAGE)? {
        0 => PER_PAGE,
        many => many.min(MAX_PER_PAGE),
    };
    let found = users::page(&auth.inner.pool, per_page, (page_number - 1) * per_page).await?;
    let total = users::count(&auth.inner.pool).await?;
    let identities = users::identities(&auth.inner.pool, &found.iter().map(|user| user.id).collect::<Vec<_>>()).await?;
    let shown: Vec<Value> = found.iter().map(|user| user.json(&identities)).collect();

    let last = ((total + per_page - 1) / per_page).max(1);
    let mut links = Vec::new();
    if page_number < last {
        links.push(format!("</admin/users?page={}&per_page={per_page}>; rel=\"next\"", page_number + 1));
    }
    links.push(format!("</admin/users?page={last}&per_page={per_page}>; rel=\"last\""));
    let mut response = Json(json!({"users": shown, "aud": "authenticated"})).into_response();
    response.headers_mut().insert("x-total-count", HeaderValue::from(total));
    if let Ok(links) = HeaderValue::from_str(&links.join(", ")) {
        response.headers_mut().insert("link", links);
    }
    Ok(response)
}

pub async fn show(State(auth): State<Auth>, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    auth.only_service(&headers)?;
    let user = auth.one(&id).await?;
    auth.shown(&user).await
}

#[derive(Deserialize)]
pub struct Wanted {
    #[serde(default)]
    id: Option<Uuid>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    phone: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    email_confirm: Option<bool>,
    #[serde(default)]
    user_metadata: Option<Map<String, Value>>,
    #[serde(default)]
    app_metadata: Option<Map<String, Value>>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    ban_duration: Option<String>,
}

impl Wanted {
    fn role(&self) -> Result<Option<&str>, Refusal> {
        match self.role.as_deref().filter(|role| !role.is_empty()) {
            // The token's role becomes a database role: one that REST may not take would only make broken tokens.
            Some(role @ ("anon" | "authenticated" | "service_role")) => Ok(Some(role)),
            Some(_) => Err(Refusal::bad("role must be anon, authenticated or service_role")),
            None => Ok(None),
        }
    }

    /// `24h`, `1h30m`, `none`.
    fn ban(&self) -> Result<Option<Option<DateTime<Utc>>>, Refusal> {
        match self.ban_duration.as_deref().filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some("none") => Ok(Some(None)),
            Some(text) => match duration(text).and_then(|time| Utc::now().checked_add_signed(time)) {
                Some(until) => Ok(Some(Some(until))),
                None => Err(Refusal::bad("invalid format for ban duration: use 24h, 90m or none")),
            },
        }
    }

    fn no_phone(&self) -> Result<(), Refusal> {
        match self.phone.as_deref() {
            Some(phone) if !phone.is_empty() => {
                Err(Refusal::bad("A local stack knows users by their email address only"))
            }
            _ => Ok(()),
        }
    }
}

/// Go's notation, as Supabase Auth reads it.
fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::zero();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit()).filter(|at| *at > 0)?;
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|character: char| character.is_ascii_digit()).unwrap_or(rest.len());
        let part = match &rest[..letters] {
            "h" => Duration::try_hours(number)?,
            "m" => Duration::try_minutes(number)?,
            "s" => Duration::try_seconds(number)?,
            "ms" => Duration::try_milliseconds(number)?,
            _ => return None,
        };
        total = total.checked_add(&part)?;
        rest = &rest[letters..];
    }
    (total > Duration::zero()).then_some(total)
}

fn taken(error: &sqlx::Error) -> Refusal {
    Refusal::taken(error, "email_exists", "A user with this email address has already been registered")
        .unwrap_or_else(|| Refusal::saving(error))
}

pub async fn create(State(auth): State<Auth>, headers: HeaderMap, Body(wanted): Body<Wanted>) -> Answer {
    auth.only_service(&headers)?;
    wanted.no_phone()?;
    let email = wanted.email.as_deref().filter(|email| !email.trim().is_empty());
    let email =
        users::address(email.ok_or_else(|| Refusal::bad("Cannot create a user without either an email or phone"))?)?;
    let password = match wanted.password.as_deref().filter(|password| !password.is_empty()) {
        Some(password) => Some(auth.hashed(password).await?),
        None => None,
    };
    let mut new = NewUser::new(&email);
    new.id = wanted.id;
    new.confirmed = wanted.email_confirm.unwrap_or(false);
    new.role = wanted.role()?.unwrap_or("authenticated").to_owned();
    new.banned_until = wanted.ban()?.flatten();
    new.app_metadata = wanted.app_metadata.unwrap_or_default();
    new.user_metadata = wanted.user_metadata.unwrap_or_default();
    let mut transaction = auth.inner.pool.begin().await?;
    let user = users::insert(&mut transaction, &new, password.as_deref()).await.map_err(|error| taken(&error))?;
    transaction.commit().await?;
    auth.shown(&user).await
}

pub async fn update(
    State(auth): State<Auth>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(wanted): Body<Wanted>,
) -> Answer {
    auth.only_service(&headers)?;
    wanted.no_phone()?;
    let user = auth.one(&id).await?;
    let email = match wanted.email.as_deref().filter(|email| !email.trim().is_empty()) {
        Some(email) => Some(users::address(email)?).filter(|email| Some(email) != user.email.as_ref()),
        None => None,
    };
    let password = match wanted.password.as_deref().filter(|password| !password.is_empty()) {
        Some(password) => Some(auth.hashed(password).await?),
        None => None,
    };
    let change = Update {
        email: email.as_deref(),
        password: password.as_deref(),
        user_metadata: wanted.user_metadata.as_ref(),
        app_metadata: wanted.app_metadata.as_ref(),
        role: wanted.role()?,
        confirm: wanted.email_confirm == Some(true),
        banned_until: wanted.ban()?,
    };
    let mut transaction = auth.inner.pool.begin().await?;
    let user = users::update(&mut transaction, user.id, &change).await.map_err(|error| taken(&error))?;
    if password.is_some() {
        session::end_all(&mut *transaction, user.id, None).await?;
    }
    transaction.commit().await?;
    auth.shown(&user).await
}

#[derive(Deserialize)]
pub struct Deletion {
    #[serde(default)]
    should_soft_delete: bool,
}

pub async fn delete(
    State(auth): State<Auth>,
    Path(id): Path<String>,
    headers: HeaderMap,
    PerhapsBody(how): PerhapsBody<Deletion>,
) -> Answer {
    auth.only_service(&headers)?;
    let user = auth.one(&id).await?;
    let mut transaction = auth.inner.pool.begin().await?;
    users::delete(&mut transaction, user.id, how.should_soft_delete).await?;
    transaction.commit().await?;
    Ok(Json(json!({})).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ban_durations_are_read() {
        assert_eq!(duration("24h"), Some(Duration::hours(24)));
        assert_eq!(duration("1h30m"), Some(Duration::minutes(90)));
        for wrong in ["", "h", "24", "24d", "-1h", "0h", "99999999999999999999h", "9223372036854775807h"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
