//! The body of a write or a call: its text as it came, and which columns or arguments are in it.

use super::{media::Media, query};
use axum::body::Bytes;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};

/// What was sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Body {
    /// Nothing, or nothing that counts.
    #[default]
    None,
    /// JSON.
    Json(String),
    /// A form for a function.
    Form(Vec<(String, String)>),
    /// For a function's one argument without a name.
    Raw(Bytes),
}

impl Body {
    /// It is one JSON object; of JSON that is not checked here the first sign decides.
    pub fn is_object(&self) -> bool {
        matches!(self, Self::Json(text) if text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{'))
    }
}

/// A body, and the names in it or of `columns`.
pub type Payload = (Body, BTreeSet<String>);

/// Reads a body; `columns` are those of the query string, which spare looking into it; `call`: for a function.
///
/// # Errors
/// What is wrong with it, in PostgREST's words.
pub fn read(bytes: Bytes, media: &Media, columns: Option<&BTreeSet<String>>, call: bool) -> Result<Payload, String> {
    match (media, call) {
        (Media::Json, _) => {
            if let Some(columns) = columns {
                return Ok((Body::Json(text(bytes)?), columns.clone()));
            }
            if bytes.is_empty() && call {
                return Ok((Body::Json("{}".into()), BTreeSet::new()));
            }
            json(bytes)
        }
        (Media::Csv, _) => csv(&bytes),
        (Media::Form, true) => {
            let pairs = form(bytes)?;
            let names = pairs.iter().map(|(name, _)| name.clone()).collect();
            Ok((Body::Form(pairs), names))
        }
        (Media::Form, false) => {
            let object: serde_json::Map<_, _> =
                form(bytes)?.into_iter().map(|(name, value)| (name, value.into())).collect();
            let names = object.keys().cloned().collect();
            Ok((Body::Json(serde_json::Value::Object(object).to_string()), names))
        }
        (Media::Text | Media::Xml | Media::Octets, true) => Ok((Body::Raw(bytes), BTreeSet::new())),
        (other, _) => Err(format!("Content-Type not acceptable: {}", other.name())),
    }
}

fn text(bytes: Bytes) -> Result<String, String> {
    String::from_utf8(bytes.into()).map_err(|_| "Empty or invalid json".to_owned())
}

fn form(bytes: Bytes) -> Result<Vec<(String, String)>, String> {
    let pairs = query::pairs(&text(bytes)?);
    Ok(pairs.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect())
}

fn json(bytes: Bytes) -> Result<Payload, String> {
    let text = text(bytes)?;
    match shape(&text) {
        Ok(Shape::Rows(names)) => Ok((Body::Json(text), names)),
        // Neither rows nor a row: no rows.
        Ok(Shape::Other) => Ok((Body::Json("[]".into()), BTreeSet::new())),
        Ok(Shape::Mixed) => Err("All object keys must match".into()),
        Err(_) => Err("Empty or invalid json".into()),
    }
}

/// What JSON is outside, without keeping what is in it.
enum Shape {
    /// An object, or an array of objects with the same names.
    Rows(BTreeSet<String>),
    /// An array of other things, or of objects with different names.
    Mixed,
    /// An empty array, or neither array nor object.
    Other,
}

/// By the first character: serde_json shows a visitor a number as an object, where numbers keep their text. What is within is
/// skipped without going into it, however deep it is.
fn shape(text: &str) -> serde_json::Result<Shape> {
    match text.trim_start().as_bytes().first() {
        Some(b'{') => Ok(Shape::Rows(names(text)?)),
        Some(b'[') => {
            let mut all: Option<BTreeSet<String>> = None;
            let mut mixed = false;
            for row in serde_json::from_str::<Vec<&RawValue>>(text)? {
                if !row.get().starts_with('{') {
                    mixed = true;
                    continue;
                }
                let names = names(row.get())?;
                mixed |= all.as_ref().is_some_and(|others| *others != names);
                all.get_or_insert(names);
            }
            Ok(if mixed { Shape::Mixed } else { all.map_or(Shape::Other, Shape::Rows) })
        }
        _ => serde_json::from_str::<IgnoredAny>(text).map(|_| Shape::Other),
    }
}

fn names(object: &str) -> serde_json::Result<BTreeSet<String>> {
    Ok(serde_json::from_str::<BTreeMap<String, IgnoredAny>>(object)?.into_keys().collect())
}

/// Rows of a table with a line of names; `NULL` is null, everything else a text that Postgres casts.
fn csv(bytes: &[u8]) -> Result<Payload, String> {
    let unequal = |error: csv::Error| match error.kind() {
        csv::ErrorKind::UnequalLengths { .. } => "All lines must have same number of fields".to_owned(),
        _ => error.to_string(),
    };
    let mut reader = csv::Reader::from_reader(bytes);
    let names: Vec<String> = reader.headers().map_err(unequal)?.iter().map(str::to_owned).collect();
    if names.iter().all(String::is_empty) {
        return Err("not enough input".into());
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(unequal)?;
        let values = record.iter().map(|value| match value {
            "NULL" => serde_json::Value::Null,
            text => text.into(),
        });
        rows.push(serde_json::Value::Object(names.iter().cloned().zip(values).collect()));
    }
    if rows.is_empty() {
        return Ok((Body::Json("[]".into()), BTreeSet::new()));
    }
    Ok((Body::Json(serde_json::Value::Array(rows).to_string()), names.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(payload: Payload) -> Vec<String> {
        payload.1.into_iter().collect()
    }

    fn of(text: &'static str) -> Result<Payload, String> {
        read(Bytes::from_static(text.as_bytes()), &Media::Json, None, false)
    }

    #[test]
    fn names_of_rows_must_be_the_same() {
        assert_eq!(names(of(r#"{"b": {"c": [1]}, "a": null}"#).unwrap()), ["a", "b"]);
        assert_eq!(names(of(r#"[{"a": 1}, {"a": {"x": "}"}}]"#).unwrap()), ["a"]);
        for (text, error) in [
            (r#"[{"a": 1}, {"b": 1}]"#, "All object keys must match"),
            (r#"[{"a": 1}, 2]"#, "All object keys must match"),
            (r#"{"a": 1"#, "Empty or invalid json"),
            ("", "Empty or invalid json"),
        ] {
            assert_eq!(of(text).unwrap_err(), error, "{text}");
        }
        for text in ["[]", "1", "\"x\"", "null", "true", "1.5"] {
            assert_eq!(of(text).unwrap(), (Body::Json("[]".into()), BTreeSet::new()), "{text}");
        }
    }

    #[test]
    fn a_body_that_is_deeply_nested_is_read_without_going_down() {
        let deep = format!("[{{\"a\": {}{}}}]", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(names(read(deep.into(), &Media::Json, None, false).unwrap()), ["a"]);
    }

    #[test]
    fn csv_becomes_json() {
        let read = |text: &'static str| read(Bytes::from_static(text.as_bytes()), &Media::Csv, None, false);
        let (body, _) = read("a,b\n1,\"x, \"\"y\"\"\"\nNULL,\n").unwrap();
        let Body::Json(text) = body else { panic!("no JSON") };
        let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(rows, serde_json::json!([{"a": "1", "b": "x, \"y\""}, {"a": null, "b": ""}]));
        assert_eq!(read("a,b\n1\n").unwrap_err(), "All lines must have same number of fields");
    }

    #[test]
    fn a_form_is_an_object_for_a_table_and_arguments_for_a_function() {
        let bytes = || Bytes::from_static(b"a=1+2&b=%41");
        let (table, _) = read(bytes(), &Media::Form, None, false).unwrap();
        assert_eq!(table, Body::Json(r#"{"a":"1 2","b":"A"}"#.into()));
        let (call, names) = read(bytes(), &Media::Form, None, true).unwrap();
        assert_eq!(call, Body::Form(vec![("a".into(), "1 2".into()), ("b".into(), "A".into())]));
        assert_eq!(names.len(), 2);
    }
}
