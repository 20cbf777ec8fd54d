//! Bodies that are JSON.

use crate::{Problem, Request};
use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};
use std::{borrow::Cow, ops::RangeInclusive};
use uuid::Uuid;

/// Refuses a body of another kind; one that says no kind is taken for what it should be.
pub fn only_json(request: &Request<'_>) -> Result<(), Problem> {
    let kind = (request.header)("content-type").map(str::to_ascii_lowercase);
    match kind.as_deref().map(|kind| kind.split(';').next().unwrap_or("").trim()) {
        None | Some("application/json") => Ok(()),
        Some(kind) if kind.starts_with("application/") && kind.ends_with("+json") => Ok(()),
        Some(_) => Err(Problem::new(415, "the body must be application/json")),
    }
}

/// An object of few fields, each looked at by name.
pub struct Fields {
    body: Value,
    example: &'static str,
}

impl Fields {
    /// Reads a body; `example` is shown with what is wrong.
    pub fn read(body: &[u8], example: &'static str) -> Result<Self, Problem> {
        let bad = |detail: String| Problem::new(400, detail).hint(format!("Send {example}."));
        let body: Value = read(body).map_err(|error| bad(format!("the body is not JSON: {error}")))?;
        Ok(Self { body, example })
    }

    /// What is wrong with the body.
    pub fn bad(&self, detail: impl Into<String>) -> Problem {
        Problem::new(400, detail).hint(format!("Send {}.", self.example))
    }

    /// A text that must be there. Postgres' text holds every character but the zero one.
    pub fn text(&self, name: &str) -> Result<String, Problem> {
        match self.optional_text(name)? {
            Some(text) => Ok(text),
            None if self.body.get(name).is_some() => Err(self.bad(format!("{name} must be a string"))),
            None => Err(self.bad(format!("{name} is missing"))),
        }
    }

    /// A text that may be there.
    pub fn optional_text(&self, name: &str) -> Result<Option<String>, Problem> {
        match self.body.get(name) {
            Some(Value::String(text)) => Ok(Some(text.replace('\0', " "))),
            None | Some(Value::Null) => Ok(None),
            Some(_) => Err(self.bad(format!("{name} must be a string"))),
        }
    }

    /// A flag that may be there.
    pub fn optional_flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.body.get(name) {
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            None | Some(Value::Null) => Ok(None),
            Some(_) => Err(self.bad(format!("{name} must be true or false"))),
        }
    }

    /// An id that must be there.
    pub fn id(&self, name: &str) -> Result<Uuid, Problem> {
        let text = self.text(name)?;
        Uuid::try_parse(&text).map_err(|_| self.bad(format!("{name} is not a UUID")))
    }
}

/// Reads a body that may have halves of surrogate pairs in its texts, as programs that cut at UTF-16 units write them: each becomes the
/// replacement character.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_str(&whole(body)?).map_err(|error| error.to_string())
}

/// The text of such a body.
pub fn whole(body: &[u8]) -> Result<Cow<'_, str>, String> {
    let text = std::str::from_utf8(body).map_err(|_| "it is not UTF-8".to_owned())?;
    Ok(cleaned(text, &[0xD800..=0xDFFF], usize::MAX).unwrap_or(Cow::Borrowed(text)))
}

/// Somebody's word, where it is shown to them: short, and on one line.
pub fn plain(word: &str) -> String {
    word.chars().take(64).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// As deep as `serde_json` reads. Postgres reads `jsonb` by recursion, too, and calls its own limit a fault of the server.
const DEEPEST: usize = 128;
const REPLACEMENT: &[u8] = b"\\ufffd";

/// JSON as Postgres' `jsonb` takes it: escapes of what it does not hold, the zero character and halves of surrogate pairs, become that of the
/// replacement character. Anything else stays as it is, to the digit.
pub fn storable(body: &[u8]) -> Result<Box<RawValue>, Problem> {
    let bad = |detail: String| Problem::new(400, detail);
    let text = std::str::from_utf8(body).map_err(|_| bad("the body is not UTF-8".into()))?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| bad(format!("the body is not JSON: {error}")))?;
    match cleaned(raw.get(), &[0..=0, 0xD800..=0xDFFF], DEEPEST)
        .ok_or_else(|| bad(format!("the JSON is nested deeper than {DEEPEST} levels")))?
    {
        Cow::Borrowed(_) => Ok(raw.to_owned()),
        Cow::Owned(text) => RawValue::from_string(text).map_err(|error| bad(format!("the body is not JSON: {error}"))),
    }
}

