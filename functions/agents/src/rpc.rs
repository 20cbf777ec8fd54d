//! JSON-RPC 2.0 over lines, in both directions: what is asked of a program, and what it asks.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json, value::RawValue};

use crate::Turn;

/// As long as the name of a request may be to be answered by it, in bytes of JSON.
const LONGEST_ID: usize = 200;
/// As many requests as may wait for a person at once.
const OPEN: usize = 64;

/// A line of a program.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    /// It wants an answer, by this name: its JSON as it came.
    Request { id: &'a str, method: Cow<'a, str>, params: &'a str },
    /// It tells something.
    Notification { method: Cow<'a, str>, params: &'a str },
    /// It answers what was asked by this number.
    Answer { id: u64, outcome: Result<&'a str, Failed<'a>> },
}

/// An answer that says that it did not work out.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Failed<'a> {
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) code: Option<i64>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    pub(crate) message: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(crate) data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// Reads a line. None: it is none of the protocol.
pub(crate) fn read(line: &str) -> Option<Message<'_>> {
    let line: Line<'_> = serde_json::from_str(line).ok()?;
    let params = line.params.map_or("{}", RawValue::get);
    let id = line.id.map(RawValue::get);
    match (id, line.method) {
        (Some(id), Some(method)) if id.len() <= LONGEST_ID => Some(Message::Request { id, method, params }),
        (None, Some(method)) => Some(Message::Notification { method, params }),
        (Some(id), None) => {
            let id = id.trim_matches('"').parse().ok()?;
            let outcome = match (line.error, line.result) {
                (Some(error), _) => Err(serde_json::from_str(error.get()).unwrap_or_default()),
                (None, Some(result)) => Ok(result.get()),
                // `"result": null` is an answer, too.
                (None, None) => Ok("null"),
            };
            Some(Message::Answer { id, outcome })
        }
        _ => None,
    }
}

/// A field of a wrong type is as good as none: the others count.
pub(crate) fn lenient<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let raw = Option::<&'de RawValue>::deserialize(from)?;
    Ok(raw.and_then(|raw| serde_json::from_str(raw.get()).ok()))
}

/// What is in a field, for people and for answers; as text where it is nested too deeply.
pub(crate) fn value(raw: &str) -> Value {
    serde_json::from_str(raw).unwrap_or_else(|_| Value::String(raw.chars().take(4000).collect()))
}

/// Our side.
#[derive(Debug)]
pub(crate) struct Peer<K> {
    /// Codex leaves `"jsonrpc"` out.
    version: bool,
    /// What the program waits for, by its name for it.
    open: Vec<(String, K)>,
}

impl<K> Peer<K> {
    pub(crate) fn new(version: bool) -> Self {
        Self { version, open: Vec::new() }
    }

    /// Asks something. The numbers are given by what is asked and never counted, so that answers are understood though what was asked
    /// is not known any more.
    pub(crate) fn call(&self, id: u64, method: &str, params: Value, turn: &mut Turn) {
        self.write(json!({"id": id, "method": method, "params": params}), turn);
    }

    pub(crate) fn notify(&self, method: &str, params: Option<Value>, turn: &mut Turn) {
        let mut message = json!({"method": method});
        if let Some(params) = params {
            message["params"] = params;
        }
        self.write(message, turn);
    }

    /// Keeps a request until it is answered. False: too many wait already, and it was told so.
    pub(crate) fn keep(&mut self, id: &str, kind: K, turn: &mut Turn) -> bool {
        if self.open.len() >= OPEN {
            self.error(id, -32000, "Too many requests wait for an answer", turn);
            return false;
        }
        self.open.retain(|(open, _)| open != id);
        self.open.push((id.to_owned(), kind));
        true
    }

    /// A request that was kept: once.
    pub(crate) fn take(&mut self, id: &str) -> Option<K> {
        let at = self.open.iter().position(|(open, _)| open == id)?;
        Some(self.open.remove(at).1)
    }

    /// All that were kept.
    pub(crate) fn take_all(&mut self) -> Vec<(String, K)> {
        std::mem::take(&mut self.open)
    }

    pub(crate) fn answer(&self, id: &str, result: Value, turn: &mut Turn) {
        self.write(json!({"id": value(id), "result": result}), turn);
    }

    /// It asked for something that is not offered here.
    pub(crate) fn unknown(&self, id: &str, turn: &mut Turn) {
        self.error(id, -32601, "Method not found", turn);
    }

    fn error(&self, id: &str, code: i64, message: &str, turn: &mut Turn) {
        self.write(json!({"id": value(id), "error": {"code": code, "message": message}}), turn);
    }

    fn write(&self, mut message: Value, turn: &mut Turn) {
        if self.version {
            message["jsonrpc"] = "2.0".into();
        }
        turn.input.extend_from_slice(message.to_string().as_bytes());
        turn.input.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        assert!(matches!(
            read(r#"{"id":0,"method":"a","params":{"x":1}}"#),
            Some(Message::Request { id: "0", params: r#"{"x":1}"#, .. })
        ));
        assert!(matches!(read(r#"{"id":[1],"method":"a"}"#), Some(Message::Request { id: "[1]", .. })));
        assert!(matches!(read(r#"{"id":null,"method":"a"}"#), Some(Message::Notification { params: "{}", .. })));
        assert!(matches!(read(r#"{"id":3,"result":null}"#), Some(Message::Answer { id: 3, outcome: Ok("null") })));
        assert!(matches!(
            read(r#"{"id":"3","error":{"code":"x","message":7}}"#),
            Some(Message::Answer { id: 3, outcome: Err(Failed { code: None, message: None, .. }) })
        ));
        for nothing in ["", "7", "[]", "null", r#"{"id":{},"result":1}"#, r#"{"method":7}"#, "{}", "{\"id\":1"] {
            assert!(read(nothing).is_none(), "{nothing}");
        }
    }

    #[test]
    fn answers_are_given_once_and_by_the_name_they_were_asked_by() {
        let (mut peer, mut turn) = (Peer::new(true), Turn::default());
        assert!(peer.keep("\"a\"", 1, &mut turn) && peer.keep("\"a\"", 2, &mut turn) && turn.input.is_empty());
        assert_eq!((peer.take("\"a\""), peer.take("\"a\"")), (Some(2), None));
        peer.answer("\"a\"", json!({}), &mut turn);
        peer.unknown("7", &mut turn);
        let written = String::from_utf8(turn.input).unwrap();
        assert_eq!(written.lines().next().map(value), Some(json!({"id": "a", "jsonrpc": "2.0", "result": {}})));
        assert!(written.contains(r#""code":-32601"#));
        let mut turn = Turn::default();
        assert!((0..OPEN).all(|at| peer.keep(&at.to_string(), 0, &mut turn)) && !peer.keep("x", 0, &mut turn));
        assert!(!turn.input.is_empty());
    }
}
