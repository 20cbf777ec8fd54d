//! The answer to what the database made of a request.

use super::{
    plan::{Kind, Plan},
    refusal::Refusal,
    refuse,
    request::{
        Action, Request,
        media::Media,
        prefer::{Resolution, Return},
        query::encoded,
    },
    run::Outcome,
    schema::{Function, Table, Volatility},
};
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const CONTENT_PROFILE: HeaderName = HeaderName::from_static("content-profile");

/// The answer.
///
/// # Errors
/// `response.status` or `response.headers` are not what they must be.
pub fn answer(request: &Request, plan: &Plan<'_>, outcome: Outcome) -> Result<Response, Refusal> {
    let mut headers = HeaderMap::new();
    if matches!(plan.media, Media::Plan(_)) {
        content(&mut headers, request, &plan.media);
        return Ok(respond(StatusCode::OK, headers, outcome.body.into()));
    }
    let (status, body) = match &plan.kind {
        Kind::Read | Kind::Call(_) => of_rows(&mut headers, request, plan, &outcome),
        Kind::Write(write) => (of_write(&mut headers, request, write.table, &outcome), shown(request)),
    };
    let body = match body {
        Shown::Body => {
            content(&mut headers, request, &plan.media);
            if request.head { unsaid() } else { outcome.body.into() }
        }
        Shown::Nothing => Body::empty(),
        Shown::Refusal(refusal) => {
            let (parts, body) = refusal.into_response().into_parts();
            for (name, value) in parts.headers {
                if let Some(name) = name {
                    headers.insert(name, value);
                }
            }
            body
        }
    };
    if let Some(applied) = applied(request, plan) {
        set(&mut headers, PREFERENCE_APPLIED, &applied);
    }
    let status = match &outcome.status {
        None => status,
        Some(text) => chosen(text).ok_or_else(refuse::bad_status_setting)?,
    };
    if let Some(text) = &outcome.headers {
        own_headers(&mut headers, text).ok_or_else(refuse::bad_headers_setting)?;
    }
    Ok(respond(status, headers, body))
}

enum Shown {
    Body,
    Nothing,
    Refusal(Refusal),
}

fn shown(request: &Request) -> Shown {
    if request.prefer.returns == Some(Return::Representation) { Shown::Body } else { Shown::Nothing }
}

fn respond(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// No body, of which nobody says how long it would be.
fn unsaid() -> Body {
    Body::from_stream(futures_util::stream::empty::<Result<Bytes, std::convert::Infallible>>())
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(name, value);
    }
}

fn content(headers: &mut HeaderMap, request: &Request, media: &Media) {
    set(headers, header::CONTENT_TYPE, &media.content_type());
    if request.says_schema {
        set(headers, CONTENT_PROFILE, &request.schema);
    }
}

/// `0-9/100`; without rows `*`, as where nobody counted.
fn range(low: i64, high: i64, total: Option<i64>) -> String {
    let rows = if total != Some(0) && low <= high { format!("{low}-{high}") } else { "*".into() };
    total.map_or_else(|| format!("{rows}/*"), |total| format!("{rows}/{total}"))
}

fn of_rows(headers: &mut HeaderMap, request: &Request, plan: &Plan<'_>, outcome: &Outcome) -> (StatusCode, Shown) {
    let low = request.range.low;
    let high = low.saturating_add(outcome.rows).saturating_sub(1);
    set(headers, header::CONTENT_RANGE, &range(low, high, outcome.total));
    if let Kind::Read = plan.kind {
        let query = &request.query.canonical;
        let question = if query.is_empty() { "" } else { "?" };
        set(headers, header::CONTENT_LOCATION, &format!("/{}{question}{query}", request.target));
    }
    if plan.function().is_some_and(|function| function.returns.is_void()) {
        return (StatusCode::NO_CONTENT, Shown::Nothing);
    }
    match outcome.total {
        Some(total) if low > total => {
            (StatusCode::RANGE_NOT_SATISFIABLE, Shown::Refusal(refuse::beyond_the_end(low, total)))
        }
        Some(total) if outcome.rows < total => (StatusCode::PARTIAL_CONTENT, Shown::Body),
        _ => (StatusCode::OK, Shown::Body),
    }
}

