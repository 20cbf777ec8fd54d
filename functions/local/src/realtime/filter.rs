//! What a client asks of Postgres Changes: `{event, schema, table, filter, select}`, read into parameters of a statement. A filter is
//! data wherever it goes; what columns and values mean is decided in the database.

use crate::bounds::{COSTLY, is_costly_pattern};
use serde::Deserialize;
use serde_json::Value;

/// One entry of `postgres_changes`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// `*`, `INSERT`, `UPDATE` or `DELETE`.
    pub event: &'static str,
    /// A schema, or `*`.
    pub schema: String,
    /// A table, or `*`.
    pub table: String,
    /// All must pass.
    pub filters: Vec<Filter>,
    /// The columns to send; none means all.
    pub select: Option<Vec<String>>,
}

/// `column=[not.]operator.value`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Filter {
    /// A column of the table.
    pub column: String,
    /// One of the operators.
    pub operator: &'static str,
    /// What it is compared with, as text; of `in` an array.
    pub value: String,
    /// Whether the answer is turned round.
    pub negate: bool,
}

const OPERATORS: [&str; 13] =
    ["eq", "neq", "lt", "lte", "gt", "gte", "in", "like", "ilike", "is", "match", "imatch", "isdistinct"];
/// More is no question but an attack on whoever answers it.
const FILTERS: usize = 20;
const LENGTH: usize = 10_000;

#[derive(Deserialize)]
struct Entry {
    event: Option<Value>,
    schema: Option<Value>,
    table: Option<Value>,
    filter: Option<Value>,
    select: Option<Value>,
}

/// A text in quotes, as Elixir writes one.
fn inspected(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace("#{", "\\#{")
        .replace('\n', "\\n")
        .replace('\t', "\\t")
        .replace('\r', "\\r");
    format!("\"{escaped}\"")
}

impl Wanted {
    /// As Realtime's messages repeat it: in Elixir's notation.
    #[must_use]
    pub fn shown(&self) -> String {
        let Self { event, schema, table, filters, select } = self;
        let filters: Vec<String> = filters
            .iter()
            .map(|f| format!("{{{}, \"{}\", {}, {}}}", inspected(&f.column), f.operator, inspected(&f.value), f.negate))
            .collect();
        let select = match select {
            Some(columns) => {
                let columns: Vec<String> = columns.iter().map(|column| inspected(column)).collect();
                format!("[{}]", columns.join(", "))
            }
            None => "nil".into(),
        };
        format!(
            "[event: {event}, schema: {schema}, table: {table}, filters: [{}], select: {select}]",
            filters.join(", ")
        )
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// What is wrong with it, for the client.
    pub fn read(entry: &Value) -> Result<Self, String> {
        let entry =
            Entry::deserialize(entry).map_err(|_| "each entry of postgres_changes must be an object".to_owned())?;
        let text = |name: &str, value: Option<Value>| match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("`{name}` must be a string")),
        };
        let event = match text("event", entry.event)?.map(|event| event.to_ascii_uppercase()).as_deref() {
            Some("INSERT") => "INSERT",
            Some("UPDATE") => "UPDATE",
            Some("DELETE") => "DELETE",
            _ => "*",
        };
        let (schema, table) = match (text("schema", entry.schema)?, text("table", entry.table)?) {
            (None, None) => {
                return Err(
                    "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to"
                        .into(),
                );
            }
            (schema, table) => (schema.unwrap_or_else(|| "public".into()), table.unwrap_or_else(|| "*".into())),
        };
        let filters = match text("filter", entry.filter)? {
            None => Vec::new(),
            Some(filter) => filters(&filter).map_err(|why| format!("Error parsing `filter` params: {why}"))?,
        };
        let select = match entry.select {
            None | Some(Value::Null) => None,
            Some(Value::Array(columns)) => {
                let columns: Vec<String> =
                    columns.into_iter().filter_map(|column| column.as_str().map(str::to_owned)).collect();
                Some(columns).filter(|columns| !columns.is_empty())
            }
            Some(_) => {
                return Err("Error parsing `select` params: expected a list of column name strings, e.g. select: [\"col1\", \"col2\"]".into());
            }
        };
        if select.is_some() && (schema == "*" || table == "*") {
            return Err("Column selection is not supported for wildcard subscriptions. Provide an explicit schema and table name.".into());
        }
        Ok(Self { event, schema, table, filters, select })
    }
}

/// Reads a filter: parts between commas, each of which must pass.
///
/// # Errors
/// What is wrong with it.
pub fn filters(text: &str) -> Result<Vec<Filter>, String> {
    if text.len() > LENGTH {
        return Err(format!("it is longer than {LENGTH} bytes"));
    }
    if text.contains('\0') {
        return Err("it contains a zero byte".into());
    }
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let parts = split(text);
    if parts.len() > FILTERS {
        return Err(format!("it has more than {FILTERS} parts"));
    }
    parts.into_iter().map(|part| filter(part.trim())).collect()
}

/// At commas that are neither in parentheses nor in a quoted value.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quoted, mut escaped, mut before) =
        (Vec::new(), 0, 0_usize, false, false, '\0');
    for (at, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if quoted => quoted = false,
            _ if quoted => {}
            '"' if matches!(before, '.' | '(' | ',') => quoted = true,
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        before = char;
    }
    parts.push(&text[start..]);
    parts
}

