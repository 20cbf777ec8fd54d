//! An answer that says no, in PostgREST's form: of this layer itself, or of Postgres.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::ext::ReasonPhrase;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::postgres::PgDatabaseError;
use std::{borrow::Cow, collections::BTreeMap};

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// What went wrong, as the client reads it. In a box: it is rare, and every result carries its size.
#[derive(Debug)]
pub struct Refusal(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    code: Cow<'static, str>,
    message: String,
    details: Value,
    hint: Option<String>,
    headers: HeaderMap,
    /// The words behind the status in the first line of the answer, where they are not the usual ones.
    reason: Option<String>,
}

impl Refusal {
    /// With a code of PostgREST's.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            status,
            code: code.into(),
            message: message.into(),
            details: Value::Null,
            hint: None,
            headers: HeaderMap::new(),
            reason: None,
        }))
    }

    /// What exactly.
    #[must_use]
    pub fn details(mut self, details: impl Into<Value>) -> Self {
        self.0.details = details.into();
        self
    }

    /// What to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// What was perhaps meant.
    #[must_use]
    pub fn perhaps(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// A header more.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Its code: PostgREST's or Postgres'.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// What Postgres, the connection or the pool said. `known` is whether the caller has another role than that of those who show
    /// no token: only these are asked who they are.
    pub fn of_database(error: &sqlx::Error, known: bool) -> Self {
        let unreachable = |code, message| Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        match error {
            sqlx::Error::Database(said) => match said.try_downcast_ref::<PgDatabaseError>() {
                // Said to who connects, never to a statement.
                Some(said) if said.code() == "57P03" => unreachable("PGRST000", "Database connection error."),
                Some(said) => {
                    let said =
                        Said { code: said.code(), message: said.message(), detail: said.detail(), hint: said.hint() };
                    Self::of_postgres(&said, known)
                }
                None => internal(error),
            },
            sqlx::Error::PoolTimedOut => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "PGRST003",
                "Timed out acquiring connection from connection pool.",
            ),
            sqlx::Error::PoolClosed | sqlx::Error::Tls(_) => unreachable("PGRST000", "Database connection error."),
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                tracing::warn!(rest.error = %error, "a connection to the database is gone");
                unreachable("PGRST001", "Database client error. Retrying the connection.")
            }
            _ => internal(error),
        }
    }

    fn of_postgres(said: &Said<'_>, known: bool) -> Self {
        if said.code == "PGRST" {
            return raised(said);
        }
        let status = status(said.code, said.message, known);
        let mut refusal = Self::new(status, said.code.to_owned(), said.message);
        refusal.0.details = said.detail.map_or(Value::Null, Value::from);
        refusal.0.hint = said.hint.map(str::to_owned);
        if said.code.starts_with("PT") && said.code != "PT500" && status.as_str() == &said.code[2..] {
            refusal.0.reason = Some(said.message.to_owned());
        }
        if status == StatusCode::UNAUTHORIZED {
            refusal.0.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        refusal
    }
}

/// What the client may not read is logged.
fn internal(error: &sqlx::Error) -> Refusal {
    tracing::error!(rest.error = %error, "REST could not read the database's answer");
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "PGRSTX00", "The database's answer could not be read")
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({
            "code": self.0.code, "details": self.0.details, "hint": self.0.hint, "message": self.0.message,
        });
        let mut answer = Response::new(Body::from(body.to_string()));
        *answer.status_mut() = self.0.status;
        if let Some(reason) = self.0.reason.and_then(|reason| ReasonPhrase::try_from(reason.into_bytes()).ok()) {
            answer.extensions_mut().insert(reason);
        }
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        if let Ok(value) = HeaderValue::from_str(&format!("PostgREST; error={}", self.0.code)) {
            headers.insert(PROXY_STATUS, value);
        }
        headers.extend(self.0.headers);
        answer
    }
}

/// An error as Postgres tells it.
struct Said<'e> {
    code: &'e str,
    message: &'e str,
    detail: Option<&'e str>,
    hint: Option<&'e str>,
}

