//! What went wrong, as `application/problem+json` (RFC 9457), and the one place where an error becomes a status.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hub::Error;
use serde::Serialize;

/// An error as a client sees it. `type` is left out, which means `about:blank`: the status says the kind, `code` the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The status in words.
    pub title: &'static str,
    /// What is wrong, naming the field.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The hub's own code (`UH001` and so on), or Postgres'.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

impl Problem {
    /// A problem of this status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or("Error"),
            detail: detail.into(),
            hint: None,
            code: None,
        }
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What is ours to mend is logged here, once, and shows the client nothing.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::BadInput(_) => StatusCode::BAD_REQUEST,
            Error::Forbidden(_) | Error::DeviceRevoked(_) => StatusCode::FORBIDDEN,
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::Conflict(_) | Error::LeaseLost(_) => StatusCode::CONFLICT,
            Error::Unreachable(_) | Error::Busy(_) => {
                tracing::warn!(error = %error, "the database is away or busy");
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, "the hub is not available now")
                    .hint("Try again in a few seconds.");
            }
            _ => {
                tracing::error!(error = %error, "a request failed");
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the hub could not do this; its log says why");
            }
        };
        let Some(refusal) = error.refusal().cloned() else { return Self::new(status, error.to_string()) };
        let detail = match refusal.detail.filter(|detail| !detail.is_empty()) {
            Some(detail) => format!("{}: {detail}", refusal.message),
            None => refusal.message,
        };
        Self { hint: refusal.hint, code: Some(refusal.code), ..Self::new(status, detail) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub::error::Refusal;

    #[test]
    fn a_refusal_keeps_its_words_and_a_fault_of_ours_shows_nothing() {
        let refusal = Refusal {
            code: "UH004".into(),
            message: "not found".into(),
            detail: Some("channel".into()),
            hint: Some("Check the id.".into()),
        };
        let problem = Problem::from(Error::refused(refusal));
        assert_eq!((problem.status, problem.detail.as_str()), (404, "not found: channel"));
        assert_eq!(problem.hint.as_deref(), Some("Check the id."));
        for (code, status) in [
            ("UH001", 400),
            ("42501", 403),
            ("UH003", 409),
            ("UH005", 403),
            ("40001", 503),
            ("08006", 503),
            ("XX000", 500),
            ("42883", 500),
        ] {
            let secret =
                Refusal { code: code.into(), message: "m".into(), detail: Some("internals".into()), hint: None };
            let problem = Problem::from(Error::refused(secret));
            assert_eq!(problem.status, status, "{code}");
            assert_eq!(problem.detail.contains("internals"), status < 500, "{code}");
        }
    }
}
