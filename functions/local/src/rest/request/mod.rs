//! A request as what it asks for. Nothing here knows what the database has.

pub mod body;
mod cursor;
mod grammar;
pub mod media;
pub mod prefer;
pub mod query;
pub mod tree;

use super::{
    refusal::Refusal,
    refuse,
    schema::{OpenApi, Settings, TxEnd},
};
use axum::{
    body::Bytes,
    http::{HeaderMap, Method, header, request::Parts},
};
use body::Body;
use media::Media;
use prefer::Preferences;
use query::Query;
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};
use tree::Range;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `GET` or `HEAD` of a table.
    Read,
    /// `POST`
    Insert,
    /// `PATCH`
    Update,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// A function, by `POST`.
    Call,
    /// A function, by `GET` or `HEAD`.
    CallToRead,
    /// `/`
    Root,
    /// `OPTIONS` of a table.
    TableInfo,
    /// `OPTIONS` of a function.
    FunctionInfo,
    /// `OPTIONS` of `/`.
    RootInfo,
}

impl Action {
    /// A function is called.
    pub fn is_call(self) -> bool {
        matches!(self, Self::Call | Self::CallToRead)
    }

    /// Rows of a table are written.
    pub fn is_write(self) -> bool {
        matches!(self, Self::Insert | Self::Update | Self::Put | Self::Delete)
    }
}

/// One request.
#[derive(Debug)]
pub struct Request {
    /// What is to be done.
    pub action: Action,
    /// With the table or function of this name; empty for `/`.
    pub target: String,
    /// In this schema.
    pub schema: String,
    /// Which the answer says, as there are several.
    pub says_schema: bool,
    /// No body in the answer.
    pub head: bool,
    /// The query string.
    pub query: Query,
    /// Which rows of the table itself: of the query string and the header `Range`.
    pub range: Range,
    /// The header `Prefer`.
    pub prefer: Preferences,
    /// What the answer may be, the most wanted first.
    pub accept: Vec<Media>,
    /// What the body is.
    pub content: Media,
    /// The body.
    pub body: Body,
    /// The columns or arguments that are in the body.
    pub columns: BTreeSet<String>,
    /// For `request.method`.
    pub method: Method,
    /// For `request.path`.
    pub path: String,
    /// For `request.headers`: a JSON object.
    pub headers: String,
    /// For `request.cookies`: a JSON object.
    pub cookies: String,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// [`Refusal`] of what can not be read, or is asked for in a way that does not exist.
    pub fn read(
        parts: &Parts,
        bytes: Bytes,
        settings: &Settings,
        timezones: &HashSet<String>,
    ) -> Result<Self, Refusal> {
        let headers = &parts.headers;
        let (what, target) = resource(parts.uri.path(), settings)?;
        let (schema, says_schema) = schema(headers, &parts.method, settings)?;
        let (action, head) = action(what, &parts.method)?;
        let query = Query::parse(parts.uri.query().unwrap_or(""), action == Action::CallToRead)
            .map_err(refuse::unreadable_query)?;
        let range = range(&parts.method, &query, headers)?;
        let content = media::of_body(headers);
        let (body, columns) = match action {
            Action::Insert | Action::Update | Action::Put | Action::Call => {
                let columns = query.columns.as_ref().filter(|_| action != Action::Put);
                body::read(bytes, &content, columns, action == Action::Call).map_err(refuse::bad_body)?
            }
            _ => (Body::None, BTreeSet::new()),
        };
        let tx_allowed = matches!(settings.tx_end, TxEnd::CommitAllowOverride | TxEnd::RollbackAllowOverride);
        Ok(Self {
            action,
            target,
            schema,
            says_schema,
            head,
            range,
            prefer: Preferences::read(headers, tx_allowed, timezones),
            accept: media::accepted(headers),
            content,
            body,
            columns,
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            headers: headers_for_sql(headers),
            cookies: cookies_for_sql(headers),
            query,
        })
    }
}

/// What a path can lead to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resource {
    Root,
    Table,
    Function,
}