/// PostgREST's table of SQLSTATEs.
fn status(code: &str, message: &str, known: bool) -> StatusCode {
    match code {
        "23503" | "23505" => StatusCode::CONFLICT,
        "25006" => StatusCode::METHOD_NOT_ALLOWED,
        "21000" if message.ends_with("requires a WHERE clause") => StatusCode::BAD_REQUEST,
        "21000" => StatusCode::INTERNAL_SERVER_ERROR,
        // The role that the token names.
        "22023" if message.starts_with("role") && message.ends_with("does not exist") => StatusCode::UNAUTHORIZED,
        "53400" => StatusCode::INTERNAL_SERVER_ERROR,
        "57P01" => StatusCode::SERVICE_UNAVAILABLE,
        "P0001" => StatusCode::BAD_REQUEST,
        "42883" if message.starts_with("function xmlagg(") => StatusCode::NOT_ACCEPTABLE,
        "42883" | "42P01" => StatusCode::NOT_FOUND,
        "42P17" => StatusCode::INTERNAL_SERVER_ERROR,
        "42501" if known => StatusCode::FORBIDDEN,
        "42501" => StatusCode::UNAUTHORIZED,
        _ => match code.get(..2).unwrap_or_default() {
            "08" | "53" => StatusCode::SERVICE_UNAVAILABLE,
            "0L" | "0P" | "28" => StatusCode::FORBIDDEN,
            "09" | "25" | "2D" | "38" | "39" | "3B" | "40" | "54" | "55" | "57" | "58" | "F0" | "HV" | "P0" | "XX" => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            // What is no answer of HTTP is a fault of the function that raised it.
            "PT" => chosen(code.get(2..).and_then(|number| number.parse().ok())),
            _ => StatusCode::BAD_REQUEST,
        },
    }
}

