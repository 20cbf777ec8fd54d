//! Errors in the two shapes of Supabase Auth: with the header `x-supabase-api-version: 2024-01-01` `{code, message}`, without it
//! `{code, error_code, msg}`.

use axum::{
    Json,
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use std::{borrow::Cow, fmt::Display, time::Duration};

/// What a handler answers.
pub type Answer = Result<Response, Refusal>;

const VERSION: HeaderName = HeaderName::from_static("x-supabase-api-version");
const SINCE: &str = "2024-01-01";

/// Why a request is not granted.
#[derive(Clone, Debug)]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    /// Boxed: rare, and every handler's result carries the size.
    extra: Option<Box<(&'static str, Value)>>,
    /// Seconds for `Retry-After`.
    wait: Option<u64>,
}

impl Refusal {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), extra: None, wait: None }
    }

    /// What was sent can not be meant.
    pub fn bad(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "validation_failed", message)
    }

    pub fn with(mut self, name: &'static str, value: Value) -> Self {
        self.extra = Some(Box::new((name, value)));
        self
    }

    /// Too often: again in so many seconds.
    pub fn later(wait: Duration) -> Self {
        let mut refusal =
            Self::new(StatusCode::TOO_MANY_REQUESTS, "over_request_rate_limit", "Request rate limit reached");
        refusal.wait = Some(wait.as_secs() + 1);
        refusal
    }

    /// Logged here, and the client learns nothing.
    pub fn internal(error: impl Display) -> Self {
        tracing::error!(auth.error = %error, "sign-in failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "unexpected_failure",
            "Unexpected failure, please check server logs for more information",
        )
    }

    /// A trigger of the schema's own may refuse a user.
    pub fn saving(error: &sqlx::Error) -> Self {
        tracing::error!(auth.error = %error, "a user could not be saved");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "unexpected_failure", "Database error saving new user")
    }

    /// The refusal, if the error is that the address (or the id) belongs to somebody.
    pub fn taken(error: &sqlx::Error, code: &'static str, message: &'static str) -> Option<Self> {
        let database = error.as_database_error()?;
        let ours = matches!(
            database.constraint(),
            Some("users_email_partial_key" | "users_pkey" | "identities_provider_id_provider_unique")
        );
        (database.is_unique_violation() && ours).then(|| Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message))
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::internal(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = json!({"code": self.status.as_u16(), "error_code": self.code, "msg": self.message});
        if let (Some(extra), Some(body)) = (&self.extra, body.as_object_mut()) {
            body.insert(extra.0.to_owned(), extra.1.clone());
        }
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().insert(HeaderName::from_static("x-sb-error-code"), HeaderValue::from_static(self.code));
        if let Some(seconds) = self.wait {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives a refusal the shape that the client's version expects.
pub async fn render(request: Request, next: Next) -> Response {
    let newer =
        request.headers().get(VERSION).and_then(|value| value.to_str().ok()).is_some_and(|version| version >= SINCE);
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let Some(refusal) = response.extensions_mut().remove::<Refusal>().filter(|_| newer) else { return response };
    let mut body = json!({"code": refusal.code, "message": refusal.message});
    if let (Some(extra), Some(body)) = (refusal.extra, body.as_object_mut()) {
        body.insert(extra.0.to_owned(), extra.1);
    }
    let mut newer = (refusal.status, Json(body)).into_response();
    newer.headers_mut().insert(HeaderName::from_static("x-sb-error-code"), HeaderValue::from_static(refusal.code));
    newer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = refusal.wait {
        newer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    newer.headers_mut().insert(VERSION, HeaderValue::from_static(SINCE));
    newer
}