fn of_write(headers: &mut HeaderMap, request: &Request, table: &Table, outcome: &Outcome) -> StatusCode {
    let counted = request.prefer.counts().then_some(outcome.rows);
    let full = request.prefer.returns == Some(Return::Representation);
    match request.action {
        Action::Insert => {
            if !outcome.location.is_empty() {
                let key: Vec<String> = outcome
                    .location
                    .iter()
                    .map(|(name, condition)| format!("{}={}", encoded(name), encoded(condition)))
                    .collect();
                set(headers, header::LOCATION, &format!("/{}?{}", table.name.name, key.join("&")));
            }
            set(headers, header::CONTENT_RANGE, &range(1, 0, counted));
            let merges = request.prefer.resolution == Some(Resolution::Merge);
            if merges && outcome.inserted.unwrap_or(0) <= 0 { StatusCode::OK } else { StatusCode::CREATED }
        }
        Action::Put => match (full, outcome.inserted.unwrap_or(0) > 0) {
            (false, _) => StatusCode::NO_CONTENT,
            (true, true) => StatusCode::CREATED,
            (true, false) => StatusCode::OK,
        },
        action => {
            let high = if action == Action::Update { outcome.rows - 1 } else { -1 };
            set(headers, header::CONTENT_RANGE, &range(0, high, counted));
            if full { StatusCode::OK } else { StatusCode::NO_CONTENT }
        }
    }
}

/// What of the preferences counted here.
fn applied(request: &Request, plan: &Plan<'_>) -> Option<String> {
    let mut prefer = request.prefer.clone();
    let (action, query) = (request.action, &request.query);
    let recognised = match &plan.kind {
        Kind::Write(write) => !write.table.primary_key.is_empty() || query.on_conflict.is_some(),
        Kind::Read | Kind::Call(_) => false,
    };
    if action != Action::Insert || !recognised {
        prefer.resolution = None;
    }
    if !action.is_write() {
        prefer.returns = None;
    }
    if !matches!(action, Action::Insert | Action::Update) {
        prefer.missing_default = None;
    }
    if !matches!(action, Action::Update | Action::Delete) && !action.is_call() {
        prefer.max_affected = None;
    }
    prefer.applied()
}

fn chosen(text: &str) -> Option<StatusCode> {
    StatusCode::from_bytes(text.trim().as_bytes()).ok().filter(|status| status.as_u16() >= 200)
}

/// `[{"Name": "value"}, …]`; they take the place of those that would be there.
fn own_headers(headers: &mut HeaderMap, text: &str) -> Option<()> {
    let Ok(Value::Array(given)) = serde_json::from_str(text) else { return None };
    let mut own = HeaderMap::new();
    for header in &given {
        let header = header.as_object().filter(|header| header.len() == 1)?;
        let (name, value) = header.iter().next()?;
        let name = HeaderName::try_from(name.as_str()).ok()?;
        own.append(name, HeaderValue::try_from(value.as_str()?).ok()?);
    }
    for name in own.keys() {
        headers.remove(name);
    }
    headers.extend(own);
    Some(())
}

fn info(allowed: &str) -> Response {
    let mut headers = HeaderMap::new();
    set(&mut headers, header::ALLOW, allowed);
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    respond(StatusCode::OK, headers, Body::empty())
}

/// The document at `/`.
pub fn root(request: &Request, document: &Value) -> Response {
    let mut headers = HeaderMap::new();
    content(&mut headers, request, &Media::OpenApi);
    let body = if request.head { unsaid() } else { document.to_string().into() };
    respond(StatusCode::OK, headers, body)
}

/// `OPTIONS` of a table.
pub fn table_info(table: &Table) -> Response {
    let mut allowed = vec!["OPTIONS,GET,HEAD"];
    let mut may = |possible: bool, method: &'static str| {
        if possible {
            allowed.push(method);
        }
    };
    may(table.insertable, "POST");
    may(table.insertable && table.updatable && !table.primary_key.is_empty(), "PUT");
    may(table.updatable, "PATCH");
    may(table.deletable, "DELETE");
    info(&allowed.join(","))
}

/// `OPTIONS` of a function.
pub fn function_info(function: &Function) -> Response {
    info(if function.volatility == Volatility::Volatile { "OPTIONS,POST" } else { "OPTIONS,GET,HEAD,POST" })
}

/// `OPTIONS` of `/`.
pub fn root_info() -> Response {
    info("OPTIONS,GET,HEAD")
}