/// A status that a function chose. Those below 200 are no answers.
fn chosen(number: Option<u16>) -> StatusCode {
    number
        .filter(|number| *number >= 200)
        .and_then(|number| StatusCode::from_u16(number).ok())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

#[derive(Deserialize)]
struct RaisedMessage {
    code: String,
    message: String,
    details: Option<String>,
    hint: Option<String>,
}

#[derive(Deserialize)]
struct RaisedDetail {
    status: u16,
    status_text: Option<String>,
    headers: BTreeMap<String, String>,
}

/// `raise sqlstate 'PGRST'`: message and detail are JSON, and say everything of the answer.
fn raised(said: &Said<'_>) -> Refusal {
    let unreadable = |details: String, hint: &str| {
        let message = "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error";
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "PGRST121", message).details(details).hint(hint)
    };
    let of_detail =
        "DETAIL must be a JSON object with obligatory keys: 'status', 'headers' and optional key: 'status_text'.";
    let Ok(message) = serde_json::from_str::<RaisedMessage>(said.message) else {
        return unreadable(
            format!("Invalid JSON value for MESSAGE: '{}'", said.message),
            "MESSAGE must be a JSON object with obligatory keys: 'code', 'message' and optional keys: 'details', 'hint'.",
        );
    };
    let Some(detail) = said.detail else {
        return unreadable("DETAIL is missing in the RAISE statement".into(), of_detail);
    };
    let Ok(detail) = serde_json::from_str::<RaisedDetail>(detail) else {
        return unreadable(format!("Invalid JSON value for DETAIL: '{detail}'"), of_detail);
    };
    let mut refusal = Refusal::new(chosen(Some(detail.status)), message.code, message.message);
    refusal.0.details = message.details.map_or(Value::Null, Value::from);
    refusal.0.hint = message.hint;
    refusal.0.reason = detail.status_text;
    for (name, value) in detail.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            refusal.0.headers.insert(name, value);
        }
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<'e>(code: &'e str, message: &'e str, detail: Option<&'e str>) -> Said<'e> {
        Said { code, message, detail, hint: None }
    }

    #[test]
    fn each_state_has_its_status() {
        let cases = [
            ("08006", 503),
            ("09000", 500),
            ("0L000", 403),
            ("0P000", 403),
            ("23503", 409),
            ("23505", 409),
            ("23514", 400),
            ("25006", 405),
            ("25001", 500),
            ("28000", 403),
            ("2D000", 500),
            ("38000", 500),
            ("39000", 500),
            ("3B000", 500),
            ("40001", 500),
            ("53400", 500),
            ("53300", 503),
            ("54001", 500),
            ("55006", 500),
            ("57P01", 503),
            ("57014", 500),
            ("58000", 500),
            ("F0000", 500),
            ("HV000", 500),
            ("P0001", 400),
            ("P0002", 500),
            ("XX000", 500),
            ("42883", 404),
            ("42P01", 404),
            ("42P17", 500),
            ("42703", 400),
            ("42601", 400),
            ("22P02", 400),
            ("UH002", 400),
            ("PT404", 404),
            ("PT418", 418),
            ("PT100", 500),
            ("PTxyz", 500),
            ("PT042", 500),
            ("", 400),
            ("é", 400),
            ("21000", 500),
        ];
        for (code, expected) in cases {
            assert_eq!(status(code, "m", true).as_u16(), expected, "{code}");
        }
        assert_eq!(status("42501", "m", true), StatusCode::FORBIDDEN);
        assert_eq!(status("42501", "m", false), StatusCode::UNAUTHORIZED);
        assert_eq!(status("21000", "UPDATE requires a WHERE clause", true), StatusCode::BAD_REQUEST);
        assert_eq!(status("22023", "role \"x\" does not exist", true), StatusCode::UNAUTHORIZED);
        assert_eq!(status("22023", "m", true), StatusCode::BAD_REQUEST);
        assert_eq!(status("42883", "function xmlagg(text) does not exist", true), StatusCode::NOT_ACCEPTABLE);
    }

    #[test]
    fn a_refusal_is_json_with_its_headers() {
        let answer = Refusal::of_postgres(&said("42501", "permission denied for table x", None), false).into_response();
        assert_eq!(answer.status(), 401);
        let headers = answer.headers();
        assert_eq!(headers["content-type"], "application/json; charset=utf-8");
        assert_eq!(headers["proxy-status"], "PostgREST; error=42501");
        assert_eq!(headers["www-authenticate"], "Bearer");
        let forbidden = Refusal::of_postgres(&said("42501", "m", None), true).into_response();
        assert!(!forbidden.headers().contains_key("www-authenticate"));
        let teapot = Refusal::of_postgres(&said("PT418", "a teapot", None), true).into_response();
        assert_eq!(teapot.extensions().get::<ReasonPhrase>().unwrap().as_bytes(), b"a teapot");
    }

    #[test]
    fn a_function_may_say_everything_of_its_refusal() {
        let message = r#"{"code": "123", "message": "no", "details": "d", "hint": "h"}"#;
        let detail = r#"{"status": 332, "status_text": "Mine", "headers": {"X-Header": "str", "bad name": "x"}}"#;
        let refusal = Refusal::of_postgres(&said("PGRST", message, Some(detail)), true);
        assert_eq!((refusal.code(), &refusal.0.details, refusal.0.hint.as_deref()), ("123", &json!("d"), Some("h")));
        let answer = refusal.into_response();
        assert_eq!((answer.status().as_u16(), &answer.headers()["x-header"]), (332, &HeaderValue::from_static("str")));

        for (message, detail, details) in [
            ("INVALID", None, "Invalid JSON value for MESSAGE: 'INVALID'"),
            (message, None, "DETAIL is missing in the RAISE statement"),
            (message, Some("{}"), "Invalid JSON value for DETAIL: '{}'"),
        ] {
            let refusal = Refusal::of_postgres(&said("PGRST", message, detail), true);
            assert_eq!((refusal.code(), &refusal.0.details), ("PGRST121", &json!(details)));
        }
    }

    #[test]
    fn who_waited_in_vain_and_whose_connection_broke_is_told() {
        let cases = [
            (sqlx::Error::PoolTimedOut, 504, "PGRST003"),
            (sqlx::Error::PoolClosed, 503, "PGRST000"),
            (sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()), 503, "PGRST001"),
            (sqlx::Error::RowNotFound, 500, "PGRSTX00"),
        ];
        for (error, status, code) in cases {
            let refusal = Refusal::of_database(&error, true);
            assert_eq!((refusal.0.status.as_u16(), refusal.code()), (status, code));
        }
    }
}
