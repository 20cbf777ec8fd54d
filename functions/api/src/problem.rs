//! What went wrong, over HTTP. Which status a code is, `hub_edge` says.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hub::Error;
use hub_edge::{Problem, Refused};

/// As the database refused; or what is ours to mend, which is logged here, once, and shows the client nothing.
pub(crate) fn refused(error: &Error) -> Refused {
    match error {
        Error::Unreachable(_) | Error::Busy(_) => tracing::warn!(error = %error, "the database is away or busy"),
        Error::BadInput(_)
        | Error::Forbidden(_)
        | Error::DeviceRevoked(_)
        | Error::NotFound(_)
        | Error::Conflict(_)
        | Error::TooMany(_)
        | Error::LeaseLost(_) => {}
        _ => tracing::error!(error = %error, "a request failed"),
    }
    let refusal = error.refusal().cloned().unwrap_or_default();
    Refused {
        code: error.code().map(str::to_owned),
        message: Some(refusal.message).filter(|message| !message.is_empty()),
        detail: refusal.detail,
        hint: refusal.hint,
    }
}

/// With the headers that belong to a status.
pub(crate) fn respond(response: hub_edge::Response) -> Response {
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = (status, Body::from(response.body)).into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(response.content_type));
    if let Some(seconds) = response.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    match status {
        StatusCode::SERVICE_UNAVAILABLE => drop(headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"))),
        StatusCode::METHOD_NOT_ALLOWED => drop(headers.insert(header::ALLOW, HeaderValue::from_static("POST"))),
        StatusCode::UNAUTHORIZED => drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        _ => {}
    }
    answer
}

pub(crate) fn problem(problem: Problem) -> Response {
    respond(problem.into())
}

/// Too often: again in `wait`.
pub(crate) fn later(wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let mut answer = problem(Problem::new(429, "too many requests").hint(format!("Try again in {seconds} s.")));
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    answer
}