fn filter(text: &str) -> Result<Filter, String> {
    if text.is_empty() {
        return Err("filter must not contain empty segments (check for extra commas)".into());
    }
    let form = || format!("{text:?} is not of the form column=operator.value");
    let (column, rest) = text.split_once('=').ok_or_else(form)?;
    let (negate, rest) = rest.strip_prefix("not.").map_or((false, rest), |rest| (true, rest));
    let (operator, value) = rest.split_once('.').ok_or_else(form)?;
    let operator = OPERATORS
        .into_iter()
        .find(|known| *known == operator)
        .ok_or_else(|| format!("{operator:?} is no operator: use one of {}", OPERATORS.join(", ")))?;
    let value = if operator == "in" {
        let inner = value.strip_prefix('(').and_then(|value| value.strip_suffix(')'));
        format!("{{{}}}", inner.ok_or("`in` filter value must be wrapped by parentheses")?)
    } else {
        unquoted(value)
    };
    if matches!(operator, "match" | "imatch") && is_costly_pattern(&value) {
        return Err(format!("the pattern of `{operator}` {COSTLY}"));
    }
    Ok(Filter { column: column.to_owned(), operator, value, negate })
}

/// A value that is quoted as a whole, without its quotes; any other as it is.
fn unquoted(value: &str) -> String {
    let inner = || {
        let (mut text, mut chars) = (String::new(), value.strip_prefix('"')?.strip_suffix('"')?.chars());
        while let Some(char) = chars.next() {
            match char {
                '"' => return None,
                '\\' => text.push(chars.next()?),
                _ => text.push(char),
            }
        }
        Some(text)
    };
    inner().unwrap_or_else(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(text: &str) -> Filter {
        let mut read = filters(text).unwrap();
        assert_eq!(read.len(), 1, "{text}");
        read.remove(0)
    }

    #[test]
    fn every_form_of_filter_is_read() {
        assert_eq!(one("id=eq.5"), Filter { column: "id".into(), operator: "eq", value: "5".into(), negate: false });
        assert_eq!(
            one(" a=not.like.h%y "),
            Filter { column: "a".into(), operator: "like", value: "h%y".into(), negate: true }
        );
        assert_eq!(one("a=in.(x,y)").value, "{x,y}");
        assert_eq!(one(r#"a=eq."x,y=\"z""#).value, r#"x,y="z"#);
        assert_eq!(one("a=eq.b=c.d").value, "b=c.d");
        assert_eq!(one("a=eq.").value, "");
        assert_eq!(one("a=eq.'; drop table x; --").value, "'; drop table x; --");
        assert_eq!(filters("a=gt.0,b=in.(1,2),c=is.null").unwrap().len(), 3);
        assert_eq!(filters("  ").unwrap(), []);
        assert!(filters(r"a=match.^(x+x+)+\1$").unwrap_err().contains("back-reference"));
        assert_eq!(one(r"a=match.^\d+$").value, r"^\d+$");
        for bad in ["undefined", "a=foo.b", "a=eq", "a=in.1", "a=eq.1,,b=eq.2", "a=eq.1,", "=", "a=in.("] {
            assert!(filters(bad).is_err(), "{bad}");
        }
        assert!(filters(&"a=eq.1,".repeat(30)).is_err());
    }

    #[test]
    fn a_question_is_repeated_as_realtime_does() {
        let shown = |entry: Value| Wanted::read(&entry).unwrap().shown();
        assert_eq!(
            shown(json!({"event": "insert", "schema": "public"})),
            "[event: INSERT, schema: public, table: *, filters: [], select: nil]"
        );
        assert_eq!(
            shown(json!({"table": "t", "filter": r##"id=eq."say \"#{hey}\"",n=not.in.(1,2)"##, "select": ["id", "n"]})),
            r##"[event: *, schema: public, table: t, filters: [{"id", "eq", "say \"\#{hey}\"", false}, {"n", "in", "{1,2}", true}], select: ["id", "n"]]"##
        );
    }

    #[test]
    fn a_subscription_names_at_least_a_schema_or_a_table() {
        let read = |entry| Wanted::read(&entry);
        let all = Wanted { event: "*", schema: "public".into(), table: "*".into(), filters: vec![], select: None };
        assert_eq!(read(json!({"event": "*", "schema": "public"})), Ok(all.clone()));
        assert_eq!(
            read(json!({"event": "insert", "table": "a"})),
            Ok(Wanted { event: "INSERT", table: "a".into(), ..all })
        );
        assert!(read(json!({"event": "*"})).is_err());
        assert!(read(json!({"schema": 5})).unwrap_err().contains("`schema`"));
        assert!(read(json!([])).is_err());
        assert!(read(json!({"schema": "*", "select": ["a"]})).unwrap_err().contains("wildcard"));
        assert_eq!(read(json!({"table": "a", "select": ["a", 1]})).unwrap().select, Some(vec!["a".into()]));
    }

    proptest::proptest! {
        /// Whatever a client sends is read or refused, and what is read keeps every part apart.
        #[test]
        fn any_text_as_a_filter_is_read_or_refused(text in r#"([a-z]{1,3}=(not\.)?(eq|in|like|is)\.["(),.\\'%a-z0-9 ]{0,12},?){0,4}|\PC{0,60}"#) {
            if let Ok(filters) = filters(&text) {
                for filter in filters {
                    proptest::prop_assert!(OPERATORS.contains(&filter.operator));
                    proptest::prop_assert!(filter.value.len() <= text.len() + 2 && !filter.value.contains('\0'));
                }
            }
        }
    }
}
