//! A statement while it is written. Names and values get into it only by [`Sql::ident`], [`Sql::literal`] and [`Sql::value`].

use super::super::schema::Name;
use axum::body::Bytes;

/// A text with its values.
#[derive(Debug, Default)]
pub struct Sql {
    text: String,
    values: Vec<Value>,
    differs: bool,
}

/// What stands for `$n`.
#[derive(Debug, Clone)]
pub enum Value {
    /// As `text`.
    Text(String),
    /// As `bytea`.
    Bytes(Bytes),
}

impl Sql {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Text of ours, or of the catalog.
    pub fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// A name, quoted.
    pub fn ident(&mut self, name: &str) -> &mut Self {
        self.text.push_str(&ident(name));
        self
    }

    /// A name with its schema, if it has one.
    pub fn name(&mut self, of: &Name) -> &mut Self {
        self.text.push_str(&name(of));
        self
    }

    /// A text that is written into the statement, whose type Postgres finds out. Only for what seldom differs.
    pub fn literal(&mut self, text: &str) -> &mut Self {
        self.text.push_str(&literal(text));
        self
    }

    /// A value of a known type; as a literal if the type is not known.
    pub fn value(&mut self, text: &str, cast: Option<&str>) -> &mut Self {
        let Some(cast) = cast else {
            self.differs = true;
            return self.literal(text);
        };
        self.values.push(Value::Text(text.to_owned()));
        let number = self.values.len();
        match cast {
            "text" => self.push(&format!("${number}::text")),
            _ => self.push(&format!("(${number}::text)::{cast}")),
        }
    }

    /// Bytes.
    pub fn bytes(&mut self, bytes: Bytes) -> &mut Self {
        self.values.push(Value::Bytes(bytes));
        let number = self.values.len();
        self.push(&format!("${number}::bytea"))
    }

    /// What `write` writes for each, with something between.
    pub fn each<T>(&mut self, between: &str, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.push(between);
            }
            write(self, item);
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What stands for `$1` and so on.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Whether the same text will come again: no value is written into it.
    pub fn recurs(&self) -> bool {
        !self.differs
    }
}

/// No text of Postgres has a zero byte; here it would end the statement.
fn until_zero(text: &str) -> &str {
    text.split('\0').next().unwrap_or("")
}

/// A name in double quotes.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", until_zero(name).replace('"', "\"\""))
}

/// A name with its schema, if it has one.
pub fn name(of: &Name) -> String {
    if of.schema.is_empty() { ident(&of.name) } else { format!("{}.{}", ident(&of.schema), ident(&of.name)) }
}

/// A text in single quotes; whatever `standard_conforming_strings` is.
pub fn literal(text: &str) -> String {
    let text = until_zero(text).replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", text.replace('\\', "\\\\")) } else { format!("'{text}'") }
}

/// The text of an array of these values.
pub fn array(values: &[String]) -> String {
    let quoted: Vec<String> =
        values.iter().map(|value| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))).collect();
    format!("{{{}}}", quoted.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_are_doubled_and_backslashes_escaped() {
        assert_eq!(ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(ident("a\0b"), "\"a\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("\\'"), "E'\\\\'''");
        assert_eq!(array(&["a,\"b\"".into(), "\\".into()]), r#"{"a,\"b\"","\\"}"#);
    }

    #[test]
    fn a_value_of_unknown_type_is_in_the_text() {
        let mut sql = Sql::new();
        sql.value("1", Some("integer")).push(", ").value("x", Some("text"));
        assert_eq!((sql.text(), sql.recurs(), sql.values().len()), ("($1::text)::integer, $2::text", true, 2));
        sql.value("y'", None);
        assert!(!sql.recurs() && sql.text().ends_with("'y'''"));
    }

    /// Reads a literal or a name as Postgres does: nothing may be left over.
    fn closes(text: &str, quote: char, escapes: bool) -> bool {
        let mut chars = text.chars().skip(1).peekable();
        while let Some(char) = chars.next() {
            if escapes && char == '\\' {
                chars.next();
            } else if char == quote {
                if chars.peek() == Some(&quote) {
                    chars.next();
                } else {
                    return chars.next().is_none();
                }
            }
        }
        false
    }

    proptest! {
        #[test]
        fn nothing_gets_out_of_its_quotes(text in ".*|[\\\\'\"a]{0,12}") {
            prop_assert!(closes(&ident(&text), '"', false));
            let literal = literal(&text);
            match literal.strip_prefix('E') {
                Some(rest) => prop_assert!(closes(rest, '\'', true)),
                None => prop_assert!(closes(&literal, '\'', false)),
            }
        }
    }
}
