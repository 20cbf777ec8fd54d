//! What this layer refuses by itself, each in PostgREST's words.

use super::{refusal::Refusal, request::query::Unreadable};
use axum::http::StatusCode;
use serde_json::{Value, json};

fn bad(code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, code, message)
}

/// The query string.
pub fn unreadable_query(unreadable: Unreadable) -> Refusal {
    let refusal = bad("PGRST100", unreadable.message);
    match unreadable.details {
        Some(details) => refusal.details(details),
        None => refusal,
    }
}

/// The body.
pub fn bad_body(why: String) -> Refusal {
    bad("PGRST102", why)
}

/// A method that functions do not have.
pub fn bad_rpc_method(method: &str) -> Refusal {
    let message = format!("Cannot use the {method} method on RPC");
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "PGRST101", message)
}

/// A method that nothing has.
pub fn bad_method(method: &str) -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "PGRST117", format!("Unsupported HTTP method: {method}"))
}

/// A path that leads nowhere.
pub fn bad_path() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "PGRST125", "Invalid path specified in request URL")
}

/// There is no document at `/`.
pub fn no_root() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "PGRST126", "Root endpoint metadata is disabled")
}

/// A schema that is not exposed.
pub fn bad_schema(schema: &str, exposed: &[String]) -> Refusal {
    Refusal::new(StatusCode::NOT_ACCEPTABLE, "PGRST106", format!("Invalid schema: {schema}"))
        .hint(format!("Only the following schemas are exposed: {}", exposed.join(", ")))
}

fn bad_range(details: String) -> Refusal {
    Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "PGRST103", "Requested range not satisfiable").details(details)
}

/// The header `Range` ends before it begins.
pub fn bad_range_header() -> Refusal {
    bad_range("The lower boundary must be lower than or equal to the upper boundary in the Range header.".into())
}

/// `limit=-1`
pub fn negative_limit() -> Refusal {
    bad_range("Limit should be greater than or equal to zero.".into())
}

/// There are fewer rows.
pub fn beyond_the_end(offset: i64, total: i64) -> Refusal {
    bad_range(format!("An offset of {offset} was requested, but there are only {total} rows."))
}

/// `PUT` of a part.
pub fn limited_put() -> Refusal {
    bad("PGRST114", "limit/offset querystring parameters are not allowed for PUT")
}

/// `PUT` of other rows than those of the primary key.
pub fn unkeyed_put() -> Refusal {
    let message = "Filters must include all and only primary key columns with 'eq' operators";
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "PGRST105", message)
}

/// `PUT` of a row that is another one.
pub fn mismatched_put() -> Refusal {
    bad("PGRST115", "Payload values do not match URL in primary key column(s)")
}

/// Of the accepted media types there is none.
pub fn not_acceptable(accepted: &[String]) -> Refusal {
    let message = format!("None of these media types are available: {}", accepted.join(", "));
    Refusal::new(StatusCode::NOT_ACCEPTABLE, "PGRST107", message)
}

/// A condition, an order or a limit of what is not embedded.
pub fn not_embedded(name: &str) -> Refusal {
    bad("PGRST108", format!("'{name}' is not an embedded resource in this request"))
        .hint(format!("Verify that '{name}' is included in the 'select' query parameter."))
}

/// `response.headers` is not what it must be.
pub fn bad_headers_setting() -> Refusal {
    let message = "response.headers guc must be a JSON array composed of objects with a single key and a string value";
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "PGRST111", message)
}

/// `response.status` is not what it must be.
pub fn bad_status_setting() -> Refusal {
    let message = "response.status guc must be a valid status code";
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "PGRST112", message)
}

/// Not one row.
pub fn not_single(rows: i64) -> Refusal {
    Refusal::new(StatusCode::NOT_ACCEPTABLE, "PGRST116", "Cannot coerce the result to a single JSON object")
        .details(format!("The result contains {rows} rows"))
}

/// Ordered by an embed of many rows.
pub fn order_by_many(origin: &str, target: &str) -> Refusal {
    bad("PGRST118", format!("A related order on '{target}' is not possible"))
        .details(format!("'{origin}' and '{target}' do not form a many-to-one or one-to-one relationship"))
}

/// Preferences that nobody knows, with `handling=strict`.
pub fn bad_preferences(unknown: &[String]) -> Refusal {
    bad("PGRST122", "Invalid preferences given with handling=strict")
        .details(format!("Invalid preferences: {}", unknown.join(", ")))
}

/// Aggregates, where they are not allowed.
pub fn no_aggregates() -> Refusal {
    bad("PGRST123", "Use of aggregate functions is not allowed")
}

/// More rows than `max-affected`.
pub fn too_many_affected(rows: i64) -> Refusal {
    bad("PGRST124", "Query result exceeds max-affected preference constraint")
        .details(format!("The query affects {rows} rows"))
}

/// Aggregates in a spread of many rows.
pub fn aggregates_in_spread() -> Refusal {
    bad("PGRST127", "Feature not implemented")
        .details("Aggregates are not implemented for one-to-many or many-to-many spreads.")
}

/// `max-affected` of a function that does not return rows.
pub fn max_affected_of_one() -> Refusal {
    bad("PGRST128", "Function must return SETOF or TABLE when max-affected preference is used with handling=strict")
}

/// No way from one to the other.
pub fn no_relationship(from: &str, to: &str, hint: Option<&str>, schema: &str, perhaps: Option<String>) -> Refusal {
    let using = hint.map_or_else(String::new, |hint| format!(" using the hint '{hint}'"));
    bad("PGRST200", format!("Could not find a relationship between '{from}' and '{to}' in the schema cache"))
        .details(format!(
            "Searched for a foreign key relationship between '{from}' and '{to}'{using} in the schema '{schema}', \
             but no matches were found."
        ))
        .perhaps(perhaps)
}

/// Several ways from one to the other: what they are, and how each is named.
pub fn several_relationships(from: &str, to: &str, ways: Vec<Value>, hints: &[String]) -> Refusal {
    let message = format!("Could not embed because more than one relationship was found for '{from}' and '{to}'");
    Refusal::new(StatusCode::MULTIPLE_CHOICES, "PGRST201", message).details(json!(ways)).hint(format!(
        "Try changing '{to}' to one of the following: {}. Find the desired relationship in the 'details' key.",
        hints.join(", ")
    ))
}

/// No function with this name and these arguments.
pub fn no_function(message: String, details: String, perhaps: Option<String>) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "PGRST202", message).details(details).perhaps(perhaps)
}

/// Several functions with this name and these arguments.
pub fn several_functions(candidates: &[String]) -> Refusal {
    let message = format!("Could not choose the best candidate function between: {}", candidates.join(", "));
    Refusal::new(StatusCode::MULTIPLE_CHOICES, "PGRST203", message).hint(
        "Try renaming the parameters or the function itself in the database so function overloading can be resolved",
    )
}

/// A column that a write names and the table does not have.
pub fn no_column(table: &str, column: &str) -> Refusal {
    bad("PGRST204", format!("Could not find the '{column}' column of '{table}' in the schema cache"))
}

/// No such table.
pub fn no_table(name: &str, perhaps: Option<String>) -> Refusal {
    let message = format!("Could not find the table '{name}' in the schema cache");
    Refusal::new(StatusCode::NOT_FOUND, "PGRST205", message)
        .perhaps(perhaps.map(|perhaps| format!("Perhaps you meant the table '{perhaps}'")))
}