fn resource(path: &str, settings: &Settings) -> Result<(Resource, String), Refusal> {
    let path = path.strip_prefix('/').unwrap_or(path);
    // A plus in a path is a plus.
    let segments: Vec<String> = path.split('/').map(|segment| query::decoded(&segment.replace('+', "%2B"))).collect();
    match segments.as_slice() {
        [root] if root.is_empty() => match &settings.root_spec {
            _ if settings.openapi == OpenApi::Disabled => Err(refuse::no_root()),
            Some(function) => {
                let name = function.rsplit('.').next().unwrap_or(function);
                Ok((Resource::Function, name.trim_matches('"').to_owned()))
            }
            None => Ok((Resource::Root, String::new())),
        },
        [table] => Ok((Resource::Table, table.clone())),
        [rpc, function] if rpc == "rpc" => Ok((Resource::Function, function.clone())),
        _ => Err(refuse::bad_path()),
    }
}

fn action(what: Resource, method: &Method) -> Result<(Action, bool), Refusal> {
    let head = *method == Method::HEAD;
    let action = match (what, method.as_str()) {
        (Resource::Function, "GET" | "HEAD") => Action::CallToRead,
        (Resource::Function, "POST") => Action::Call,
        (Resource::Function, "OPTIONS") => Action::FunctionInfo,
        (Resource::Function, other) => return Err(refuse::bad_rpc_method(other)),
        (Resource::Table, "GET" | "HEAD") => Action::Read,
        (Resource::Table, "POST") => Action::Insert,
        (Resource::Table, "PUT") => Action::Put,
        (Resource::Table, "PATCH") => Action::Update,
        (Resource::Table, "DELETE") => Action::Delete,
        (Resource::Table, "OPTIONS") => Action::TableInfo,
        (Resource::Root, "GET" | "HEAD") => Action::Root,
        (Resource::Root, "OPTIONS") => Action::RootInfo,
        (_, other) => return Err(refuse::bad_method(other)),
    };
    Ok((action, head))
}

/// The schema, and whether the answer says which: it was asked for, or there are several.
fn schema(headers: &HeaderMap, method: &Method, settings: &Settings) -> Result<(String, bool), Refusal> {
    let writes = matches!(method.as_str(), "POST" | "PATCH" | "PUT" | "DELETE");
    let name = if writes { "content-profile" } else { "accept-profile" };
    match headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()) {
        Some(schema) if settings.schemas.contains(&schema) => Ok((schema, true)),
        Some(schema) => Err(refuse::bad_schema(&schema, &settings.schemas)),
        None => Ok((settings.schemas.first().cloned().unwrap_or_default(), settings.schemas.len() != 1)),
    }
}

fn range(method: &Method, query: &Query, headers: &HeaderMap) -> Result<Range, Refusal> {
    let asked = if *method == Method::GET { of_header(headers) } else { Range::ALL };
    let limit = query.range();
    let both = asked.intersection(limit);
    let range = match (limit.is_zero(), both.is_empty()) {
        (true, _) => Range::NONE,
        (false, true) if asked.is_empty() => return Err(refuse::bad_range_header()),
        (false, true) => return Err(refuse::negative_limit()),
        (false, false) => both,
    };
    if *method == Method::PUT && range != Range::ALL {
        return Err(refuse::limited_put());
    }
    Ok(range)
}

/// `0-9` or `10-`; anything else asks for nothing special.
fn of_header(headers: &HeaderMap) -> Range {
    let value = headers.get(header::RANGE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match value.split_once('-') {
        Some((low, high)) if !low.is_empty() && digits(low) && digits(high) => {
            Range { low: low.parse().unwrap_or(i64::MAX), high: high.parse().ok() }
        }
        _ => Range::ALL,
    }
}

fn object(pairs: impl Iterator<Item = (String, String)>) -> String {
    Value::Object(pairs.map(|(name, value)| (name, Value::String(value))).collect()).to_string()
}

fn headers_for_sql(headers: &HeaderMap) -> String {
    let others = headers.iter().filter(|(name, _)| *name != header::COOKIE);
    object(
        others.map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())),
    )
}

fn cookies_for_sql(headers: &HeaderMap) -> String {
    let value = headers.get(header::COOKIE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let value = value.unwrap_or_default();
    object(value.split(';').filter_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    }))
}