/// JSON without the escapes of these code units, but whole pairs of surrogates; `None` if it is too deep. What is no JSON stays that.
fn cleaned<'j>(json: &'j str, replaced: &[RangeInclusive<u16>], deepest: usize) -> Option<Cow<'j, str>> {
    let bytes = json.as_bytes();
    let (mut at, mut depth, mut inside) = (0, 0_usize, false);
    let (mut kept, mut clean) = (0, Vec::new());
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => inside = !inside,
            b'\\' => {
                let length = match unit(bytes, at) {
                    // Any other escape is of two characters.
                    None => 2,
                    Some(0xD800..=0xDBFF) if matches!(unit(bytes, at + 6), Some(0xDC00..=0xDFFF)) => 12,
                    Some(unit) if replaced.iter().any(|range| range.contains(&unit)) => {
                        clean.extend_from_slice(&bytes[kept..at]);
                        clean.extend_from_slice(REPLACEMENT);
                        kept = at + 6;
                        6
                    }
                    Some(_) => 6,
                };
                at += length;
                continue;
            }
            b'{' | b'[' if !inside => {
                depth += 1;
                if depth > deepest {
                    return None;
                }
            }
            b'}' | b']' if !inside => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    if kept == 0 {
        return Some(Cow::Borrowed(json));
    }
    clean.extend_from_slice(&bytes[kept..]);
    // Only whole escapes were taken out of UTF-8.
    String::from_utf8(clean).ok().map(Cow::Owned)
}

/// The code unit that is escaped here as `\uXXXX`.
fn unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_zero_character_is_replaced() {
        let store = |text: &str| storable(text.as_bytes()).unwrap().get().to_owned();
        assert_eq!(
            store(r#"{"a": "x\u0000y", "n": 1.000000000000000000001}"#),
            r#"{"a": "x\ufffdy", "n": 1.000000000000000000001}"#
        );
        assert_eq!(store(r#"["\\u0000", "\\\u0000\u0000"]"#), r#"["\\u0000", "\\\ufffd\ufffd"]"#);
        // Halves of pairs, which are whole nowhere; a whole pair stays.
        assert_eq!(
            store(r#"["\ud800", "\udc00x", "\ud800\ud83d\ude00\\ud800"]"#),
            r#"["\ufffd", "\ufffdx", "\ufffd\ud83d\ude00\\ud800"]"#
        );
        assert_eq!(store(r#"{"é\uD800": "\ud800\n"}"#), r#"{"é\ufffd": "\ufffd\n"}"#);
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(store(&nested(128)), nested(128));
        assert!(storable(nested(129).as_bytes()).unwrap_err().detail.contains("deeper"));
        assert_eq!(storable(nested(100_000).as_bytes()).unwrap_err().status, 400);
        assert!(storable(format!("[\"{}\", [], []]", "[".repeat(500)).as_bytes()).is_ok());
        for bad in [b"".as_slice(), b"{", b"\xff", b"{}{}"] {
            assert_eq!(storable(bad).unwrap_err().status, 400);
        }
    }

    #[test]
    fn fields_are_read_by_name_and_type() {
        let fields = Fields::read(br#"{"a": "x\u0000", "b": 5, "c": null, "d": true}"#, "{}").unwrap();
        assert_eq!(fields.text("a").unwrap(), "x ");
        assert_eq!(fields.text("b").unwrap_err().detail, "b must be a string");
        let halves = Fields::read(br#"{"a": "\ud83d x \uD83D\uDE00 \udc00", "\ud800": 1}"#, "{}").unwrap();
        assert_eq!(halves.text("a").unwrap(), "\u{fffd} x 😀 \u{fffd}");
        assert!(Fields::read(br#"{"a": "\ud83d"#, "{}").is_err());
        assert!(Fields::read(b"{\"a\": \"\xff\"}", "{}").is_err());
        assert_eq!(fields.text("z").unwrap_err().detail, "z is missing");
        assert_eq!(fields.text("c").unwrap_err().detail, "c must be a string");
        assert_eq!(fields.id("a").unwrap_err().detail, "a is not a UUID");
        assert_eq!((fields.optional_flag("d"), fields.optional_flag("c")), (Ok(Some(true)), Ok(None)));
        assert!(fields.optional_flag("b").is_err());
    }
}
